"""What would make a layer faster, in one line: rules that fire on its account, said only when a trial bears them out.

A rule looks at facts that were measured, claims something, and names the alternative whose trial decides. A claim that
a trial refutes is dropped; one that could not be tried says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.conv import Conv
from convcost.timing import OVERHEAD_S
from convcost.units import human_ratio, human_share, human_time, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from convcost.account import Account
    from convcost.conv import Layer

__all__ = ["PINNED", "Facts", "Hint", "Suggestion", "Trial", "suggest", "word"]

WORTH_A_LINE: Final = 0.1
"""A part below this share of the time gets no hint."""
MOSTLY: Final = 0.5
FEW_CHANNELS: Final = 8
"""Up to so many input channels a pointwise stage does less than 4 FLOPs for each byte that it writes."""
AS_A_COPY: Final = 2.0
"""A stage that takes at most so many times a copy of its output is bound by memory."""
PINNED: Final = "pinned"
FAST_DEPTHWISE: Final = ("jit_dw", "brdgmm_dw", "jit_uni_dw")
"""oneDNN's own depthwise kernels, by the beginning of their names."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at.

    Attributes:
        account: of the row.
        layers: of the block.
        memory_format: contiguous or channels_last.
        threads: of torch.
        cores: that this process may use.
        on_cpu: whether the device is the CPU.
    """

    account: Account
    layers: tuple[Layer, ...]
    memory_format: str
    threads: int
    cores: int
    on_cpu: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """An alternative, timed next to what it is an alternative to.

    Attributes:
        before_s: seconds of the row's call, or of the stage in question.
        after_s: of the alternative.
        faster: the lower end of the 5-95 % interval of before ÷ after.
        kernels: that the alternative ran.
    """

    before_s: float
    after_s: float
    faster: float
    kernels: tuple[str, ...] = ()

    @property
    def gains(self) -> bool:
        """Whether the alternative is faster, by the medians and beyond the noise of the pairs."""
        return self.after_s < self.before_s and self.faster > 1


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a rule claims.

    Attributes:
        claim: a sentence without its end.
        alternative: what to time: a key of `RESULTS`.
        stage: that the alternative is about; None for the whole block.
    """

    claim: str
    alternative: str
    stage: Layer | None = None


@dataclass(frozen=True, slots=True)
class Hint:
    """One line for the row.

    Attributes:
        text: the sentence.
        verified: whether the alternative was timed.
    """

    text: str
    verified: bool


def suggest(facts: Facts) -> tuple[Suggestion, ...]:
    """What the rules claim of a row, the most telling first."""
    return tuple(filter(None, (rule(facts) for rule in RULES)))


def word(suggestion: Suggestion, trial: Trial | None) -> Hint | None:
    """The line of a suggestion; None when its trial refutes it.

    Args:
        suggestion: of a rule.
        trial: of its alternative; None when there was none.
    """
    if trial is None:
        return Hint(f"{suggestion.claim} (not verified).", verified=False)
    result = RESULTS[suggestion.alternative](trial)
    return None if result is None else Hint(f"{suggestion.claim}: {result}.", verified=True)


def _faults(facts: Facts) -> Suggestion | None:
    share = facts.account.share("page_faults")
    if share < WORTH_A_LINE:
        return None
    return Suggestion(
        f"page faults take {human_share(min(1.0, share))} of the time; a pinned allocator does without", PINNED
    )


def _overhead(facts: Facts) -> Suggestion | None:
    seconds, time_s = facts.account.seconds("overhead"), facts.account.time_s
    if time_s >= OVERHEAD_S or seconds < MOSTLY * time_s:
        return None
    share = human_share(min(1.0, seconds / time_s))
    return Suggestion(f"{share} of the time is dispatch and allocation, not arithmetic", "twice_the_batch")


def _depth_multiplier(facts: Facts) -> Suggestion | None:
    for layer in facts.layers:
        conv = layer.op
        if not isinstance(conv, Conv) or conv.groups != conv.in_channels or conv.groups == 1 or conv.transposed:
            continue
        m = conv.out_channels // conv.in_channels
        kernels = [one.kernel or "" for one in facts.account.parts if one.part in {"convolution", "native"}]
        if m > 1 and not any(kernel.startswith(FAST_DEPTHWISE) for kernel in kernels):
            slow = max(kernels, default="another kernel", key=lambda name: "gemm" in name)
            return Suggestion(f"depth multiplier {m} left the fast depthwise kernels for {slow}", "multiplier_1", layer)
    return None


def _reorders(facts: Facts) -> Suggestion | None:
    share = facts.account.share("reorder_input", "reorder_output")
    if facts.memory_format != "contiguous" or share < WORTH_A_LINE:
        return None
    return Suggestion(f"channels_last would do without layout reorders, {human_share(share)} here", "channels_last")


def _copies(facts: Facts) -> Suggestion | None:
    copies = [one.seconds for one in facts.account.parts if one.kernel in {"aten::copy_", "aten::clone", "aten::cat"}]
    share = sum(copies) / facts.account.time_s
    if facts.memory_format != "channels_last" or share < WORTH_A_LINE:
        return None
    return Suggestion(f"contiguous would do without copies, {human_share(share)} here", "contiguous")


def _weights(facts: Facts) -> Suggestion | None:
    share = facts.account.share("reorder_weights")
    if share < WORTH_A_LINE:
        return None
    return Suggestion(f"the weights are laid out anew at each call, {human_share(share)} of it", "twice_the_batch")


def _memory_bound(facts: Facts) -> Suggestion | None:
    for layer in facts.layers:
        conv = layer.op
        if isinstance(conv, Conv) and set(conv.kernel_size) == {1} and conv.groups == 1 and not conv.transposed:
            c = conv.in_channels
            if c <= FEW_CHANNELS:
                claim = f"with {number_of('input channel', c)} the pointwise stage writes more than it computes"
                return Suggestion(claim, "copy", layer)
    return None


def _threads(facts: Facts) -> Suggestion | None:
    if not facts.on_cpu or facts.threads != 1 or facts.cores < 2 or facts.account.share("native") < WORTH_A_LINE:  # noqa: PLR2004
        return None
    kernel = max((one for one in facts.account.parts if one.part == "native"), key=lambda one: one.seconds).kernel
    return Suggestion(f"one thread runs {kernel}", "two_threads")


RULES: Final[tuple[Callable[[Facts], Suggestion | None], ...]] = (
    _faults,
    _overhead,
    _depth_multiplier,
    _reorders,
    _copies,
    _weights,
    _memory_bound,
    _threads,
)
"""In this order: the first that its trial bears out is printed."""


def _change(trial: Trial) -> str:
    return f"{human_time(trial.before_s)} → {human_time(trial.after_s)}"


def _if_faster(trial: Trial) -> str | None:
    return _change(trial) if trial.gains else None


def _a_sample(trial: Trial) -> str | None:
    """Twice the batch, by the time for as many samples as before."""
    half = Trial(trial.before_s, trial.after_s / 2, trial.faster * 2)
    ratio = human_ratio(trial.after_s / trial.before_s)
    return f"twice the batch takes {ratio} the time, {_change(half)} for as many samples" if half.gains else None


def _multiplier(trial: Trial) -> str | None:
    if not trial.gains:
        return None
    return f"this stage {_change(trial)} with as many MACs in m·C channels of multiplier 1"


def _copy(trial: Trial) -> str | None:
    if trial.before_s > AS_A_COPY * trial.after_s:
        return None
    return f"it takes {human_time(trial.before_s)}, a plain copy of its output {human_time(trial.after_s)}"


def _other_kernel(trial: Trial) -> str | None:
    if not trial.kernels or not trial.gains:
        return None
    return f"two run {_listed(trial.kernels)}, {_change(trial)}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(names))


RESULTS: Final[dict[str, Callable[[Trial], str | None]]] = {
    PINNED: _if_faster,
    "twice_the_batch": _a_sample,
    "multiplier_1": _multiplier,
    "channels_last": _if_faster,
    "contiguous": _if_faster,
    "copy": _copy,
    "two_threads": _other_kernel,
}
"""What a trial says of each alternative; None refutes the claim."""
