"""Measured sweeps, with a made clock: a sample that grows, goes on, and is not mixed with other conditions."""

from __future__ import annotations

import json
import pickle
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import yaml

import convcost
import convcost.workflows.sweep_timing as workflow
from convcost.cli import main
from convcost.grids.configuration_file import read_configuration
from convcost.grids.grid import Grid
from convcost.text.errors import ConvcostError
from convcost.timing.conditions import TimingOptions
from convcost.timing.measured import Outcome
from convcost.timing.statistics import Timing
from convcost.workflows.local_cluster import DEVICE
from convcost.workflows.sweep import SweepOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from convcost.comparison.rows import Placed
    from convcost.grids.result import GridResult

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("machine")]

GRID: dict[str, Any] = {
    "axes": {"c": [8, 12, 16], "o": [8, 12], "k": [1, 3], "h": [7, 14], "groups": [2, 3]},
    "blocks": ["depthwise-separable", "grouped"],
}
SIZE = 24 + 48
LEGAL = 24 + 4 * (6 + 1)
"""Combinations: groups are an axis of the second block alone; two divide all six pairs of channels, three one."""


def timing_of(placed: Placed) -> Timing:
    """A made timing: a nanosecond for each MAC."""
    seconds = placed.cost.macs * 1e-9
    speedup = 1.0 if placed.block.name == "standard" else 2.0
    low, high = (None, None) if speedup == 1 else (1.9, 2.1)
    return Timing(
        seconds,
        0.9 * seconds,
        1.1 * seconds,
        seconds,
        3 * seconds,
        10,
        0.0,
        0.0,
        speedup,
        low,
        high,
        0.0,
        ("a warning",),
    )


@dataclass
class Machine:
    """A machine whose time passes only while it measures.

    Attributes:
        now: Seconds since its start.
        measured: Names of the blocks of each measurement, and the seconds of each.
        interrupt_at: Number of the measurement that is interrupted; None for none.
        outcomes: What becomes of some blocks, by name.
        max_call_s: Limit of a call in the last measurement, seconds.
    """

    now: float = 0.0
    measured: list[tuple[list[str], float]] = field(default_factory=list)
    interrupt_at: int | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    max_call_s: float = 0.0

    def measure_in(
        self, _: Any, blocks: Sequence[Placed], baseline: str, seconds: float, max_call_s: float, run_to_run: float
    ) -> dict[str, Outcome]:
        assert baseline == "standard"
        assert run_to_run > 0
        assert max_call_s >= seconds
        self.max_call_s = max_call_s
        if len(self.measured) == self.interrupt_at:
            self.interrupt_at = None
            raise KeyboardInterrupt
        self.measured.append(([one.block.name for one in blocks], seconds))
        self.now += seconds * len(blocks)
        made = {one.block.name: Outcome("ok", None, timing_of(one)) for one in blocks}
        return made | {name: one for name, one in self.outcomes.items() if name in made}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    from convcost.nn.measure import session as home

    made = Machine()

    @contextmanager
    def session(options: TimingOptions, _: Any) -> Iterator[Any]:
        with home.open_session(home.conditions_for(options), 1.0) as one:
            yield replace(one, notes=(f"a note at {made.now:.1f} s",))

    monkeypatch.setenv("CONVCOST_DB", str(tmp_path / "history.sqlite3"))
    monkeypatch.setattr("convcost.nn.measure.blocks.measure_in", made.measure_in)
    monkeypatch.setattr("convcost.nn.measure.session.timing_session", session)
    clock = SimpleNamespace(monotonic=lambda: made.now, time=lambda: made.now)
    for module in ("sweep_timing", "shape_timing"):
        monkeypatch.setattr(f"convcost.workflows.{module}.time", clock)
    return made


def timed(budget: float, out: Path | None = None, grid: dict[str, Any] = GRID, **options: Any) -> GridResult:
    clock = TimingOptions(("cpu",), time_budget=budget, **options.pop("clock", {}))
    *_, result = workflow.time_sweep(read_configuration(grid), SweepOptions(out, **options), clock)
    return result


def test_all_rows_of_a_small_grid_are_timed_beside_their_baseline(machine: Machine) -> None:
    result = timed(1000)
    configuration = read_configuration(GRID)
    grid = Grid(configuration)
    rows = result.scan().to_table().to_pylist()
    legal = []
    for index in range(grid.size):
        block, spec, parameters, _ = grid.layer(index)
        if block != "grouped" or (
            spec.in_channels % parameters["groups"] == spec.out_channels % parameters["groups"] == 0
        ):
            legal.append(index)
    assert [row["index"] for row in rows] == legal
    assert all(names[0] == "standard" for names, _ in machine.measured)
    assert all(seconds == workflow.MAX_ROW_S for _, seconds in machine.measured)
    assert {row["status"] for row in rows} == {"ok"}
    for row in rows:
        assert row["time_s"] == pytest.approx(row["macs"] * 1e-9)
        assert (row["speedup"], row["speedup_low"], row["verdict"]) == (2.0, 1.9, "faster")
        assert (row["device"], row["threads"], row["memory_format"], row["dtype"]) == (
            "cpu",
            1,
            "contiguous",
            "float32",
        )
    assert result.timed is not None
    assert len(legal) == LEGAL
    assert result.timed.share == f"all {len(legal)} rows of {SIZE} combinations"
    one = replace(result.timed, statuses={"ok": 1}, combinations=1, chosen=1)
    assert one.share == "the 1 row of 1 combination"
    assert sum(result.counts.refused.values()) == SIZE - len(legal)


def test_the_limit_of_a_call_grows_with_the_budget(machine: Machine) -> None:
    grid = {"axes": {"c": [8], "o": [8], "k": [3]}, "blocks": ["pointwise"]}
    timed(16, grid=grid)
    assert machine.max_call_s == workflow.MAX_ROW_S  # a share of 8 s has room for 16 calls of half a second
    timed(320, grid=grid)
    assert machine.max_call_s == pytest.approx(320 / 2 / 16)


def test_a_sample_says_its_share_and_a_longer_one_begins_with_it(machine: Machine) -> None:
    short, longer = timed(6), timed(12)
    rows, more = (one.scan().to_table()["index"].to_pylist() for one in (short, longer))
    assert 0 < len(rows) < len(more) < SIZE
    assert set(rows) < set(more)
    percent = f"{100 * len(rows) / LEGAL:.3g}"
    assert f"timed: {len(rows)} of {LEGAL} rows, {percent} %: a space-filling sample" in str(short)
    assert {row["block"] for row in short.rows} == set(GRID["blocks"])
    assert min(seconds for _, seconds in machine.measured) == workflow.MIN_ROW_S
    assert any("raise time_budget" in note for note in short.notes)


def test_a_folder_goes_on_and_the_budget_is_that_of_all_runs(machine: Machine, tmp_path: Path) -> None:
    whole = timed(12).scan().to_table()
    first = timed(6, tmp_path / "out")
    before = len(machine.measured)
    assert timed(6, tmp_path / "out").scan().to_table() == first.scan().to_table()
    assert len(machine.measured) == before  # its budget is spent
    second = timed(12, tmp_path / "out").scan().to_table()
    assert second.select(["index", "macs"]) == whole.select(["index", "macs"])
    assert pq.read_table(tmp_path / "out/measured.parquet").num_rows == second.num_rows


@pytest.mark.parametrize("number", [0, 1, 4])
def test_an_interrupt_keeps_what_is_measured(number: int, machine: Machine, tmp_path: Path) -> None:
    machine.interrupt_at = number
    results = workflow.time_sweep(
        read_configuration(GRID), SweepOptions(tmp_path / "out"), TimingOptions(("cpu",), time_budget=12)
    )
    result = next(results)
    assert (result.row_count > 0) == (number > 0)
    assert not any("time_budget" in note for note in result.notes)
    with pytest.raises(KeyboardInterrupt):
        next(results)
    rows = pq.read_table(tmp_path / "out/measured.parquet").num_rows
    assert (rows > 0) == (number > 0)
    timed(12, tmp_path / "out")
    machine.now = 0
    undisturbed = timed(12).scan().to_table()["index"].to_pylist()
    assert sorted(pq.read_table(tmp_path / "out/measured.parquet")["index"].to_pylist()) == undisturbed


@pytest.mark.parametrize("suffix", [".csv", ".yaml", ".json", ".parquet"])
def test_an_interrupt_before_the_first_row_exports_a_table_without_rows(
    suffix: str, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.interrupt_at = 0
    path, table = tmp_path / "grid.toml", tmp_path / f"table{suffix}"
    path.write_text("blocks = ['pointwise']\n[axes]\nc = [8]\no = [8, 16]\nk = [1]\nh = [7]\n", encoding="utf-8")
    words = ["sweep", str(path), "--time", "--device", "cpu", "--out", str(tmp_path / "out"), "--export", str(table)]
    assert main(words) == 130
    assert "time_s" in str(table.read_bytes()) or suffix in {".yaml", ".json"}
    assert table.stat().st_size > 0
    errors = capsys.readouterr().err
    assert "note: interrupted before the first row was timed; the same command begins again." in errors
    assert "--time-budget" not in errors
    assert main(words) == 0


@pytest.mark.parametrize("options", [{}, {"pareto": ("macs",)}, {"pareto": ("time_s",)}, {"group_by": ("block",)}])
def test_an_interrupt_of_the_prediction_leaves_a_table_without_rows(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(workflow, "predict", interrupted)
        clock = TimingOptions(("cpu",), time_budget=12)
        results = workflow.time_sweep(read_configuration(GRID), SweepOptions(tmp_path / "out", **options), clock)
        assert next(results).row_count == 0
        with pytest.raises(KeyboardInterrupt):
            next(results)
    assert timed(12, tmp_path / "out", **options).row_count > 0


def test_a_budget_in_which_nothing_is_timed_is_refused_and_not_spent(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> None:
        machine.now += 100

    with monkeypatch.context() as patch:
        patch.setattr("convcost.workflows.shape_timing.ShapeTimer.__call__", late)
        with pytest.raises(
            ConvcostError, match=r"^time_budget \(=12\) must have room for a shape, and nothing was tim"
        ):
            timed(12, tmp_path / "out")
    assert timed(12, tmp_path / "out").row_count > 0


def test_an_error_keeps_what_is_measured(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure_in(*given: Any) -> dict[str, Outcome]:
        if len(machine.measured) == 2:
            raise ConvcostError("the cluster has ended")
        return machine.measure_in(*given)

    monkeypatch.setattr("convcost.nn.measure.blocks.measure_in", measure_in)
    with pytest.raises(ConvcostError, match="the cluster has ended"):
        timed(12, tmp_path / "out")
    rows = sum(len(names) - 1 for names, _ in machine.measured)
    assert pq.read_table(tmp_path / "out/measured.parquet").num_rows == rows > 0


def test_rows_are_written_while_others_are_measured(machine: Machine, tmp_path: Path) -> None:
    written = []

    before = machine.measure_in

    def measure_in(*given: Any) -> dict[str, Outcome]:
        path = tmp_path / "out/measured.parquet"
        written.append(pq.read_metadata(path).num_rows if path.exists() else None)
        return before(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convcost.nn.measure.blocks.measure_in", measure_in)
        timed(30, tmp_path / "out")
    assert written[0] is None
    assert written[1]  # the first row is there at once
    assert len(set(written)) > 3


@pytest.mark.parametrize(
    ("clock", "message"),
    [
        ({"threads": 2}, "threads is 1 there, 2 here"),
        ({"memory_format": "channels_last"}, "memory_format is contiguous there, channels_last here"),
        ({"allocator": "default"}, "allocator is pinned there, default here"),
    ],
)
def test_times_of_other_conditions_are_refused(clock: dict[str, Any], message: str, tmp_path: Path) -> None:
    timed(6, tmp_path / "out")
    before = (tmp_path / "out/measured.parquet").read_bytes()
    with pytest.raises(ConvcostError) as caught:
        timed(12, tmp_path / "out", clock=clock)
    assert f"and {message}; give another folder, or remove the file." in str(caught.value)
    assert (tmp_path / "out/measured.parquet").read_bytes() == before


@pytest.mark.parametrize("name", ["torch_version", "cpu", "processors", "convcost_version", "settings"])
def test_times_of_another_machine_or_version_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(6, tmp_path / "out")
    from convcost.nn.measure import session, this_machine

    home, function = (session, "conditions_for") if name in {"torch_version", "cpu"} else (this_machine, "fingerprint")
    before = getattr(home, function)
    monkeypatch.setattr(home, function, lambda given: replace(before(given), **{name: "another"}))
    with pytest.raises(ConvcostError, match=rf"and {name} is .* there, another here; give another folder"):
        timed(12, tmp_path / "out")


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    timed(6, tmp_path / "out")
    with pytest.raises(ConvcostError, match="must hold the same sweep, and blocks is"):
        timed(6, tmp_path / "out", {**GRID, "blocks": ["ghost"]})


def test_predicted_parts_and_measured_rows_share_a_folder(tmp_path: Path) -> None:
    convcost.sweep(GRID, tmp_path / "out")
    timed(6, tmp_path / "out")
    head = json.loads((tmp_path / "out/sweep.json").read_text(encoding="utf-8"))
    assert head["progress"]["rows"] == convcost.sweep(GRID, tmp_path / "out").row_count


def test_what_has_no_time_is_a_row_with_its_status(machine: Machine) -> None:
    machine.outcomes["grouped"] = Outcome("too-slow", "a call takes 9 s")
    machine.outcomes["standard"] = Outcome("out-of-memory", "it needs 2 TB")
    result = timed(6, grid={**GRID, "illegal": "rows", "axes": {**GRID["axes"], "groups": [2, 5]}})
    by_status = {row["status"]: row for row in result.scan().to_table().to_pylist()}
    assert set(by_status) == {"ok", "refused", "too-slow"}
    assert by_status["too-slow"]["time_s"] is by_status["refused"]["time_s"] is None
    assert by_status["too-slow"]["reason"] == "a call takes 9 s"
    assert by_status["refused"]["reason"] == "in_channels must be divisible by groups"
    assert any("without a time: too-slow" in note for note in result.notes)


def test_conditions_on_rows_leave_out_rows_before_they_are_timed() -> None:
    result = timed(1000, grid={**GRID, "where": ["macs < 20_000"]})
    assert 0 < result.row_count < 48
    assert max(result.to_frame()["macs"]) < 20_000
    assert result.counts.excluded + sum(result.counts.refused.values()) + result.row_count == SIZE


@pytest.mark.parametrize("options", [{}, {"pareto": ("macs",)}, {"pareto": ("time_s",)}, {"group_by": ("block",)}])
def test_a_grid_without_rows_has_none_to_time(options: dict[str, Any], machine: Machine, tmp_path: Path) -> None:
    result = timed(6, tmp_path / "out", {**GRID, "where": ["macs < 0"]}, **options)
    assert result.row_count == 0
    assert result.counts.excluded == LEGAL
    assert f"all 0 rows of {SIZE} combinations" in str(result)
    assert machine.measured == []


def test_the_dtype_of_a_row_is_that_of_its_axis(machine: Machine) -> None:
    grid = {"axes": {"c": [8], "o": [8], "k": [3], "dtype": ["float32", "float64"]}, "blocks": ["standard"]}
    rows = timed(100, grid={**grid, "columns": ["block", "macs"]}).scan().to_table().to_pylist()
    assert [row["dtype"] for row in rows] == ["float32", "float64"]
    assert [names for names, _ in machine.measured] == [["standard"], ["standard"]]


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({"pareto": ("time_s", "params")}, ("time_s", "params")),
        ({"top": 3, "sort": "speedup", "group_by": ("block",)}, ("speedup",)),
    ],
)
def test_the_best_of_the_measured_rows(options: dict[str, Any], columns: tuple[str, ...]) -> None:
    result = timed(1000, **options)
    assert f"timed: all {LEGAL} rows of {SIZE} combinations; of these, the " in str(result)
    every, best = timed(1000).to_frame(), result.to_frame()
    assert 0 < len(best) < len(every)
    if "pareto" in options:
        points = list(zip(every["time_s"], every["params"], strict=True))
        front = {
            one
            for one in points
            if not any(other != one and other[0] <= one[0] and other[1] <= one[1] for other in points)
        }
        assert set(zip(best["time_s"], best["params"], strict=True)) == front
    else:
        assert best["block"].value_counts().to_dict() == dict.fromkeys(GRID["blocks"], 3)
    assert set(columns) <= set(best)


@pytest.mark.parametrize(
    "options", [{"pareto": ("macs", "params")}, {"top": 4, "sort": "macs_ratio", "group_by": ("block",)}]
)
def test_the_best_predicted_rows_are_chosen_first_and_only_they_are_timed(
    options: dict[str, Any], machine: Machine, tmp_path: Path
) -> None:
    kept = convcost.sweep(GRID, **options).to_frame()
    result = timed(1000, tmp_path / "out", **options)
    rows = result.to_frame()
    assert rows[list(kept)].equals(kept)
    assert set(rows["status"]) == {"ok"}
    rows_text = "the 1 row" if len(kept) == 1 else f"all {len(kept)} rows"
    assert f"timed: {rows_text} of {SIZE} combinations: the " in str(result)
    assert sum(len(names) - 1 for names, _ in machine.measured) == len(kept)
    assert any("combinations are refused" in note for note in result.notes)


def test_few_of_the_best_predicted_rows_are_a_sample_that_goes_on(machine: Machine, tmp_path: Path) -> None:
    first = timed(3, tmp_path / "out", top=20, sort="macs_ratio")
    assert 0 < first.row_count < 20
    assert f"timed: {first.row_count} of 20 rows, " in str(first)
    done = len(machine.measured)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "predict", None)  # the choice is in the file
        second = timed(1000, tmp_path / "out", top=20, sort="macs_ratio")
    assert second.row_count == 20
    assert len(machine.measured) > done
    with pytest.raises(ConvcostError, match="must hold the same sweep, and kept"):
        timed(1000, tmp_path / "out")


def test_groups_of_measured_rows_have_their_least_and_mean_times() -> None:
    groups, every = timed(1000, group_by=("block",)).to_frame(), timed(1000).to_frame()
    for block, rows in every.groupby("block"):
        one = groups[groups["block"] == block].iloc[0]
        assert (one["rows"], one["time_s_min"]) == (len(rows), rows["time_s"].min())
        assert one["time_s_mean"] == pytest.approx(rows["time_s"].mean())


def test_an_unknown_column_is_refused_before_anything_is_measured(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(ConvcostError, match=r"pareto \(=verdict\) must be a column of numbers; known: .*time_s"):
        timed(6, tmp_path / "out", pareto=("verdict",))
    assert not (tmp_path / "out").exists()
    assert machine.measured == []


def test_a_list_of_devices_is_refused() -> None:
    with pytest.raises(
        ConvcostError, match=r"^device \(=\['cpu'\]\) must be the name of one device; write cpu, or auto"
    ):
        convcost.sweep(GRID, time=True, device=["cpu"])  # type: ignore[call-overload]


def test_the_history_has_each_shape_as_a_run(machine: Machine, tmp_path: Path) -> None:
    timed(6, tmp_path / "out")
    stored = convcost.history(block="depthwise-separable").rows
    assert len(stored) == sum("depthwise-separable" in names for names, _ in machine.measured)
    before = len(convcost.history().rows)
    timed(6, clock={"store": False})
    assert len(convcost.history().rows) == before


def test_the_latency_table_has_the_layers_that_were_timed(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text("blocks = ['pointwise']\n[axes]\nc = [8]\no = [8, 16]\nk = [1]\nh = [7]\n", encoding="utf-8")
    table = tmp_path / "latency.yaml"
    command = ["sweep", str(path), "--time", "--device", "cpu", "--export", str(table), "--no-store"]
    assert main(command) == 0
    entries = yaml.safe_load(table.read_text(encoding="utf-8"))
    assert {key: entry["mean"] for key, entry in entries.items()} == {
        f"Conv_1-input:7x7x8-output:7x7x{out}": pytest.approx(7 * 7 * 8 * out * 1e-6) for out in (8, 16)
    }


def test_the_latency_table_says_which_measured_rows_it_does_not_have() -> None:
    grid = {"axes": {"c": [8], "o": [8, 16], "k": [1, 3], "h": [7]}, "blocks": ["pointwise"]}
    every, best = timed(100, grid=grid), timed(100, grid=grid, top=1, sort="time_s")
    assert every.latency_table().notes == ("the latency table: 2 rows of a layer that is there already left out.",)
    assert best.latency_table().notes == ("the latency table: 3 measured rows not among the best left out.",)
    assert "# 3 measured rows not among the best left out." in best.latency_table().text


def test_a_measured_result_has_its_share_in_every_view() -> None:
    result = timed(6)
    as_json = result.to_dict()
    assert as_json["timed"]["combinations"] == SIZE
    assert as_json["timed"]["conditions"]["threads"] == 1
    assert as_json["rows"][0]["status"] == "ok"
    assert "a space-filling sample" in result._repr_html_()
    assert "a note at" in str(result)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


class Workers:
    """A cluster of one worker, to which everything goes as bytes."""

    def each(self, function: Any, items: Any, resources: dict[str, int]) -> Iterator[tuple[Any, Any]]:
        assert resources == {DEVICE: 1}
        for item in items:
            yield item, pickled(pickled(function)(item))


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def connected(workers: int | None, scheduler: str | None) -> Iterator[Workers]:
        assert (workers, scheduler) == (2, None)
        yield Workers()

    monkeypatch.setattr("convcost.workflows.sweep_cluster.connected", connected)


@pytest.mark.usefixtures("workers")
def test_a_cluster_times_the_rows_that_one_process_does(machine: Machine, tmp_path: Path) -> None:
    alone = timed(12, clock={"store": False})
    measured, machine.measured, machine.now = machine.measured, [], 0.0
    together = timed(12, tmp_path / "out", workers=2)
    assert machine.measured == measured
    assert together.scan().to_table() == alone.scan().to_table()
    views = [one.to_dict()["timed"] for one in (together, alone)]
    assert {**views[0], "notes": []} == {**views[1], "notes": []}  # each task looks at its machine
    assert len(convcost.history(block="standard").rows) == len(measured)  # the history is the one of this process


@pytest.mark.usefixtures("workers")
def test_workers_on_other_machines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from convcost.nn.measure import this_machine

    cores, before = iter([4, 4, 8]), this_machine.fingerprint
    monkeypatch.setattr(this_machine, "fingerprint", lambda given: replace(before(given), processors=next(cores)))
    with pytest.raises(ConvcostError, match="workers with a device must be alike, and processors is 4 there, 8 here; "):
        timed(12, workers=2)


@pytest.mark.slow
@pytest.mark.timing
def test_real_workers_time_real_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the made machine
    pytest.importorskip("distributed", reason="needs convcost[cluster]")
    grid = {"axes": {"c": [8, 16], "o": [8], "k": [3], "h": [14]}, "blocks": ["standard", "pointwise"]}
    result = convcost.sweep(grid, tmp_path, time=True, device="cpu", time_budget=60, store=False, workers=2)
    rows = result.to_frame()
    assert list(rows["status"]) == ["ok"] * 4
    assert pq.read_table(tmp_path / "measured.parquet").num_rows == 4
