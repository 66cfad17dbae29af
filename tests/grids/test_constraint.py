"""Conditions: what holds, what is refused, and at which character."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcost.grids.constraint import MAX_DEPTH, MAX_LENGTH, Constraint, ConstraintError

VALUES = {
    "in_channels": np.array([4, 8, 12]),
    "out_channels": np.array([8, 8, 8]),
    "kernel_size": (np.array([1, 3, 3]), np.array([1, 3, 5])),
    "groups": np.array([0, 2, 5]),
    "macs": np.array([2**53, 2**53 + 1, 1]),
    "macs_ratio": np.array([1.5, np.nan, 0.5]),
    "bias": True,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c > 4", [False, True, True]),
        ("in_channels >= 8 and c <= 8", [False, True, False]),
        ("4 < c < 12", [False, True, False]),
        ("not c == 8", [True, False, True]),
        ("c == 4 or c == 12", [True, False, True]),
        ("not (c == 4 or c == 12)", [False, True, False]),
        ("c * 2 - o == 0", [True, False, False]),
        ("c // 8 == 1", [False, True, True]),
        ("-c % 8 == 4", [True, False, True]),
        ("c / 8 == 1.5", [False, False, True]),
        ("c ** 2 == 64", [False, True, False]),
        ("2 ** -c < 0.01", [False, True, True]),
        ("c ==\n8\t", [False, True, False]),
        ("+c == 8", [False, True, False]),
        ("o == 8", [True, True, True]),
        ("bias == 1", [True, True, True]),
        ("k == 3", [False, True, False]),
        ("k != 3", [True, False, True]),  # 3x5 is no number
        ("k_h == 3 and k_w == 5", [False, False, True]),
        ("kernel_size_h >= 3", [False, True, True]),
        ("macs == 9007199254740993", [False, True, False]),  # exact, which a float would not be
        ("macs * macs * macs > 1e47", [True, True, False]),  # beyond int64 as a float
        ("macs < 9223372036854775808", [True, True, True]),
        ("9**9**9 > c", [True, True, True]),
        ("c % groups == 0", [False, True, False]),  # 4 % 0 is no number
        ("c % groups != 0", [True, False, True]),
        ("c // groups > 2", [False, True, False]),
        ("groups == 0 or c % groups == 0", [True, True, False]),
        ("c / groups < 1e9", [False, True, True]),
        ("macs_ratio > 1", [True, False, False]),
        ("macs_ratio != 1.5", [False, True, True]),
        ("0.5e1 < c", [False, True, True]),
    ],
)
def test_a_condition_holds_where_python_says_so(text: str, expected: list[bool]) -> None:
    mask = Constraint(text).mask(VALUES)
    assert mask.dtype == bool
    assert np.broadcast_to(mask, (3,)).tolist() == expected


def test_arrays_of_different_axes_broadcast() -> None:
    mask = Constraint("c < o").mask({"in_channels": np.array([[1], [5]]), "out_channels": np.array([2, 6, 9])})
    assert mask.tolist() == [[True, True, True], [False, True, True]]


@given(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40), st.sampled_from(["+", "-", "*", "//", "%"]))
def test_whole_numbers_are_those_of_python(left: int, right: int, sign: str) -> None:
    if right == 0 and sign in {"//", "%"}:
        return
    value = {"+": left + right, "-": left - right, "*": left * right}.get(sign)
    if value is None:
        value = left // right if sign == "//" else left % right
    if abs(value) < 2**62:
        mask = Constraint(f"c {sign} o == h").mask({"in_channels": left, "out_channels": right, "height": value})
        assert bool(mask)


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("c > f(1)", 4, r"\(=f\(1\)\) must be made of comparisons"),
        ("c > abs(1)", 4, "must be made of comparisons"),
        ("c > o.real", 4, r"\(=o.real\) must be made of comparisons"),
        ("c > k[0]", 4, r"\(=k\[0\]\) must be made of comparisons"),
        ("c > (lambda: 1)", 5, "must be made of comparisons"),
        ("c > [x for x in o]", 4, "must be made of comparisons"),
        ("c if o else k", 0, "must be made of comparisons"),
        ("(c := 3) > 1", 1, "must be made of comparisons"),
        ("c & 1 == 0", 0, "must be made of comparisons"),
        ("~c > 0", 0, "must be made of comparisons"),
        ("c @ o > 0", 0, "must be made of comparisons"),
        ("c > f'{o}'", 4, "must be made of comparisons"),
        ("c > (o < 3)", 5, r"\(=o < 3\) must be made of comparisons"),
        ("c > 'a'", 4, r"\(='a'\) must be a number"),
        ("c > True", 4, r"\(=True\) must be a number; write 1 or 0\.$"),
        ("c > 'a'", 4, r"\(='a'\) must be a number; write one such as 5e8\.$"),
        ("c > None", 4, "must be a number"),
        ("c > 1j", 4, "must be a number"),
        ("c > 1e999", 4, "must be a number of at most 1e[+]300"),
        (f"c > 1{'0' * 400}", 4, "must be a number of at most 1e[+]300"),
        ("c in (1, 2)", 0, "must compare with < <= > >= == or !=; write k == 1 or k == 3 for a list"),
        ("c is o", 0, "must compare with"),
        ("c", 0, r"\(=c\) must be a comparison"),
        ("c > 1 and o", 10, r"\(=o\) must be a comparison"),
        ("not c", 4, "must be a comparison"),
        ("c + 1", 0, "must be a comparison"),
        ("1 < 2", 0, "must name an axis or a column"),
        ("  croups > 1", 2, r"\(=croups\) must be an axis.*; did you mean groups\?"),
        ("c > 1 and time_s < 1", 10, r"\(=time_s\) must be an axis"),
        ("h_h > 1", 0, r"\(=h_h\) must be an axis"),
        ("block == 1", 0, "and is a text"),
        ("c > dtype", 4, "and is a text"),
        ("é > 1 and zz > 1", 0, r"\(=é\) must be an axis"),
        ("c > 1 and (é > 1)", 11, r"\(=é\) must be an axis"),
        ("c > $ 1", 4, r"\(=c > . 1\) must be made of comparisons.*\(invalid syntax\)"),
        ("c > 1; o", 5, "must be made of comparisons"),
        ("", 0, "must be made of comparisons"),
        ("c > 1 # and\no > 3", 6, "must be made of comparisons"),
        ("(c >\r\f q) > 1", 1, r"\(=c > q\) must be made"),
        ("c\n> q", 4, r"\(=q\) must be an axis"),
        ("c\0> 1", 0, "must be made of comparisons"),
        ("(" * 300 + "c > 1" + ")" * 300, 200, "must be made of comparisons"),
        ("-" * (MAX_DEPTH + 1) + "c > 1", MAX_DEPTH - 1, f"must be at most {MAX_DEPTH} levels deep"),
        ("c > " + "1 + " * (MAX_DEPTH + 1) + "1", 4, "levels deep"),
        ("c > 1" + " " * MAX_LENGTH, 0, f"must have at most {MAX_LENGTH} characters"),
    ],
)
def test_anything_else_is_refused_at_its_character(text: str, offset: int, message: str) -> None:
    with pytest.raises(ConstraintError, match=message) as caught:
        Constraint(text)
    assert caught.value.offset == offset
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30) | st.text("co1k()<>=# \r\n\f\\é\u2028\x1c'\"", max_size=15))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        Constraint(text)
    except ConstraintError as error:
        assert 0 <= error.offset <= len(text)  # noqa: PT017 - most texts are refused, some are not


def test_names_are_full_and_each_once() -> None:
    assert Constraint("k_h < 4 and stride_w == 1 and c % mid == 0 and k == 3").names == (
        "kernel_size",
        "stride",
        "in_channels",
        "mid_channels",
    )


def test_a_condition_applies_to_blocks_that_have_its_parameters() -> None:
    assert Constraint("c % groups == 0").applies_to("grouped")
    assert not Constraint("c % groups == 0").applies_to("standard")
    assert Constraint("macs < 5e8").applies_to("standard")
