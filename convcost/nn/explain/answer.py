"""The account of each row's time, and one hint that a trial confirms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from convcost.convolution.cost import cost
from convcost.convolution.tree import place
from convcost.nn.explain.fresh_calls import FreshCalls
from convcost.nn.explain.instruments import MIN_CALLS, observe, observe_gpu
from convcost.nn.explain.trials import Subject, attempt
from convcost.nn.measure.device import refusal, resolve_threads
from convcost.nn.measure.session import open_session
from convcost.system.processor import fault_seconds, pin_allocator
from convcost.text.units import human_time
from convcost.timing.account import MAX_CHANGE, Account, account
from convcost.timing.hints import Facts, suggest, unverified, word

if TYPE_CHECKING:
    from convcost.convolution.layer import Layer
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node
    from convcost.timing.conditions import Conditions
    from convcost.timing.hints import Hint, Suggestion, Trial
    from convcost.timing.statistics import Timing

DEVICES: Final = ("cpu", "cuda")
"""Kinds of devices on which calls can be accounted for."""
MAX_COPIES: Final = 4
"""Peak memory as a multiple of the row's traffic: its own tensors and twice the batch, with oneDNN's copies."""
ACCOUNT_S: Final = 0.25
"""Seconds for the account of one row."""
TRIAL_S: Final = 0.25
"""Seconds for the trial of one hint."""
MAX_TRIED_CALL_S: Final = 1.0
"""Longest call that is timed again for a trial; hints on slower calls are not verified."""
MAX_CALLS_S: Final = 10.0
"""Longest time of the calls for an account; a slower block gets none."""
ONEDNN_PARTS: Final = ("convolution", "reorder_input", "reorder_output", "reorder_weights")
"""Parts of the time that are not those of a stage outside oneDNN."""
MAX_TRIALS: Final = 2
"""Maximum number of trials for one row; the first hint that a trial confirms is printed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The account and the hint of a row.

    Attributes:
        account: Account of the median time.
        hint: Hint on what would make it faster; None without one.
    """

    account: Account
    hint: Hint | None


class Explainer:
    """Explains the times of the rows of one device, under the conditions of their timing.

    The first account pins the allocator, even if the timings did not; otherwise page faults would be part of every
    kernel.

    Args:
        conditions: Conditions of the timings.
        contiguous_input: Whether the input was contiguous, regardless of the memory format of the parameters.
    """

    def __init__(self, conditions: Conditions, *, contiguous_input: bool = False) -> None:
        self._conditions = conditions
        self._fresh = replace(FreshCalls.under(conditions), contiguous_input=contiguous_input)

    def explain(self, tree: Node, shape: Shape, timing: Timing) -> Answer | str:
        """Account for the time of a block, and try what the rules suggest.

        Args:
            tree: Tree of the block.
            shape: Shape of the input.
            timing: Timing of the row.

        Returns:
            The answer, or the reason why there is none.
        """
        layers, _ = place(tree, shape)
        device = self._fresh.device
        if device.type not in DEVICES:
            return f"no account: {device.type} is not supported"
        if refusal(MAX_COPIES * cost(layers, self._conditions.dtype).traffic_bytes, device):
            return "no account: too little free memory"
        if MIN_CALLS * timing.time_s > MAX_CALLS_S:
            return f"no account: it takes {MIN_CALLS} calls of {human_time(timing.time_s)}; lower height or batch"
        with open_session(self._conditions, TRIAL_S) as session:
            accounted = self._account(tree, shape, timing)
            subject = Subject(tree, shape, self._fresh, session)
            return Answer(accounted, self._hint(subject, self._facts(accounted, layers), timing))

    def _account(self, tree: Node, shape: Shape, timing: Timing) -> Account:
        if self._fresh.device.type == "cuda":
            return Account(account(timing.time_s, observe_gpu(tree, shape, self._fresh)))
        pinned = pin_allocator()
        faults = timing.faults_per_call or 0.0
        fault_s = faults * (fault_seconds() or 0.0) if pinned and faults >= 1 else 0.0
        observed, agreement = observe(tree, shape, self._fresh, self._conditions.threads, ACCOUNT_S)
        return Account(account(timing.time_s, observed, fault_s), agreement)

    def _facts(self, accounted: Account, layers: tuple[Layer, ...]) -> Facts:
        conditions, on_cpu = self._conditions, self._fresh.device.type == "cpu"
        return Facts(
            accounted,
            layers,
            conditions.memory_format,
            conditions.threads,
            resolve_threads("all"),
            on_cpu,
            conditions.dtype,
        )

    def _hint(self, subject: Subject, facts: Facts, timing: Timing) -> Hint | None:
        for suggestion in suggest(facts)[:MAX_TRIALS]:
            trial = attempt(subject, suggestion, timing) if timing.time_s <= MAX_TRIED_CALL_S else None
            of_row = trial and _of_the_row(suggestion, trial, facts)
            hint = word(suggestion, of_row or trial)
            if hint is not None:
                return hint if of_row is not None else unverified(suggestion)
        return None


def _of_the_row(suggestion: Suggestion, trial: Trial, facts: Facts) -> Trial | None:
    """The trial with the times of the row; None if the call next to the alternative cannot have been the row's.

    A stage of several takes at most what the account leaves to it; any other call is the row, and takes about as long.
    """
    time_s = facts.account.time_s
    if suggestion.stage is None or len(facts.layers) == 1:
        return trial.scaled(time_s) if 1 / MAX_CHANGE < trial.before_s / time_s < MAX_CHANGE else None
    left_s = time_s - facts.account.seconds(*(ONEDNN_PARTS if suggestion.alternative == "onednn" else ("native",)))
    if trial.before_s >= MAX_CHANGE * left_s:
        return None
    return trial.scaled(min(trial.before_s, left_s))
