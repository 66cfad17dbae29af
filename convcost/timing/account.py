"""Where the time of a call goes: the measured median split into parts that sum to it. Pure arithmetic.

Each part is a share of a plain call's time, taken beside it, times the median. What no instrument saw is `unexplained`;
it is negative where the instruments saw more than there was. A median that is far from the plain call is of another
call, or of another machine: the parts stay as they were seen, and the difference is unexplained.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from convcost.text.units import human_share, human_time
from convcost.timing.onednn import Agreement, roles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from convcost.timing.onednn import Primitive


__all__ = [
    "MOST_CHANGE",
    "PARTS",
    "Account",
    "Observed",
    "Part",
    "account",
    "cpu_kernels",
    "flat_text",
    "gpu_kernels",
    "hidden_launches",
]

PARTS: Final = (
    "convolution",
    "reorder_input",
    "reorder_output",
    "reorder_weights",
    "native",
    "overhead",
    "page_faults",
    "unexplained",
)
MOST_CHANGE: Final = 1.5
"""By so much a phase of the machine slows the same call down; one that differs by more is another call."""
MOST_UNEXPLAINED: Final = 0.5
"""Of the median, in either direction; beyond it the instruments did not see the row's call."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a call's time.

    Attributes:
        part: one of `PARTS`.
        seconds: negative only for `unexplained`.
        kernel: oneDNN's implementation or the ATen operator; None where no kernel runs.
    """

    part: str
    seconds: float
    kernel: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What the instruments saw of one block's call, all beside each other.

    Attributes:
        plain_s: seconds of a call that nothing looked into.
        overhead_s: seconds around the kernels, from calls with next to no arithmetic in them.
        kernels: what ran, in order.
    """

    plain_s: float
    overhead_s: float
    kernels: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """The parts of a row's time.

    Attributes:
        parts: that sum to the row's median.
        agreement: whether the convolutions that oneDNN ran are the stages we mean.
    """

    parts: tuple[Part, ...]
    agreement: Agreement = field(default_factory=lambda: Agreement(None))

    @property
    def time_s(self) -> float:
        """The sum of the parts: the median."""
        return sum(part.seconds for part in self.parts)

    @property
    def records(self) -> tuple[dict[str, Any], ...]:
        """The parts as JSON objects."""
        return tuple({"part": one.part, "seconds": one.seconds, "kernel": one.kernel} for one in self.parts)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why not to trust it: the parts that were seen are far from the median."""
        left = self.share("unexplained")
        if abs(left) <= MOST_UNEXPLAINED:
            return ()
        return (f"the account does not add up, {human_share(left)} unexplained: close other programs and run it again",)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before trusting it: its doubts, and what oneDNN convolved in place of the layer."""
        return (*self.doubts, *(f"oneDNN convolved another layer, {one}" for one in self.agreement.differences))

    def seconds(self, *parts: str) -> float:
        """Of these parts together."""
        return sum(one.seconds for one in self.parts if one.part in parts)

    def share(self, *parts: str) -> float:
        """Of these parts together, of the median."""
        return self.seconds(*parts) / self.time_s

    def __str__(self) -> str:
        """One line a part: its name, its time, its share, its kernel."""
        cells = [
            (
                p.part,
                human_time(p.seconds) if p.seconds else "< 1 µs",
                human_share(p.seconds / self.time_s),
                p.kernel or "",
            )
            for p in self.parts
        ]  # oneDNN's clock has a resolution of 1 µs
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            f"  {name:<{widths[0]}}  {time:>{widths[1]}}  {share:>{widths[2]}}  {kernel}".rstrip()
            for name, time, share, kernel in cells
        )


def flat_text(records: Iterable[Mapping[str, Any]]) -> str:
    """The parts in one cell of a table: name, seconds and kernel.

    >>> flat_text([{"part": "convolution", "seconds": 0.00041, "kernel": "jit:avx2"}])
    'convolution 0.00041 s jit:avx2'
    """
    return "; ".join(" ".join(filter(None, (one["part"], f"{one['seconds']:.6g} s", one["kernel"]))) for one in records)


def account(time_s: float, seen: Observed, fault_s: float = 0.0) -> tuple[Part, ...]:
    """The parts of a median time; they sum to it.

    What was seen is taken as shares of the plain call. With page faults in the median, or where the median is further
    from the plain call than a slow phase of the machine explains, the two are no longer the same call, and the seconds
    are taken as they are.

    Args:
        time_s: the median, seconds.
        seen: beside it, without page faults.
        fault_s: seconds of the page faults in the median.
    """
    parts = [*_merged(seen.kernels), Part("overhead", max(0.0, seen.overhead_s))]
    scale = time_s / seen.plain_s
    if fault_s or not 1 / MOST_CHANGE <= scale <= MOST_CHANGE:
        scale = 1.0
    scaled = [replace(part, seconds=part.seconds * scale) for part in parts]
    scaled += [Part("page_faults", fault_s)] if fault_s else []
    return (*scaled, Part("unexplained", time_s - sum(part.seconds for part in scaled)))


def _merged(parts: Iterable[Part]) -> list[Part]:
    """One entry for each part and kernel, in the order of `PARTS`."""
    seconds: defaultdict[tuple[str, str | None], float] = defaultdict(float)
    for part in parts:
        seconds[part.part, part.kernel] += part.seconds
    merged = [Part(name, total, kernel) for (name, kernel), total in seconds.items()]
    return sorted(merged, key=lambda part: PARTS.index(part.part))


ONEDNN_OPERATOR: Final = "mkldnn"
"""In the name of the ATen operators in which oneDNN's primitives run."""
TRANSPOSED_OPERATOR: Final = "aten::_convolution"
"""In which those of a transposed convolution run, without an operator of their own; it does nothing else."""
GPU_ROLES: Final = (
    ("reorder_input", re.compile(r"nchwToNhwc|nchw2nhwc", re.IGNORECASE)),
    ("reorder_output", re.compile(r"nhwcToNchw|nhwc2nchw", re.IGNORECASE)),
    ("convolution", re.compile(r"conv|fprop|winograd|xmma|cutlass|gemm|implicit|cudnn", re.IGNORECASE)),
)
"""What cuDNN's and ATen's kernel names begin or contain, the first that fits; anything else is native."""


def cpu_kernels(primitives: Sequence[Primitive], operators: Mapping[str, float], least_s: float) -> tuple[Part, ...]:
    """OneDNN's primitives by what they are for, and the operators outside oneDNN.

    Args:
        primitives: of one call, in order.
        operators: seconds of each ATen operator itself.
        least_s: an operator below this is no part of its own.
    """
    ran = [Part(role, one.seconds, one.kernel) for role, one in zip(roles(primitives), primitives, strict=True)]
    inside = {name for name in operators if ONEDNN_OPERATOR in name} or {TRANSPOSED_OPERATOR}
    outside = {name: s for name, s in operators.items() if not (primitives and name in inside)}
    largest_first = sorted(outside.items(), key=lambda item: -item[1])
    return (*ran, *(Part(_cpu_role(name), s, name) for name, s in largest_first if s >= least_s))


def _cpu_role(operator: str) -> str:
    """An operator of oneDNN whose primitives nobody could read is no native one."""
    return "convolution" if ONEDNN_OPERATOR in operator else "native"


def gpu_kernels(kernels: Iterable[tuple[str, float]]) -> tuple[Part, ...]:
    """A GPU's kernels by their names: name and seconds of each, in order."""
    return tuple(Part(_gpu_role(name), seconds, name) for name, seconds in kernels)


def _gpu_role(name: str) -> str:
    return next((role for role, pattern in GPU_ROLES if pattern.search(name)), "native")


def hidden_launches(empty_s: float, kernels: Iterable[Part]) -> float:
    """What is left of the launches as overhead: a GPU works on one call while the next is being launched.

    Args:
        empty_s: seconds of a call with next to no arithmetic, one after the other: the time of its launches.
        kernels: of the real call.
    """
    return max(0.0, empty_s - sum(part.seconds for part in kernels))
