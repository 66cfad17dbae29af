"""Two interleaved series: what they say, and when there is too little to say anything."""

from __future__ import annotations

import pytest

from convcost.timing.measured import ForwardTiming, summarise_forwards
from convcost.timing.statistics import Sample, Series

MS = 1e-3


def timed(clean: int, dirty: int, *, untrusted: str | None = None) -> ForwardTiming:
    """A head that takes 2 ms where its base takes 1 ms."""
    rounds = clean + dirty
    made = {
        name: Series(1.0, tuple(Sample(number, seconds, 10, number < clean, 0.0) for number in range(rounds)))
        for name, seconds in (("base", MS), ("head", 2 * MS))
    }
    return summarise_forwards(made, dict.fromkeys(range(rounds), MS), "here", (), pinned=True, untrusted=untrusted)


def test_five_undisturbed_pairs_are_enough() -> None:
    timing = timed(5, 0)
    assert (timing.doubt, timing.growth_doubt, timing.head.speedup) == (None, None, 0.5)


@pytest.mark.parametrize(("clean", "dirty"), [(4, 0), (4, 20), (0, 8)])
def test_fewer_decide_nothing_and_the_next_step_is_said(clean: int, dirty: int) -> None:
    timing = timed(clean, dirty)
    step = "raise time_budget, or close other programs"
    assert timing.doubt == f"too few undisturbed blocks of calls ({clean}, 5 are needed): {step}"
    assert timing.growth_doubt == f"too few undisturbed pairs of base and head ({clean}, 5 are needed): {step}"


def test_pairs_in_a_slow_phase_do_not_count() -> None:
    """Of eleven rounds six are quiet, and the last two of those are disturbed: four pairs are left."""
    made = {name: Series(1.0, tuple(Sample(n, MS, 10, n not in {4, 5}, 0.0) for n in range(11))) for name in ("base", "head")}  # fmt: skip
    timing = summarise_forwards(made, {n: MS if n < 6 else 2 * MS for n in range(11)}, "here", (), pinned=True)
    assert timing.doubt is None
    assert (timing.growth_doubt or "").startswith("too few undisturbed pairs of base and head (4, 5 are needed)")


def test_a_machine_that_is_not_to_be_trusted_decides_nothing() -> None:
    timing = timed(20, 0, untrusted="others keep it busy: close them")
    assert timing.doubt == timing.growth_doubt == "others keep it busy: close them"


def test_the_interval_holds_the_median_of_the_same_blocks() -> None:
    for timing in (timed(5, 3), timed(3, 5)):
        assert timing.low <= timing.head.time_s <= timing.high
