"""oneDNN's verbose lines of several versions: what is read, and what is passed over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcost.timing.onednn import parse_lines, separate

PROBLEM = "mb1_ic64oc64_ih56oh56kh3sh1dh0ph1_iw56ow56kw3sw1dw0pw1"
MEMORIES = (
    "src:f32:a:blocked:aBcd8b::f0 wei:f32:a:blocked:ABcd8b8a::f0 bia:undef::undef::: dst:f32:a:blocked:aBcd8b::f0"
)
OLD_MEMORIES = "src_f32::blocked:aBcd8b:f0 wei_f32::blocked:ABcd8b8a:f0 dst_f32::blocked:aBcd8b:f0"
REST = f"attr-scratchpad:user,alg:convolution_direct,{PROBLEM},0.980957"
LAYOUTS = {"src": "aBcd8b", "wei": "ABcd8b8a", "dst": "aBcd8b"}


@pytest.mark.parametrize(
    "line",
    [
        f"onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward_training,{MEMORIES},{REST}",
        f"onednn_verbose,v1,1693533460193.346924,primitive,exec,cpu,convolution,jit:avx2,forward,{MEMORIES},{REST}",
        f"onednn_verbose,primitive,exec,cpu,convolution,jit:avx2,forward_training,{OLD_MEMORIES},{REST}",
        f"onednn_verbose,1693533460193.346924,exec,cpu,convolution,jit:avx2,forward_training,{OLD_MEMORIES},{REST}",
        f"onednn_verbose,exec,cpu,convolution,jit:avx2,forward_training,{OLD_MEMORIES},{REST}",
        f"dnnl_verbose,exec,cpu,convolution,jit:avx2,forward_training,{OLD_MEMORIES},{REST}\r",
    ],
    ids=["3.12", "3.12 with a timestamp", "3.1", "2.7 with a timestamp", "2.7", "1.6 on Windows"],
)
def test_an_execution_is_read_whatever_stands_before_it(line: str) -> None:
    (one,) = parse_lines([line])
    assert (one.kind, one.implementation, one.problem) == ("convolution", "jit:avx2", PROBLEM)
    assert one.seconds == pytest.approx(980.957e-6)
    assert one.layouts == LAYOUTS
    assert one.kernel == "jit:avx2"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "epoch 3, loss 0.25",
        "onednn_verbose,v1,info,oneDNN v3.12.0 (commit 80afa71049cd69a3df32adcccb623b12cd7baa22)",
        "onednn_verbose,v1,primitive,create:cache_hit,cpu,convolution,jit:avx2,forward,a,b,c,d,0.01",
        "onednn_verbose,v1,primitive,info,template:operation,engine,primitive,exec_time",
        "onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2",
        f"onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward,{MEMORIES},,,{PROBLEM},soon",
        f"onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward,{MEMORIES},,,{PROBLEM},nan",
        f"onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward,{MEMORIES},,,{PROBLEM},-1",
    ],
)
def test_any_other_line_is_passed_over(line: str) -> None:
    assert parse_lines([line]) == ()


def test_a_kernel_that_does_not_convolve_says_what_it_does() -> None:
    line = "onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:f32::blocked:abcd::f0,,,1x64x56x56,0.02"
    assert parse_lines([line])[0].kernel == "reorder jit:uni"


def test_what_others_print_is_told_apart_even_within_a_line() -> None:
    text = "before\nhalf onednn_verbose,v1,info\na line\nonednn_verbose,v1,cut"
    assert separate(text) == ("onednn_verbose,v1,info\nonednn_verbose,v1,cut", "before\nhalf a line\n")


@given(st.lists(st.sampled_from(["onednn_verbose", "v1", "exec", "cpu", "reorder", "1", "", "x", "a:blocked", "é"])))
def test_no_line_is_too_odd(fields: list[str]) -> None:
    parse_lines([",".join(fields), ",".join(["onednn_verbose", *fields])])
