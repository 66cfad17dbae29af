"""The account: parts that sum to the median, reorders that belong to the right side, kernels with names."""

from __future__ import annotations

from dataclasses import replace
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcost.timing.account import PARTS, Account, Observed, Part, account, cpu_kernels, gpu_kernels, hidden_launches
from convcost.timing.columns import flat_text
from convcost.timing.onednn import Primitive, roles

US = 1e-6
DEPTHWISE = "g32mb1_ic32oc32_ih56oh56kh3sh1dh0ph1_iw56ow56kw3sw1dw0pw1"
POINTWISE = "mb1_ic32oc64_ih56oh56kh1sh1dh0ph0_iw56ow56kw1sw1dw0pw0"


def reorder(start: str, end: str, sizes: str, seconds: float = US) -> Primitive:
    return Primitive("reorder", "jit:blk", sizes, seconds, {"src": start, "dst": end})


def convolution(problem: str, src: str, wei: str, dst: str, seconds: float = US) -> Primitive:
    return Primitive("convolution", "jit:avx2", problem, seconds, {"src": src, "wei": wei, "dst": dst})


def test_reorders_belong_to_the_convolution_whose_layout_and_shape_they_have() -> None:
    call = [
        reorder("abcd", "aBcd8b", "1x32x56x56"),
        reorder("abcde", "Abcde8a", "32x1x1x3x3"),
        convolution(DEPTHWISE, "aBcd8b", "Abcde8a", "aBcd8b"),
        reorder("aBcd8b", "abcd", "1x32x56x56"),
        reorder("abcd", "aBcd8b", "1x32x56x56"),
        reorder("abcd", "ABcd8b8a", "64x32x1x1"),
        convolution(POINTWISE, "aBcd8b", "ABcd8b8a", "aBcd8b"),
        reorder("aBcd8b", "abcd", "1x64x56x56"),
    ]
    assert roles(call) == (
        "reorder_input",
        "reorder_weights",
        "convolution",
        "reorder_output",
        "reorder_input",
        "reorder_weights",
        "convolution",
        "reorder_output",
    )


def test_a_copy_of_the_output_in_its_own_layout_is_an_output_reorder() -> None:
    call = [convolution(DEPTHWISE, "abcd", "abcde", "abcd"), reorder("abcd", "abcd", "1x32x56x56")]
    assert roles(call) == ("convolution", "reorder_output")


def test_weights_as_large_as_the_input_are_told_by_their_layout() -> None:
    square = "mb8_ic8oc8_ih3oh3kh3sh1dh0ph1_iw3ow3kw3sw1dw0pw1"  # input and weights are both 8x8x3x3
    call = [
        reorder("abcd", "ABcd8b8a", "8x8x3x3"),
        reorder("abcd", "aBcd8b", "8x8x3x3"),
        convolution(square, "aBcd8b", "ABcd8b8a", "aBcd8b"),
    ]
    assert roles(call)[:2] == ("reorder_weights", "reorder_input")
    same = [
        reorder("abcd", "x", "8x8x3x3"),
        reorder("abcd", "x", "8x8x3x3"),
        convolution(square, "x", "x", "x"),
    ]
    assert roles(same)[:2] == ("reorder_input", "reorder_weights")


def test_a_primitive_that_fits_nowhere_is_native() -> None:
    call = [
        reorder("abcd", "aBcd8b", "1x99x56x56"),
        convolution(DEPTHWISE, "aBcd8b", "Abcde8a", "aBcd8b"),
        Primitive("matmul", "brg:avx2", "64x64:64x64", US),
    ]
    assert roles(call) == ("native", "convolution", "native")
    assert cpu_kernels(call, {}, 0)[2].kernel == "matmul brg:avx2"


def test_a_median_is_split_by_the_shares_of_a_plain_call() -> None:
    kernels = (Part("convolution", 40 * US, "jit:avx2"), Part("reorder_input", 10 * US, "reorder jit:blk"))
    parts = account(140 * US, Observed(100 * US, 30 * US, kernels))
    assert [(part.part, part.seconds, part.kernel) for part in parts] == [
        ("convolution", pytest.approx(56 * US), "jit:avx2"),  # 1.4 times 40
        ("reorder_input", pytest.approx(14 * US), "reorder jit:blk"),
        ("overhead", pytest.approx(42 * US), None),
        ("unexplained", pytest.approx(28 * US), None),
    ]


@pytest.mark.parametrize("time_s", [1000 * US, 20 * US])
def test_a_median_that_no_slow_phase_explains_is_not_split_by_shares_but_left_unexplained(time_s: float) -> None:
    found = Account(account(time_s, Observed(100 * US, 30 * US, (Part("convolution", 70 * US, "jit:avx2"),))))
    assert [(part.part, part.seconds) for part in found.parts] == [
        ("convolution", pytest.approx(70 * US)),
        ("overhead", pytest.approx(30 * US)),
        ("unexplained", pytest.approx(time_s - 100 * US)),
    ]
    assert "the account does not add up" in found.doubts[0]


def test_more_than_there_was_is_a_negative_remainder() -> None:
    parts = account(100 * US, Observed(100 * US, 30 * US, (Part("native", 90 * US, "aten::mm"),)))
    assert (parts[-1].part, parts[-1].seconds, parts[-1].kernel) == ("unexplained", pytest.approx(-20 * US), None)


def test_page_faults_are_a_part_and_the_rest_is_not_scaled() -> None:
    parts = account(1000 * US, Observed(100 * US, 30 * US, (Part("native", 60 * US, "aten::mm"),)), 880 * US)
    assert {part.part: part.seconds for part in parts} == {
        "native": pytest.approx(60 * US),
        "overhead": pytest.approx(30 * US),
        "page_faults": pytest.approx(880 * US),
        "unexplained": pytest.approx(30 * US),
    }


def test_one_kernel_is_one_part_however_often_it_ran() -> None:
    kernels = tuple(Part("convolution", 10 * US, name) for name in ("a", "b", "a"))
    parts = account(100 * US, Observed(100 * US, 0.0, kernels))
    assert [(part.kernel, part.seconds) for part in parts[:2]] == [
        ("a", pytest.approx(20 * US)),
        ("b", pytest.approx(10 * US)),
    ]


SECONDS = st.floats(1e-9, 10)


@given(SECONDS, SECONDS, SECONDS, st.lists(st.tuples(st.sampled_from(PARTS[:5]), SECONDS)), st.just(0.0) | SECONDS)
def test_the_parts_always_sum_to_the_median(
    time_s: float, plain_s: float, overhead_s: float, kernels: list[tuple[str, float]], fault_s: float
) -> None:
    seen = Observed(plain_s, overhead_s, tuple(Part(name, seconds, "k") for name, seconds in kernels))
    parts = account(time_s, seen, fault_s)
    assert fsum(part.seconds for part in parts) == pytest.approx(time_s, rel=1e-9, abs=1e-9 * sum(
        abs(part.seconds) for part in parts
    ))  # fmt: skip
    assert {part.part for part in parts} <= set(PARTS)


def test_operators_within_onednn_are_not_counted_twice() -> None:
    operators = {"aten::mkldnn_convolution": 50 * US, "aten::add": 9 * US, "aten::empty": 1 * US}
    call = [convolution(POINTWISE, "a", "b", "c", 40 * US)]
    assert [(part.part, part.kernel) for part in cpu_kernels(call, operators, 2 * US)] == [
        ("convolution", "jit:avx2"),
        ("native", "aten::add"),
    ]
    assert [part.kernel for part in cpu_kernels([], operators, 2 * US)] == ["aten::mkldnn_convolution", "aten::add"]


def test_a_transposed_convolution_runs_in_an_operator_without_a_name_of_onednn() -> None:
    call = [replace(convolution(DEPTHWISE, "aBcd16b", "Abcde16a", "aBcd16b", 500 * US), kind="deconvolution")]
    operators = {"aten::_convolution": 540 * US, "aten::copy_": 138 * US}
    assert cpu_kernels(call, operators, 2 * US) == (
        Part("convolution", 500 * US, "jit:avx2"),
        Part("native", 138 * US, "aten::copy_"),
    )
    assert [part.part for part in cpu_kernels([], operators, 2 * US)] == ["native", "native"]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("void cudnn::ops::nchwToNhwcKernel<float, float, float, false, true>", "reorder_input"),
        ("void cudnn::ops::nhwcToNchwKernel<float, float, float, true, false>", "reorder_output"),
        ("sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckcrs_nhwc", "convolution"),
        ("void conv2d_grouped_direct_kernel<float, float, float>", "convolution"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>", "native"),
    ],
)
def test_a_gpu_kernel_is_sorted_by_its_name(name: str, role: str) -> None:
    assert gpu_kernels([(name, US)]) == (Part(role, US, name),)


def test_launches_are_overhead_only_as_far_as_the_kernels_do_not_hide_them() -> None:
    assert hidden_launches(50 * US, [Part("convolution", 30 * US, "k")]) == pytest.approx(20 * US)
    assert hidden_launches(50 * US, [Part("convolution", 90 * US, "k")]) == 0


def test_an_account_reads_as_lines_and_as_one_cell() -> None:
    found = Account((Part("convolution", 75 * US, "jit:avx2"), Part("overhead", 25 * US)))
    assert str(found).splitlines() == [
        "  convolution  75.0 µs  75.0 %  jit:avx2",
        "  overhead     25.0 µs  25.0 %",
    ]
    assert flat_text(found.records) == "convolution 7.5e-05 s jit:avx2; overhead 2.5e-05 s"
    assert found.share("overhead", "native") == pytest.approx(0.25)


def test_the_largest_part_is_on_the_first_line_and_the_unexplained_on_the_last() -> None:
    parts = (Part("convolution", 2 * US, "jit:avx2"), Part("native", 7 * US, "aten::cat"), Part("overhead", 3 * US))
    shown = str(Account((*parts, Part("unexplained", 8 * US))))
    assert [line.split()[0] for line in shown.splitlines()] == ["native", "overhead", "convolution", "unexplained"]


@pytest.mark.parametrize(
    ("left", "doubt"),
    [
        (-0.5, None),
        (-0.8, "-80.0 % unexplained"),
        (0.6, "60.0 % unexplained"),
        (-11.0, "its parts take 12.0x the time"),
    ],
)
def test_an_account_that_does_not_add_up_has_no_absurd_percentage(left: float, doubt: str | None) -> None:
    made = Account((Part("convolution", (1 - left) * US, "jit:avx2"), Part("unexplained", left * US)))
    again = "close other programs and run it again"
    assert made.doubts == (() if doubt is None else (f"the account does not add up, {doubt}: {again}",))
