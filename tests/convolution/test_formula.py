from typing import Any

import numpy as np
import pytest

from convcost.convolution.algebra import Symbol
from convcost.convolution.conv import Conv
from convcost.convolution.cost import macs
from convcost.convolution.formula import (
    Factor,
    MixedError,
    Product,
    Sum,
    add,
    common_divisor,
    holds,
    largest,
    multiply,
    quotient,
    times,
)
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.text.errors import ConvcostError


def layer(spatial=(224, 224), channels=64, out_channels=64, batch=1):
    return Layer("conv", Conv(channels, out_channels, 3, padding=1), Shape(batch, channels, spatial))


def test_number_symbols_and_numbers_come_from_the_same_factors():
    count = Product((Factor("C_in", 3), Factor("C_out", 64), Factor("K_h", 5)))
    assert count.value == 3 * 64 * 5
    assert str(count) == "C_in × C_out × K_h"
    assert count.numbers == "3 × 64 × 5"


def test_a_sum_reads_its_terms_in_order():
    weights, bias = Product((Factor("C_out", 8), Factor("K", 3))), Product((Factor("C_out", 8),))
    total = weights + bias
    assert total.value == 8 * 3 + 8
    assert str(total) == "C_out × K + C_out"
    assert total.numbers == "8 × 3 + 8"
    assert (total + total).value == 2 * (8 * 3 + 8)


def test_an_empty_sum_is_zero_in_all_three_views():
    assert (Sum(()).value, str(Sum(())), Sum(()).numbers) == (0, "0", "0")


def test_changing_one_factor_moves_number_and_both_texts():
    before, after = macs(layer(channels=64)), macs(layer(channels=32))
    assert before.value == 2 * after.value
    assert before.numbers.replace("64 × 64", "64 × 32") == after.numbers


def test_ten_to_the_twenty_macs_are_exact():
    count = macs(Layer("conv", Conv(10**5, 10**5, (1, 1)), Shape(1, 10**5, (10**5, 10**5 + 1))))
    assert count.value == 10**5 * 10**5 * 10**5 * (10**5 + 1)  # 100,001 × 10^15: no float holds it


def test_int32_arrays_do_not_wrap():
    size = np.array([224, 65_536], dtype=np.int32)
    count: Any = macs(layer(spatial=(size, size))).value
    assert count.tolist() == [224 * 224 * 64 * 64 * 9, 65_536 * 65_536 * 64 * 64 * 9]  # the second is 1.6e14


def test_a_product_of_arrays_of_one_narrow_type_does_not_wrap():
    narrow: Any = np.array([200], dtype=np.uint8)
    product: Any = multiply([narrow, narrow])
    assert product.tolist() == [40_000]


def test_a_sweep_beyond_int64_is_refused_not_wrapped():
    size = np.array([2**26, 2**27])
    with pytest.raises(
        ConvcostError, match=r"a count in this sweep \(about 6\.64e\+20\) must be below 2\*\*63; pass Py"
    ):
        _ = macs(layer(spatial=(size, size))).value  # (2^27)² × 64 × 64 × 9 = 6.64e20


def test_a_sum_of_a_sweep_beyond_int64_is_refused_too():
    half: Any = np.array([2**62])
    with pytest.raises(ConvcostError, match=r"must be below 2\*\*63"):
        add([half, half])


def test_the_same_size_as_an_int_is_no_problem():
    assert macs(layer(spatial=(2**27, 2**27))).value == 2**54 * 64 * 64 * 9


def test_an_array_count_is_the_count_element_by_element():
    heights, channels, batches = np.array([5, 6, 7, 12]), np.array([4, 6, 64, 8]), np.array([1, 2, 3, 1])
    together: Any = macs(layer((heights, 9), channels, 5, batches)).value
    alone = [macs(layer((h, 9), c, 5, n)).value for h, c, n in [(5, 4, 1), (6, 6, 2), (7, 64, 3), (12, 8, 1)]]
    assert together.dtype == np.int64
    assert together.tolist() == alone


@pytest.mark.parametrize(
    ("condition", "expected"),
    [(True, True), (False, False), (np.array([True, True]), True), (np.array([False, False]), False)],
    ids=["true", "false", "true everywhere", "false everywhere"],
)
def test_a_condition_holds_when_it_holds_everywhere(condition, expected):
    assert holds(condition) is expected


def test_a_condition_that_holds_for_some_rows_of_a_sweep_says_for_which():
    condition = np.array([[True, False]])
    with pytest.raises(
        MixedError, match=r"a condition \(=1 of 2 elements\) must be the same for all elements"
    ) as error:
        holds(condition)
    assert error.value.condition is condition


def test_a_sweep_of_which_some_rows_are_beyond_int64_says_which():
    with pytest.raises(MixedError) as error:
        multiply([np.array([2**31, 2**33]), 2**31])
    assert error.value.condition.tolist() == [True, False]
    with pytest.raises(MixedError) as error:
        add([np.array([1, 2**62]), np.array([1, 2**62])])
    assert error.value.condition.tolist() == [True, False]


def test_a_product_of_sizes_keeps_its_symbol_and_does_not_wrap():
    assert str(Factor("C", times(Symbol(8, "C"), 3))) == "3·C"
    assert times(np.array([2, 3]), 4).tolist() == [8, 12]
    with pytest.raises(ConvcostError, match=r"must be below 2\*\*63"):
        times(np.array([2**32]), 2**32)


def test_quotients_of_large_counts_are_rounded_once():
    above, below = 2**54 + 2, 2**54 + 6
    assert float(above) / float(below) != above / below  # two roundings before the division
    assert quotient(np.array([above]), np.array([below])).tolist() == [above / below]
    assert quotient(np.array([6, 1]), np.array([4, 3])).tolist() == [6 / 4, 1 / 3]
    assert quotient(6, 4) == 6 / 4


def test_the_largest_and_the_common_divisor_are_those_of_each_element():
    some, others = np.array([12, 7]), np.array([[8], [21]])
    assert largest(1, some, others).tolist() == [[12, 8], [21, 21]]
    assert common_divisor(some, others).tolist() == [[4, 1], [3, 7]]
    assert (largest(1, 5), common_divisor(12, 8, 6)) == (5, 2)
