"""Why rows take the time they take: the account of each, and one hint that a trial bears out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.account import Account, account
from convcost.errors import ConvcostError
from convcost.hints import Facts, suggest, word
from convcost.nn.device import refusal, resolve_threads
from convcost.nn.faults import fault_seconds
from convcost.nn.measure import reference_probe, timing_settings
from convcost.nn.observe import observe
from convcost.nn.setting import Setting
from convcost.nn.trials import Subject, attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.hints import Hint
    from convcost.rows import Placed
    from convcost.timing import Conditions, Timing

__all__ = ["Answer", "Asker"]

LOOK_S: Final = 0.25
"""A row's share for its account."""
TRY_S: Final = 0.35
"""For the trial of one claim."""
MOST_TRIALS: Final = 2
"""Of a row: the first claim that holds is printed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Why a row takes its time.

    Attributes:
        account: the parts of its median.
        hint: what would make it faster; None when nothing was found.
    """

    account: Account
    hint: Hint | None


class Asker:
    """Answers for the rows of one device, in the conditions they were timed under.

    Args:
        conditions: of the timings.

    Raises:
        ConvcostError: compiled code, or a device that no instrument here looks into.
    """

    def __init__(self, conditions: Conditions) -> None:
        if conditions.compiled:
            msg = "--why (=--compile) must be without --compile: no instrument here looks into compiled code."
            raise ConvcostError(msg)
        self._conditions = conditions
        self._setting = Setting.of(conditions)
        if self._setting.device.type not in {"cpu", "cuda"}:
            msg = f"--why (={self._setting.device}) must be for cpu or cuda: no instrument here looks into this device."
            raise ConvcostError(msg)
        self._fault_s: float | None = None

    def ask(self, placed: Placed, timing: Timing) -> Answer | None:
        """Look into a block and try what the rules claim; None when there is too little memory for it.

        Args:
            placed: the block.
            timing: of the row.
        """
        if refusal(2 * placed.cost.traffic_bytes, self._setting.device):
            return None
        with timing_settings(self._conditions.threads):
            found = self._account(placed, timing)
            return Answer(found, self._hint(placed, found))

    def _account(self, placed: Placed, timing: Timing) -> Account:
        if self._setting.device.type == "cuda":
            from convcost.nn.gpu_kernels import observe_gpu  # noqa: PLC0415 - a CPU does without

            return Account(account(timing.time_s, observe_gpu(placed, self._setting)))
        faults = (timing.faults_per_call or 0.0) * self._cost_of_a_fault() if timing.faults_per_call else 0.0
        seen, agreement = observe(placed, self._setting, self._conditions.threads, faults, LOOK_S)
        return Account(account(timing.time_s, seen), agreement)

    def _cost_of_a_fault(self) -> float:
        if self._fault_s is None:
            self._fault_s = fault_seconds() or 0.0
        return self._fault_s

    def _hint(self, placed: Placed, found: Account) -> Hint | None:
        conditions = self._conditions
        cores = resolve_threads("all")
        on_cpu = self._setting.device.type == "cpu"
        facts = Facts(found, placed.layers, conditions.memory_format, conditions.threads, cores, on_cpu)
        probe: Callable[[], object] | None = None
        for suggestion in suggest(facts)[:MOST_TRIALS]:
            probe = probe or reference_probe(self._setting.device)[0]
            trial = attempt(Subject(placed, self._setting, probe), suggestion, TRY_S)
            hint = word(suggestion, trial)
            if hint is not None:
                return hint
        return None
