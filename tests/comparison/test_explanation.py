from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import convcost
from convcost.comparison.explanation import explain_row
from convcost.convolution.blocks import BLOCKS, DEFAULT_BLOCKS

if TYPE_CHECKING:
    from convcost.comparison.explanation import Explanation

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"in_channels": 8, "out_channels": 16, "kernel_size": 3, "height": 12},
    "strided and not square": {
        "in_channels": 8,
        "out_channels": 24,
        "kernel_size": (3, 5),
        "height": 13,
        "width": 20,
        "stride": (2, 1),
        "batch": 4,
    },
    "without padding": {"in_channels": 8, "out_channels": 8, "kernel_size": 5, "height": 16, "padding": "valid"},
    "odd channels": {"in_channels": 3, "out_channels": 6, "kernel_size": 3, "height": 9, "depth_multiplier": 2},
}


def evaluate(text: str, values: dict[str, int]) -> float:
    """The formula text as arithmetic that shares nothing with the package."""
    for digit, plain in zip("²³⁴", "234", strict=True):
        text = text.replace(digit, f"**{plain}")
    text = text.replace("×", "*").replace("·", "*")
    return float(eval(text, {"__builtins__": {}}, values))  # noqa: S307 - our own text


def explained(shape: str, block: str) -> Explanation:
    options = dict[str, Any](SHAPES[shape])
    comparison = convcost.compare(**options, blocks=[block], count=False, time=False)
    return explain_row(comparison.rows[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", BLOCKS)
def test_every_text_evaluates_to_its_number(shape: str, block: str) -> None:
    try:
        explanation = explained(shape, block)
    except convcost.ConvcostError as error:
        pytest.skip(f"the shape does not allow it: {error}")
    values = dict(explanation.values)
    for stage in explanation.stages:
        assert evaluate(stage.numbers, {}) == stage.macs
        assert evaluate(stage.symbols, values) == stage.macs
    assert sum(stage.macs for stage in explanation.stages) == explanation.macs
    assert sum(stage.params for stage in explanation.stages) == explanation.params
    assert explanation.ratio is not None
    assert explanation.ratio_symbols is not None
    assert explanation.ratio_numbers is not None
    assert evaluate(explanation.ratio_symbols, values) == pytest.approx(explanation.ratio)
    assert evaluate(explanation.ratio_numbers, {}) == pytest.approx(explanation.ratio)


def test_the_ratio_of_depthwise_separable_is_the_one_of_the_textbooks() -> None:
    explanation = convcost.explain("depthwise-separable", 3, 64, 3)
    assert explanation.ratio_symbols == "m·(1/O + 1/K²)"
    assert explanation.ratio_numbers == "1·(1/64 + 1/3²)"
    assert explanation.ratio == (64 + 9) / (64 * 9)


def test_a_rectangular_kernel_has_two_symbols() -> None:
    assert convcost.explain("depthwise-separable", 3, 64, (3, 5)).ratio_symbols == "m·(1/O + 1/(K_h·K_w))"


def test_the_text_names_every_symbol_that_it_uses() -> None:
    for block in DEFAULT_BLOCKS:
        explanation = convcost.explain(block, 8, 16, 3)
        text = " ".join([*(stage.symbols for stage in explanation.stages), explanation.ratio_symbols or ""])
        assert set(re.findall(r"[A-Za-z_]+", text)) <= set(explanation.values)


def test_a_baseline_of_several_stages_is_a_quotient_of_sums() -> None:
    explanation = convcost.explain("standard", 3, 64, 3, baseline="depthwise-separable")
    assert explanation.ratio == (64 * 9) / (64 + 9)
    assert explanation.ratio_symbols is not None
    assert evaluate(explanation.ratio_symbols, dict(explanation.values)) == pytest.approx(explanation.ratio)


def test_the_json_object_has_the_promised_fields() -> None:
    payload = convcost.explain("depthwise-separable", 3, 64, 3).to_dict()
    assert payload["schema"] == "convcost.explain/1"
    assert payload["macs"] == 224 * 224 * 3 * (64 + 9)
    assert payload["params"] == 3 * 9 + 3 * 64
    assert [stage["name"] for stage in payload["stages"]] == ["depthwise", "pointwise"]
    assert payload["stages"][1]["macs"] == 224 * 224 * 3 * 64
    assert set(payload["stages"][0]) >= {"name", "symbols", "numbers", "macs", "params"}
