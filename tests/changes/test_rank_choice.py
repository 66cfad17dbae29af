from __future__ import annotations

from typing import Any

import pytest

from convcost.changes.rank_choice import FACTORISED, RankChoice, rank_choice, require_algebra
from convcost.convolution.blocks import BLOCKS
from convcost.text.errors import ConvcostError


@pytest.mark.parametrize(
    ("choice", "loss", "text"),
    [
        (RankChoice(), 1 - 0.99, "at least 99 % of the energy"),
        (RankChoice(energy=1), 0, "at least 100 % of the energy"),
        (RankChoice(energy=0.999999), 1 - 0.999999, "at least 99.9999 % of the energy"),
        (RankChoice(max_error=0.05), 0.05 * 0.05, "at most 5 % error"),
        (RankChoice(rank=3), None, "rank 3"),
    ],
)
def test_a_choice_limits_the_energy_that_is_lost_or_is_a_rank(choice: RankChoice, loss: float, text: str) -> None:
    assert choice.max_loss == loss
    assert str(choice) == text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rank": 2, "energy": 0.9}, "rank and energy exclude each other; give one of them to choose the ranks."),
        ({"rank": 0}, "rank (=0) must be at least 1; give a larger number."),
        ({"energy": 0.0}, "energy (=0.0) must be a share above 0 and at most 1; give one such as 0.99."),
        ({"energy": 99.0}, "energy (=99.0) must be a share above 0 and at most 1; give one such as 0.99."),
        ({"energy": float("nan")}, "energy (=nan) must be a share above 0 and at most 1; give one such as 0.99."),
        ({"energy": "0.9"}, "energy (=0.9) must be a share above 0 and at most 1; give one such as 0.99."),
        ({"max_error": True}, "max_error (=true) must be at least 0 and below 1; give 0.05 for 5 %."),
        ({"max_error": 5.0}, "max_error (=5.0) must be at least 0 and below 1; give 0.05 for 5 %."),
        ({"max_error": float("inf")}, "max_error (=inf) must be at least 0 and below 1; give 0.05 for 5 %."),
    ],
)
def test_a_choice_that_no_rank_could_meet_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvcostError) as caught:
        RankChoice(**given)
    assert str(caught.value) == message


def test_a_block_without_an_algebra_is_refused_with_those_that_have_one() -> None:
    assert set(FACTORISED) < set(BLOCKS)
    for name in FACTORISED:
        require_algebra(name)
    with pytest.raises(ConvcostError) as caught:
        require_algebra("bottleneck")
    assert str(caught.value) == (
        "block (=bottleneck) must be one whose weights follow from a convolution's to keep them: low-rank, tucker-2, "
        "spatially-separable, depthwise-separable, shared-kernel-separable, blueprint."
    )


def test_the_rank_is_taken_from_the_parameters_of_blocks_where_weights_are_kept() -> None:
    given = {"rank": 3, "expansion": 2}
    assert rank_choice(given, keep_weights=False, energy=None, max_error=None) == (None, given)
    assert rank_choice(given, keep_weights=True, energy=None, max_error=None) == (RankChoice(3), {"expansion": 2})
    assert rank_choice({}, keep_weights=True, energy=0.9, max_error=None) == (RankChoice(energy=0.9), {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep_weights": False, "energy": 0.9}, "energy (=0.9) must have weights to keep; turn keep_weights on."),
        (
            {"keep_weights": False, "max_error": 0.1},
            "max_error (=0.1) must have weights to keep; turn keep_weights on.",
        ),
        ({"parameters": {"rank": True}}, "rank (=True) must be a whole number; give an integer of 1 or more."),
        ({"parameters": {"rank": 2.5}}, "rank (=2.5) must be a whole number; give an integer of 1 or more."),
    ],
)
def test_what_chooses_no_rank_is_refused(arguments: dict[str, Any], message: str) -> None:
    defaults = {"parameters": {}, "keep_weights": True, "energy": None, "max_error": None}
    with pytest.raises(ConvcostError) as caught:
        rank_choice(**{**defaults, **arguments})
    assert str(caught.value) == message
