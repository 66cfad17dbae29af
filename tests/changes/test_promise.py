"""The sentence on what the MACs promised and the clock gave, from made times."""

from __future__ import annotations

import pytest

from convcost.changes.promise import TimedChange, promise_sentence
from convcost.timing.statistics import Sample, Series, Timing, summarise

MS = 1e-3


def timings(before: float, after: float, rounds: int = 20) -> tuple[Timing, Timing]:
    """Two forward passes that always take the same milliseconds, in so many rounds."""
    made = {
        name: Series(seconds, tuple(Sample(number, seconds, 10, clean=True, faults=0.0) for number in range(rounds)))
        for name, seconds in (("a", before * MS), ("b", after * MS))
    }
    timed = summarise(made, dict.fromkeys(range(rounds), MS), "a", pinned=True)
    return timed["a"], timed["b"]


def change(name: str, macs: tuple[int, int], before: float, after: float) -> TimedChange:
    return TimedChange(name, *macs, before * MS, after * MS)


def test_the_layers_that_fell_short_have_their_share() -> None:
    """Each of 4 layers takes 2 ms and is to take 0.25; 3 take 1 ms, the other 0.25: 3 x 0.75 = 2.25 ms are missing."""
    layers = [change(f"conv{number}", (800, 100), 2, 1) for number in range(3)]
    layers.append(change("last", (800, 100), 2, 0.25))
    assert promise_sentence(*timings(10, 5.25), (3200, 400), layers) == (
        "formula: 8.0x fewer MACs, so 3.3x the speed if each layer's time followed its MACs; "
        "clock: 1.90x faster (1.83–1.98), 10.0 ms → 5.25 ms; "
        "2.25 ms more than the formula promised: conv0 and 2 alike 2.25 ms"
    )


def test_what_the_layers_alone_do_not_explain_lies_in_the_rest() -> None:
    sentence = promise_sentence(*timings(10, 6), (800, 100), [change("conv", (800, 100), 8, 2)])
    assert sentence.endswith("3.00 ms more than the formula promised: the rest of the model 2.00 ms, conv 1.00 ms")


def test_three_layers_at_most_and_none_below_a_twentieth() -> None:
    layers = [change(name, (100, 100), 1, 1 + lost) for name, lost in zip("abcde", (4, 3, 2, 1, 0.1), strict=True)]
    sentence = promise_sentence(*timings(10, 20.1), (500, 400), layers)
    assert sentence.endswith("10.1 ms more than the formula promised: a 4.00 ms, b 3.00 ms, c 2.00 ms")


def test_a_promise_that_is_kept_names_no_layer() -> None:
    sentence = promise_sentence(*timings(10, 2), (800, 100), [change("conv", (800, 100), 8, 1)])
    assert sentence == (
        "formula: 8.0x fewer MACs, so 3.3x the speed if each layer's time followed its MACs; "
        "clock: 5.0x faster (4.8–5.2), 10.0 ms → 2.00 ms"
    )


def test_a_promise_within_the_interval_names_no_layer() -> None:
    sentence = promise_sentence(*timings(10, 3.05), (800, 100), [change("conv", (800, 100), 8, 1.05)])
    assert sentence.endswith("clock: 3.3x faster (3.1–3.4), 10.0 ms → 3.05 ms")


def test_added_layers_take_the_mean_time_of_a_mac_and_removed_ones_none() -> None:
    """10 ms for 1000 MACs: 500 added ones promise 5 ms, and a removed layer of 2 ms leaves: 10 + 5 - 2 = 13 ms."""
    layers = [change("new", (0, 500), 0, 6), change("old", (200, 0), 2, 0)]
    assert promise_sentence(*timings(10, 14), (1000, 1300), layers).startswith(
        "formula: 1.3x as many MACs, so 0.77x the speed if each layer's time followed its MACs; clock: 0.71x the speed "
    )


def test_a_slower_network_of_fewer_macs_is_called_slower() -> None:
    sentence = promise_sentence(*timings(5, 10), (800, 100), [change("conv", (800, 100), 4, 9)])
    assert "; clock: 0.50x the speed (0.48–0.52), 5.00 ms → 10.0 ms; " in sentence


def test_no_difference_beyond_the_noise_is_not_called_faster() -> None:
    sentence = promise_sentence(*timings(10, 9.9), (800, 100), [change("conv", (800, 100), 4, 3.9)])
    assert "clock: no difference in speed beyond the noise (1.01x, 0.97–1.05)" in sentence
    assert "faster" not in sentence


def test_too_few_rounds_blame_no_layer() -> None:
    sentence = promise_sentence(*timings(10, 9, rounds=3), (800, 100), [change("conv", (800, 100), 4, 3)])
    assert "clock: speed not decided: only 3 undisturbed blocks" in sentence
    assert "more than the formula promised" not in sentence


def test_as_many_macs_promise_nothing() -> None:
    sentence = promise_sentence(*timings(10, 12), (800, 800), [change("relu", (0, 0), 1, 3)])
    assert sentence == (
        "formula: as many MACs; clock: 0.83x the speed (0.80–0.87), 10.0 ms → 12.0 ms; "
        "2.00 ms more than the formula promised: relu 2.00 ms"
    )


def test_a_layer_that_was_not_timed_is_counted_among_the_rest() -> None:
    layers = [TimedChange("matmul", 800, 100, None, None)]
    assert promise_sentence(*timings(10, 12), (800, 100), layers).endswith(
        "2.00 ms more than the formula promised: the rest of the model 2.00 ms"
    )


def test_layers_that_take_longer_alone_than_the_whole_promise_no_more_than_it() -> None:
    """Alone the layer takes 20 ms, and is to take 5: three quarters of the 10 ms of the whole are saved."""
    sentence = promise_sentence(*timings(10, 5), (800, 200), [change("conv", (800, 200), 20, 10)])
    assert sentence.startswith("formula: 4.0x fewer MACs, so 4.0x the speed if ")


@pytest.mark.parametrize(("macs", "shown"), [((0, 5), "MACs where there were none"), ((5, 0), "no MACs any more")])
def test_models_without_macs_have_no_ratio(macs: tuple[int, int], shown: str) -> None:
    assert promise_sentence(*timings(10, 10), macs, []).startswith(f"formula: {shown}")
