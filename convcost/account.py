"""Where the time of a call goes: the measured median split into parts that sum to it. Pure arithmetic over what was seen.

Each part is a share of a plain call's time, taken beside it, times the median. What no instrument saw is `unexplained`;
it is negative where the instruments saw more than there was.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, Final

from convcost.onednn_problem import Agreement, parse_problem
from convcost.reorders import parse_sizes, roles
from convcost.units import human_share, human_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from convcost.onednn_lines import Primitive

__all__ = ["PARTS", "Account", "Observed", "Part", "account", "flat_text"]

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
WORTH_NAMING: Final = 0.01
"""An operator below this share of the call is no part of its own: its time is within `unexplained`."""
ONEDNN_OPERATOR: Final = "mkldnn"
"""In the name of the ATen operators in which oneDNN's primitives run."""


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
        overhead_s: seconds of the same calls with next to no arithmetic in them, kernels taken off.
        primitives: what oneDNN ran, in order.
        operators: seconds of each ATen operator itself, beyond what it takes with next to no arithmetic.
        fault_s: seconds of a call's page faults; they happen inside the kernels that write to new memory.
        native_elements: that the stages outside oneDNN write.
    """

    plain_s: float
    overhead_s: float
    primitives: tuple[Primitive, ...] = ()
    operators: Mapping[str, float] = field(default_factory=dict)
    fault_s: float = 0.0
    native_elements: int = 0


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

    def seconds(self, *parts: str) -> float:
        """Of these parts together."""
        return sum(one.seconds for one in self.parts if one.part in parts)

    def share(self, *parts: str) -> float:
        """Of these parts together, of the median."""
        return self.seconds(*parts) / self.time_s

    def __str__(self) -> str:
        """One line a part: its name, its time, its share, its kernel."""
        cells = [(p.part, human_time(p.seconds), human_share(p.seconds / self.time_s), p.kernel or "") for p in self.parts]
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
    return "; ".join(
        " ".join(filter(None, (one["part"], f"{one['seconds']:.6g} s", one["kernel"]))) for one in records
    )


def account(time_s: float, seen: Observed) -> tuple[Part, ...]:
    """The parts of a median time; they sum to it.

    Args:
        time_s: the median, seconds.
        seen: beside it.
    """
    found = _kernels(seen)
    kernels = _without_faults(found, seen.fault_s)
    fault_s = sum(part.seconds for part, _ in found) - sum(part.seconds for part in kernels)
    parts = [*_merged(kernels), Part("overhead", max(0.0, seen.overhead_s))]
    parts += [Part("page_faults", fault_s)] if fault_s else []
    scale = time_s / seen.plain_s
    scaled = [replace(part, seconds=part.seconds * scale) for part in parts]
    return (*scaled, Part("unexplained", time_s - sum(part.seconds for part in scaled)))


def _kernels(seen: Observed) -> list[tuple[Part, int]]:
    """What ran, with the elements that it writes."""
    found = [
        (Part(role, one.seconds, one.kernel), _elements(one))
        for role, one in zip(roles(seen.primitives), seen.primitives, strict=True)
    ]
    least = WORTH_NAMING * seen.plain_s
    operators = sorted(seen.operators.items(), key=lambda item: -item[1])
    for name, seconds in operators:
        if seconds >= least and not (seen.primitives and ONEDNN_OPERATOR in name):
            found.append((Part("native", seconds, name), seen.native_elements))
    return found


def _without_faults(kernels: Sequence[tuple[Part, int]], fault_s: float) -> list[Part]:
    """The kernels' time without the page faults, which are shared out by what each kernel writes."""
    written = sum(elements for _, elements in kernels)
    if not fault_s or not written:
        return [part for part, _ in kernels]
    return [
        replace(part, seconds=max(0.0, part.seconds - fault_s * elements / written)) for part, elements in kernels
    ]


def _merged(parts: Iterable[Part]) -> list[Part]:
    """One entry for each part and kernel, in the order of `PARTS`."""
    seconds: defaultdict[tuple[str, str | None], float] = defaultdict(float)
    for part in parts:
        seconds[part.part, part.kernel] += part.seconds
    merged = [Part(name, total, kernel) for (name, kernel), total in seconds.items()]
    return sorted(merged, key=lambda part: PARTS.index(part.part))


def _elements(primitive: Primitive) -> int:
    """What a primitive writes."""
    if primitive.is_convolution:
        problem = parse_problem(primitive.problem)
        return 0 if problem is None else problem.batch * problem.out_channels * prod(problem.out_size)
    return prod(parse_sizes(primitive.problem))
