"""The timing session: the seconds it leaves, the look at the machine, what it says of it. No time is asserted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from convcost.comparison.rows import place_block
from convcost.convolution.spec import Spec
from convcost.nn.measure import session as home
from convcost.nn.measure.blocks import Run, measure
from convcost.nn.measure.kernels import measure_kernel
from convcost.nn.measure.models import measure_forwards, measure_model
from convcost.nn.measure.session import timing_session
from convcost.nn.measure.side_by_side import measure_side_by_side
from convcost.timing.conditions import TimingOptions
from convcost.timing.statistics import Sample, Series
from convcost.workflows.kernel import separate_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

FORWARD: tuple[Any, Any, Any] = (nn.Sequential(nn.Linear(8, 8)), (torch.zeros(2, 8),), {})


def time_blocks(options: TimingOptions) -> None:
    blocks = [place_block(name, Spec(8, 8, (3, 3), 16, 16), {}) for name in ("standard", "pointwise")]
    measure([Run(blocks, options)], "standard", lambda *_: None)


def time_kernel(options: TimingOptions) -> None:
    nothing = dict.fromkeys(("size", "sigma", "theta", "wavelength", "gamma"))
    measure_kernel(separate_kernels(["sobel"], nothing, None, (3, 16, 16)).rows[0], options, lambda _: None)


EVERY = {
    "measure": time_blocks,
    "measure_model": lambda options: measure_model(*FORWARD, options),
    "measure_forwards": lambda options: measure_forwards(FORWARD, FORWARD, options),
    "measure_side_by_side": lambda options: measure_side_by_side((FORWARD, FORWARD), [("0", "0")], options),
    "measure_kernel": time_kernel,
}


@pytest.fixture
def budgets(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that each interleaved run was given; nothing is run."""
    given: list[float] = []

    def interleave(calls: dict[str, object], _: object, __: object, budget_s: float, *___: object, **____: object):
        given.append(budget_s)
        one = Series(1e-3, (Sample(0, 1e-3, 1, clean=True, faults=0.0),))
        return dict.fromkeys(calls, one), {0: 1e-3}

    monkeypatch.setattr(home, "interleave", interleave)
    return given


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each look at the machine; none is taken."""
    taken: list[float] = []
    monkeypatch.setattr(home, "other_load", taken.append)
    return taken


@pytest.mark.parametrize("time_it", EVERY.values(), ids=EVERY)
def test_on_the_cpu_the_look_is_part_of_the_budget(
    time_it: Callable[[TimingOptions], None], budgets: list[float], looks: list[float]
) -> None:
    time_it(TimingOptions(("cpu",), time_budget=8.0))
    assert looks == [0.5]
    assert budgets == [7.5]


@pytest.mark.parametrize("time_it", EVERY.values(), ids=EVERY)
def test_on_an_accelerator_there_is_no_look_and_the_whole_budget_is_left(
    time_it: Callable[[TimingOptions], None], budgets: list[float], looks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The accelerator is simulated: its name is that of a GPU, and the CPU does its work."""
    conditions_for = home.conditions_for
    monkeypatch.setattr(home, "conditions_for", lambda options: replace(conditions_for(options), device="cuda:0"))
    monkeypatch.setattr(home, "resolve_device", lambda _: torch.device("cpu"))
    time_it(TimingOptions(("cpu",), time_budget=8.0))
    assert looks == []
    assert budgets == [8.0]


def test_a_budget_below_the_look_leaves_time_for_a_first_call(budgets: list[float], looks: list[float]) -> None:
    time_blocks(TimingOptions(("cpu",), time_budget=0.2))
    assert looks == [0.5]
    assert budgets == [0.01]


@pytest.mark.parametrize(
    ("load", "notes", "doubt"),
    [
        (None, [], None),
        (0.1, [], None),
        (0.9, ["other programs keep 0.9 of 2 processors busy: close them for a quieter timing."], None),
        (
            1.9,
            [
                "other programs keep 1.9 of 2 processors busy and 1 is wanted here: "
                "disturbed blocks of calls are left out; close them, or use fewer threads."
            ],
            "other programs keep 1.9 of 2 processors busy and 1 is wanted here: close them",
        ),
    ],
)
def test_a_machine_that_others_keep_busy_is_not_to_be_trusted(
    monkeypatch: pytest.MonkeyPatch, load: float | None, notes: list[str], doubt: str | None
) -> None:
    monkeypatch.setattr(home, "resolve_threads", lambda threads: 2 if threads == "all" else threads)
    monkeypatch.setattr(home, "pin_allocator", lambda: True)
    monkeypatch.setattr(home, "other_load", lambda _: load)
    with timing_session(TimingOptions(("cpu",))) as session:
        assert list(session.notes) == notes
        assert session.doubt == doubt


def test_a_gpus_settings_are_in_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    notes = home._accelerator_notes("cuda:1")
    assert notes == ("cuda:1: TF32 off, cudnn.benchmark on; the L2 cache is not flushed between calls.",)


def test_an_open_session_sets_the_threads_and_inference_mode_and_puts_them_back(looks: list[float]) -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    with timing_session(TimingOptions(("cpu",), threads=1)) as session:
        assert torch.get_num_threads() == session.conditions.threads == 1
        assert torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.is_inference_mode_enabled()
    assert looks == [0.5]
