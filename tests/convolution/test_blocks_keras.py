"""Shapes and parameters against Keras 3's own layers, on its torch backend."""

import os

os.environ["KERAS_BACKEND"] = "torch"  # read once, when keras is imported

import keras
import pytest
import torch

from convcost.convolution.blocks import BLOCKS
from convcost.convolution.conv import Conv
from convcost.convolution.cost import cost, params
from convcost.convolution.shape import Shape
from convcost.convolution.spec import Spec
from convcost.convolution.tree import place

KERNELS = [(1, 1), (3, 3), (2, 2), (4, 3), (5, 2)]
STRIDES = [1, 2, 3]  # Keras takes one stride for both axes of a depthwise convolution
SIZE = (12, 13)


def run(layer, *sizes):
    """The shape that a Keras layer really gives, and its parameters."""
    with torch.no_grad():
        output = layer(torch.zeros(*sizes))
    return tuple(output.shape), layer.count_params()


def ours(name, spec, **given):
    """The same of a block, with the channels last as in Keras."""
    block = BLOCKS[name]
    layers, output = place(block.make(spec, **block.parameters(spec, given)), spec.input)
    return (output.batch, *output.spatial, output.channels), cost(layers).params


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("m", [1, 2, 3])
def test_a_depthwise_block_is_keras_depthwise_conv_2d(kernel, stride, padding, m):
    layer = keras.layers.DepthwiseConv2D(kernel, strides=stride, padding=padding, depth_multiplier=m, use_bias=True)
    spec = Spec(6, 9, kernel, *SIZE, 2, (stride, stride), padding=padding, bias=True)
    assert ours("depthwise", spec, depth_multiplier=m) == run(layer, 2, *SIZE, 6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("m", [1, 2, 3])
def test_a_depthwise_separable_block_is_keras_separable_conv_2d(kernel, stride, padding, m):
    layer = keras.layers.SeparableConv2D(
        9, kernel, strides=stride, padding=padding, depth_multiplier=m, use_bias=False
    )  # without a bias: Keras puts one after the pointwise stage only
    spec = Spec(6, 9, kernel, *SIZE, 2, (stride, stride), padding=padding)
    assert ours("depthwise-separable", spec, depth_multiplier=m) == run(layer, 2, *SIZE, 6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("groups", [1, 3])
def test_standard_and_grouped_blocks_are_keras_conv_2d(kernel, stride, padding, groups):
    layer = keras.layers.Conv2D(9, kernel, strides=stride, padding=padding, groups=groups)
    spec = Spec(6, 9, kernel, *SIZE, 2, stride, padding=padding, bias=True)
    expected = run(layer, 2, *SIZE, 6)
    assert ours("grouped", spec, groups=groups) == expected
    if groups == 1:
        assert ours("standard", spec) == expected


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dilation", [(2, 2), (1, 3)])
def test_dilation_is_keras_dilation_rate(kernel, padding, dilation):
    layer = keras.layers.Conv2D(9, kernel, padding=padding, dilation_rate=dilation)
    spec = Spec(6, 9, kernel, *SIZE, 2, dilation=dilation, padding=padding, bias=True)
    assert ours("standard", spec) == run(layer, 2, *SIZE, 6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_dilated_depthwise_block_is_keras_dilated_depthwise_conv_2d(kernel, padding):
    layer = keras.layers.DepthwiseConv2D(kernel, padding=padding, dilation_rate=2, depth_multiplier=2, use_bias=False)
    spec = Spec(6, 9, kernel, *SIZE, 2, dilation=(2, 2), padding=padding)
    assert ours("depthwise", spec, depth_multiplier=2) == run(layer, 2, *SIZE, 6)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 12, 13])
def test_a_pointwise_block_is_keras_conv_2d_of_size_one(stride, size):
    layer = keras.layers.Conv2D(9, 1, strides=stride)
    spec = Spec(6, 9, (3, 3), size, size, stride=(stride, stride), bias=True)
    assert ours("pointwise", spec) == run(layer, 1, size, size, 6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("layer_type", [keras.layers.Conv1D, keras.layers.Conv3D])
def test_one_and_three_axes_are_keras_conv_1d_and_3d(layer_type, kernel, stride, padding):
    axes = 1 if layer_type is keras.layers.Conv1D else 3
    spatial = (7, 6, 5)[:axes]
    shape, parameters = run(layer_type(8, kernel, strides=stride, padding=padding), 2, *spatial, 4)
    conv = Conv(4, 8, (kernel,) * axes, stride, padding, bias=True)
    output = conv.output_shape(Shape(2, 4, spatial))
    assert (output.batch, *output.spatial, output.channels) == shape
    assert params(conv).value == parameters


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_a_transposed_convolution_has_the_parameters_of_keras_conv_2d_transpose(kernel, stride):
    kernel = max(kernel, stride)  # below its stride Keras pads the output, torch leaves it out
    shape, parameters = run(keras.layers.Conv2DTranspose(8, kernel, strides=stride), 2, 5, 6, 4)
    conv = Conv(4, 8, kernel, stride, bias=True, transposed=True)
    output = conv.output_shape(Shape(2, 4, (5, 6)))
    assert (output.batch, *output.spatial, output.channels) == shape
    assert params(conv).value == parameters
