"""Real blocks under the instruments: what must hold on every machine. No time is asserted."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fork_server import fast_python

import convcost
from convcost.cli import main
from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape
from convcost.nn.explain import answer as home
from convcost.nn.explain.fresh_calls import FreshCalls
from convcost.nn.explain.instruments import kernel_seconds, operator_seconds, primitives_of
from convcost.nn.explain.trials import PAIRS, Subject, attempt
from convcost.nn.measure.session import open_session
from convcost.system.processor import fault_seconds
from convcost.text.errors import ConvcostError
from convcost.text.units import human_time
from convcost.timing import onednn as onednn_problem
from convcost.timing.account import Account, Part
from convcost.timing.hints import Facts, Suggestion, Trial

if TYPE_CHECKING:
    from convcost.comparison.rows import Row

pytestmark = pytest.mark.timing
MS = 1e-3


def rows(*blocks: str, **options: Any) -> list[Row]:
    usual: dict[str, Any] = {"height": 20, "count": False, "time_budget": 0.7, "why": True, "baseline": blocks[0]}
    return list(convcost.compare(8, 16, 3, blocks=list(blocks), **usual | options).rows)


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_the_parts_of_real_blocks_sum_to_the_median_and_kernels_have_names(memory_format: str) -> None:
    for row in rows("standard", "depthwise", "pointwise", "ghost", memory_format=memory_format, time_budget=1.2):
        parts = row.account.parts
        assert sum(part.seconds for part in parts) == pytest.approx(row.timing.time_s)
        assert {"overhead", "unexplained"} <= {part.part for part in parts}
        assert all(part.kernel for part in parts if part.part in {"convolution", "native"})
        assert row.account.agreement.differences == ()


def test_onednns_problem_is_the_block_on_every_stage_that_it_ran() -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    (row,) = rows("spatially-separable", dilation=2, batch=2, threads=2)
    assert row.account.agreement.agrees is True
    assert row.warning is None or "oneDNN" not in (row.warning or "")


def test_outside_onednn_the_kernel_is_the_aten_operator() -> None:
    (row,) = rows("standard", dtype="float64", height=40)
    native = [part for part in row.account.parts if part.part == "native"]
    assert native
    assert all(part.kernel.startswith("aten::") for part in native)
    assert row.account.agreement.agrees is None


def test_a_call_that_prints_loses_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    conv, data = torch.nn.Conv2d(64, 64, 3), torch.randn(1, 64, 30, 30)

    def call() -> None:
        print("mine", flush=True)  # noqa: T201 - what is tested
        conv(data)

    call()
    seen = primitives_of(call, 3)
    assert len(seen) == 3
    assert capfd.readouterr().out == "mine\n" * 4


def test_the_profiler_sees_the_operators_and_leaves_stderr_alone(capfd: pytest.CaptureFixture[str]) -> None:
    matrix = torch.randn(64, 64)
    seconds = operator_seconds(lambda: matrix @ matrix, 3)
    assert seconds["aten::mm"] > 0
    assert capfd.readouterr().err == ""


def test_calls_that_differ_are_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,a,b,c,{},0.02\n"
    monkeypatch.setattr(
        "convcost.nn.explain.instruments.taken_from", lambda *_: line.format("1x2x3x4") + line.format("9x9x9x9")
    )
    assert primitives_of(lambda: None, 2) == []
    monkeypatch.setattr("convcost.nn.explain.instruments.taken_from", lambda *_: 2 * line.format("1x2x3x4"))
    assert [one.problem for (one,) in primitives_of(lambda: None, 2)] == ["1x2x3x4", "1x2x3x4"]


def test_a_page_fault_costs_something() -> None:
    cost = fault_seconds()
    assert cost is None or cost >= 0


def test_a_disagreement_is_in_the_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = vars(home)["observe"]

    def lying(*args: Any) -> object:
        seen, agreement = honest(*args)
        return seen, type(agreement)(agrees=False, differences=("conv: groups 1 here, 8 for oneDNN",))

    monkeypatch.setattr(home, "observe", lying)
    (row,) = rows("standard")
    assert "conv: groups 1 here, 8 for oneDNN" in (row.warning or "")


def test_an_alternative_that_torch_cannot_run_leaves_the_claim_unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "suggest", lambda _: (Suggestion("It pays", "channels_last"),))

    def broken(*_: object, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setitem(PAIRS, "channels_last", broken)
    (row,) = rows("standard")
    assert (row.hint.text, row.hint.verified) == ("It pays (not verified).", False)


@pytest.mark.parametrize("alternative", ["channels_last", "contiguous", "twice_the_batch", "two_threads"])
def test_every_alternative_of_a_block_can_be_tried_and_leaves_the_threads(
    alternative: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(home, "MAX_CHANGE", float("inf"))  # a busy machine is no matter here
    monkeypatch.setattr(home, "suggest", lambda _: (Suggestion("It pays", alternative),))
    monkeypatch.setattr(home, "word", lambda _, trial: seen.append(trial))
    threads = torch.get_num_threads()
    rows("depthwise-separable")
    assert seen[0].before_s > 0
    assert seen[0].after_s > 0
    assert torch.get_num_threads() == threads


def test_a_trial_of_a_call_that_takes_another_time_than_the_row_verifies_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(home, "suggest", lambda _: (Suggestion("It pays", "channels_last"),))
    monkeypatch.setattr(home, "attempt", lambda *_: Trial(100.0, 1.0, 99.0))
    (row,) = rows("standard")
    assert row.hint.text == "It pays (not verified)."


def test_a_stage_with_a_depth_multiplier_and_one_of_three_channels_can_be_tried() -> None:
    (row,) = rows("depthwise-separable", depth_multiplier=2, why=False)
    assert row.conditions is not None
    assert row.timing is not None
    depthwise, pointwise = row.placed.layers
    tried = (("multiplier_1", depthwise), ("copy", pointwise), ("packed_weights", pointwise), ("pinned", None))
    with open_session(row.conditions, 0.05) as session:
        subject = Subject(row.placed.tree, row.placed.spec.input, FreshCalls.under(row.conditions), session)
        for alternative, stage in tried:
            trial = attempt(subject, Suggestion("It pays", alternative, stage), row.timing)
            assert trial.before_s > 0
            assert trial.after_s > 0


def test_packed_weights_give_the_same_result_and_what_cannot_be_packed_stays_untried() -> None:
    fresh = FreshCalls(torch.device("cpu"), torch.float32, torch.contiguous_format)
    conv, shape = Conv(8, 16, 3, stride=2, padding=1, groups=2, bias=True), Shape(1, 8, (9, 9))
    torch.manual_seed(1)
    packed = fresh.packed_call(conv, shape)()
    torch.manual_seed(1)
    plain = fresh.conv_call(conv, shape)()
    torch.testing.assert_close(packed, plain)
    for other in (
        Conv(8, 8, 3, transposed=True),
        Conv(8, 8, 3, padding="same", stride=2),
        Conv(8, 8, 3, groups=8, tied=True),
    ):
        with pytest.raises(RuntimeError, match=r"only a plain nn\.Conv2d is packed"):
            fresh.packed_call(replace(other, padding=other.explicit_padding((8, 8))), Shape(1, 8, (8, 8)))


def test_a_trial_that_refutes_a_claim_drops_it_whatever_the_row_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "suggest", lambda _: (Suggestion("It pays", "channels_last"),))
    monkeypatch.setattr(home, "attempt", lambda *_: Trial(100.0, 200.0, 0.5))
    (row,) = rows("standard")
    assert row.hint is None


def test_the_times_of_a_hint_are_those_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "suggest", lambda _: (Suggestion("It pays", "channels_last"),))
    monkeypatch.setattr(home, "attempt", lambda _, __, timing: Trial(1.2 * timing.time_s, 0.6 * timing.time_s, 1.9))
    (row,) = rows("standard")
    seconds = row.timing.time_s
    assert row.hint.text == f"It pays: {human_time(seconds)} → {human_time(seconds / 2)}."


@pytest.mark.parametrize(
    ("before", "shown"), [(0.45 * MS, 0.45 * MS), (0.6 * MS, 0.5 * MS), (0.8 * MS, None), (1.1 * MS, None)]
)
def test_a_stage_takes_at_most_what_the_account_leaves_to_it(before: float, shown: float | None) -> None:
    (row,) = convcost.compare(8, 16, 3, blocks=["depthwise-separable"], count=False, time=False).rows
    parts = Part("convolution", 0.5 * MS, "jit_dw"), Part("native", 0.4 * MS, "conv"), Part("overhead", 0.1 * MS)
    facts = Facts(Account(parts), row.placed.layers, "contiguous", 1, 2)
    suggestion = Suggestion("It is slow", "onednn", row.placed.layers[1])
    trial = home._of_the_row(suggestion, Trial(before, before / 2, 1.9), facts)
    assert (trial and trial.before_s) == (shown and pytest.approx(shown))
    assert trial is None or trial.after_s == pytest.approx(trial.before_s / 2)


def test_a_row_whose_calls_take_long_gets_no_account_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "MAX_CALLS_S", 1e-9)
    (row,) = rows("standard")
    assert row.account is None
    assert "no account: it takes 6 calls of " in (row.warning or "")


def test_a_slow_rows_hint_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "MAX_TRIED_CALL_S", 0.0)
    monkeypatch.setattr(home, "suggest", lambda _: (Suggestion("It pays", "channels_last"),))
    monkeypatch.setattr(home, "attempt", lambda *_: pytest.fail("it was tried"))
    (row,) = rows("standard")
    assert row.hint.text == "It pays (not verified)."


def test_a_layer_that_onednn_says_is_another_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    right = onednn_problem.problem_of
    monkeypatch.setattr(
        onednn_problem, "problem_of", lambda layer: replace(right(layer), groups=right(layer).groups * 2)
    )
    words = ["compare", "--c", "64", "--o", "64", "--k", "3", "--h", "30", "--no-count", "--time-budget", "0.5"]
    assert main([*words, "--block", "standard", "--threads", "2", "--why"]) == 1
    streams = capsys.readouterr()
    assert "oneDNN convolved another layer: conv: groups 2 here, 1 for oneDNN" in streams.out
    assert "oneDNN convolved another layer, conv: groups 2 here, 1 for oneDNN" in streams.err


def test_the_users_own_wish_to_hear_onednn_survives() -> None:
    """oneDNN reads its variable when it is loaded, so another process has it."""
    code = """
import torch
from convcost.nn.explain.instruments import primitives_of
conv, data = torch.nn.Conv2d(64, 64, 3), torch.randn(1, 64, 30, 30)
with torch.no_grad():
    conv(data); primitives_of(lambda: conv(data), 2); print("mine", flush=True); conv(data)
"""
    environment = os.environ | {"ONEDNN_VERBOSE": "1"}
    done = subprocess.run([fast_python(), "-c", code], capture_output=True, text=True, env=environment, check=True)
    after = done.stdout.partition("mine")[2]
    assert ",exec,cpu,convolution," in after


def test_a_block_that_is_too_large_to_look_into_gets_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "refusal", lambda *_: "no room")
    (row,) = rows("standard")
    assert row.account is None
    assert "no account" in (row.warning or "")


@pytest.mark.parametrize(("option", "value"), [("time", False), ("compile", True)])
def test_why_without_eager_timings_is_refused(option: str, value: object) -> None:
    with pytest.raises(ConvcostError, match=r"^why \(=true\) must have eager timings"):
        rows("standard", **{option: value})


def test_kernels_on_a_gpu_are_added_up_by_name_over_the_calls() -> None:
    def event(name: str, device: str, microseconds: float) -> SimpleNamespace:
        span = SimpleNamespace(elapsed_us=lambda: microseconds)
        return SimpleNamespace(name=name, device_type=SimpleNamespace(name=device), time_range=span)

    events = [event("aten::conv2d", "CPU", 99), *(event(name, "CUDA", 10) for name in ("a", "b", "a", "b"))]
    assert kernel_seconds(events, 2) == [("a", pytest.approx(10e-6)), ("b", pytest.approx(10e-6))]


@pytest.mark.gpu
def test_a_real_gpu_has_an_account() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    (row,) = rows("standard", device="cuda")
    assert any(part.part == "convolution" and part.kernel for part in row.account.parts)
