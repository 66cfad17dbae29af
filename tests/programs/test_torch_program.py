"""Blocks written as torch modules: they run, and compute and cost what convcost's own modules do."""

from __future__ import annotations

import pytest
import torch
from emitted import SHAPES, assert_pep_8, documented, load, run, sizes_for
from torch import nn

import convcost
from convcost.convolution.blocks import BLOCKS
from convcost.convolution.conv import Conv
from convcost.convolution.layer import Activation, GlobalPool, MaxPool, Norm
from convcost.convolution.shape import Shape
from convcost.convolution.tree import Chain, Concat, Node, Residual, Scope, Split, Stage, Step
from convcost.nn.build.tree_module import build
from convcost.programs.torch_program import torch_program

pytestmark = pytest.mark.torch


def with_weights_of(model: nn.Module, other: nn.Module) -> nn.Module:
    names, values = model.state_dict().keys(), other.state_dict().values()
    model.load_state_dict(dict(zip(names, values, strict=True)))
    return model.eval()


def assert_same_outputs(written: nn.Module, tree: Node, shape: Shape) -> None:
    """Of a program's module and of convcost's own, with the same weights."""
    built, x = build(tree, shape), torch.randn(shape.sizes)
    with torch.no_grad():
        assert torch.equal(with_weights_of(written, built)(x), built(x))


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("block", BLOCKS)
def test_a_program_computes_and_costs_what_the_block_does(block, options, tmp_path):
    one = convcost.explain(block, **sizes_for(block, options))
    names = load(one.program(), tmp_path)
    (written,) = [
        value() for name, value in names.items() if isinstance(value, type) and name not in {"SharedConv2d", "Any"}
    ]
    assert_same_outputs(written, one.tree, one.input)
    counted = convcost.count(written, torch.zeros(one.input.sizes)).totals
    assert (counted.params, counted.macs) == (one.params, one.macs)


def stage(name: str, c: int, o: int, kernel: int = 3, **options) -> Stage:
    return Stage(name, Conv(c, o, kernel, padding="same", **options))


SHAPE = Shape(2, 4, (9, 10))
RESIDUAL = Residual(
    "add",
    Chain((stage("first", 4, 8), stage("second", 8, 8))),
    Chain((stage("short", 4, 6, 1), stage("cut", 6, 8, 1))),
)
TREES = {
    "a residual in a residual's shortcut": Chain((
        RESIDUAL,
        Residual("sum", stage("third", 8, 8), Residual("inner", stage("fourth", 8, 8))),
    )),
    "sums in a sum, in their order": Residual(
        "add", Residual("inner", stage("a", 4, 4), stage("b", 4, 4, 2)), Residual("sum", stage("c", 4, 4, 2))
    ),
    "branches in branches": Chain((
        Concat((Chain(), Chain((stage("a", 4, 2), Concat((stage("b", 2, 3), stage("c", 2, 1))))))),
        Split((3, 4, 1), (stage("d", 3, 3, groups=3, tied=True), Chain(), Chain((stage("e", 1, 5), stage("f", 5, 5))))),
    )),
    "layers between convolutions": Chain((
        Scope("block", Chain((stage("conv", 4, 8), Step("norm", Norm(8)), Step("act", Activation("relu6"))))),
        Step("pool", MaxPool(3, 2, 1)),
        Step("silu", Activation("silu")),
        Step("mean", GlobalPool()),
    )),
    "names that are none in Python": Chain((
        stage("class", 4, 4), stage("1x1", 4, 4, 1), stage("a-b", 4, 4), stage("a_b", 4, 4)
    )),
    "a transposed convolution": Stage("up", Conv(4, 6, 3, 2, 1, transposed=True, output_padding=1)),
    "one group with a tied filter": Chain((stage("first", 4, 1), stage("tied", 1, 3, tied=True))),
}  # fmt: skip


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_any_tree_of_stages_can_be_written(tree, tmp_path):
    text = torch_program([documented(tree, SHAPE)])
    assert_same_outputs(load(text, tmp_path)["Parts"](), tree, SHAPE)
    assert_pep_8(text, tmp_path)


def test_a_transposed_convolution_with_shared_filters_is_refused():
    tree = Stage("up", Conv(4, 4, 3, transposed=True, groups=4, tied=True))
    with pytest.raises(convcost.ConvcostError, match="parts cannot be written for torch: its stage up is transposed"):
        torch_program([documented(tree, Shape(1, 4, (9, 9)))])


def test_no_stage_replaces_an_attribute_of_a_module(tmp_path):
    public = [name for name in dir(nn.Module()) if not name.startswith("_") and "_" not in name and name.islower()]
    tree = Chain(tuple(stage(name, 2, 2, 1) for name in public))
    model = load(torch_program([documented(tree, Shape(1, 2, (3, 3)))]), tmp_path)["Parts"]()
    assert len(list(model.children())) == len(public)
    assert not {name for name, _ in model.named_children()} & {*public}


def test_quotes_and_backslashes_in_a_summary_stay_text(tmp_path):
    summary = 'A """quoted""" \\N{word}'
    text = torch_program([documented(stage("conv", 4, 4), Shape(1, 4, (9, 9)), summary)])
    assert "A '''quoted''' \\N{word}" in load(text, tmp_path)["Parts"].__doc__


def test_a_file_runs_as_a_script_and_prints_shapes_and_parameters(tmp_path):
    lines = run(convcost.explain([*BLOCKS], 12, 24, 3, height=14, bias=True).program(), tmp_path, "-W", "error")
    assert len(lines) == len(BLOCKS)
    assert (
        lines[3] == f"DepthwiseSeparable: (1, 12, 14, 14) -> (1, 24, 14, 14), {12 * 9 + 12 + 12 * 24 + 24} parameters"
    )


def test_a_file_has_formula_and_cost_and_needs_no_convcost():
    text = convcost.explain("depthwise-separable", 12, 24, 3, height=14).program()
    assert text.startswith("# Written by convcost, which may overwrite this file.\n")
    assert text.count("convcost") == 1
    assert "    MACs = N·H·W·C·m·(K² + O)\n         = 1·14·14·12·1·(3² + 24)\n         = 77,616\n" in text


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_a_file_has_the_style_of_pep_8(options, tmp_path):
    assert_pep_8(convcost.explain([*BLOCKS], **sizes_for("", options)).program(), tmp_path)
