"""One result of each command with a value in every field, made without measuring anything."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locks import conv, entry
from made_machine import machine

import convcost
from convcost.archive.listing import History
from convcost.archive.rows import Entry, Session, Stored
from convcost.budgets.limits import Budget, Limit
from convcost.budgets.result import BudgetResult, CheckResult
from convcost.budgets.verdict import Reading, judge
from convcost.changes.replace_report import ReplaceReport
from convcost.changes.replaced_layer import layer_of
from convcost.changes.replacement import Rules, choose_block
from convcost.comparison.rows import Counts
from convcost.convolution.conv import Conv
from convcost.kernels.report import KernelReport, WeightsReport
from convcost.kernels.row import KernelTiming, LayerRow, Spectrum
from convcost.models.call import Call
from convcost.models.claim import Claim
from convcost.models.model_table import ModelTable
from convcost.models.network_layers import Style
from convcost.models.peak import Peak
from convcost.models.report import CrossCheck, ModelReport, Totals, Uncounted
from convcost.timing.account import Account, Part
from convcost.timing.bound import Bound
from convcost.timing.conditions import Conditions, Setup
from convcost.timing.hints import Hint
from convcost.timing.onednn import Agreement
from convcost.timing.statistics import Timing
from convcost.workflows.kernel import separate_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.comparison.result import Comparison
    from convcost.text.result import Result

CONDITIONS = Conditions("cpu", "float32", 1, "contiguous", False, "pinned", "2.13.0", "a <CPU>")
TIMING = Timing(2e-3, 1.5e-3, 2.5e-3, 1e-3, 9e-3, 120, 0.125, 0.5, 1.25, 1.125, 1.5, 0.03, ("the <machine> was busy",))
ACCOUNT = Account((Part("convolution", 1.5e-3, "jit:avx2"), Part("unexplained", 5e-4)), Agreement(True))
HINT = Hint("channels_last is faster", True)
BOUND = Bound(1e-3, "memory", "L2", 0.02, machine().roofs("float32", 1))


def comparison() -> Comparison:
    predicted = convcost.compare(3, 64, (3, 5), blocks=["standard", "inverted-residual"], count=False, time=False)
    first, second = predicted.rows
    counts = Counts(first.placed.cost.macs, first.placed.cost.params, first.placed.cost.flops, True, (), None)
    timed = replace(first, counts=counts, conditions=CONDITIONS, timing=TIMING, account=ACCOUNT, hint=HINT, bound=BOUND)
    timed = replace(timed, reused_from="2026-07-01T12:30:00Z", notes=("a row's <note>",))
    return replace(predicted, rows=(timed, second), notes=("a <note>",))


def model() -> ModelReport:
    layer = Conv(3, 8, 3, padding=1)
    seen: dict[str, Any] = {
        "time_s": 2e-3,
        "bound": BOUND,
        "account": ACCOUNT,
        "hint": HINT,
        "conditions": CONDITIONS,
        "alive_bytes": 2816,
    }
    first = Call("stem", "Conv2d", (1, 3, 8, 8), (1, 8, 8, 8), 216, 13824, 3000, 1.0, layer, note="a <doubt>", **seen)
    second = Call("act", "ReLU", (1, 8, 8, 8), (1, 8, 8, 8), 0, 0, 0, 0.0, alive_bytes=2816)
    return ModelReport(
        "net.py:<net>",
        ("1x3x8x8",),
        {"device": "meta"},
        Totals(216, 216, 13824, 864, 4096, 2816),
        (first, second),
        {"convolution": 13824},
        (Uncounted("aten::fft", 2, ("act",)),),
        {"fvcore": CrossCheck("agrees", 13824)},
        ("a <note>",),
        TIMING,
        CONDITIONS,
        0.9,
        claims=(Claim("14k", "MACs", (8, 8), 13824, -0.0126, True), Claim("1", "<none>", None, 13824, 13823.0, False)),
        peak=Peak("stem", 2816, 768, 2048, 0, ()),
    )


def replaced() -> ReplaceReport:
    before = model()
    one = choose_block("stem", before.layers[:1], Style(norm=True, activation="relu"), Rules(("low-rank",)))
    first = layer_of("stem", "Conv2d", before.layers[0].conv, before.layers[:1], one)
    first = replace(first, weight_error=0.01, output_error=0.02, time_before_s=3e-3, timing=TIMING, fastest="ghost")
    second = layer_of("act", "Conv2d", None, before.layers[1:], "it does <more>")
    return ReplaceReport(before, before, (first, second), ("a <note>",), shown=(first, second))


def models() -> ModelTable:
    return ModelTable((model(), model()), {"<gone>": "not there"}, ("a <note>",))


def check() -> CheckResult:
    limits = (Limit("latency", max=Decimal("0.05"), grow=0.1, floor=Decimal("0.001")), Limit("macs", max=Decimal(9)))
    readings = (
        Reading(0.05, 0.049, 0.052, 0.04, growth=(0.25, 0.2, 0.3), machine="a <machine>"),
        Reading(10, baseline=8, uncounted=1),
    )
    budget = Budget("net", "m.py:<net>", Path(), limits=limits, message="ask <first>", source="convcost.toml:1")
    judged = tuple(map(judge, limits, readings))
    counted = entry(conv("stem", "3>8"))
    undecided = BudgetResult(
        replace(budget, name="<late>"), judged[:1], counted, notes=("a <note>",), timed=CONDITIONS, error="no clock"
    )
    return CheckResult("convcost.toml", (BudgetResult(budget, judged, counted, timed=CONDITIONS), undecided))


def history() -> History:
    setup = Setup(2, "AVX2", "Linux", "a GPU", "CUDA 13", "cudnn off", "0.1", "3.11")
    session = Session("2026-07-01T12:30:00Z", "model", "net.py:<net>", "standard", 8.0, CONDITIONS, setup, ("busy",))
    layer = Entry("stem", "{}", 216, 13824, (1, 3, 8, 8), 3, 8, (3, 3), (1, 1), 1, TIMING)
    return History((Stored(1, session, layer), Stored(2, replace(session, notes=()), layer)), 5, "<nowhere>/timings.db")


def kernels() -> KernelReport:
    named = dict.fromkeys(("size", "sigma", "theta", "wavelength", "gamma"))
    report = separate_kernels(["sobel", "laplacian"], named, None, (3, 16, 16))
    first, second = report.rows
    timed = replace(first, timing=KernelTiming(CONDITIONS, TIMING, TIMING, 1e-7))
    refused = replace(second, timing=KernelTiming(CONDITIONS, refused="no <memory>"))
    return replace(report, rows=(timed, refused), notes=("a <note>",))


def weights() -> WeightsReport:
    spectrum = Spectrum(24, 1, 3, 1e-6, (0.5, 1.0), (0.6, 1.0), (0.75, 1.0), (0, 0, 0, 0, 4, 9, 7, 3, 1, 0), 4, 9)
    first = LayerRow("stem", "Conv2d", Conv(3, 8, 3), spectrum)
    second = LayerRow("late", None, Conv(3, 8, 3), None)
    return WeightsReport("net.py:<net>", (first, second), ("a <note>",))


MADE: dict[str, Callable[[], Result[Any]]] = {
    "compare": comparison,
    "model": model,
    "model TARGET TARGET": models,
    "replace": replaced,
    "check": check,
    "history": history,
    "kernel": kernels,
    "kernel --model": weights,
}
