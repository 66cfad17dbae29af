"""Hints: what would make a layer faster, in one line.

1. A rule reads the account of a row, makes a claim, and names an alternative.
2. The alternative is timed next to the row. A claim that the trial refutes is dropped.
3. A claim whose alternative could not be timed is printed as "not verified".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Final

from convcost.convolution.conv import Conv
from convcost.convolution.cost import macs, params
from convcost.text.units import human_ratio, human_share, human_time, number_of
from convcost.timing.statistics import OVERHEAD_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.convolution.layer import Layer
    from convcost.timing.account import Account

MIN_SHARE: Final = 0.1
"""Minimum share of the time for a hint on a part."""
MIN_DOMINANT_SHARE: Final = 0.5
"""Minimum share of the time for overhead to dominate a call."""
MAX_FEW_CHANNELS: Final = 8
"""Maximum of input channels for a pointwise stage that does at most 4 FLOPs per byte that it writes."""
MAX_COPIES: Final = 2.0
"""Maximum time of a memory-bound stage, as a multiple of the time of a copy of its output."""
IMAGE_AXES: Final = 2
"""Number of axes of an image: height and width."""
LARGE_BATCH: Final = 16
"""Batch size from which torch runs every 1×1 convolution of float32 in oneDNN."""
SMALL_INPUT: Final = 20480
"""Maximum number of input values for torch to keep a convolution of one sample outside oneDNN."""
SMALL_KERNEL: Final = 3
"""Maximum kernel size of such a convolution."""
PINNED: Final = "pinned"
BATCH: Final = "twice_the_batch"
NATIVE_CONVOLUTION: Final = "conv"
"""Part of the names of ATen operators that convolve."""
FAST_DEPTHWISE: Final = ("jit_dw", "brdgmm_dw", "jit_uni_dw")
"""Prefixes of the names of oneDNN's depthwise kernels."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Measured facts that the rules read.

    Attributes:
        account: Account of the row.
        layers: Layers of the block.
        memory_format: "contiguous" or "channels_last".
        threads: Threads of torch.
        cores: Number of processors that this process may use.
        on_cpu: Whether the device is the CPU.
        dtype: Data type of every element.
    """

    account: Account
    layers: tuple[Layer, ...]
    memory_format: str
    threads: int
    cores: int
    on_cpu: bool = True
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Trial:
    """An alternative, timed next to the call or stage that it would replace.

    Attributes:
        before_s: Seconds of the row's call, or of the stage.
        after_s: Seconds of the alternative.
        faster: Lower end of the 5-95 % interval of before ÷ after.
        kernels: Kernels that the alternative ran.
        highest: Upper end of that interval.
    """

    before_s: float
    after_s: float
    faster: float
    kernels: tuple[str, ...] = ()
    highest: float = inf

    @property
    def gains(self) -> bool:
        """Whether the alternative is faster, by the medians and beyond the noise."""
        return self.after_s < self.before_s and self.faster > 1

    @property
    def loses(self) -> bool:
        """Whether the alternative is slower, by the medians and beyond the noise."""
        return self.after_s > self.before_s and self.highest < 1

    def scaled(self, before_s: float) -> Trial:
        """The trial with the same ratio of its times, for a call that takes so long."""
        return replace(self, before_s=before_s, after_s=self.after_s * before_s / self.before_s)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The claim of a rule.

    Attributes:
        claim: Beginning of the sentence, to which the trial adds its result.
        alternative: Alternative to time, a key of `RESULTS`.
        stage: Stage that the alternative would replace; None for the whole block.
        kernels: oneDNN kernels that the row ran, where the alternative must run another.
    """

    claim: str
    alternative: str
    stage: Layer | None = None
    kernels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hint:
    """One line on what would make a row faster.

    Attributes:
        text: Sentence for the reader.
        verified: Whether the alternative was timed.
        copy_s: Seconds of a plain copy of the output, where one was timed.
    """

    text: str
    verified: bool
    copy_s: float | None = None


def suggest(facts: Facts) -> tuple[Suggestion, ...]:
    """The claims of the rules, that on the largest part first; none where the account does not add up."""
    if facts.account.doubts:
        return ()
    claims = filter(None, (rule(facts) for rule in RULES))
    return tuple(sorted(claims, key=lambda claim: -facts.account.share(*PARTS_OF[claim.alternative])))


def word(suggestion: Suggestion, trial: Trial | None) -> Hint | None:
    """The hint of a suggestion; None when its trial refutes it.

    Args:
        suggestion: Suggestion of a rule.
        trial: Trial of its alternative; None without one.
    """
    if trial is None:
        return unverified(suggestion)
    result = RESULTS[suggestion.alternative](trial, suggestion)
    copy_s = trial.after_s if suggestion.alternative == "copy" else None
    return None if result is None else Hint(f"{suggestion.claim}: {result}.", verified=True, copy_s=copy_s)


def unverified(suggestion: Suggestion) -> Hint:
    """The hint of a suggestion without a decisive trial."""
    return Hint(f"{suggestion.claim} (not verified).", verified=False)


def _faults(facts: Facts) -> Suggestion | None:
    share = facts.account.share("page_faults")
    if share < MIN_SHARE:
        return None
    claim = f"page faults take {_share(facts, 'page_faults')} of the time; a pinned allocator avoids them"
    return Suggestion(claim, PINNED)


def _overhead(facts: Facts) -> Suggestion | None:
    seconds, time_s = facts.account.seconds("overhead"), facts.account.time_s
    if time_s >= OVERHEAD_S or seconds < MIN_DOMINANT_SHARE * time_s:
        return None
    return Suggestion(f"{_share(facts, 'overhead')} of the time is dispatch and allocation, not arithmetic", BATCH)


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
    images = all(len(layer.input.spatial) == IMAGE_AXES for layer in facts.layers)
    if not images or facts.memory_format != "contiguous" or share < MIN_SHARE:
        return None
    taken = _share(facts, "reorder_input", "reorder_output")
    return Suggestion(f"channels_last would avoid layout reorders, {taken} here", "channels_last")


def _copies(facts: Facts) -> Suggestion | None:
    copies = [one.seconds for one in facts.account.parts if one.kernel in {"aten::copy_", "aten::clone", "aten::cat"}]
    share = sum(copies) / facts.account.time_s
    if facts.memory_format != "channels_last" or share < MIN_SHARE:
        return None
    return Suggestion(f"contiguous would avoid copies, {human_share(share)} here", "contiguous")


def _weights(facts: Facts) -> Suggestion | None:
    convs = [layer for layer in facts.layers if isinstance(layer.op, Conv)]
    if not convs or facts.account.share("reorder_weights") < MIN_SHARE:
        return None
    largest = max(convs, key=lambda layer: params(layer.op).value)
    claim = f"the weights are laid out anew at each call, {_share(facts, 'reorder_weights')} of it"
    return Suggestion(claim, "packed_weights", largest)


def _memory_bound(facts: Facts) -> Suggestion | None:
    for layer in facts.layers:
        conv = layer.op
        if isinstance(conv, Conv) and set(conv.kernel_size) == {1} and conv.groups == 1 and not conv.transposed:
            c = conv.in_channels
            if c <= MAX_FEW_CHANNELS:
                claim = f"with {number_of('input channel', c)} the pointwise stage writes more than it computes"
                return Suggestion(claim, "copy", layer)
    return None


def onednn_obstacle(layer: Layer, dtype: str, threads: int) -> tuple[str, str] | None:
    """Why torch runs a convolution outside oneDNN, and the alternative to time; None where no rule says so.

    The rules are those of `use_mkldnn` in torch's Convolution.cpp.
    """
    conv, shape = layer.op, layer.input
    if not isinstance(conv, Conv) or conv.transposed or len(conv.kernel_size) > IMAGE_AXES:
        return None
    if dtype == "float64":
        return "oneDNN does not convolve float64", "float32"
    if dtype != "float32":
        return f"oneDNN convolves {dtype} only on processors with instructions for it", "float32"
    is_pointwise = {*conv.kernel_size, *conv.stride, *conv.dilation} == {1}
    if is_pointwise and shape.batch < LARGE_BATCH and threads == 1:
        rule = f"a 1x1 convolution of stride 1, fewer than {LARGE_BATCH} samples and one thread"
        return f"torch runs {rule} as a plain matrix product outside oneDNN", "onednn"
    has_small_kernel = len(conv.kernel_size) < IMAGE_AXES or min(conv.kernel_size) <= SMALL_KERNEL
    if has_small_kernel and conv.groups == shape.batch == 1 and shape.numel <= SMALL_INPUT:
        rule = f"a convolution of one sample with at most {SMALL_INPUT:,} input values"
        return f"torch runs {rule} as a plain matrix product outside oneDNN", "onednn"
    return None


def _native(facts: Facts) -> Suggestion | None:
    """A claim on a convolution outside oneDNN, with torch's reason for it."""
    native = [one for one in facts.account.parts if one.part == "native" and NATIVE_CONVOLUTION in (one.kernel or "")]
    seconds = sum(one.seconds for one in native)
    if not facts.on_cpu or seconds < MIN_SHARE * facts.account.time_s:
        return None
    obstacles = {layer: onednn_obstacle(layer, facts.dtype, facts.threads) for layer in facts.layers}
    outside = [layer for layer, obstacle in obstacles.items() if obstacle is not None]
    largest = max(outside, key=lambda layer: macs(layer).value, default=None)
    if largest is None or (obstacle := obstacles[largest]) is None:
        return None
    kernel = max(native, key=lambda one: one.seconds).kernel
    taken = _of_all(seconds / facts.account.time_s)
    reason, alternative = obstacle
    stage = largest if alternative == "onednn" else None
    return Suggestion(f"{kernel} takes {taken} of the time, since {reason}", alternative, stage)


def _threads(facts: Facts) -> Suggestion | None:
    if not facts.on_cpu or facts.threads != 1 or facts.cores == 1:
        return None
    native = [one for one in facts.account.parts if one.part == "native" and NATIVE_CONVOLUTION in (one.kernel or "")]
    if not native or sum(one.seconds for one in native) < MIN_SHARE * facts.account.time_s:
        return None
    kernel = max(native, key=lambda one: one.seconds).kernel
    known = tuple(one.kernel or "" for one in facts.account.parts if one.part == "convolution")
    return Suggestion(f"one thread runs {kernel}, two may run another kernel", "two_threads", kernels=known)


RULES: Final[tuple[Callable[[Facts], Suggestion | None], ...]] = (
    _faults,
    _overhead,
    _depth_multiplier,
    _reorders,
    _copies,
    _weights,
    _memory_bound,
    _native,
    _threads,
)
"""The rules; the first claim that a trial confirms is printed, in the order of `suggest`."""
PARTS_OF: Final = {
    PINNED: ("page_faults",),
    BATCH: ("overhead",),
    "multiplier_1": ("convolution", "native"),
    "channels_last": ("reorder_input", "reorder_output"),
    "contiguous": ("native",),
    "packed_weights": ("reorder_weights",),
    "copy": ("convolution",),
    "onednn": ("native",),
    "float32": ("native",),
    "two_threads": ("native",),
}
"""The parts of the time that each alternative is about."""


def _share(facts: Facts, *parts: str) -> str:
    return _of_all(facts.account.share(*parts))


def _of_all(share: float) -> str:
    """A share of the time as text; the parts of an account may exceed the time."""
    return human_share(share) if share < 1 else "all"


def _change(trial: Trial) -> str:
    return f"{human_time(trial.before_s)} → {human_time(trial.after_s)}"


def _if_faster(trial: Trial, _: Suggestion) -> str | None:
    return _change(trial) if trial.gains else None


def _a_sample(trial: Trial, _: Suggestion) -> str | None:
    """Twice the batch, compared by the time for as many samples as before."""
    half = Trial(trial.before_s, trial.after_s / 2, trial.faster * 2)
    ratio = human_ratio(trial.after_s / trial.before_s)
    return f"twice the batch takes {ratio} the time, {_change(half)} for as many samples" if half.gains else None


def _packed(trial: Trial, suggestion: Suggestion) -> str | None:
    if not trial.gains or suggestion.stage is None:
        return None
    return f"packed once, as torch.compile does with freezing, {suggestion.stage.name} takes {_change(trial)}"


def _onednn(trial: Trial, suggestion: Suggestion) -> str | None:
    """The convolution in oneDNN, with packed weights; no gain is a result too: the path of torch is no loss."""
    if suggestion.stage is None:
        return None
    how = f"in oneDNN, with weights packed once as torch.compile does with freezing, {suggestion.stage.name} takes"
    return f"{how} {_change_or_none(trial)}"


def _float32(trial: Trial, _: Suggestion) -> str | None:
    return f"in float32 it takes {_change_or_none(trial)}"


def _change_or_none(trial: Trial) -> str:
    if trial.loses:
        return f"{_change(trial)}, which is slower: what ran is the better one here"
    return _change(trial) + ("" if trial.gains else ", no gain beyond the noise")


def _multiplier(trial: Trial, _: Suggestion) -> str | None:
    if not trial.gains:
        return None
    return f"this stage {_change(trial)} with as many MACs in m·C channels of multiplier 1"


def _copy(trial: Trial, _: Suggestion) -> str | None:
    if trial.before_s > MAX_COPIES * trial.after_s:
        return None
    return f"it takes {human_time(trial.before_s)}, a plain copy of its output {human_time(trial.after_s)}"


def _other_kernel(trial: Trial, suggestion: Suggestion) -> str | None:
    others = [kernel for kernel in dict.fromkeys(trial.kernels) if kernel not in suggestion.kernels]
    ran = f"two run {' and '.join(others)}, {_change(trial)} on twice the processors"
    return ran if others and trial.gains else None


RESULTS: Final[dict[str, Callable[[Trial, Suggestion], str | None]]] = {
    PINNED: _if_faster,
    BATCH: _a_sample,
    "packed_weights": _packed,
    "multiplier_1": _multiplier,
    "channels_last": _if_faster,
    "contiguous": _if_faster,
    "copy": _copy,
    "two_threads": _other_kernel,
    "onednn": _onednn,
    "float32": _float32,
}
"""Functions that put the result of a trial into words, by alternative; None refutes the claim."""
