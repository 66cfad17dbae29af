"""Quantities with units: each prefix row by row, each kind with its own words, mix-ups refused."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcost.text.errors import ConvcostError
from convcost.text.quantities import BYTES, FLOPS, MACS, PARAMS, SECONDS, Kind, generous, parse_percent, quantity

PREFIXES = {
    "": 1,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


@pytest.mark.parametrize(("prefix", "size"), PREFIXES.items())
def test_every_prefix_is_its_power(prefix: str, size: int) -> None:
    assert quantity(f"3 {prefix}B", BYTES) == 3 * size
    assert quantity(f"3{prefix}", PARAMS) == 3 * size
    assert quantity(f"3 {prefix}MACs", MACS) == 3 * size


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1.9 GMACs", MACS, 1_900_000_000),
        ("12M", MACS, 12_000_000),
        ("20 k", PARAMS, 20_000),
        ("4.3 M params", PARAMS, 4_300_000),
        ("1.2 GFLOPs", FLOPS, 1_200_000_000),
        ("47 MB", BYTES, 47_000_000),
        ("45 MiB", BYTES, 45 * 2**20),
        ("45 MBytes", BYTES, 45_000_000),
        ("8 bytes", BYTES, 8),
        ("3 Gflops", FLOPS, 3 * 10**9),
        ("3 MACS", MACS, 3),
        ("1_000", MACS, 1000),
        (580, MACS, 580),
        ("1234567890123456789012345678901234567.5 Gi", PARAMS, 12345678901234567890123456789012345675 * 2**30 // 10),
        ("0.00000000000000000000000000000000000001 M", MACS, Decimal("1e-32")),
        ("45 ms", SECONDS, Decimal("0.045")),
        ("60us", SECONDS, Decimal("0.00006")),
        ("60 µs", SECONDS, Decimal("0.00006")),
        ("7 ns", SECONDS, Decimal("7e-9")),
        ("1.5 s", SECONDS, Decimal("1.5")),
    ],
)
def test_a_quantity_is_read_exactly(text: str | int, kind: Kind, value: object) -> None:
    assert quantity(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("1.9 GFLOPs", MACS, 'and 1 MAC = 2 FLOPs; write "950 M", or limit flops instead.'),
        ("950 MMACs", FLOPS, 'and 1 MAC = 2 FLOPs; write "1.90 G", or limit macs instead.'),
        ("47 MB", PARAMS, 'must be a number of parameters, and MB is no unit of it; write it as "4.3 M".'),
        ("47 M", BYTES, 'must be a number of bytes, and M is no unit of it; write it as "47 MB".'),
        ("60", SECONDS, 'must be a time, and has no unit; write it as "60 ms".'),
        (60, SECONDS, 'must be a time, and has no unit; write it as "60 ms".'),
        ("12m", MACS, "m is no unit of it"),
        ("45 Mb", BYTES, 'must be a number of bytes, and b means bits, B bytes; write it as "47 MB".'),
        ("1 Gib", BYTES, "b means bits, B bytes"),
        ("8 b", BYTES, "b means bits, B bytes"),
        ("1 TFLOPS", FLOPS, "must be a number of FLOPs, and FLOPS means a rate, FLOPs a number; write it as"),
        ("1 TFLOPS", MACS, "TFLOPS is no unit of it"),
        ("1 Mb", PARAMS, "Mb is no unit of it"),
        ("-3", MACS, "must be a number of MACs of at least 0"),
        ("nan", MACS, "must be a number of MACs of at least 0"),
        ("4,3 M", MACS, "must be a number of MACs of at least 0"),
        ("", BYTES, "must be a number of bytes of at least 0"),
    ],
)
def test_a_quantity_of_another_kind_is_refused_with_the_next_step(text: str | int, kind: Kind, message: str) -> None:
    with pytest.raises(ConvcostError) as refused:
        quantity(text, kind)
    assert str(refused.value).startswith(f"(={text})")
    assert message in str(refused.value)


@given(st.text(max_size=12))
def test_no_text_crashes_the_reader(text: str) -> None:
    for kind in (PARAMS, MACS, FLOPS, BYTES, SECONDS):
        with suppress(ConvcostError):
            assert quantity(text, kind) >= 0


@given(st.integers(0, 10**18))
def test_a_generous_limit_is_at_least_a_tenth_above_and_never_more_than_that_and_one_percent(value: int) -> None:
    for kind in (PARAMS, BYTES):
        limit = quantity(generous(value, kind), kind)
        assert limit * 10 >= value * 11
        assert limit * 1000 <= value * 1100 * Decimal("1.011") + 1000


@pytest.mark.parametrize(("text", "share"), [("1 %", 0.01), ("0%", 0.0), ("12.5 %", 0.125), (" 250 % ", 2.5)])
def test_a_percentage_is_a_share(text: str, share: float) -> None:
    assert parse_percent(text) == share


def test_a_number_without_its_sign_is_shown_with_it() -> None:
    with pytest.raises(ConvcostError, match=r'\(=20\) must be a percentage of at least 0; write it as "20 %"'):
        parse_percent("20")


@pytest.mark.parametrize("text", ["1", "-1 %", "one %", "1 %%", ""])
def test_anything_else_is_no_percentage(text: str) -> None:
    with pytest.raises(ConvcostError, match='must be a percentage of at least 0; write it as "1 %"'):
        parse_percent(text)
