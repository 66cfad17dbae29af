"""The numbers in the figures are those of the rows."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from made_machine import machine
from made_results import ACCOUNT, BOUND, TIMING, check, comparison, history, kernels, model, models, replaced

import convcost
from convcost.budgets.limits import Limit
from convcost.budgets.verdict import Reading, judge
from convcost.changes.diff import compare_models
from convcost.changes.pareto import Limits, Option, trade_off
from convcost.models.sweep import Sweep, Variant
from convcost.text.figure import (
    MAX_BARS,
    MAX_LABEL,
    MAX_POINTS,
    Choice,
    Figure,
    Quantity,
    distinct,
    front,
    largest,
    panels,
    shortened,
)
from convcost.timing.figures import MACS, TIME, TRAFFIC, accounts, promise
from convcost.timing.roofline_figure import Point, speeds
from convcost.workflows.kernel import separate_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.text.result import Result

pytest.importorskip("altair")


def values(figure: Figure, field: str = "name") -> list[dict[str, Any]]:
    """The data of a figure that have this field."""
    sets: list[list[dict[str, Any]]] = list(figure.chart.to_dict()["datasets"].values())
    return next(rows for rows in sets if field in rows[0])


def test_the_promise_has_the_mac_ratio_and_the_speedup_with_its_interval() -> None:
    figure = promise([("block", 8.0, TIMING), ("untimed", 2.0, None)], "Against standard")
    (point,) = values(figure)
    assert (point["macs"], point["speed"], point["low"], point["high"]) == (8.0, 1.25, 1.125, 1.5)
    assert {one["x"] for one in values(figure, "x") if "name" not in one} == {1 / 1.2, 8 * 1.2}


def test_the_promise_of_a_change_has_the_whole_model() -> None:
    before = replace(model(), conditions={"device": "meta", "torch_version": "2.13.0"})
    after = replace(before, totals=replace(before.totals, macs=13824 // 2), layers=before.layers[1:])
    (point,) = values(compare_models(before, after).figures[1], "macs")
    assert (point["name"], point["macs"], point["speed"]) == ("the whole model", 2.0, 1.25)
    assert "the whole model" in {one["name"] for one in values(replaced().figures[1], "macs")}


def test_a_speed_up_that_is_not_decided_is_a_hollow_point() -> None:
    doubted = replace(TIMING, doubts=("only 1 undisturbed block",), speedup_low=None, speedup_high=None)
    figure = promise([("a", 8.0, replace(TIMING, warnings=())), ("b", 8.0, doubted)], "Against standard")
    assert {one["name"]: one["decided"] for one in values(figure, "macs")} == {"a": True, "b": False}
    assert figure.sentence.endswith("Against standard. Bars are 5–95 % intervals. Hollow points are not decided.")
    assert promise([("b", 8.0, doubted)], "Against a").sentence.endswith("Against a. Hollow points are not decided.")


def test_a_promise_without_any_speed_up_says_what_it_needs() -> None:
    assert promise([("a", 2.0, None)], "").sentence.endswith("This needs times, which were not measured.")
    alone = replace(TIMING, speedup=None, speedup_low=None, speedup_high=None)
    assert promise([("a", 2.0, alone)], "").sentence.endswith("a speed-up and fewer MACs, which no row has.")


def test_a_promise_of_many_rows_has_those_that_are_farthest_from_the_line() -> None:
    rows = [(f"n{index}", 2.0 + index, replace(TIMING, speedup=2.0)) for index in range(MAX_POINTS + 1)]
    figure = promise(rows, "Against standard")
    assert {one["name"] for one in values(figure, "macs")} == {f"n{index}" for index in range(1, MAX_POINTS + 1)}
    assert figure.sentence.endswith("The 300 of 301 with the largest distances from the line; the table has all.")


def test_the_account_has_a_bar_for_each_part() -> None:
    (figure,) = accounts([("a", ACCOUNT), ("b", None)])
    assert [(one["part"], one["seconds"]) for one in values(figure)] == [("convolution", 1.5e-3), ("unexplained", 5e-4)]
    assert accounts([("b", None)]) == ()


def test_a_speed_is_flops_by_time_and_its_roof_flops_by_bound() -> None:
    (figure,) = speeds([Point("a", 4.0, 2_000_000, 2e-3, BOUND)])
    (point,) = values(figure, "roof")
    assert (point["intensity"], point["speed"], point["roof"]) == (4.0, 1e9, 2e9)
    (bare,) = speeds([Point("a", 4.0, 2_000_000, 2e-3, None)])
    assert "run convcost calibrate" in bare.sentence


def test_the_roofs_are_lines_up_to_the_peak_with_their_names_and_figures() -> None:
    (figure,) = speeds([Point("a", 4.0, 2_000_000, 2e-3, BOUND)])
    lines = {one["name"]: one for one in values(figure, "x2")}
    assert list(lines) == ["float32 100 GFLOP/s", "L1 100 GB/s", "L2 10.0 GB/s", "memory 1.00 GB/s"]
    assert [(one["x2"], one["y2"]) for one in lines.values()][1:] == [(1.0, 1e11), (10.0, 1e11), (100.0, 1e11)]
    for name, byte_per_s in (("L1 100 GB/s", 1e11), ("L2 10.0 GB/s", 1e10), ("memory 1.00 GB/s", 1e9)):
        assert lines[name]["y"] == pytest.approx(lines[name]["x"] * byte_per_s)
    assert "at most 100 GFLOP/s; L1 100 GB/s, L2 10.0 GB/s, memory 1.00 GB/s." in figure.sentence


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0, 5e-324, 1e308])
def test_a_number_that_no_axis_has_is_left_out(value: float) -> None:
    good = Point("a", 4.0, 2_000_000, 2e-3, BOUND)
    (figure,) = speeds([good, Point("b", 4.0, 2_000_000, value, BOUND), Point("c", value, 2_000_000, 2e-3, BOUND)])
    assert [one["name"] for one in values(figure, "speed")] == ["a"]
    (unbounded,) = speeds([Point("a", 4.0, 2_000_000, 2e-3, replace(BOUND, seconds=value))])
    assert [one["roof"] for one in values(unbounded, "roof")] == [None]
    odd = replace(TIMING, speedup_low=value, speedup_high=value)
    rows = [("a", 8.0, odd), ("b", 8.0, replace(TIMING, speedup=value)), ("c", value, TIMING)]
    assert [one["name"] for one in values(promise(rows, ""), "macs")] == ["a"]
    first = history().rows[0]
    wrong = replace(first, entry=replace(first.entry, timing=replace(TIMING, time_s=value)))
    assert replace(history(), rows=(wrong, wrong)).figures[0].chart is None


def test_each_dtype_has_a_roofline_of_its_own() -> None:
    narrow = replace(BOUND, roofs=machine(dtypes=("float16",)).roofs("float16", 1))
    figures = speeds([Point("a", 4.0, 2, 2e-3, BOUND), Point("b", 4.0, 2, 2e-3, narrow), Point("c", 4.0, 2, 1.0, None)])
    assert [one.sentence.count("float16") for one in figures] == [0, 1, 0]
    assert [values(one, "FLOP/s")[0]["name"] for one in figures] == ["a", "b", "c"]


def test_the_layers_before_and_after_stand_under_the_same_roofs() -> None:
    before = replace(model(), conditions={"device": "meta", "torch_version": "2.13.0"})
    wider = replace(before.layers[0], macs=2 * 13824, output_shape=(1, 16, 8, 8), time_s=4e-3)
    after = replace(before, layers=(wider, before.layers[1]))
    (figure,) = compare_models(before, after).figures[2:]
    assert [(one["name"], one["label"], one["speed"]) for one in values(figure, "side")] == [
        ("stem", "stem after", 2 * 2 * 13824 / 4e-3),
        ("stem", "stem before", 2 * 13824 / 2e-3),
    ]
    timed, block = replaced().figures[2], replaced().layers[0].replacement
    assert block is not None
    speed = {one["side"]: one["speed"] for one in values(timed, "side")}
    assert speed == {"before": 2 * 13824 / 2e-3, "after": block.placed.cost.flops / 2e-3}
    assert "memory 1.00 GB/s" in timed.sentence


def test_a_layer_before_and_after_has_a_bar_each() -> None:
    before = replace(model(), conditions={"device": "meta", "torch_version": "2.13.0"})
    wider = replace(before.layers[0], macs=2 * 13824, output_shape=(1, 16, 8, 8))
    after = replace(before, layers=(wider, before.layers[1]))
    bars = values(compare_models(before, after).figures[0])
    assert [(one["name"], one["side"], one["q1"]) for one in bars[:2]] == [
        ("stem", "before", 13824),
        ("stem", "after", 27648),
    ]
    assert compare_models(before, before).figures == (Figure("No layer differs, so there is nothing to draw."),)


def test_the_front_of_a_replacement_has_its_sets() -> None:
    options = [Option(None, 216, 13824, 2e-3), Option("ghost", 100, 7000, 1e-3)]
    trade = trade_off({"stem": options}, Option(None, 0, 0, 1e-3), Limits())
    figure = replace(replaced(), trade_off=trade).figures[-1]
    assert [(one["x"], one["y"]) for one in values(figure)] == [(7000.0, 2e-3)]


def test_a_limit_is_used_by_value_and_by_growth() -> None:
    bars = {str(one["name"]): one for one in values(check().figures[0])}
    macs = bars["net: macs"]
    assert (macs["share"], macs["limit"], macs["verdict"]) == (10 / 9, "max 9", "fail")
    latency = bars["net: latency"]
    assert latency["share"] == pytest.approx(0.04 * 1.25 / (0.04 + 0.001))


def test_a_verdict_stands_beyond_the_limit_that_it_would_lie_on() -> None:
    budget = check().budgets[0]
    judged = tuple(
        judge(Limit("macs", max=Decimal(100)), Reading(value, baseline=value)) for value in (50, 95, 100, 120)
    )
    figure = replace(check(), source="missing.toml", budgets=(replace(budget, judged=judged),)).figures[0]
    words = {one["share"]: one["word"] for one in values(figure)}
    assert words == {1.2: 1.2, 1.0: 1.0, 0.95: 1, 0.5: 0.5}


def test_a_kernel_is_drawn_with_its_column_and_row() -> None:
    images = list(kernels().figures[0].chart.to_dict()["datasets"].values())
    assert [[one["value"] for one in image] for image in images[1:3]] == [[1, 2, 1], [-1, 0, 1]]


def test_a_number_that_a_cell_of_a_kernel_has_no_room_for_is_rounded_and_its_heading_has_size_and_rank() -> None:
    named = dict.fromkeys(("size", "sigma", "theta", "wavelength", "gamma"))
    (figure,) = separate_kernels(["1234567890 2; 1 12345678901234"], named, None, (3, 16, 16)).figures
    (images,) = figure.chart.to_dict()["vconcat"]
    assert images["hconcat"][0]["title"] == "12345678… 12345678901234, 2x2, rank 2"
    cells = values(figure, "cell")
    assert [one["cell"] for one in cells] == ["1.2e+09", "2", "1", "1.235e+13"]
    assert [one["entry"] for one in cells] == ["1234567890", "2", "1", "1.235e+13"]


def test_a_cell_of_a_kernel_is_as_wide_as_its_number() -> None:
    named = dict.fromkeys(("size", "sigma", "theta", "wavelength", "gamma"))
    chart = separate_kernels(["gaussian", "sobel"], named, None, (3, 16, 16)).figures[0].chart.to_dict()
    gaussian, sobel = (images["hconcat"][0] for images in chart["vconcat"])
    assert gaussian["width"] / 5 == 7 * len("0.005008")
    assert sobel["width"] == sobel["height"]


def test_the_history_has_a_point_for_each_run() -> None:
    assert [one["time_s"] for one in values(history().figures[0])] == [2e-3, 2e-3]


def test_runs_of_other_layers_and_conditions_are_other_lines() -> None:
    first = history().rows[0]
    rows = []
    for shape, threads in (((1, 3, 8, 8), 1), ((1, 3, 16, 16), 1), ((1, 3, 16, 16), 2)):
        conditions = replace(first.session.conditions, threads=threads)
        entry = replace(first.entry, name="a", layer=str(shape), input_shape=shape)
        rows += 2 * [replace(first, session=replace(first.session, conditions=conditions, target=None), entry=entry)]
    names = [one["name"] for one in values(replace(history(), rows=tuple(rows)).figures[0])]
    assert list(dict.fromkeys(names)) == ["a, 1x3x8x8, 1 thread", "a, 1x3x16x16, 1 thread", "a, 1x3x16x16, 2 threads"]


def test_the_runs_and_lines_that_a_history_leaves_out_are_counted() -> None:
    first = history().rows[0]
    entries = [replace(first.entry, name=f"layer{number}") for number in range(10)]
    days = [f"2026-01-{day:02}T12:00:00Z" for day in range(1, 32)]
    rows = [
        replace(first, session=replace(first.session, measured_at=day), entry=entry)
        for number, entry in enumerate(entries)
        for day in (days * 2 if number < 8 else days[:2] if number == 8 else days[:1])
    ]
    (figure,) = replace(history(), rows=tuple(rows)).figures
    assert figure.sentence.endswith(
        " The 8 of 9 with the most runs; the table has all. Of their 496 runs the newest 300 are drawn."  # 8·2·31
    )
    assert {one["date"] for one in values(figure)} == set(days[12:])  # 300 = 18·16 + 12


def test_a_layer_that_was_timed_once_has_no_line() -> None:
    once = replace(history(), rows=history().rows[:1])
    assert once.figures[0].chart is None
    assert once.figures[0].sentence.endswith("needs two runs of a layer under the same conditions, and each has one.")


def test_a_sweep_marks_what_no_other_configuration_beats() -> None:
    sizes = [(100, 10), (90, 20), (120, 15)]
    rows = [
        Variant({"width": i}, replace(model(), totals=replace(model().totals, macs=macs, params=params)))
        for i, (macs, params) in enumerate(sizes)
    ]
    points = values(Sweep("f", (*rows, Variant({"width": 3}, None, "no")), 4).figures[0])
    assert {one["name"]: one["best"] for one in points} == {"width=0": True, "width=1": True, "width=2": False}


def test_a_figure_of_many_rows_has_the_largest_in_their_order() -> None:
    assert largest([3, 1, 2], 2) == [0, 2]
    report = model()
    many = replace(
        report, layers=tuple(replace(report.layers[0], name=f"n{i}", time_s=1e-3 * (i + 1)) for i in range(99))
    )
    figure = many.figures[0]
    assert [one["name"] for one in values(figure)] == [f"n{i}" for i in range(99 - MAX_BARS, 99)]
    assert figure.sentence.endswith("The 60 of 99 with the longest times; the table has all.")


def test_names_that_come_twice_stay_two_rows() -> None:
    assert distinct(["a", "a", "b"]) == ["a", "a (2)", "b"]
    count = Quantity("MACs", str)
    chart = panels(["a", "a"], {count: [{"": 1}, {"": 2}]}, "layer")
    assert [one["name"] for one in values(Figure("", chart))] == ["a", "a (2)"]


def test_points_of_equal_costs_are_on_the_front_once() -> None:
    count = Quantity("MACs", str)
    figure = front("Which?", [Choice("a", 1, 1, "kind"), Choice("b", 1, 1, "other")], (count, count), 2)
    assert [(one["best"], one["equal"]) for one in values(figure)] == [(True, 1), (False, 1)]
    assert figure.sentence == "Which? 1 more equals one of them."
    assert "color" not in figure.chart.to_dict()["layer"][-1]["encoding"]  # no point of the other kind is seen


def test_a_front_that_leaves_out_points_says_so() -> None:
    count = Quantity("MACs", str)
    figure = front("Which?", [Choice("a", 1, 1), *[Choice("b", 2, 2)] * MAX_POINTS], (count, count), MAX_POINTS + 1)
    assert figure.sentence == "Which? The 300 of 301 with those on the line and some of the others; the table has all."


@pytest.mark.parametrize("make", [comparison, model, models, replaced, check, kernels])
def test_the_figure_of_a_result_is_its_first_chart_and_can_be_changed(make: Callable[[], Result[Any]]) -> None:
    assert make().figure().properties(title="mine").to_dict()["title"] == "mine"


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["short", "a.backbone.conv1", "a.backbone.conv2"], ["short", "a.b….conv1", "a.b….conv2"]),
        (["first.backbone.conv", "second.backbone.conv"], ["fir…e.conv", "sec…e.conv"]),
        (["abcd.1.block.conv", "abcd.2.block.conv"], ["abcd.1.bl…", "abcd.2.bl…"]),
        (["abcdefghijkl.1.long.block", "abcdefghijkl.2.long.block"], ["…1.long.b…", "…2.long.b…"]),
        (["a" * 12, "a" * 13], ["aaa…aaaaaa", "aaa…aaaaaa (2)"]),
        ([], []),
    ],
    ids=["end", "start", "early", "middle", "no place", "none"],
)
def test_long_names_are_cut_where_they_stay_different(names: list[str], labels: list[str]) -> None:
    assert shortened(names, 10) == labels


def test_a_number_that_a_name_gets_is_no_other_name() -> None:
    assert distinct(["a (2)", "a", "a"]) == ["a (2)", "a", "a (3)"]


def test_layers_with_the_same_start_have_different_labels_in_every_figure() -> None:
    names = [f"{'encoder.' * 9}conv{number}" for number in range(3)]
    bars = panels(names, {MACS: [{"": 1}] * 3}, "layer")
    for figure in (Figure("", bars), *accounts([(name, ACCOUNT) for name in names])):
        assert {one["name"] for one in values(figure)} == set(names)
        labels = {one["label"] for one in values(figure)}
        assert len(labels) == 3
        assert max(map(len, labels)) <= MAX_LABEL
    (roofline,) = speeds([Point(name, 4.0**place, 2_000_000, 2e-3, BOUND) for place, name in enumerate(names)])
    beside = {one["name"][-5:] for one in values(roofline, "align")}
    assert beside == {"conv0", "conv1", "conv2"}


def test_a_question_about_times_says_that_none_was_measured() -> None:
    result = convcost.compare(3, 64, 3, count=False, time=False)
    assert result.figures[1].sentence == (
        "Which block costs the fewest parameters, MACs, traffic and time? No time was measured."
    )


@pytest.mark.parametrize(
    ("quantity", "tick", "label"),
    [
        (MACS, 0, "0"),
        (MACS, 0.5, ""),
        (MACS, 1500, "1.5k"),
        (TRAFFIC, 0.5, ""),
        (TRAFFIC, 2_000_000, "2MB"),
        (TIME, 0.0005, "500µs"),
        (Quantity("MACs fewer", str, is_whole=False), 0.5, "0.5"),
    ],
)
def test_an_axis_of_counts_has_whole_numbers_and_only_times_have_small_units(
    quantity: Quantity, tick: float, label: str
) -> None:
    import altair as alt
    import vl_convert

    x = alt.X("x:Q", title=None, axis=alt.Axis(labelExpr=quantity.labels, values=[tick]))
    chart = alt.Chart(alt.InlineData(values=[{"x": max(1, tick)}])).mark_bar().encode(x)
    assert re.findall(r"<text[^>]*>([^<]+)</text>", vl_convert.vegalite_to_svg(chart.to_dict())) == [label] * bool(
        label
    )
