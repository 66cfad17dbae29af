"""Blocks written as Keras models: on the torch backend they compute what convcost's own modules do."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"  # read once, when keras is imported

import pytest
import torch
from emitted import SHAPES, assert_pep_8, documented, load, run, sizes_for

import convcost
from convcost.convolution.blocks import BLOCKS
from convcost.convolution.conv import Conv
from convcost.convolution.layer import ACTIVATIONS, Activation, GlobalPool, MaxPool, Norm
from convcost.convolution.shape import Shape
from convcost.convolution.tree import Chain, Residual, Stage, Step
from convcost.nn.build.tree_module import build
from convcost.programs.keras_program import keras_program

pytestmark = pytest.mark.torch

TIED = ("shared-kernel", "shared-kernel-separable")
WRITTEN = [name for name in BLOCKS if name not in TIED]


def in_keras(weight, variable):
    """A weight (O, C / g, h, w) as Keras has it: (h, w, C / g, O), or (h, w, C, m) in a depthwise layer."""
    if variable.shape[2] == weight.shape[1]:
        return weight.permute(2, 3, 1, 0)
    return weight.reshape(*variable.shape[2:], *weight.shape[2:]).permute(2, 3, 0, 1)


def assert_same_outputs(model, tree, shape):
    built = build(tree, shape)
    x = torch.randn(shape.sizes)
    weights = [value for name, value in built.state_dict().items() if not name.endswith("num_batches_tracked")]
    for variable, weight in zip(model.weights, weights, strict=True):
        variable.assign(in_keras(weight, variable) if weight.ndim == 4 else weight)
    with torch.no_grad():
        ours, theirs = built(x), model(x.permute(0, 2, 3, 1), training=False).permute(0, 3, 1, 2)
    assert theirs.shape == ours.shape
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("block", WRITTEN)
def test_a_model_computes_what_the_block_does(block, options, tmp_path):
    one = convcost.explain(block, **sizes_for(block, options))
    model = load(one.program("keras"), tmp_path)[block.replace("-", "_")]()
    assert_same_outputs(model, one.tree, one.input)
    assert model.count_params() == one.params


@pytest.mark.parametrize(
    ("block", "options", "layers"),
    [
        ("depthwise-separable", {}, ["SeparableConv2D"]),
        ("depthwise-separable", {"bias": True}, ["DepthwiseConv2D", "Conv2D"]),  # Keras has a single bias
        ("depthwise", {}, ["DepthwiseConv2D"]),
        ("depthwise", {"stride": (1, 2)}, ["Conv2D"]),  # a depthwise layer of Keras has one stride
        ("grouped", {}, ["Conv2D"]),
        ("standard", {"padding": 1}, ["ZeroPadding2D", "Conv2D"]),
        ("standard", {"padding": "same"}, ["Conv2D"]),
        ("bottleneck", {"out_channels": 12}, ["Conv2D", "Conv2D", "Conv2D", "Add"]),
    ],
)
def test_the_layers_are_those_that_a_person_would_take(block, options, layers, tmp_path):
    text = convcost.explain(block, **sizes_for(block, options)).program("keras")
    model = load(text, tmp_path)[block.replace("-", "_")]()
    assert [type(layer).__name__ for layer in model.layers if type(layer).__name__ != "InputLayer"] == layers


def test_the_layers_of_a_network_are_written_too(tmp_path):
    conv = Stage("conv", Conv(4, 4, 3, padding="same", bias=True))
    steps = [Step(kind, Activation(kind)) for kind in ACTIVATIONS]
    tree = Chain(
        (
            Residual("add", Chain((conv, Step("norm", Norm(4)), *steps))),
            Step("pool", MaxPool(2, 2)),
            Step("mean", GlobalPool()),
        )
    )
    shape = Shape(2, 4, (9, 10))
    model = load(keras_program([documented(tree, shape)]), tmp_path)["parts"]()
    assert_same_outputs(model, tree, shape)


@pytest.mark.parametrize(
    ("tree", "rule"),
    [
        (Stage("one", Conv(4, 4, 3, groups=4, tied=True)), "shares one filter bank among its groups"),
        (Stage("one", Conv(4, 4, 3, transposed=True)), "is transposed"),
        (Stage("one", Conv(4, 4, 3, 2, dilation=2)), "has a stride and a dilation"),
        (Step("one", MaxPool(3, 2, 1)), "pads before it takes the maximum"),
    ],
)
def test_what_keras_cannot_say_is_refused(tree, rule):
    with pytest.raises(convcost.ConvcostError, match=f"parts cannot be written for Keras: its stage one {rule}.*torch"):
        keras_program([documented(tree, Shape(1, 4, (9, 9)))])


@pytest.mark.parametrize("block", TIED)
def test_a_block_with_shared_filters_is_refused(block):
    with pytest.raises(
        convcost.ConvcostError, match=f"{block} cannot be written for Keras: its stage depthwise shares"
    ):
        convcost.explain(block, 12, 24, 3).program("keras")


def test_a_file_runs_as_a_script_and_prints_shapes_and_parameters(tmp_path):
    lines = run(convcost.explain(WRITTEN, 12, 24, 3, height=14).program("keras"), tmp_path)
    assert f"depthwise_separable: (1, 14, 14, 12) -> (1, 14, 14, 24), {12 * 9 + 12 * 24} parameters" in lines


def test_a_file_has_the_style_of_pep_8(tmp_path):
    assert_pep_8(convcost.explain(WRITTEN, 12, 24, 3, height=14, stride=2, padding=1).program("keras"), tmp_path)
