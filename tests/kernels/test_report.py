"""The sentence on a kernel's speed: the verdict of the timing, in the same words as for blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from made_results import TIMING, kernels

from convcost.workflows.kernel import separate_kernels

if TYPE_CHECKING:
    from convcost.kernels.report import KernelReport
    from convcost.timing.statistics import Timing


def report(factors: Timing) -> KernelReport:
    made = kernels()
    row = made.rows[0]
    assert row.timing is not None
    return replace(made, rows=(replace(row, timing=replace(row.timing, factors=factors)),))


@pytest.mark.parametrize(
    ("factors", "sentence", "verdict"),
    [
        (replace(TIMING, speedup_low=1.2), "1.25x faster (1.20–1.50)", "faster"),
        (replace(TIMING, speedup=0.5, speedup_low=0.4, speedup_high=0.6), "0.50x the speed (0.40–0.60)", "slower"),
        (
            replace(TIMING, speedup_low=0.9),
            "no difference in speed beyond the noise (1.25x, 0.90–1.50)",
            "same",
        ),
        (
            replace(TIMING, doubts=("only 3 undisturbed blocks: raise time_budget",)),
            "speed not decided: only 3 undisturbed blocks",
            "undecided",
        ),
    ],
)
def test_the_speed_of_the_factors_is_worded_by_its_verdict(factors: Timing, sentence: str, verdict: str) -> None:
    made = report(factors)
    assert made.verdicts[-1].endswith(sentence)
    assert sentence in made._repr_html_()
    assert made.to_dict()["kernels"][0]["verdict"] == verdict
    assert ("?" in made.text().splitlines()[2]) is (verdict == "undecided")


def test_equal_warnings_of_kernel_and_factors_are_said_once() -> None:
    (row,) = report(TIMING).rows
    assert row.warning == "kernel, factors: the <machine> was busy"


def separated(kernel: str) -> KernelReport:
    named = dict.fromkeys(("size", "sigma", "theta", "wavelength", "gamma"))
    return separate_kernels([kernel], named, None, (1, 16, 16))


def test_what_rounding_leaves_is_0_beside_its_rank_and_what_is_exact_stays() -> None:
    (gaussian,) = separated("gaussian").rows
    assert gaussian.separation.rank1_error > 0
    assert gaussian.separation.error_text(1) == "0"
    text = str(separated("1e-20 0; 0 1"))
    assert "  1e-20     0\n      0     1\n" in text
    assert "  singular values 1 1e-20\n" in text
    assert "rank 1: error 1e-20" in text


def test_the_matrix_is_in_the_json_and_the_csv() -> None:
    result = separated("1 0 -1; 2 0 -2")
    assert result.to_dict()["kernels"][0]["matrix"] == [[1, 0, -1], [2, 0, -2]]
    assert result.to_frame()["matrix"][0] == "[1 0 -1; 2 0 -2]"
