"""A wrong prefix is a wrong figure by a thousand: the table of units is tested row by row."""

from __future__ import annotations

import pytest

from convcost.text.units import (
    DECIMAL_PREFIXES,
    change_of,
    human_bytes,
    human_count,
    human_percent,
    human_ratio,
    human_share,
    human_time,
    thousands,
)


@pytest.mark.parametrize(
    ("prefix", "power"),
    [
        ("", 0),
        ("k", 3),
        ("M", 6),
        ("G", 9),
        ("T", 12),
        ("P", 15),
        ("E", 18),
        ("Z", 21),
        ("Y", 24),
        ("R", 27),
        ("Q", 30),
    ],
)
def test_each_prefix_stands_for_its_power_of_ten(prefix: str, power: int) -> None:
    assert 1000 ** DECIMAL_PREFIXES.index(prefix) == 10**power
    assert human_count(12 * 10**power) == ("12" if not prefix else f"12.0 {prefix}")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (9_994, "9.99 k"),
        (9_996, "10.0 k"),
        (99_940, "99.9 k"),
        (99_960, "100 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (86_704_128, "86.7 M"),
        (-1_500, "-1.50 k"),
        (10**20, "100 E"),
        (1.0779e11, "108 G"),
        (10**40, "10000000000 Q"),
    ],
)
def test_counts_have_three_digits_and_round_up_into_the_next_prefix(count: float, text: str) -> None:
    assert human_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 ns"),
        (3e-9, "3.00 ns"),
        (8.14e-5, "81.4 µs"),
        (0.00421, "4.21 ms"),
        (0.99996, "1.00 s"),
        (1.5, "1.50 s"),
        (240.0, "240 s"),
    ],
)
def test_times_take_the_largest_unit_that_leaves_a_figure_of_one_or_more(seconds: float, text: str) -> None:
    assert human_time(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(1, "1x"), (0.863, "0.86x"), (7.8904, "7.9x"), (64.0, "64.0x"), (128.4, "128x")]
)
def test_ratios_keep_the_digits_that_matter(ratio: float, text: str) -> None:
    assert human_ratio(ratio) == text


def test_bytes_shares_and_thousands() -> None:
    assert human_bytes(13_454_080) == "13.5 MB"
    assert human_bytes(12) == "12 B"
    assert human_share(0.125) == "12.5 %"
    assert thousands(86_704_128) == "86,704,128"


@pytest.mark.parametrize(
    ("share", "sign", "text"),
    [
        (0.0, "+", "+0 %"),
        (0.0123, "", "1.23 %"),
        (-0.5, "+", "-50 %"),
        (62.95, "+", "+6295 %"),
        (0.99996, "", "100 %"),
        (1.5e-7, "", "0.000015 %"),
        (1e9, "", "100000000000 %"),
    ],
)
def test_a_percentage_has_no_exponent_whatever_its_size(share: float, sign: str, text: str) -> None:
    assert human_percent(share, sign) == text


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(9, 6, "1.5x fewer"), (6, 9, "1.5x as many"), (4, 4, "as many"), (0, 0, "as many"), (4, 0, "none")],
)
def test_a_change_says_fewer_or_as_many_and_never_1x(before: int, after: int, words: str) -> None:
    assert change_of(before, after) == words
