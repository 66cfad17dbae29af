"""Blocks written as oneDNN's problems: those that oneDNN itself reports of the real layers."""

from __future__ import annotations

import re

import pytest
import torch
from emitted import SHAPES, documented, sizes_for

import convcost
from convcost.convolution.blocks import BLOCKS
from convcost.convolution.conv import Conv
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.convolution.tree import Stage
from convcost.nn.build.conv_module import build_conv
from convcost.nn.explain.instruments import primitives_of
from convcost.programs.onednn_problems import onednn_problems
from convcost.timing.onednn import parse_problem, problem_of, problem_text

pytestmark = pytest.mark.torch


def problems(text):
    """The lines that benchdnn runs."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def printed_problems(layer: Layer) -> set[str]:
    """What oneDNN prints of the real layer."""
    assert isinstance(layer.op, Conv)
    module, x = build_conv(layer.op), torch.randn(layer.input.sizes)
    with torch.no_grad():
        (primitives,) = primitives_of(lambda: module(x), 1)
    return {one.problem for one in primitives if one.is_convolution}


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("block", BLOCKS)
def test_each_convolution_is_a_problem_that_is_read_back(block, options):
    one = convcost.explain(block, **sizes_for(block, options))
    layers = [layer for layer in one.documented.layers if isinstance(layer.op, Conv)]
    assert [parse_problem(line) for line in problems(one.program("onednn"))] == [problem_of(layer) for layer in layers]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")
@pytest.mark.parametrize(
    "options", [{}, {"bias": True, "stride": 2}, {"kernel_size": (3, 5), "dilation": (1, 2), "padding": 2}]
)
@pytest.mark.parametrize("block", ["standard", "depthwise-separable", "grouped", "shared-kernel-separable", "low-rank"])
def test_the_text_is_what_onednn_prints_of_the_real_layer(block, options):
    sizes = {"in_channels": 16, "out_channels": 32, "kernel_size": 3, "height": 56, "batch": 2} | options
    one = convcost.explain(block, **sizes)
    lines = problems(one.program("onednn"))
    ran = [printed_problems(layer) for layer in one.documented.layers]
    assert any(ran)
    assert all(texts <= {line} for texts, line in zip(ran, lines, strict=True))  # none where torch convolves by itself


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        (1, "mb2_ic4oc8_ih1oh1kh1sh1dh0ph0_iw9ow9kw3sw1dw0pw1"),
        (2, "mb2_ic4oc8_ih9oh9kh3sh1dh0ph1_iw9ow9kw3sw1dw0pw1"),
        (3, "mb2_ic4oc8_id9od9kd3sd1dd0pd1_ih9oh9kh3sh1dh0ph1_iw9ow9kw3sw1dw0pw1"),
    ],
)
def test_the_text_has_the_axes_that_onednn_prints(axes, text):
    layer = Layer("conv", Conv(4, 8, (3,) * axes, padding=1), Shape(2, 4, (9,) * axes))
    assert problem_text(problem_of(layer)) == text


@pytest.mark.parametrize(
    ("block", "options", "weights"),
    [
        ("standard", {}, "conv: weights {oc, ic, kh, kw} = 24x12x3x3"),
        ("grouped", {"groups": 4}, "conv: weights {g, oc/g, ic/g, kh, kw} = 4x6x3x3x3"),
        ("depthwise", {"m": 2}, "depthwise: weights {g, oc/g, ic/g, kh, kw} = 12x2x1x3x3"),
        ("shared-kernel", {}, "depthwise: weights {g, oc/g, ic/g, kh, kw} = 12x1x1x3x3; one bank of filters, repeated"),
        ("standard", {"stride": 2}, "conv: weights {oc, ic, kh, kw} = 24x12x3x3; zeros are put around the input"),
    ],
)
def test_a_comment_has_the_sizes_of_the_weights(block, options, weights):
    text = convcost.explain(block, **sizes_for(block, options)).program("onednn")
    assert re.search(f"^# {re.escape(weights)}", text, re.MULTILINE)


def test_a_transposed_convolution_is_refused():
    tree = Stage("up", Conv(4, 4, 3, transposed=True))
    with pytest.raises(convcost.ConvcostError, match="parts cannot be written for oneDNN: its stage up is transposed"):
        onednn_problems([documented(tree, Shape(1, 4, (9, 9)))])
