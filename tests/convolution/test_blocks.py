import re
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import pytest

from convcost.convolution.blocks import BLOCKS, DEFAULT_BLOCKS, PARAMETERS
from convcost.convolution.cost import cost, macs, params
from convcost.convolution.spec import Spec
from convcost.convolution.tree import place, stages

PLAIN = Spec(8, 16, (3, 3), 12, 10, batch=2)


def placed(name, spec, **given):
    """Layers and output shape of a block."""
    block = BLOCKS[name]
    return place(block.make(spec, **block.parameters(spec, given)), spec.input)


def total(name, spec, **given):
    return cost(placed(name, spec, **given)[0])


C, O, K = 8, 16, 3  # noqa: E741 - O is the field's name for the output channels
PIXELS = 2 * 12 * 10  # of PLAIN: stride 1, padding same
FORMULAS = [  # MACs of one output pixel, parameters
    ("standard", {}, C * O * K * K, C * O * K * K),
    ("depthwise", {}, C * K * K, C * K * K),
    ("depthwise", {"depth_multiplier": 3}, C * 3 * K * K, C * 3 * K * K),
    ("pointwise", {}, C * O, C * O),
    ("depthwise-separable", {}, C * (O + K * K), C * (O + K * K)),
    ("depthwise-separable", {"depth_multiplier": 2}, C * 2 * (O + K * K), C * 2 * (O + K * K)),
    ("shared-kernel", {"depth_multiplier": 2}, C * 2 * K * K, 2 * K * K),
    ("shared-kernel-separable", {}, C * (O + K * K), K * K + C * O),
    ("spatially-separable", {}, C * C * K + C * O * K, K * C * (C + O)),
    ("spatially-separable", {"mid_channels": 5}, C * 5 * K + 5 * O * K, K * 5 * (C + O)),
    ("spatially-separable-depthwise", {"depth_multiplier": 2}, 2 * C * (K + K + O), 2 * C * (K + K + O)),
    ("grouped", {}, C * O * K * K // 4, C * O * K * K // 4),
    ("bottleneck", {}, C * 4 + 4 * 4 * K * K + 4 * O, C * 4 + 4 * 4 * K * K + 4 * O),
    ("inverted-residual", {}, 6 * C * (C + K * K + O), 6 * C * (C + K * K + O)),
    ("inverted-residual", {"expansion": 1}, C * (K * K + O), C * (K * K + O)),
    ("fused-inverted-residual", {"expansion": 4}, 4 * C * (C * K * K + O), 4 * C * (C * K * K + O)),
    ("blueprint", {}, C * O + O * K * K, C * O + O * K * K),
    ("blueprint", {"depth_multiplier": 2}, C * O // 2 + O * K * K, C * O // 2 + O * K * K),
    ("low-rank", {}, C * 4 * K * K + 4 * O, C * 4 * K * K + 4 * O),
    ("tucker-2", {}, C * 2 + 2 * 4 * K * K + 4 * O, C * 2 + 2 * 4 * K * K + 4 * O),
    ("tucker-2", {"mid_channels": 3, "rank": 5}, C * 3 + 3 * 5 * K * K + 5 * O, C * 3 + 3 * 5 * K * K + 5 * O),
    ("ghost", {}, C * 8 * K * K + 8 * K * K, C * 8 * K * K + 8 * K * K),
    ("ghost", {"ghost_ratio": 4}, C * 4 * K * K + 12 * K * K, C * 4 * K * K + 12 * K * K),
    ("partial", {}, 2 * 2 * K * K + C * O, 2 * 2 * K * K + C * O),
    ("partial", {"partial": Fraction(1, 2)}, 4 * 4 * K * K + C * O, 4 * 4 * K * K + C * O),
    ("partial", {"partial": Fraction(1)}, C * C * K * K + C * O, C * C * K * K + C * O),
]


@pytest.mark.parametrize(
    ("name", "given", "macs_a_pixel", "parameters"), FORMULAS, ids=[f"{name} {given}" for name, given, *_ in FORMULAS]
)
def test_a_block_costs_what_its_paper_says(name, given, macs_a_pixel, parameters):
    assert total(name, PLAIN, **given).macs == PIXELS * macs_a_pixel
    assert total(name, PLAIN, **given).params == parameters


@pytest.mark.parametrize("spec", [Spec(3, 64, (3, 3)), Spec(64, 64, (3, 3), 56, 40, batch=8), Spec(7, 64, (3, 3), 9)])
def test_a_kernel_of_3_and_64_outputs_saves_7_89_times_whatever_c_h_w_and_batch(spec):
    standard, separable = total("standard", spec), total("depthwise-separable", spec)
    assert standard.macs * (64 + 9) == separable.macs * 64 * 9  # 576 / 73 = 7.89
    assert standard.params * (64 + 9) == separable.params * 64 * 9


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_ratio_is_m_times_one_over_o_plus_one_over_k_squared(m):
    spec = Spec(5, 24, (3, 4))
    ratio = Fraction(total("depthwise-separable", spec, depth_multiplier=m).macs, total("standard", spec).macs)
    assert ratio == m * (Fraction(1, 24) + Fraction(1, 3 * 4))


@pytest.mark.parametrize(
    ("name", "out_channels", "m", "expected"),
    [
        ("depthwise", 1, 1, (1, 3, 8, 8)),
        ("depthwise", 1, 2, (1, 6, 8, 8)),
        ("depthwise-separable", 1, 1, (1, 1, 8, 8)),
        ("depthwise-separable", 256, 1, (1, 256, 8, 8)),
    ],
)
def test_a_12_by_12_by_3_input_and_a_valid_5_by_5_kernel_give_8_by_8(name, out_channels, m, expected):
    spec = Spec(3, out_channels, (5, 5), 12, 12, padding="valid")
    assert placed(name, spec, depth_multiplier=m)[1].sizes == expected


def test_one_separable_3_by_3_kernel_takes_6_products_a_pixel_for_9():
    one = Spec(1, 1, (3, 3), 10, 10)
    assert total("spatially-separable", one).macs == 6 * 10 * 10
    assert total("standard", one).macs == 9 * 10 * 10
    assert (total("spatially-separable", one).params, total("standard", one).params) == (6, 9)


def test_spatially_separable_with_mid_o_breaks_even_at_32_to_64_with_3_by_3():
    spec = Spec(32, 64, (3, 3), 20, 20)  # O = (K − 1) · C
    assert total("spatially-separable", spec, mid_channels=64).macs == total("standard", spec).macs


def test_spatially_separable_strides_each_axis_in_its_own_stage():
    spec = Spec(4, 6, (3, 3), 12, 10, stride=(2, 2))
    column, row = placed("spatially-separable", spec, mid_channels=5)[0]
    assert column.output.sizes == (1, 5, 6, 10)  # H_out × W_in
    assert macs(column).value + macs(row).value == 6 * 10 * 4 * 5 * 3 + 6 * 5 * 5 * 6 * 3


def test_a_shared_kernel_has_c_times_fewer_parameters_and_the_same_arithmetic():
    assert total("depthwise", PLAIN).params == 8 * total("shared-kernel", PLAIN).params
    assert total("depthwise", PLAIN).macs == total("shared-kernel", PLAIN).macs


@pytest.mark.parametrize("spec", [PLAIN, Spec(8, 8, (4, 3), 9, 7, stride=(2, 1)), Spec(8, 8, (3, 3), 9, bias=True)])
def test_one_group_is_the_standard_convolution_and_c_groups_the_depthwise_one(spec):
    assert total("grouped", spec, groups=1) == total("standard", spec)
    m = spec.out_channels // spec.in_channels
    assert total("grouped", spec, groups=spec.in_channels) == total("depthwise", spec, depth_multiplier=m)


@pytest.mark.parametrize("name", BLOCKS)
def test_the_formula_text_evaluated_again_is_the_number(name):
    for layer in placed(name, Spec(8, 16, (3, 4), 12, 10, batch=2, bias=True))[0]:
        count, parameters = macs(layer), params(layer.op)
        assert prod(map(int, count.numbers.split(" × "))) == count.value
        assert sum(prod(map(int, term.split(" × "))) for term in parameters.numbers.split(" + ")) == parameters.value
        values = {factor.name: factor.value for factor in count.factors}
        assert prod(values[symbol] for symbol in str(count).split(" × ")) == count.value


@pytest.mark.parametrize("name", BLOCKS)
def test_a_sweep_of_sizes_is_the_cost_element_by_element(name):
    heights, widths, batches = [5, 6, 7, 12], [9, 4, 8, 12], [1, 2, 3, 1]
    sweep: Any = np.array
    together = total(name, Spec(8, 16, (3, 4), sweep(heights), sweep(widths), sweep(batches)))
    alone = [total(name, Spec(8, 16, (3, 4), h, w, n)) for h, w, n in zip(heights, widths, batches, strict=True)]
    assert together.macs.tolist() == [one.macs for one in alone]
    assert together.params == alone[0].params
    assert together.traffic_bytes.tolist() == [one.traffic_bytes for one in alone]


@pytest.mark.parametrize("name", DEFAULT_BLOCKS)
def test_a_sweep_of_channels_is_the_cost_element_by_element(name):
    channels, outputs = [4, 6, 64], [8, 12, 2]
    sweep: Any = np.array
    together = total(name, Spec(sweep(channels), sweep(outputs), (3, 3)))
    alone = [total(name, Spec(c, o, (3, 3))) for c, o in zip(channels, outputs, strict=True)]
    assert (together.macs + np.zeros(3, int)).tolist() == [one.macs for one in alone]
    assert (together.params + np.zeros(3, int)).tolist() == [one.params for one in alone]


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_names_its_stages_once_and_says_what_it_is_and_whose(name):
    block = BLOCKS[name]
    names = [stage.name for stage in stages(block.make(PLAIN, **block.parameters(PLAIN, {})))]
    assert len(names) == len(set(names))
    assert block.summary.endswith(".")
    assert re.search(r"\b(19|20)\d\d\b", block.paper), "the year of the paper"
    assert set(block.defaults) <= set(PARAMETERS)


def test_the_default_blocks_are_in_the_catalogue():
    assert set(DEFAULT_BLOCKS) <= set(BLOCKS)


@pytest.mark.parametrize("name", ["bottleneck", "inverted-residual", "fused-inverted-residual"])
def test_the_input_is_added_exactly_where_the_shapes_allow_it(name):
    assert placed(name, Spec(8, 8, (3, 3), 9))[0][-1].name == "add"
    assert placed(name, Spec(8, 16, (3, 3), 9))[0][-1].name != "add"
    assert placed(name, Spec(8, 8, (3, 3), 9, stride=(2, 2)))[0][-1].name != "add"


@pytest.mark.parametrize(
    ("name", "parameter", "small", "expected"),
    [
        ("grouped", "groups", Spec(6, 9, (3, 3)), 1),  # gcd(6, 9, 4)
        ("bottleneck", "mid_channels", Spec(3, 3, (3, 3)), 1),  # 3 // 4, but at least 1
        ("low-rank", "rank", Spec(3, 2, (3, 3)), 1),
        ("spatially-separable", "mid_channels", Spec(7, 2, (3, 3)), 7),
        ("tucker-2", "mid_channels", Spec(3, 8, (3, 3)), 1),
        ("tucker-2", "rank", Spec(16, 8, (3, 3)), 2),
        ("partial", "partial", Spec(7, 2, (3, 3)), Fraction(1, 4)),
    ],
)
def test_a_parameter_that_is_not_given_follows_its_rule(name, parameter, small, expected):
    assert BLOCKS[name].parameters(small, {})[parameter] == expected
