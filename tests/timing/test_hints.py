"""The rules of the hints on made-up accounts, and what a trial makes of their claims."""

from __future__ import annotations

from typing import Any

import pytest

from convcost.convolution.conv import Conv
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.timing.account import Account, Part
from convcost.timing.hints import Facts, Hint, Suggestion, Trial, onednn_obstacle, suggest, word

MS = 1e-3
LAYER = Layer("conv", Conv(64, 64, 3, padding=1), Shape(1, 64, (56, 56)))


def facts(*parts: Part, layers: tuple[Layer, ...] = (LAYER,), **conditions: Any) -> Facts:
    usual: dict[str, Any] = {"memory_format": "contiguous", "threads": 1, "cores": 2}
    return Facts(Account(parts), layers, **usual | conditions)


def claims(*parts: Part, layers: tuple[Layer, ...] = (LAYER,), **conditions: Any) -> list[str]:
    return [one.alternative for one in suggest(facts(*parts, layers=layers, **conditions))]


CONVOLUTION = Part("convolution", 1 * MS, "jit:avx2")


def test_an_account_of_convolution_alone_gets_no_hint() -> None:
    assert claims(CONVOLUTION) == []


@pytest.mark.parametrize(
    ("part", "alternative"),
    [
        (Part("reorder_input", 0.2 * MS, "reorder jit:uni"), "channels_last"),
        (Part("reorder_output", 0.2 * MS, "reorder jit:uni"), "channels_last"),
        (Part("reorder_weights", 0.2 * MS, "reorder jit:uni"), "packed_weights"),
        (Part("native", 0.2 * MS, "aten::_slow_conv2d_forward"), "two_threads"),
        (Part("page_faults", 0.2 * MS), "pinned"),
    ],
)
def test_a_rule_fires_at_a_tenth_of_the_time_and_not_below(part: Part, alternative: str) -> None:
    assert claims(CONVOLUTION, part) == [alternative]
    assert claims(Part("convolution", 2 * MS, "jit:avx2"), part) == []


def test_copies_in_channels_last_point_to_contiguous() -> None:
    copies = Part("native", 0.2 * MS, "aten::copy_")
    assert "contiguous" in claims(CONVOLUTION, copies, memory_format="channels_last")
    assert "contiguous" not in claims(CONVOLUTION, copies)


def test_reorders_in_channels_last_do_not_point_to_channels_last() -> None:
    assert claims(CONVOLUTION, Part("reorder_input", 0.2 * MS, "r"), memory_format="channels_last") == []


def test_more_threads_are_no_alternative_on_one_core_on_a_gpu_or_when_there_are_two() -> None:
    native = Part("native", 0.2 * MS, "aten::_slow_conv2d_forward")
    for conditions in ({"cores": 1}, {"on_cpu": False}, {"threads": 2}):
        assert claims(CONVOLUTION, native, **conditions) == []


def test_below_100_microseconds_overhead_is_named_when_it_is_half_of_the_time() -> None:
    overhead = Part("overhead", 0.05 * MS)
    assert claims(Part("convolution", 0.04 * MS, "jit:avx2"), overhead) == ["twice_the_batch"]
    assert claims(Part("convolution", 0.06 * MS, "jit:avx2"), overhead) == []


def test_a_depth_multiplier_fires_unless_a_depthwise_kernel_ran() -> None:
    stage = Layer("depthwise", Conv(32, 64, 3, padding=1, groups=32), Shape(1, 32, (56, 56)))
    (found,) = suggest(facts(Part("convolution", 1 * MS, "x64:gemm:jit"), layers=(stage,)))
    assert found == Suggestion(
        "depth multiplier 2 left the fast depthwise kernels for x64:gemm:jit", "multiplier_1", stage
    )
    assert claims(Part("convolution", 1 * MS, "jit_dw:avx2"), layers=(stage,)) == []
    single = Layer("depthwise", Conv(32, 32, 3, padding=1, groups=32), Shape(1, 32, (56, 56)))
    assert claims(Part("convolution", 1 * MS, "x64:gemm:jit"), layers=(single,)) == []


def test_a_pointwise_stage_of_three_channels_is_compared_with_a_copy() -> None:
    stage = Layer("pointwise", Conv(3, 64, 1), Shape(1, 3, (56, 56)))
    assert claims(CONVOLUTION, layers=(stage,)) == ["copy"]
    assert claims(CONVOLUTION, layers=(Layer("pointwise", Conv(64, 64, 1), Shape(1, 64, (56, 56))),)) == []


@pytest.mark.parametrize(
    ("alternative", "trial", "text"),
    [
        ("channels_last", Trial(0.22 * MS, 0.14 * MS, 1.5), "It pays: 220 µs → 140 µs."),
        ("channels_last", Trial(0.22 * MS, 0.21 * MS, 0.99), None),
        ("channels_last", Trial(0.22 * MS, 0.30 * MS, 1.2), None),
        ("pinned", Trial(8.8 * MS, 0.8 * MS, 11.0), "It pays: 8.80 ms → 800 µs."),
        (
            "twice_the_batch",
            Trial(1 * MS, 1.2 * MS, 0.8),
            "It pays: twice the batch takes 1.2x the time, 1.00 ms → 600 µs for as many samples.",
        ),
        ("twice_the_batch", Trial(1 * MS, 2.1 * MS, 0.47), None),
        (
            "two_threads",
            Trial(1 * MS, 0.5 * MS, 1.9, ("jit_1x1:avx2", "jit_1x1:avx2")),
            "It pays: two run jit_1x1:avx2, 1.00 ms → 500 µs on twice the processors.",
        ),
        (
            "packed_weights",
            Trial(0.2 * MS, 0.15 * MS, 1.3),
            "It pays: packed once, as torch.compile does with freezing, conv takes 200 µs → 150 µs.",
        ),
        ("packed_weights", Trial(0.2 * MS, 0.19 * MS, 0.99), None),
        ("two_threads", Trial(1 * MS, 0.5 * MS, 1.9), None),
        ("two_threads", Trial(1 * MS, 36 * MS, 0.02, ("jit_1x1:avx2",)), None),
        (
            "multiplier_1",
            Trial(2 * MS, 0.5 * MS, 3.9),
            "It pays: this stage 2.00 ms → 500 µs with as many MACs in m·C channels of multiplier 1.",
        ),
        ("multiplier_1", Trial(2 * MS, 2 * MS, 0.96), None),
        ("copy", Trial(1 * MS, 0.6 * MS, 1.6), "It pays: it takes 1.00 ms, a plain copy of its output 600 µs."),
        ("copy", Trial(1 * MS, 0.4 * MS, 2.4), None),
    ],
)  # fmt: skip
def test_a_trial_bears_a_claim_out_or_drops_it(alternative: str, trial: Trial, text: str | None) -> None:
    copy_s = trial.after_s if alternative == "copy" else None
    expected = None if text is None else Hint(text, verified=True, copy_s=copy_s)
    assert word(Suggestion("It pays", alternative, LAYER), trial) == expected


def test_two_threads_that_run_the_kernels_of_one_are_no_other_kernel() -> None:
    trial = Trial(1 * MS, 0.5 * MS, 1.9, ("jit:avx2", "jit_dw:avx2"))
    assert word(Suggestion("It pays", "two_threads", kernels=("jit:avx2", "jit_dw:avx2")), trial) is None
    (hint,) = [word(Suggestion("It pays", "two_threads", kernels=("jit:avx2",)), trial)]
    assert hint == Hint("It pays: two run jit_dw:avx2, 1.00 ms → 500 µs on twice the processors.", verified=True)


def test_a_copy_outside_the_convolutions_points_to_no_other_thread_count() -> None:
    assert claims(CONVOLUTION, Part("native", 0.5 * MS, "aten::cat")) == []


def test_an_account_that_does_not_add_up_gets_no_hint_and_says_so() -> None:
    reorder = Part("reorder_input", 5 * MS, "reorder jit:uni")
    assert claims(CONVOLUTION, reorder) == ["channels_last"]
    wrong = (CONVOLUTION, reorder, Part("unexplained", -4 * MS))
    assert claims(*wrong) == []
    (doubt,) = Account(wrong).doubts
    assert doubt.startswith("the account does not add up, its parts take 3.0x the time: close other programs")
    assert Account((CONVOLUTION, Part("unexplained", 0.4 * MS))).doubts == ()


def test_the_weights_of_the_largest_stage_are_tried_packed() -> None:
    small, large = (Layer(name, Conv(c, c, 3, padding=1), Shape(1, c, (9, 9))) for name, c in (("a", 8), ("b", 64)))
    (found,) = suggest(facts(CONVOLUTION, Part("reorder_weights", 0.5 * MS, "r"), layers=(small, large)))
    assert found.stage is large
    assert found.claim == "the weights are laid out anew at each call, 33.3 % of it"


def test_a_claim_without_a_trial_says_so() -> None:
    assert word(Suggestion("It pays", "channels_last"), None) == Hint("It pays (not verified).", verified=False)


POINTWISE = Layer("pointwise", Conv(64, 64, 1), Shape(1, 64, (56, 56)))
SMALL = Layer("conv", Conv(16, 16, 3, padding=1), Shape(1, 16, (20, 20)))
SLOW = Part("native", 0.8 * MS, "aten::_slow_conv2d_forward")


@pytest.mark.parametrize(
    ("layer", "conditions", "claim"),
    [
        (
            POINTWISE,
            {},
            "aten::_slow_conv2d_forward takes 80.0 % of the time, since torch runs a 1x1 convolution of stride 1, "
            "fewer than 16 samples and one thread as a plain matrix product outside oneDNN",
        ),
        (
            SMALL,
            {"threads": 2},
            "aten::_slow_conv2d_forward takes 80.0 % of the time, since torch runs a convolution of one sample with at "
            "most 20,480 input values as a plain matrix product outside oneDNN",
        ),
        (
            LAYER,
            {"dtype": "float64"},
            "aten::_slow_conv2d_forward takes 80.0 % of the time, since oneDNN does not convolve float64",
        ),
        (
            LAYER,
            {"dtype": "bfloat16"},
            "aten::_slow_conv2d_forward takes 80.0 % of the time, since oneDNN convolves bfloat16 only on processors "
            "with instructions for it",
        ),
    ],
)
def test_a_convolution_outside_onednn_is_a_finding_with_torchs_reason(
    layer: Layer, conditions: dict[str, Any], claim: str
) -> None:
    first, *_ = suggest(facts(SLOW, Part("overhead", 0.2 * MS), layers=(layer,), **conditions))
    assert first.claim == claim
    assert (first.alternative, first.stage) == (("float32", None) if "dtype" in conditions else ("onednn", layer))


@pytest.mark.parametrize(
    ("layer", "threads"),
    [
        (POINTWISE, 2),
        (Layer("pointwise", Conv(64, 64, 1), Shape(16, 64, (56, 56))), 1),
        (Layer("pointwise", Conv(64, 64, 1, stride=2), Shape(1, 64, (56, 56))), 1),
        (LAYER, 1),
        (Layer("conv", Conv(16, 16, 3, groups=16), Shape(1, 16, (20, 20))), 1),
        (Layer("conv", Conv(16, 16, 5), Shape(1, 16, (20, 20))), 1),
        (Layer("conv", Conv(16, 16, 3), Shape(2, 16, (20, 20))), 1),
    ],
)
def test_a_convolution_that_torch_gives_to_onednn_has_no_obstacle(layer: Layer, threads: int) -> None:
    assert onednn_obstacle(layer, "float32", threads) is None


def test_the_claim_on_the_largest_part_comes_first() -> None:
    faults, reorders = Part("page_faults", 0.2 * MS), Part("reorder_input", 0.3 * MS, "reorder jit:uni")
    parts = (faults, reorders, Part("convolution", 0.5 * MS, "jit:avx2"))
    assert claims(*parts) == ["channels_last", "pinned"]
    assert claims(SLOW, faults, layers=(POINTWISE,)) == ["onednn", "two_threads", "pinned"]


@pytest.mark.parametrize(
    ("alternative", "trial", "text"),
    [
        (
            "onednn",
            Trial(1 * MS, 0.5 * MS, 1.9),
            "It is slow: in oneDNN, with weights packed once as torch.compile does with freezing, pointwise takes "
            "1.00 ms → 500 µs.",
        ),
        (
            "onednn",
            Trial(1 * MS, 1.5 * MS, 0.6),
            "It is slow: in oneDNN, with weights packed once as torch.compile does with freezing, pointwise takes "
            "1.00 ms → 1.50 ms, no gain beyond the noise.",
        ),
        ("float32", Trial(9 * MS, 1 * MS, 8.0), "It is slow: in float32 it takes 9.00 ms → 1.00 ms."),
        (
            "float32",
            Trial(1 * MS, 2 * MS, 0.4, highest=0.6),
            "It is slow: in float32 it takes 1.00 ms → 2.00 ms, which is slower: what ran is the better one here.",
        ),
        (
            "float32",
            Trial(1 * MS, 2 * MS, 0.5),
            "It is slow: in float32 it takes 1.00 ms → 2.00 ms, no gain beyond the noise.",
        ),
    ],
)
def test_the_trial_of_onednn_or_float32_is_reported_either_way(alternative: str, trial: Trial, text: str) -> None:
    hint = word(Suggestion("It is slow", alternative, POINTWISE), trial)
    assert hint == Hint(text, verified=True)


def test_a_part_that_exceeds_the_time_takes_all_of_it() -> None:
    (first, *_) = suggest(
        facts(
            Part("native", 1.05 * MS, "aten::_slow_conv2d_forward"),
            Part("unexplained", -0.05 * MS),
            layers=(POINTWISE,),
        )
    )
    assert first.claim.startswith("aten::_slow_conv2d_forward takes all of the time, since ")


def test_a_hint_about_a_copy_has_the_time_of_the_copy() -> None:
    stage = Layer("pointwise", Conv(3, 64, 1), Shape(1, 3, (56, 56)))
    hint = word(Suggestion("It writes", "copy", stage), Trial(1 * MS, 0.6 * MS, 1.6))
    assert hint is not None
    assert hint.copy_s == 0.6 * MS


def test_a_trial_is_scaled_to_the_time_of_its_row() -> None:
    assert Trial(2 * MS, 1 * MS, 1.9).scaled(3 * MS) == Trial(3 * MS, 1.5 * MS, 1.9)
