"""A thousand random legal shapes: the formula, plain loops, fvcore and torch give one number."""

import numpy as np
import oracle
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from convcost.convolution.blocks import BLOCKS
from convcost.convolution.conv import Conv
from convcost.convolution.cost import cost, macs, params
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.convolution.spec import Spec
from convcost.convolution.tree import Stage, place
from convcost.nn.build.conv_module import conv_of
from convcost.nn.build.tree_module import build, stage_paths
from convcost.nn.count.block_count import count_each
from convcost.text.errors import ShapeError

pytestmark = pytest.mark.slow
MOST_PRODUCTS = 20_000  # what the loops do in a hundredth of a second

many = settings(
    max_examples=300,
    deadline=None,  # no test judges the clock
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],  # most random shapes are legal, not all
)


def count(*args):
    return dict(count_each(*args))


def sizes(rank, least, most):
    return st.tuples(*[st.integers(least, most)] * rank)


@st.composite
def convolutions(draw):
    """A convolution of 1 to 3 axes with an input that it accepts."""
    rank = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 4))
    transposed = draw(st.booleans())
    stride, dilation = draw(sizes(rank, 1, 3)), draw(sizes(rank, 1, 2))
    two_sided = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * rank)
    padding = draw(sizes(rank, 0, 2) if transposed else st.one_of(st.just("same"), st.just("valid"), two_sided))
    conv = Conv(
        groups * draw(st.integers(1, 3)),
        groups * draw(st.integers(1, 3)),
        draw(sizes(rank, 1, 4 if rank < 3 else 3)),
        stride,
        padding,
        dilation,
        groups,
        draw(st.booleans()),
        transposed=transposed,
        output_padding=tuple(draw(st.integers(0, s - 1)) for s in stride) if transposed else 0,
        tied=draw(st.booleans()),
    )
    shape = Shape(draw(st.integers(1, 3)), conv.in_channels, draw(sizes(rank, 1, 8 if rank < 3 else 5)))
    try:
        layer = Layer("conv", conv, shape)
    except ShapeError:
        assume(False)  # hypothesis' own way to say: not this one
    assume(macs(layer).value <= MOST_PRODUCTS)
    return layer


@st.composite
def placed_blocks(draw):
    """A block of the catalogue on a layer shape that it accepts."""
    name = draw(st.sampled_from(list(BLOCKS)))
    pair = st.tuples
    dilation = draw(pair(st.integers(1, 2), st.integers(1, 2)))
    try:
        spec = Spec(
            draw(st.integers(1, 8)),
            draw(st.integers(1, 8)),
            draw(pair(st.integers(1, 4), st.integers(1, 4))),
            draw(st.integers(1, 8)),
            draw(st.integers(1, 8)),
            draw(st.integers(1, 2)),
            draw(pair(st.integers(1, 3), st.integers(1, 3))),
            dilation,
            draw(st.one_of(st.just("same"), st.just("valid"), pair(st.integers(0, 3), st.integers(0, 3)))),
            draw(st.booleans()),
        )
        block = BLOCKS[name]
        given_ = {"depth_multiplier": draw(st.integers(1, 3)), "expansion": draw(st.integers(1, 3))}
        node = block.make(spec, **block.parameters(spec, given_))
        place(node, spec.input)
    except ShapeError:
        assume(False)  # hypothesis' own way to say: not this one
    return node, spec.input


def by_loops(conv, x, weight):
    """The oracle's output and number of products."""
    arguments = {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation, "groups": conv.groups}
    if conv.transposed:
        return oracle.convolve_transposed(x, weight, output_padding=conv.output_padding, **arguments)
    return oracle.convolve(x, weight, **arguments)


def check_against_loops(layer, module):
    """The loops multiply as often as the formula says, and what they give is what torch gives."""
    conv = layer.op
    kernel = conv.kernel_size
    first = conv.in_channels if conv.transposed else conv.out_channels
    second = (conv.out_channels if conv.transposed else conv.in_channels) // conv.groups
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, layer.input.sizes).astype(float)  # whole numbers: float64 adds them exactly
    weight = rng.integers(-3, 4, (first, second, *kernel)).astype(float)
    bank = first // conv.groups if conv.tied else first
    weight = np.concatenate([weight[:bank]] * (first // bank))
    expected, products = by_loops(conv, x, weight)
    assert macs(layer).value == products
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.from_numpy(weight[:bank]) if parameter.ndim > 1 else torch.zeros(parameter.shape))
        actual = module(torch.from_numpy(x))
    assert tuple(actual.shape) == layer.output.sizes
    assert np.array_equal(actual.numpy(), expected)


@many
@given(convolutions())
def test_a_random_convolution_is_one_number_for_the_formula_the_loops_fvcore_and_torch(layer):
    node = Stage("conv", layer.op)
    module = build(node, layer.input, dtype=torch.float64)
    check_against_loops(layer, module)
    counts = count({"conv": (node, layer.input)})["conv"]
    assert counts.agree, counts
    assert (counts.fvcore_macs, counts.torch_flops) == (macs(layer).value, macs(layer).value * 2)
    assert counts.fvcore_params == params(layer.op).value == sum(p.numel() for p in module.parameters())
    assert conv_of(module) == layer.op


@many
@given(placed_blocks())
def test_a_random_block_is_one_number_for_the_formula_the_loops_fvcore_and_torch(block):
    node, shape = block
    layers, output = place(node, shape)
    convs = [layer for layer in layers if isinstance(layer.op, Conv)]
    module = build(node, shape, dtype=torch.float64)
    assert tuple(module(torch.zeros(*shape.sizes, dtype=torch.float64)).shape) == output.sizes
    for layer in convs:
        stage = module.get_submodule(stage_paths(node)[layer.name])
        assert conv_of(stage) == layer.op
        if macs(layer).value <= MOST_PRODUCTS:
            check_against_loops(layer, stage)
    counts = count({"block": block})["block"]
    assert counts.agree, counts
    assert (counts.fvcore_macs, counts.torch_flops) == (cost(layers).macs, cost(layers).macs * 2)
    assert counts.fvcore_params == cost(layers).params


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_a_random_sweep_is_its_layers_one_by_one(data):
    n = data.draw(st.integers(1, 4))
    numbers = st.lists(st.integers(1, 60), min_size=n, max_size=n)
    batch, group, inputs, outputs, height, width = (data.draw(numbers) for _ in range(6))
    kernel, stride, dilation = (data.draw(st.tuples(st.integers(1, 5), st.integers(1, 3))) for _ in range(3))
    padding = data.draw(st.sampled_from(["same", 20]))

    def one(batch, group, inputs, outputs, height, width):
        conv = Conv(group * inputs, group * outputs, kernel, stride, padding, dilation, group, bias=True)
        return cost([Layer("conv", conv, Shape(batch, group * inputs, (height, width)))])

    columns = (batch, group, inputs, outputs, height, width)
    together = one(*(np.array(column) for column in columns))
    alone = [one(*row) for row in zip(*columns, strict=True)]
    assert together.macs.tolist() == [layer.macs for layer in alone]
    assert together.params.tolist() == [layer.params for layer in alone]
    assert together.traffic_bytes.tolist() == [layer.traffic_bytes for layer in alone]


@settings(max_examples=120, deadline=None)
@given(st.integers(1, 2**40), st.integers(1, 2**40), st.integers(1, 2**20))
def test_a_sweep_is_exact_or_refused_and_never_wraps(channels, out_channels, size):
    def count_of(c, o, n):
        return macs(Layer("conv", Conv(c, o, (3, 3), padding=1), Shape(1, c, (n, n)))).value

    exact = count_of(channels, out_channels, size)
    try:
        swept = count_of(np.array([channels]), np.array([out_channels]), np.array([size]))
    except ValueError as refusal:
        assert "must be below 2**63" in str(refusal)  # noqa: PT017 - either outcome is right, each for its own sizes
        assert exact >= 2**63 * (1 - 1e-6)
    else:
        assert swept.tolist() == [exact]
