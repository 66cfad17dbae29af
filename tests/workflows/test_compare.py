"""Comparisons under several conditions, with made timings: nothing is measured."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import convcost
from convcost.cli import main
from convcost.timing.conditions import Conditions
from convcost.timing.measured import Measured
from convcost.timing.statistics import Timing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.nn.measure.blocks import Run

pytestmark = pytest.mark.torch

SHAPE = ["--c", "8", "--o", "8", "--k", "3", "--h", "16", "--no-count", "--device", "cpu"]
BLOCKS = ["--block", "standard", "--block", "depthwise-separable"]
MS = 1e-3
FEW = "only 3 undisturbed blocks: raise time_budget"


def timing(seconds: float, speedup: float | None, *, doubts: tuple[str, ...] = ()) -> Timing:
    low, high = (None, None) if speedup in {None, 1.0} else (0.95 * (speedup or 0), 1.05 * (speedup or 0))
    return Timing(
        seconds, 0.9 * seconds, 1.1 * seconds, seconds, seconds, 10, 0.0, 0.0, speedup, low, high, 0.0, doubts, doubts
    )


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[Run]]:
    """The runs of each measurement; the separable block is three times as fast as the standard one."""
    seen: list[list[Run]] = []

    def measure(runs: Sequence[Run], baseline: str, watch: Any) -> tuple[Measured, ...]:
        assert baseline == "standard"
        seen.append(list(runs))
        results = []
        for number, run in enumerate(runs, 1):
            options = run.options
            threads = 2 if options.threads == "all" else options.threads
            conditions = Conditions("cpu", options.dtype, threads, options.memory_format, False, "pinned", "2", "a CPU")
            doubts = (FEW,) if options.dtype == "bfloat16" else ()
            timings = {
                "standard": timing(3 * number * MS, 1.0, doubts=doubts),
                "depthwise-separable": timing(number * MS, 3.0, doubts=doubts),
            }
            results.append(Measured(conditions, timings, {}, ("a note",)))
        watch(tuple(results), "timed")
        return tuple(results)

    monkeypatch.setattr("convcost.nn.measure.blocks.measure", measure)
    return seen


def rows_of(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["compare", *SHAPE, *BLOCKS, *words, "--format", "json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rows"]
    return rows


def test_conditions_of_one_device_are_one_run_with_a_row_a_block_and_condition(
    runs: list[list[Run]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dtype", "float32", "--dtype", "float64", "--memory-format", "contiguous"]
    words += ["--memory-format", "channels_last", "--threads", "1", "--threads", "all", "--time-budget", "4"]
    rows = rows_of(capsys, *words)
    (run,) = runs
    assert [one.options.time_budget for one in run] == [0.5] * 8
    expected = [
        (dtype, memory_format, threads, block)
        for dtype in ("float32", "float64")
        for memory_format in ("contiguous", "channels_last")
        for threads in (1, 2)
        for block in ("standard", "depthwise-separable")
    ]
    assert [(row["dtype"], row["memory_format"], row["threads"], row["block"]) for row in rows] == expected
    assert [row["verdict"] for row in rows] == ["same", "faster"] * 8
    traffic = {row["dtype"]: row["traffic_bytes"] for row in rows if row["block"] == "standard"}
    assert traffic["float64"] == 2 * traffic["float32"]


def test_the_command_of_the_result_repeats_each_condition(runs: list[list[Run]]) -> None:
    options: dict[str, Any] = {"dtype": ["float32", "bfloat16"], "threads": [1, "all"], "count": False}
    result = convcost.compare(8, 8, 3, height=16, blocks=["standard"], device="cpu", **options)
    assert len(runs) == 1
    assert result.command.endswith("--device cpu --dtype float32 --dtype bfloat16 --threads 1 --threads all")
    assert result.conditions["dtype"] == ["float32", "bfloat16"]
    assert result.conditions["threads"] == [1, 2]
    assert result.conditions["memory_format"] == "contiguous"
    again = ["--dtype", "float32", "--dtype", "bfloat16", "--threads", "1", "--threads", "all"]
    assert main([*result.command.split()[1:]]) == main(["compare", *SHAPE, "--block", "standard", *again]) == 0


def test_the_table_shows_the_conditions_in_which_the_rows_differ(
    runs: list[list[Run]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *SHAPE, *BLOCKS, "--threads", "1", "--threads", "2"]) == 0
    head, titles, *_ = capsys.readouterr().out.splitlines()
    assert len(runs) == 1
    assert "threads" in titles.split()
    assert not {"dtype", "layout", "device"} & set(titles.split())
    assert "thread" not in head
    assert "float32, contiguous, a CPU" in head
    assert main(["compare", *SHAPE, *BLOCKS]) == 0
    head, titles, *_ = capsys.readouterr().out.splitlines()
    assert "threads" not in titles.split()
    assert "a CPU, 1 thread" in head


@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "latex"])
def test_each_output_says_that_a_speed_is_not_decided(
    runs: list[list[Run]], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *SHAPE, *BLOCKS, "--dtype", "float32", "--dtype", "bfloat16", "--format", form]) == 0
    assert len(runs) == 1
    streams = capsys.readouterr()
    lines = (streams.out if form == "table" else streams.err).splitlines()
    (undecided,) = (line for line in lines if "depthwise-separable (bfloat16)" in line and "MACs" in line)
    assert undecided.endswith("speed not decided on this CPU, 1 thread: only 3 undisturbed blocks.")
    (decided,) = (line for line in lines if "depthwise-separable (float32)" in line and "MACs" in line)
    assert "3.0x faster (2.8–3.1) on this CPU, 1 thread." in decided or "3.0x faster (2.8–3.2)" in decided
    if form != "table":
        assert "undecided" in streams.out
    assert streams.err.count(FEW.replace("time_budget", "--time-budget")) == 1


def test_a_notebook_says_that_a_speed_is_not_decided(runs: list[list[Run]]) -> None:
    options: dict[str, Any] = {"dtype": "bfloat16", "count": False, "blocks": ["depthwise-separable"]}
    shown = convcost.compare(8, 8, 3, height=16, device="cpu", **options)._repr_html_()
    assert len(runs) == 1
    assert "speed not decided on this CPU, 1 thread: only 3 undisturbed blocks." in shown
    assert "3.0x (2.8–3.2) ?" in shown or "3.0x (2.8–3.1) ?" in shown


def test_rows_are_sorted_by_a_field_with_those_without_a_value_last(
    runs: list[list[Run]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dtype", "float32", "--dtype", "float64", "--block", "pointwise", "--sort", "time_s"]
    rows = rows_of(capsys, *words)
    assert len(runs) == 1
    assert [row["time_s"] for row in rows] == [MS, 2 * MS, 3 * MS, 6 * MS, None, None]
    assert [row["block"] for row in rows_of(capsys, "--no-time", "--sort", "block")] == [
        "depthwise-separable",
        "standard",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sort", "time"], "sort (=time) must be a field of a row; did you mean time_s?"),
        (["--sort", "time_s,macs"], "sort (=time_s,macs) must be a field of a row; did you mean time_s?"),
        (
            ["--dtype", "float32", "--dtype", "int8"],
            "dtype (=int8) must be one of float32, float64, bfloat16, float16.",
        ),
        (["--memory-format", "nchw"], "memory_format (=nchw) must be one of contiguous, channels_last."),
        (["--threads", "1", "--threads", "x"], "threads (=x) must be 1 or more, or all."),
    ],
)
def test_a_wrong_condition_is_refused_before_anything_is_timed(
    runs: list[list[Run]], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *SHAPE, *words]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert runs == []


@pytest.mark.parametrize(
    ("words", "loop"),
    [
        (
            ["--c", "3,16,32", "--o", "8", "--k", "3"],
            "c (=3,16,32) must be one size; run the command once for each: "
            "for c in 3 16 32; do convcost compare --c $c --o 8 --k 3; done",
        ),
        (
            ["--in-channels=3, 16", "--o", "8", "--k", "3"],
            "c (=3, 16) must be one size; run the command once for each: "
            "for c in 3 16; do convcost compare --in-channels=$c --o 8 --k 3; done",
        ),
        (
            ["--c", "3", "--o", "8", "--k", "3,5"],
            "k (=3,5) must be one size; run the command once for each: "
            "for k in 3 5; do convcost compare --c 3 --o 8 --k $k; done",
        ),
    ],
)
def test_several_shapes_are_refused_with_the_loop_that_takes_them(
    words: list[str], loop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *words]) == 2
    assert capsys.readouterr().err == f"error: {loop}\n"


def test_a_reused_condition_is_not_timed_again(
    runs: list[list[Run]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("CONVCOST_DB", str(tmp_path / "history.sqlite3"))
    conditions_for = "convcost.nn.measure.session.conditions_for"
    made = Conditions("cpu", "float32", 1, "contiguous", False, "pinned", "2", "a CPU")
    monkeypatch.setattr(conditions_for, lambda options: replace(made, dtype=options.dtype))
    rows_of(capsys, "--dtype", "float32", "--time-budget", "4")
    rows = rows_of(capsys, "--dtype", "float32", "--dtype", "float64", "--reuse", "--time-budget", "8")
    assert [[run.options.dtype for run in each] for each in runs] == [["float32"], ["float64"]]
    assert [row["reused_from"] is None for row in rows] == [False, False, True, True]
    assert [row["verdict"] for row in rows] == ["same", "faster"] * 2


def test_csv_has_the_verdict_beside_the_speedup(runs: list[list[Run]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *SHAPE, *BLOCKS, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(runs) == 1
    assert [row["verdict"] for row in rows] == ["same", "faster"]
    assert main(["compare", *SHAPE, *BLOCKS, "--no-time", "--format", "csv"]) == 0
    assert [row["verdict"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == ["", ""]


def test_conditions_that_are_the_same_here_are_timed_once(
    runs: list[list[Run]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.nn.measure.device.usable_cores", lambda: 2)
    words = ["--threads", "1", "--threads", "2", "--threads", "all", "--device", "cpu", "--format", "json"]
    assert main(["compare", *SHAPE, *BLOCKS, *words]) == 0
    out, err = capsys.readouterr()
    assert [row["threads"] for row in json.loads(out)["rows"]] == [1, 1, 2, 2]
    assert len(runs[0]) == 2
    assert "note: conditions that are the same on this machine are timed once." in err
