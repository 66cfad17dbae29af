"""The account of a time: the measured median of a call, split into parts that sum to it.

Each part is measured as a share of a plain call, next to which it ran, and scaled to the median. The rest is
`unexplained`; it is negative where the instruments measured more than the median. A median that is far from the plain
call belongs to another call: the parts then keep their measured seconds, and the difference is unexplained.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from convcost.text.errors import one_line
from convcost.text.units import human_ratio, human_share, human_time
from convcost.timing.onednn import Agreement, roles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from convcost.timing.onednn import Primitive


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
MAX_CHANGE: Final = 1.5
"""Ratios beyond this cannot be machine noise: treat as a different call."""
MAX_UNEXPLAINED: Final = 0.5
"""Maximum share of the median, of either sign, that may be unexplained in an account that adds up."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a call's time.

    Attributes:
        part: One of `PARTS`.
        seconds: Seconds of this part; negative only for `unexplained`.
        kernel: oneDNN's implementation or the ATen operator; None where no kernel runs.
    """

    part: str
    seconds: float
    kernel: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """The measurements of one block's call, taken next to each other.

    Attributes:
        plain_s: Seconds of a call without instruments.
        overhead_s: Seconds around the kernels, from calls with next to no arithmetic.
        kernels: Kernels in the order they ran.
    """

    plain_s: float
    overhead_s: float
    kernels: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """The parts of a row's time.

    Attributes:
        parts: Parts that sum to the row's median.
        agreement: Whether the convolutions that oneDNN ran are the stages of the block.
    """

    parts: tuple[Part, ...]
    agreement: Agreement = field(default_factory=lambda: Agreement(None))

    @property
    def time_s(self) -> float:
        """Sum of the parts: the median."""
        return sum(part.seconds for part in self.parts)

    @property
    def records(self) -> tuple[dict[str, Any], ...]:
        """The parts as JSON objects."""
        return tuple({"part": one.part, "seconds": one.seconds, "kernel": one.kernel} for one in self.parts)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Reason not to trust the account: its measured parts are far from the median."""
        left = self.share("unexplained")
        if abs(left) <= MAX_UNEXPLAINED:
            return ()
        what = f"{human_share(left)} unexplained" if left >= -1 else f"its parts take {human_ratio(1 - left)} the time"
        return (f"the account does not add up, {what}: close other programs and run it again",)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The doubts, and the differences between the layer and the convolution that oneDNN ran."""
        return (*self.doubts, *(f"oneDNN convolved another layer, {one}" for one in self.agreement.differences))

    def seconds(self, *parts: str) -> float:
        """Seconds of these parts together."""
        return sum(one.seconds for one in self.parts if one.part in parts)

    def share(self, *parts: str) -> float:
        """Share of the median that these parts take together."""
        return self.seconds(*parts) / self.time_s

    def lines(self, name: str, hint: str | None) -> str:
        """The account of a row under its name, with the text of its hint, if any."""
        lines = [f"{one_line(name)}: where {human_time(self.time_s)} go", str(self)]
        lines += [f"  {self.agreement}"] if self.agreement.agrees is not None else []
        return "\n".join([*lines, *([] if hint is None else [f"  hint: {hint}"])])

    def __str__(self) -> str:
        """One line per part, the largest first and the unexplained last: name, time, share of the median, kernel."""
        cells = [
            (
                p.part,
                human_time(p.seconds) if p.seconds else "< 1 µs",
                human_share(p.seconds / self.time_s),
                short_kernel(p.kernel or ""),
            )
            for p in sorted(self.parts, key=lambda part: (part.part == PARTS[-1], -part.seconds))
        ]  # oneDNN's clock has a resolution of 1 µs
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            f"  {name:<{widths[0]}}  {time:>{widths[1]}}  {share:>{widths[2]}}  {kernel}".rstrip()
            for name, time, share, kernel in cells
        )


def account(time_s: float, seen: Observed, fault_s: float = 0.0) -> tuple[Part, ...]:
    """The parts of a median time, which sum to it.

    Measured parts count as shares of the plain call. With page faults in the median, or where the median is further
    from the plain call than machine noise explains, they are not the same call, and the seconds stay as measured.

    Args:
        time_s: Median, seconds.
        seen: Measurements taken afterwards, without page faults.
        fault_s: Seconds of the page faults in the median.
    """
    parts = [*_merged(seen.kernels), Part("overhead", max(0.0, seen.overhead_s))]
    scale = time_s / seen.plain_s
    if fault_s or not 1 / MAX_CHANGE <= scale <= MAX_CHANGE:
        scale = 1.0
    scaled = [replace(part, seconds=part.seconds * scale) for part in parts]
    scaled += [Part("page_faults", fault_s)] if fault_s else []
    return (*scaled, Part("unexplained", time_s - sum(part.seconds for part in scaled)))


def _merged(parts: Iterable[Part]) -> list[Part]:
    """One part for each name and kernel, in the order of `PARTS`."""
    seconds: defaultdict[tuple[str, str | None], float] = defaultdict(float)
    for part in parts:
        seconds[part.part, part.kernel] += part.seconds
    merged = [Part(name, total, kernel) for (name, kernel), total in seconds.items()]
    return sorted(merged, key=lambda part: PARTS.index(part.part))


ONEDNN_OPERATOR: Final = "mkldnn"
"""Part of the names of ATen operators that run oneDNN's primitives."""
TRANSPOSED_OPERATOR: Final = "aten::_convolution"
"""Operator in which the primitives of a transposed convolution run; it does nothing else."""
GPU_ROLES: Final = (
    ("reorder_input", re.compile(r"nchwToNhwc|nchw2nhwc", re.IGNORECASE)),
    ("reorder_output", re.compile(r"nhwcToNchw|nhwc2nchw", re.IGNORECASE)),
    ("convolution", re.compile(r"conv|fprop|winograd|xmma|cutlass|gemm|gemv|nvjet|implicit|cudnn", re.IGNORECASE)),
)
"""Parts by patterns in the kernel names of cuDNN, cuBLAS and ATen, the first match; all others are native."""


def cpu_kernels(primitives: Sequence[Primitive], operators: Mapping[str, float], min_s: float) -> tuple[Part, ...]:
    """The primitives of oneDNN by their purpose, and the operators outside oneDNN.

    Args:
        primitives: Primitives of one call, in order.
        operators: Seconds of each ATen operator itself.
        min_s: Seconds below which an operator is no part of its own.
    """
    ran = [Part(role, one.seconds, one.kernel) for role, one in zip(roles(primitives), primitives, strict=True)]
    inside = {name for name in operators if ONEDNN_OPERATOR in name} or {TRANSPOSED_OPERATOR}
    outside = {name: s for name, s in operators.items() if not (primitives and name in inside)}
    largest_first = sorted(outside.items(), key=lambda item: -item[1])
    return (*ran, *(Part(_cpu_role(name), s, name) for name, s in largest_first if s >= min_s))


def _cpu_role(operator: str) -> str:
    """The part of an operator; an operator of oneDNN counts as convolution if its primitives could not be read."""
    return "convolution" if ONEDNN_OPERATOR in operator else "native"


def short_kernel(name: str) -> str:
    """The name of a kernel without the C++ types of its template and its arguments.

    >>> short_kernel("void at::native::(anonymous namespace)::add<128, Pair<float> >(int)"), short_kernel("jit:avx2")
    ('at::native::add', 'jit:avx2')
    >>> short_kernel("void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x128>(Params)")
    'cutlass_80_tensorop_s1688gemm_128x128'
    """
    plain = name.removeprefix("void ").replace("(anonymous namespace)::", "")
    only = re.match(r"cutlass::Kernel2?<(\w+)>", plain)  # the template's argument is the kernel
    return only[1] if only else re.split(r"[<(]", plain)[0].rstrip()


def gpu_kernels(kernels: Iterable[tuple[str, float]]) -> tuple[Part, ...]:
    """The parts of a GPU's kernels, given as name and seconds; their names show the purpose."""
    return tuple(Part(_gpu_role(name), seconds, name) for name, seconds in kernels)


def _gpu_role(name: str) -> str:
    return next((role for role, pattern in GPU_ROLES if pattern.search(name)), "native")


def hidden_launches(empty_s: float, kernels: Iterable[Part]) -> float:
    """The launch time that remains as overhead: a GPU works on one call while the next is being launched.

    Args:
        empty_s: Mean seconds of queued calls with next to no arithmetic: the time of their launches.
        kernels: Kernels of the real call.
    """
    return max(0.0, empty_s - sum(part.seconds for part in kernels))
