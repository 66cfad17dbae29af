from __future__ import annotations

import json
import re
import shutil
import subprocess
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import convcost
from convcost.comparison.explanation import explain_row
from convcost.convolution.blocks import BLOCKS, DEFAULT_BLOCKS

if TYPE_CHECKING:
    from pathlib import Path

    from convcost.comparison.explanation import Explanation
    from convcost.comparison.symbolic_block import Formula

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


def evaluate(text: str, values: dict[str, int]) -> Fraction:
    """The formula text as exact arithmetic that shares nothing with the package."""
    for digit, plain in zip("²³⁴", "234", strict=True):
        text = text.replace(digit, f"**{plain}")
    signs: dict[str, str | int | None] = {"×": "*", "·": "*", "\N{MINUS SIGN}": "-", "⌊": "floor(", "⌋": ")"}
    text = re.sub(r"(?<![\w*])\d+", r"Fraction(\g<0>)", text).translate(str.maketrans(signs))
    known = {name: Fraction(value) for name, value in values.items()}
    return Fraction(eval(text, {"__builtins__": {}, "Fraction": Fraction, "floor": floor}, known))  # noqa: S307 - our own text


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


SIZES = st.integers(1, 12)
SHAPES_OF_ALL_KINDS = st.fixed_dictionaries(
    {
        "in_channels": SIZES,
        "out_channels": SIZES,
        "kernel_size": st.tuples(st.integers(1, 4), st.integers(1, 4)) | st.integers(1, 4),
        "height": SIZES,
        "width": SIZES,
        "batch": st.integers(1, 3),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "dilation": st.integers(1, 2),
        "padding": st.sampled_from(["same", "valid", 1, 2]),
        "bias": st.booleans(),
    },
    optional={
        "depth_multiplier": st.integers(1, 3),
        "groups": st.integers(1, 3),
        "expansion": st.integers(1, 3),
        "mid_channels": SIZES,
        "rank": SIZES,
        "ghost_ratio": st.integers(2, 4),
        "partial": st.fractions(Fraction(1, 4), 1, max_denominator=6),
    },
)


@given(st.sampled_from(list(BLOCKS)), st.sampled_from(list(BLOCKS)), SHAPES_OF_ALL_KINDS)
def test_each_total_and_output_size_evaluates_to_its_number(block: str, baseline: str, shape: dict[str, Any]) -> None:
    try:
        explanation = convcost.explain(block, **shape, baseline=baseline)
    except convcost.ConvcostError:
        assume(False)
    (row,) = convcost.compare(**shape, blocks=block, baseline=baseline, count=False, time=False).rows
    values, total = dict(explanation.values), explanation.total

    def check(formula: Formula, value: int) -> None:
        assert formula.value == evaluate(formula.numbers, {}) == evaluate(formula.symbols, values) == value

    costs = [(total, row.placed.cost)]
    if explanation.baseline_total is not None and row.baseline is not None:
        costs.append((explanation.baseline_total, row.baseline.cost))
        ratio = Fraction(row.placed.cost.macs, row.baseline.cost.macs)
        assert evaluate(str(explanation.ratio_numbers), {}) == ratio
        assert evaluate(str(explanation.ratio_symbols), values) == ratio
    for formulas, cost in costs:
        check(formulas.macs, cost.macs)
        check(formulas.params, cost.params)
        check(formulas.flops, 2 * cost.macs)
    for stage, layer in zip(explanation.stages, (one for one in row.placed.layers if one.name != "add"), strict=True):
        assert evaluate(stage.symbols, values) == evaluate(stage.numbers, {}) == stage.macs
        assert evaluate(stage.params_symbols, values) == evaluate(stage.params_numbers, {}) == stage.params
        for name, size in stage.sizes.items():
            axis = "HW".index(name.partition("_")[0][-1])
            assert size.value == values[name] == evaluate(size.numbers, {}) == layer.output.spatial[axis]


@pytest.mark.parametrize(
    ("block", "macs", "params"),
    [
        ("standard", "N·H·W·C·O·K²", "C·O·K²"),
        ("depthwise", "N·H·W·C·m·K²", "C·m·K²"),
        ("pointwise", "N·H·W·C·O", "C·O"),
        ("depthwise-separable", "N·H·W·C·m·(K² + O)", "C·m·(K² + O)"),
        ("shared-kernel", "N·H·W·C·m·K²", "m·K²"),
        ("spatially-separable", "N·H·W·M·K·(C + O)", "M·K·(C + O)"),
        ("inverted-residual", "N·H·W·C·t·(C + m·(K² + O))", "C·t·(C + m·(K² + O))"),
        ("ghost", "N·H·W·O·K²/s·(C + 1)", "O·K²/s·(C + 1)"),
    ],
)
def test_the_total_has_the_form_of_the_papers(block: str, macs: str, params: str) -> None:
    total = convcost.explain(block, 4, 8, 3).to_dict()["total"]
    assert (total["macs_symbols"], total["params_symbols"], total["flops_symbols"]) == (macs, params, f"2·{macs}")


def test_the_text_has_the_total_beside_the_baseline() -> None:
    text = str(convcost.explain("depthwise-separable", 3, 64, 3))
    assert "total MACs = N·H·W·C·m·(K² + O) = 1·224·224·3·1·(3² + 64) = 10,988,544\n" in text
    assert "against standard = N·H·W·C·O·K² = 1·224·224·3·64·3² = 86,704,128\n" in text
    assert "total parameters = C·m·(K² + O) = 3·1·(3² + 64) = 219\n" in text
    assert (
        "total FLOPs (2 per MAC, N samples) = 2·N·H·W·C·m·(K² + O) = 2·1·224·224·3·1·(3² + 64) = 21,977,088\n" in text
    )


def test_the_text_says_what_each_symbol_stands_for() -> None:
    text = str(convcost.explain("inverted-residual", 3, 64, (3, 5), stride=2))
    assert "  where N: samples; H, W: input size; OH, OW: output size; C: input channels; " in text
    assert (
        "t: expansion; m: depth multiplier; O: output channels; K_h, K_w: kernel size; padding: both sides together\n"
        in text
    )


def test_the_baseline_itself_has_no_ratio() -> None:
    assert "times" not in str(convcost.explain("standard", 3, 64, 3))
    assert "against" not in str(convcost.explain("standard", 3, 64, 3))


def test_each_output_size_that_differs_has_a_symbol_and_a_derivation() -> None:
    text = str(convcost.explain("depthwise-separable", 3, 64, 5, height=12, padding="valid"))
    derived = "output size OH = (H - K + padding)/stride + 1 = (12 - 5 + 0)/1 + 1 = 8"
    assert derived.replace("-", "\N{MINUS SIGN}") in text
    assert "N·OH·OW·C·m·(K² + O) = 1·8·8·3·1·(5² + 64)" in text


def test_a_baseline_of_another_output_size_has_symbols_of_its_own() -> None:
    explanation = convcost.explain("pointwise", 3, 64, 5, height=12, padding="valid", stride=2)
    assert (explanation.values["OH"], explanation.values["OH_2"]) == (6, 4)
    assert "standard: output size OH_2 = ⌊(H" in str(explanation)


def test_several_blocks_are_explained_in_one_call() -> None:
    several = convcost.explain(["depthwise", "ghost", "pointwise"], 3, 63, 3)
    assert several.to_dict()["schema"] == "convcost.explain/1"
    assert [block["block"] for block in several.to_dict()["blocks"]] == ["depthwise", "pointwise"]
    assert str(several).splitlines()[-1].startswith("note: ghost is left out: ")
    assert list(several.to_frame()["block"].unique()) == ["depthwise", "pointwise"]


def test_a_baseline_that_does_not_fit_is_a_note_of_the_text() -> None:
    explanation = convcost.explain("pointwise", 3, 63, 3, baseline="ghost")
    assert explanation.ratio is None
    assert "note: no ratios: the baseline ghost does not fit this shape" in str(explanation)


def test_a_notebook_shows_formulas() -> None:
    explanation = convcost.explain("depthwise-separable", 3, 64, 3)
    assert "<td>N·H·W·C·m·(K² + O)</td>" in explanation._repr_html_()
    assert explanation._repr_latex_().startswith("\\begin{align*}\n")


def test_no_line_is_wider_than_the_terminal() -> None:
    several = convcost.explain(list(BLOCKS), 1024, 2048, (3, 5), padding=2, height=512, batch=64)
    assert max(map(len, several.text(80).splitlines())) <= 80
    assert max(map(len, several.text().splitlines())) > 80


def test_markdown_is_one_table_for_each_block() -> None:
    text = convcost.explain(["standard", "depthwise"], 3, 64, (3, 5)).markdown()
    assert text.count("| part | quantity | in symbols | in numbers | value |") == 2
    assert r"| total | MACs | N·H·W·C·O·K\_h·K\_w | 1·224·224·3·64·3·5 | 144,506,880 |" in text


def every_latex() -> str:
    """The derivations of all blocks, on a shape with every kind of symbol."""
    shapes: list[dict[str, Any]] = [
        {"height": 12},
        {"height": 12, "padding": "valid", "stride": 2, "dilation": 2, "bias": True, "baseline": "depthwise-separable"},
    ]
    return "\n".join(convcost.explain(list(BLOCKS), 12, 24, (3, 4), **shape).latex() for shape in shapes)


def test_latex_is_balanced_and_has_no_other_sign_than_its_own() -> None:
    text = every_latex()
    assert text.count("{") == text.count("}")
    assert text.count(r"\left") == text.count(r"\right")
    assert text.isascii()
    for equations in re.findall(r"\\begin{align\*}\n(.*?)\n\\end{align\*}", text, re.DOTALL):
        lines = equations.splitlines()
        assert all(line.count("&") == 1 for line in lines)
        assert all(line.endswith(r"\\") for line in lines[:-1])
        assert not lines[-1].endswith(r"\\")


def test_what_block_and_baseline_share_is_taken_out_of_their_ratio() -> None:
    ratio = convcost.explain("depthwise", 16, 32, 3, baseline="bottleneck").ratio_symbols
    assert ratio == "C·m·K² / (M·(C + M·K² + O))"


def test_several_derivations_can_be_iterated_and_their_json_is_plain() -> None:
    several = convcost.explain(["standard", "depthwise"], 3, 64, 3)
    assert [one.block for one in several] == [several[0].block, several[1].block] == ["standard", "depthwise"]
    assert len(several) == 2
    payload = several.to_dict()
    assert payload == json.loads(json.dumps(payload))


def test_a_ratio_of_1_is_as_many() -> None:
    assert convcost.explain("pointwise", 3, 64, 1).text().endswith(" = 1/1² = 1: as many MACs\n")
    more = convcost.explain("inverted-residual", 8, 8, 3).text()
    assert re.search(r": \d+\.\d\d times as many MACs\n$", more)


def test_python_gives_the_latex_of_the_command_and_no_caption() -> None:
    explanation = convcost.explain("ghost", 64, 64, (3, 5), stride=2)
    assert explanation.to_latex() == explanation.latex()
    assert r"\begingroup\allowdisplaybreaks" in explanation.to_latex()
    with pytest.raises(convcost.ConvcostError, match="a derivation is no table"):
        explanation.to_latex("caption")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    head = "\\documentclass{article}\n\\usepackage{amsmath}\n\\begin{document}\n"
    (tmp_path / "derivation.tex").write_text(f"{head}{every_latex()}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "derivation.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
