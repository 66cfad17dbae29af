"""Every result gives the same views of itself: a JSON object, a frame, the text that its command prints, a notebook."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import pytest
from made_machine import machine
from made_results import ACCOUNT, CONDITIONS, HINT, MADE, TIMING, model

import convcost
from convcost.archive.listing import History
from convcost.text.columns import shown_columns
from convcost.text.result import NOTEBOOK_WIDTH, grouped
from convcost.text.table import plain_table

if TYPE_CHECKING:
    from convcost.text.result import Result

SCHEMAS = {
    "compare": "convcost.compare/1",
    "model": "convcost.model/1",
    "check": "convcost.check/1",
    "history": "convcost.history/1",
    "kernel": "convcost.kernel/1",
    "kernel --model": "convcost.kernel/1",
}


@pytest.fixture(params=SCHEMAS)
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def result(command: str) -> Result[Any]:
    return MADE[command]()


def test_the_json_object_begins_with_its_schema_and_holds_nothing_but_json(command: str, result: Result[Any]) -> None:
    payload = result.to_dict()
    assert next(iter(payload.items())) == ("schema", SCHEMAS[command])
    assert json.loads(json.dumps(payload, allow_nan=False)).keys() == payload.keys()


def test_the_frame_has_a_row_a_row_and_the_columns_of_the_csv(result: Result[Any]) -> None:
    table = result.to_frame()
    assert list(table.columns) == [column.name for column in result.columns]
    assert len(table) == len(result.rows) > 0


def test_every_cell_of_a_file_is_a_plain_value(result: Result[Any]) -> None:
    cells = [cell for _, series in result.to_frame().items() for cell in series]
    assert {type(cell) for cell in cells} <= {bool, int, float, str, type(None)}


def test_the_text_is_head_table_verdicts_and_remarks(result: Result[Any]) -> None:
    table = plain_table(result.columns, result.rows)
    remarks = [f"{kind}: {line}" for kind, line in result.remarks]
    verdicts = ["", *result.verdicts] if result.verdicts else []
    below = [f"\n{text}" for text in result.below]
    assert str(result) == "\n".join([result.head, table, *verdicts, *below, *remarks])


def test_a_prompt_shows_the_text(result: Result[Any]) -> None:
    assert repr(result) == str(result)


def test_the_text_fits_the_terminal(result: Result[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    longest = max(len(word) for word in str(result).split())
    assert max(map(len, str(result).splitlines())) <= max(80, longest)


@pytest.mark.parametrize("name", ["compare", "model"])
def test_the_text_and_a_notebook_have_the_account_of_a_time(name: str) -> None:
    result = MADE[name]()
    (account,) = result.below
    assert account.splitlines()[1:3] == str(ACCOUNT).splitlines()
    assert account.endswith(f"hint: {HINT.text}")
    assert account in str(result)
    assert f"<pre>{escape(account)}</pre>" in result._repr_html_()


def test_a_notebook_has_the_columns_of_a_terminal_and_the_frame_all() -> None:
    result = MADE["model"]()
    fewer = [column.title for column in shown_columns(result.columns, result.rows, NOTEBOOK_WIDTH)]
    assert len(fewer) < len(shown_columns(result.columns, result.rows)) < len(result.to_frame().columns)
    assert re.findall("<th>(.*?)</th>", result._repr_html_()) == fewer


def test_columns_are_chosen_by_name_and_the_json_has_all() -> None:
    every = convcost.compare(3, 64, 3, count=False, time=False)
    for columns in ("block, macs", ["block", "macs"]):
        few = convcost.compare(3, 64, 3, count=False, time=False, columns=columns)
        assert list(few.to_frame().columns) == ["block", "macs"]
        assert re.findall("<th>(.*?)</th>", few._repr_html_()) == ["block", "MACs"]
        assert few.to_dict() == every.to_dict()
    with pytest.raises(convcost.ConvcostError, match=r"did you mean macs\?"):
        convcost.compare(3, 64, 3, columns="mac")


def test_rooflines_are_in_the_text_if_they_are_requested() -> None:
    result = convcost.compare(3, 64, 3, blocks="standard", count=False, time=False)
    (row,) = result.rows
    timed = replace(result, rows=(replace(row, conditions=CONDITIONS, timing=TIMING),), machines={"cpu": machine()})
    assert timed.below == ()
    (plot,) = replace(timed, has_rooflines=True).below
    assert plot == timed.rooflines()[0]
    assert plot.startswith("cpu\nFLOP/s\n")


def test_a_notebook_shows_as_much_and_escapes_it(result: Result[Any]) -> None:
    html = result._repr_html_()
    assert html.startswith("<table")
    assert html.count("<div>") == len(result.verdicts) + len(result.remarks)
    assert html.count("<td>") == html.count("<th>") * len(result.rows)
    assert html.count("<caption>") == 1
    for foreign in ("<machine>", "<note>", "<net>", "<late>", "<first>", "<memory>", "<CPU>", "<nowhere>", "<doubt>"):
        assert foreign not in html


@pytest.mark.parametrize("name", ["compare", "model", "check", "kernel", "kernel --model"])
def test_what_the_command_says_beside_the_table_is_in_the_text(name: str) -> None:
    lines = str(MADE[name]()).splitlines()
    assert any(line.startswith(("note: ", "warning: ", "error: ")) for line in lines)


def test_the_rows_for_people_can_be_fewer_than_those_of_the_json() -> None:
    report = model()
    shown = report.arranged(top=1)
    assert (len(shown.rows), len(shown.to_frame())) == (1, 1)
    assert shown.to_dict() == report.to_dict()


DISTURBED = "80.0 % of the blocks were disturbed: close other programs"


@pytest.mark.parametrize(
    ("warnings", "lines"),
    [
        ([["late: wait"], []], ["a: late: wait"]),
        ([["late: wait", "short: go on"], []], ["a: late: wait; short: go on"]),
        ([["late: wait"], ["late: wait"]], ["a, b: late: wait"]),
        ([["late: wait", "short: wait"]] * 2, ["a, b: late; short: wait"]),
        ([["late: wait", "short: go on"]] * 2, ["a, b: late: wait; short: go on"]),
        ([["late"], ["late"]], ["a, b: late"]),
        (
            [["only 0 undisturbed blocks: wait"], ["only 1 undisturbed block: wait"]],
            ["a, b: only 0 to 1 undisturbed blocks: wait"],
        ),
        ([["took 2.50 ms"], ["took 10.0 ms"]], ["a, b: took 2.50 to 10.0 ms"]),
        ([[DISTURBED]] * 4, [f"all rows: {DISTURBED}"]),
        (
            [["only 1 block: wait"]] + [[DISTURBED, "only 1 block: wait"]] * 3,
            ["all rows: only 1 block: wait", f"all rows but a: {DISTURBED}"],
        ),
        (
            [["2 slow: fewer"], [DISTURBED], ["2 slow: fewer"], [DISTURBED]],
            ["a, c: 2 slow: fewer", f"b, d: {DISTURBED}"],
        ),
        ([["late: wait"]] * 4 + [[]] * 6, ["a, b, c and 1 more: late: wait"]),
    ],
)
def test_a_warning_of_several_rows_is_said_once_and_is_true_of_each_of_them(
    warnings: list[list[str]], lines: list[str]
) -> None:
    assert list(grouped(zip("abcdefghij", warnings, strict=False))) == lines


def test_a_column_that_the_user_named_is_shown_without_values_too() -> None:
    result = convcost.compare(3, 64, 3, columns="block,speedup,dtype", count=False, time=False)
    assert result.text().splitlines()[1].split() == ["block", "speed-up", "dtype"]


def test_a_text_ends_with_its_last_line() -> None:
    result = convcost.compare(3, 64, 3, blocks="standard", count=False, time=False)
    assert result.verdicts == ()
    assert len(result.text().splitlines()) == 3
    assert History((), 0, "history.db").text().count("\n") == 1


@pytest.mark.parametrize("name", MADE)
def test_no_two_columns_have_one_title(name: str) -> None:
    """A notebook has its cells by title."""
    titles = [column.title for column in MADE[name]().columns if column.title]
    assert sorted(set(titles)) == sorted(titles)
