"""Why rows take the time they take: the account of each, and one hint that a trial bears out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from convcost.convolution.cost import cost
from convcost.convolution.tree import place
from convcost.nn.explain.fresh_calls import Setting
from convcost.nn.explain.instruments import LEAST_CALLS, observe
from convcost.nn.explain.trials import Subject, attempt
from convcost.nn.measure.device import refusal, resolve_threads
from convcost.nn.measure.session import reference_probe, timing_settings
from convcost.system.processor import fault_seconds, pin_allocator
from convcost.text.units import human_time
from convcost.timing.account import MOST_CHANGE, Account, account
from convcost.timing.hints import Facts, suggest, unverified, word

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.convolution.layer import Layer
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node
    from convcost.timing.conditions import Conditions
    from convcost.timing.hints import Hint, Suggestion, Trial
    from convcost.timing.statistics import Timing

__all__ = ["Answer", "Asker"]

DEVICES: Final = ("cpu", "cuda")
"""With instruments that look into a call."""
MOST_COPIES: Final = 4
"""Of a row's tensors at one time: the row's own and twice the batch, with oneDNN's copies."""
LOOK_S: Final = 0.25
"""A row's share for its account."""
TRY_S: Final = 0.25
"""For the trial of one claim."""
MOST_TRIED_S: Final = 1.0
"""A slower call is not timed again: its hints are not verified."""
MOST_LOOK_S: Final = 10.0
"""A block whose calls under the instruments take longer than this together gets no account."""
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

    The allocator is pinned from the first answer on, whatever the timings had: page faults would be in every kernel.

    Args:
        conditions: of the timings.
        contiguous_input: whether the input was contiguous whatever the conditions say of the parameters.
    """

    def __init__(self, conditions: Conditions, *, contiguous_input: bool = False) -> None:
        self._conditions = conditions
        self._setting = replace(Setting.of(conditions), contiguous_input=contiguous_input)
        self._probe: Callable[[], object] | None = None

    def ask(self, tree: Node, shape: Shape, timing: Timing) -> Answer | str:
        """Look into a block and try what the rules claim.

        Args:
            tree: of the block.
            shape: of its input.
            timing: of the row.

        Returns:
            The answer, or why there is none.
        """
        layers, _ = place(tree, shape)
        needed = MOST_COPIES * cost(layers, self._conditions.dtype).traffic_bytes
        if self._setting.device.type not in DEVICES:
            return f"no account: {self._setting.device.type} has no instrument for it"
        if refusal(needed, self._setting.device):
            return "no account: too little memory is free"
        if LEAST_CALLS * timing.time_s > MOST_LOOK_S:
            return f"no account: it takes {LEAST_CALLS} calls of {human_time(timing.time_s)}; lower height or batch"
        with timing_settings(self._conditions.threads):
            found = self._account(tree, shape, timing)
            self._probe = self._probe or reference_probe(self._setting.device)[0]
            subject = Subject(tree, shape, self._setting, self._probe)
            return Answer(found, self._hint(subject, self._facts(found, layers), timing))

    def _account(self, tree: Node, shape: Shape, timing: Timing) -> Account:
        if self._setting.device.type == "cuda":
            from convcost.nn.explain.instruments import observe_gpu

            return Account(account(timing.time_s, observe_gpu(tree, shape, self._setting)))
        pinned = pin_allocator()
        faults = timing.faults_per_call or 0.0
        fault_s = faults * (fault_seconds() or 0.0) if pinned and faults >= 1 else 0.0
        seen, agreement = observe(tree, shape, self._setting, self._conditions.threads, LOOK_S)
        return Account(account(timing.time_s, seen, fault_s), agreement)

    def _facts(self, found: Account, layers: tuple[Layer, ...]) -> Facts:
        conditions, on_cpu = self._conditions, self._setting.device.type == "cpu"
        return Facts(found, layers, conditions.memory_format, conditions.threads, resolve_threads("all"), on_cpu)

    def _hint(self, subject: Subject, facts: Facts, timing: Timing) -> Hint | None:
        for suggestion in suggest(facts)[:MOST_TRIALS]:
            trial = attempt(subject, suggestion, TRY_S, timing) if timing.time_s <= MOST_TRIED_S else None
            hint = word(suggestion, trial)
            if hint is not None and trial is not None and not _is_of_the_row(suggestion, trial, timing):
                return unverified(suggestion)
            if hint is not None:
                return hint
        return None


def _is_of_the_row(suggestion: Suggestion, trial: Trial, timing: Timing) -> bool:
    """Whether the row's call, timed again beside the alternative, still took the row's time; else it says nothing."""
    return suggestion.stage is not None or 1 / MOST_CHANGE < trial.before_s / timing.time_s < MOST_CHANGE
