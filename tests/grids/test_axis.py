"""Axes: what users write, the values it means, and each mistake."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from convcost.grids.axis import MAX_LISTED, AxisError, known_axes, parse_axis


@pytest.mark.parametrize(
    ("name", "given", "values"),
    [
        ("in_channels", [8, 16, 4], (8, 16, 4)),
        ("in_channels", 8, (8,)),
        ("in_channels", {"from": 8, "to": 8, "step": 5}, range(8, 9, 5)),
        ("in_channels", {"from": 8, "to": 32, "step": 8}, range(8, 33, 8)),
        ("in_channels", {"from": 8, "to": 32, "times": 2}, (8, 16, 32)),
        ("in_channels", {"from": 5, "to": 5, "times": 2}, (5,)),
        ("in_channels", range(8, 33, 8), range(8, 33, 8)),
        ("kernel_size", [1, "3x5", [5, 3], "7"], ((1, 1), (3, 5), (5, 3), (7, 7))),
        ("kernel_size", {"from": 1, "to": 5, "step": 2}, ((1, 1), (3, 3), (5, 5))),
        ("stride", ["2x1"], ((2, 1),)),
        ("padding", ["same", "valid", 0, "1x2"], ("same", "valid", (0, 0), (1, 2))),
        ("padding", {"from": 0, "to": 2, "step": 1}, ((0, 0), (1, 1), (2, 2))),
        ("bias", [False, True], (False, True)),
        ("dtype", "float16", ("float16",)),
        ("partial", ["1/4", 0.5, 1], (Fraction(1, 4), Fraction(1, 2), Fraction(1))),
        ("ghost_ratio", [2], (2,)),
    ],
)
def test_the_values_of_an_axis_are_a_list_a_range_or_one_value(name: str, given, values) -> None:
    assert parse_axis(name, given).values == values


def test_numbers_of_numpy_are_values_too() -> None:
    import numpy as np

    assert parse_axis("in_channels", np.arange(8, 25, 8)).values == (8, 16, 24)
    assert parse_axis("kernel_size", [np.int64(3)]).values == ((3, 3),)


def test_a_long_range_is_never_a_list() -> None:
    assert parse_axis("in_channels", {"from": 1, "to": 10**9, "step": 1}).values == range(1, 10**9 + 1)


@pytest.mark.parametrize(
    ("name", "given", "path", "message"),
    [
        ("in_channels", [], (), r"\(=\[\]\) must not be empty"),
        ("in_channels", "abc", (), r"\(=abc\) must be a whole number from 1 to 1,000,000,000; write 8"),
        ("in_channels", [8, "abc"], (1,), r"\(=abc\) must be a whole number"),
        ("in_channels", [8, 8.0], (1,), r"\(=8.0\) must be a whole number"),
        ("in_channels", [True], (0,), r"\(=true\) must be a whole number"),
        ("in_channels", [0], (0,), r"\(=0\) must be a whole number from 1"),
        ("in_channels", [10**10], (0,), "must be a whole number from 1 to 1,000,000,000"),
        ("in_channels", [[8]], (0,), "must be a whole number"),
        ("in_channels", [8, 16, 8], (2,), r"\(=8\) must be there once"),
        ("kernel_size", [3, "3x3"], (1,), r"\(=3x3\) must be there once"),
        ("kernel_size", ["3x"], (0,), r"\(=3x\) must be a whole number or HEIGHTxWIDTH"),
        ("kernel_size", [[1, 2, 3]], (0,), r"\(=\[1, 2, 3\]\) must be one number or \(height, width\)"),
        ("kernel_size", ["0x3"], (0,), r"\(=0\) must be a whole number from 1"),
        ("kernel_size", {"from": 1, "to": MAX_LISTED + 1, "step": 1}, (), "must have at most 100000 values"),
        ("padding", ["sam"], (0,), r"\(=sam\) must be same, valid, a whole number"),
        ("padding", [-1], (0,), r"\(=-1\) must be a whole number from 0"),
        ("bias", [1], (0,), r"\(=1\) must be false or true; write \[false, true\]"),
        ("bias", {"from": 0, "to": 1, "step": 1}, (), "must be false or true"),
        ("dtype", ["float8"], (0,), r"\(=float8\) must be float32 or float64 or bfloat16 or float16"),
        ("partial", ["5/4"], (0,), r"\(=5/4\) must be above 0 and at most 1"),
        ("partial", ["x"], (0,), r"\(=x\) must be a share; write it as 1/4 or 0.25"),
        ("partial", {"from": 1, "to": 2, "step": 1}, (), "must be a list of shares"),
        ("ghost_ratio", [1], (0,), r"\(=1\) must be a whole number from 2"),
        ("in_channels", {"from": 0, "to": 8, "step": 8}, (), r"\(=0\) must be a whole number from 1"),
        (
            "in_channels",
            {"from": 8, "to": 30, "step": 8},
            ("to",),
            r"\(=30\) must be reached from 8 in steps of 8; write to = 24",
        ),
        (
            "in_channels",
            {"from": 8, "to": 30, "times": 2},
            ("to",),
            r"must be reached from 8 by factors of 2; write to = 16",
        ),
        ("in_channels", {"from": 8, "to": 4, "step": 1}, ("to",), r"\(=4\) must be at least from \(=8\)"),
        ("in_channels", {"from": 8, "to": 16, "step": 0}, ("step",), r"\(=0\) must be a whole number from 1"),
        ("in_channels", {"from": 8, "to": 16, "times": 1}, ("times",), r"\(=1\) must be a whole number from 2"),
        ("in_channels", {"from": 0, "to": 16, "times": 2}, ("from",), r"\(=0\) must be at least 1 with times"),
        ("in_channels", {"from": 8, "to": "x", "step": 1}, ("to",), r"\(=x\) must be a whole number"),
        ("in_channels", {"from": 8, "to": 16}, (), "must have from, to, and either step or times"),
        ("in_channels", {"from": 8, "to": 16, "step": 8, "times": 2}, (), "and either step or times"),
        ("in_channels", {}, (), "must have from, to"),
        ("in_channels", {"from": 8, "to": 16, "stpe": 8}, ("stpe",), "is no key of a range; did you mean step?"),
    ],
)
def test_a_mistake_says_where_it_is_and_what_to_write(name: str, given, path, message: str) -> None:
    with pytest.raises(AxisError, match=message) as caught:
        parse_axis(name, given)
    assert caught.value.path == path
    assert re.fullmatch(r"[^\n]+[.?]", str(caught.value))


@pytest.mark.parametrize("name", known_axes())
def test_the_values_in_a_file_are_read_back_as_they_were(name: str) -> None:
    given = {"padding": ["same", "1x2"], "bias": [True], "dtype": ["float64"], "partial": ["1/3"], "stride": ["1x2", 2]}
    axis = parse_axis(name, given.get(name, {"from": 2, "to": 6, "step": 2}))
    assert parse_axis(name, axis.to_json()) == axis
