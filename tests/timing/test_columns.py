"""How a speed-up is written: with its interval, and never with an end that looks like 1 and is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_results import CONDITIONS, TIMING

from convcost.timing.columns import speed_sentence, speedup_text, time_with_quartiles, timing_sentences


@pytest.mark.parametrize(
    ("speedup", "low", "high", "text"),
    [
        (4.5, 4.4, 4.7, "4.5x (4.4–4.7)"),
        (1.06, 1.002, 1.1, "1.060x (1.002–1.100)"),
        (0.93, 0.89, 0.997, "0.930x (0.890–0.997)"),
        (2.1, 1.04, 3.2, "2.10x (1.04–3.20)"),
        (1.02, 0.998, 1.1, "1.02x (1.00–1.10)"),
        (2.31, None, None, "2.3x"),
    ],
)
def test_a_decided_speedup_has_no_end_that_is_shown_as_1(
    speedup: float, low: float | None, high: float | None, text: str
) -> None:
    timing = replace(TIMING, speedup=speedup, speedup_low=low, speedup_high=high, doubts=())
    assert speedup_text(timing) == text


def test_a_speedup_from_one_round_is_undecided_and_has_no_interval() -> None:
    timing = replace(TIMING, speedup=2.3, speedup_low=None, speedup_high=None, doubts=("one round: wait",))
    assert speedup_text(timing) == "2.3x ?"
    assert speed_sentence(timing) == "speed not decided: one round"


def test_a_time_has_its_quartiles_in_its_own_unit_and_a_mark() -> None:
    timing = replace(TIMING, time_s=0.0168, time_q25_s=0.00991, time_q75_s=0.0173, warnings=())
    assert time_with_quartiles(timing) == "16.8 ms (9.91–17.3)"
    one_call = replace(timing, time_q25_s=0.0168, time_q75_s=0.0168, warnings=("late: wait",))
    assert time_with_quartiles(one_call) == "16.8 ms !"
    assert time_with_quartiles(None) == "-"


def test_the_caption_says_what_the_times_are_and_what_the_marks_mean() -> None:
    quiet = replace(TIMING, speedup=2.0, speedup_low=1.9, speedup_high=2.1, warnings=(), doubts=())
    assert timing_sentences([quiet, None]) == "Times: medians; speed-ups with 5–95 % intervals."
    doubted = replace(quiet, speedup_low=None, speedup_high=None, warnings=("few: wait",), doubts=("few: wait",))
    assert timing_sentences([doubted]) == "Times: medians. !: with a warning."
    assert timing_sentences([quiet], CONDITIONS).startswith("Times: medians, contiguous, ")
