"""The configuration: what it means, and every mistake in it with line and column."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from convcost.budgets.configuration import ConfigurationError, read_budgets, schema
from convcost.budgets.limits import METRICS
from convcost.text.errors import ConvcostError
from convcost.text.sizes import Input
from convcost.text.toml import parse_toml

EXAMPLE = """\
[budget.mobilenet]
target = "models.py:mobilenet"       # relative to this file
args   = { width = 1.0 }
input  = ["1x3x224x224"]
params  = "4.3 M"                                          # short for { max = "4.3 M" }
macs    = { max = "580 M", grow = "1 %", floor = "2 M" }   # grow + floor: against the baseline, both must be passed to fail
latency = { max = "60 ms", grow = "10 %", floor = "1 ms", device = "cpu", level = "warn" }
message = "ask before you raise this"
"""


def read(text: str, root: tuple[str, ...] = ()) -> Any:
    return read_budgets(parse_toml(text.encode(), "convcost.toml"), Path(), root)


def mistakes(text: str, root: tuple[str, ...] = ()) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        read(text, root)
    return refused.value.lines


def test_the_documented_example_means_what_it_says() -> None:
    (budget,) = read(EXAMPLE).budgets
    assert (budget.name, budget.target, budget.args) == ("mobilenet", "models.py:mobilenet", {"width": 1.0})
    assert budget.inputs == (Input((1, 3, 224, 224)),)
    assert budget.source == "convcost.toml:2:10"
    params, macs, latency = budget.limits
    assert (params.max, params.source, params.level) == (Decimal(4_300_000), "convcost.toml:5", "error")
    assert (macs.max, macs.grow, macs.floor) == (580_000_000, 0.01, 2_000_000)
    assert (latency.max, latency.floor, latency.level) == (Decimal("0.060"), Decimal("0.001"), "warn")
    assert latency.source == "convcost.toml:7"


def test_a_limit_in_its_own_table_is_found_on_its_own_line() -> None:
    text = '[budget.a]\ntarget = "m:x"\n[budget.a.macs]\nlevel = "warn"\nmax = "1 M"\ngrow = "1 %"\n'
    (limit,) = read(text).budgets[0].limits
    assert limit.source == "convcost.toml:3"
    assert (limit.sources["max"], limit.sources["grow"]) == ("convcost.toml:5", "convcost.toml:6")


def test_a_pyproject_has_the_same_below_tool_convcost() -> None:
    text = "[tool.other]\nx = 1\n" + EXAMPLE.replace("[budget", "[tool.convcost.budget")
    assert [budget.name for budget in read(text, ("tool", "convcost")).budgets] == ["mobilenet"]
    assert mistakes("[tool.convcost]\nx = 1\n", ("tool", "convcost")) == (
        "convcost.toml:1:7: budget (=missing) must be there; write [tool.convcost.budget.NAME] with a target and a limit.",
        "convcost.toml:2:1: x is no key of this table; known: budget.",
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("target = 3", '2:10: budget.a.target (=3) must be a text; write target = "...".'),
        ('target = ""', '2:10: budget.a.target (=) must not be empty; write target = "...".'),
        ('inptu = "1x3"', "2:1: budget.a.inptu is no key of this table; did you mean input?"),
        ("input = [1]", '2:10: budget.a.input.0 (=1) must be a text; write it as "1x3x224x224".'),
        ("args = 3", "2:8: budget.a.args (=3) must be a table; write args = { ... }."),
        ('params = "47 MB"', "2:10: budget.a.params (=47 MB) must be a number of parameters, and MB is no unit"),
        ("params = 1.5", "2:10: budget.a.params (=1.5) must be a text with a unit; write it as"),
        ('macs = { max = "580 GFLOPs" }', "2:16: budget.a.macs.max (=580 GFLOPs) must be a number of MACs, and 1 MAC"),
        ('macs = { max = "1 M", flor = "1 M" }', "2:23: budget.a.macs.flor is no key of this table; did you mean floor"),
        ("macs = { grow = 1 }", '2:17: budget.a.macs.grow (=1) must be a text with a percentage; write it as "1 %".'),
        ('macs = { max = "1 M", floor = "1 k" }', "2:1: budget.a.macs must have grow beside floor, for both must be"),
        ('macs = { max = "1 M", min = "2 M" }', "2:1: budget.a.macs must have min of at most max; exchange them."),
        ("macs = {}", '2:1: budget.a.macs must limit something; give max = "..." or grow = "1 %".'),
        ('macs = { max = "1 M", level = "warm" }', "2:31: budget.a.macs.level (=warm) must be 'error' or 'warn'; write"),
        ("latency = 60", '2:11: budget.a.latency (=60) must be a time, and has no unit; write it as "60 ms".'),
        ('latency = { max = "1 s", threads = 0 }', "2:36: budget.a.latency.threads (=0) must be a number of at least 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_its_column_the_rule_and_the_next_step(line: str, said: str) -> None:
    found = mistakes(f"[budget.a]\n{line}\n")
    assert any(one.startswith(f"convcost.toml:{said}") for one in found), found


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "x = 1\n[budget.a]\ntarget = 3\nmacs = 2.5\n[budget.b]\ninput = [1]\n"
    found = mistakes(text)
    assert [one.split(":")[1] for one in found] == ["1", "3", "4", "5", "5", "6"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('params = { max = "1 M", min = "2 M", level = "x" }', ["1: budget.a.params must have min of at most max", "46: budget.a.params.level (=x)"]),
        ('params = { floor = "2 M", level = "x" }', ["1: budget.a.params must limit something", "1: budget.a.params must have grow beside floor", "35: budget.a.params.level"]),
        ('params = { max = "2 MB", min = "3 M", grow = 1 }', ["18: budget.a.params.max (=2 MB)", "46: budget.a.params.grow (=1)"]),
    ],
)  # fmt: skip
def test_what_values_must_be_to_each_other_is_told_beside_what_else_is_wrong(text: str, said: list[str]) -> None:
    found = mistakes(f'[budget.a]\ntarget = "m.py:net"\n{text}\n')
    assert len(found) == len(said)
    assert all(one.startswith(f"convcost.toml:3:{start}") for one, start in zip(found, said, strict=True)), found


def test_a_budget_without_a_limit_is_told_beside_its_empty_target() -> None:
    assert mistakes('[budget.b]\ntarget = ""\n') == (
        "convcost.toml:1:9: budget.b must limit something; give one of params, macs, flops, weight_bytes, "
        "peak_activation_bytes, latency.",
        'convcost.toml:2:10: budget.b.target (=) must not be empty; write target = "...".',
    )


ABOVE = '# one\n[budget.a]\ntarget = "m.py:net"\nparams = "1 M"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# one\n\n\n[budget]\n", "4:2: budget (={}) must not be empty"),
        ("# one\n\n\n[[budget]]\n", "4:3: budget (=[{}]) must be a table"),
        (ABOVE + "\n[budget.a.message]\n", "6:11: budget.a.message (={}) must be a text"),
        (ABOVE + "\n[[budget.a.macs]]\n", "6:12: budget.a.macs (=[{}]) must be a text with a unit"),
        (ABOVE + 'input = "1x0x3"\n', "5:9: budget.a.input: input (=1x0x3) must have sizes of at least 1"),
        (ABOVE + 'input = ["1x0x3"]\n', "5:10: budget.a.input.0: input (=1x0x3) must have sizes of at least 1"),
        (ABOVE + 'latency = { max = "1 s", device = "gpu" }\n', "5:35: budget.a.latency.device (=gpu) must be cpu, cuda,"),
        ('[budget.a]\nmacs = "1 M"\ntarget = "x"\n', "3:10: budget.a.target (=x) must be package.module:callable,"),
    ],
)  # fmt: skip
def test_a_value_is_refused_where_it_stands_also_one_that_a_header_gives(text: str, said: str) -> None:
    (found,) = mistakes(text)
    assert found.startswith(f"convcost.toml:{said}")


HUGE = f"0x{'f' * 5000}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"params = {HUGE}", "2:10: budget.a.params (=a number of 20000 bits) must be a number of parameters of at least 0 and at"),
        (f"params = 1{'0' * 40}", f"2:10: budget.a.params (=1{'0' * 40}) must be a number of parameters of at least 0 and at most 40"),
        (f"latency = {HUGE}", "2:11: budget.a.latency (=a number of 20000 bits) must be a time of at least 0"),
        (f"latency = {{ max = '1 s', threads = {HUGE} }}", "2:36: budget.a.latency.threads (=a number of 20000 bits) must be a"),
        (f"message = {HUGE}", '2:11: budget.a.message (=a number of 20000 bits) must be a text; write message = "..."'),
        (f"message = [{HUGE}]", "2:11: budget.a.message (=something with a number too long to show) must be a text"),
    ],
)  # fmt: skip
def test_a_number_that_python_does_not_write_is_refused_as_others_are(line: str, said: str) -> None:
    found = mistakes(f'[budget.a]\n{line}\ntarget = "m:n"\n')
    assert any(one.startswith(f"convcost.toml:{said}") for one in found), found


@pytest.mark.parametrize("text", ["tool = 3\n", "[tool]\nconvcost = 3\n", "[tool.convcost]\nbudget = [1]\n"])
def test_what_is_no_table_is_refused_as_such(text: str) -> None:
    (found,) = mistakes(text, ("tool", "convcost"))
    assert "must be a table" in found


def test_an_empty_file_has_no_budget() -> None:
    assert mistakes("") == (
        "convcost.toml:1:1: budget (=missing) must be there; write [budget.NAME] with a target and a limit.",
    )


def test_the_schema_knows_exactly_the_keys_that_are_read() -> None:
    budget = schema()["$defs"]["budget"]
    assert set(budget["properties"]) == {"target", "args", "input", "device", "message", *METRICS}
    assert budget["additionalProperties"] is False
    table = budget["properties"]["macs"]["anyOf"][-1]
    assert set(table["properties"]) == {"max", "min", "grow", "floor", "level"}
    table = budget["properties"]["latency"]["anyOf"][-1]
    assert set(table["properties"]) == {"max", "grow", "floor", "level", "device", "threads", "machine"}
    json.dumps(schema())


def mutated(text: str, source: random.Random) -> str:
    """The text with one to three mistakes that people make: a character, a word or a line too many, too few, elsewhere."""
    for _ in range(source.randint(1, 3)):
        lines, at = text.split("\n"), source.randrange(len(text))
        words = text.split(" ")
        i, j = source.randrange(len(lines)), source.randrange(len(words))
        text = source.choice(
            [
                text[:at] + text[at + 1 :],
                text[:at] + source.choice('"[]{}=.,#x9 \n\t\'é\\') + text[at:],
                "\n".join(lines[:i] + lines[i + 1 :]),
                "\n".join([*lines[:i], lines[i], *lines[i:]]),
                "\n".join(source.sample(lines, len(lines))),
                " ".join([*words[:j], source.choice(["1", "true", '"x"', "{}", "[]", "-1", "nan", "1979-05-27"]), *words[j + 1 :]]),
                text.replace(source.choice(["max", "M", "grow", "target", "=", "budget", "%"]), source.choice(["mx", "", "MB", "1"])),
            ]
        )  # fmt: skip
    return text


@pytest.mark.parametrize("seed", range(400))
def test_a_mutated_configuration_is_accepted_or_refused_with_a_line_and_a_column(seed: int) -> None:
    text = mutated(EXAMPLE, random.Random(seed))
    try:
        assert read(text).budgets
    except ConvcostError as error:
        lines = text.split("\n")
        for one in error.lines:
            source, line, column, rest = one.split(":", 3)
            assert source == "convcost.toml"
            assert 1 <= int(line) <= len(lines)
            assert 1 <= int(column) <= len(lines[int(line) - 1]) + 1
            assert rest.endswith((".", "?"))
            assert "\n" not in one
