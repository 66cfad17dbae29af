"""The figure of the memory along a forward pass: every call, or steps of several, with the peak named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from convcost.models.call import Call
from convcost.models.memory_figure import MAX_STEPS, memory_figures
from convcost.models.peak import Kept, Peak
from convcost.models.report import ModelReport, Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.text.figure import Figure

pytest.importorskip("altair")
PEAK = Peak("b", 3000, 1000, 500, 300, (Kept("a", 700), Kept("(input)", 400), Kept("z", 100)))


def calls(sizes: Sequence[int | None]) -> list[Call]:
    return [
        Call(f"layer{number}", "Conv2d", (1,), (1,), 1, 1, 1, alive_bytes=size) for number, size in enumerate(sizes, 1)
    ]


def layers_of(sizes: Sequence[int | None], peak: Peak | None = None) -> tuple[str, list[list[dict[str, Any]]]]:
    """The sentence, and the rows of each layer of the chart."""
    (figure,) = memory_figures(calls(sizes), peak)
    return figure.sentence, rows_of(figure)


def rows_of(figure: Figure) -> list[list[dict[str, Any]]]:
    spec = figure.chart.to_dict()
    return [spec["datasets"][layer["data"]["name"]] for layer in spec["layer"]]


def test_each_call_is_a_step_as_wide_as_its_place_and_as_high_as_its_memory() -> None:
    sentence, (area, *_, columns) = layers_of([100, 300, 200])
    assert [(one["from"], one["bytes"]) for one in area] == [(0.5, 100), (1.5, 300), (2.5, 200), (3.5, 200)]
    assert [(one["name"], one["call"], one["from"], one["to"], one["alive"]) for one in columns] == [
        ("layer1", "1", 0.5, 1.5, "100 B"),
        ("layer2", "2", 1.5, 2.5, "300 B"),
        ("layer3", "3", 2.5, 3.5, "200 B"),
    ]
    assert sentence == "How much memory do activations take along the forward pass? At most 300 B."


def test_the_peak_has_its_name_in_the_figure_and_its_parts_in_the_sentence() -> None:
    sentence, (_, point, label, _) = layers_of([100, 3000, 200], PEAK)
    assert [(one["from"], one["bytes"], one["label"]) for one in (*point, *label)] == [
        (2.0, 3000, "layer2: 3.00 kB")
    ] * 2
    assert sentence.endswith(
        " At most 3.00 kB, at b: input 1.00 kB, output 500 B, inside 300 B, "
        "also alive 1.20 kB (700 B of a, 400 B of the model's input and 1 other)."
    )


@pytest.mark.parametrize("count", [MAX_STEPS, MAX_STEPS + 1, 1000, 10_000])
def test_many_calls_share_steps_that_keep_the_peak_and_the_sentence_says_so(count: int) -> None:
    sizes = [1] * count
    sizes[count // 2] = 10**6
    sentence, (area, point, _, columns) = layers_of(sizes)
    wide = {MAX_STEPS: 1, MAX_STEPS + 1: 2, 1000: 2, 10_000: 16}[count]
    assert len(columns) == -(-count // wide) == len(area) - 1
    assert (point[0]["name"], columns[-1]["to"]) == (f"layer{count // 2 + 1}", count + 0.5)
    assert sum(one["bytes"] == 10**6 for one in columns) == 1
    said = f" The {count} calls are in steps of {wide}, each as high as its highest."
    assert sentence.endswith(said) == (wide > 1)


@pytest.mark.parametrize("sizes", [[], [None, None], [0, 0]])
def test_without_memory_there_is_no_figure(sizes: list[int | None]) -> None:
    assert memory_figures(calls(sizes), None) == ()


def test_one_call_and_one_without_a_size_are_drawn() -> None:
    _, (area, *_, columns) = layers_of([8, None])
    assert ([one["name"] for one in columns], len(area)) == (["layer1"], 2)


def test_a_long_name_is_cut_in_the_sentence_and_on_one_line() -> None:
    long = "first\n" + "x" * 1000 + "last"
    (figure,) = memory_figures([replace(calls([8])[0], name=long)], Peak(long, 8, 8, 0, 0, (Kept(long, 8),)))
    assert "\n" not in figure.sentence
    assert len(figure.sentence) < 300
    assert "xlast: input 8 B" in figure.sentence
    assert "first" in figure.sentence


def test_the_figure_follows_the_forward_pass_however_the_table_is_arranged() -> None:
    layers = tuple(replace(call, macs=macs) for call, macs in zip(calls([5, 7, 6]), (1, 2, 3), strict=True))
    report = ModelReport("m", (), {}, Totals(3, 3, 6, 0, 0, 7), layers, {})
    _, memory, *_ = report.arranged(sort="macs", top=1).figures
    assert [one["name"] for one in rows_of(memory)[-1]] == ["layer1", "layer2", "layer3"]


def test_a_module_that_is_added_up_has_the_most_of_its_calls() -> None:
    layers = tuple(
        replace(call, name=f"{'ab'[number // 2]}.{number}") for number, call in enumerate(calls([5, 7, 6, None]))
    )
    report = ModelReport("m", (), {}, Totals(3, 3, 6, 0, 0, 7), layers, {})
    assert [row.alive_bytes for row in report.arranged(depth=1).rows] == [7, 6]
    assert report.totals_row is not None
    assert report.totals_row.alive_bytes == 7
