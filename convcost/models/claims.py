"""Claims: by which convention of counting a published number of operations comes from a model.

All conventions of one input size are figures over the calls of one count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.models.other_counters import (
    bias_of,
    by_output_size,
    inputs_of,
    is_activation,
    is_normalisation,
    is_pooling,
    outputs_of,
    totals_of_others,
)
from convcost.text.errors import ConvcostError, as_text
from convcost.text.quantities import Kind, quantity
from convcost.text.sizes import format_sizes
from convcost.text.units import human_percent, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from convcost.models.report import ModelReport

CLAIM: Final = Kind(
    "a number of operations", ("", "mac", "macs", "flop", "flops", "madds", "mult-adds", "multiply-adds"), "4.5 G"
)
OTHER_SIZES: Final = (112, 128, 160, 192, 224, 256, 288, 299, 320, 331, 336, 384, 416, 448, 480, 512, 608, 640)
"""Usual heights and widths of images, for which a count is repeated."""
CUT: Final = 3
"""Places by which a figure that is cut to the claim's digits comes after one that is rounded to them."""
MAX_CUT: Final = Decimal("0.03")
"""Share of a claim by which a figure that is cut to its digits may be larger."""
MAX_CLOSEST: Final = 5
"""Maximum number of conventions that are listed for a claim that they do not match."""
_SUMS: Final = (
    *(("bias",), ("normalisation",), ("activations",), ("pooling",), ("bias", "normalisation")),
    *(("normalisation", "activations"), ("bias", "normalisation", "activations")),
    ("bias", "normalisation", "activations", "pooling"),
)
"""What is counted besides products, alone and together."""
_IMAGE: Final = re.compile(r"(\d+)x([134])x(\d+)x(\d+)")


class Image(NamedTuple):
    """The sizes of an input of images."""

    samples: int
    channels: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed number, beside what one convention gives.

    Attributes:
        claim: Claim as the user wrote it.
        convention: What is counted, and how.
        resolution: Height and width of the input; None where it is no image.
        value: Operations by the convention.
        relative_error: value / claim - 1.
        matches: Whether the value is the claim at the digits that it gives, rounded or cut.
        cut: Whether it is the claim only if its further digits are cut, not rounded.
        counters: Other counters whose total is this value.
    """

    claim: str
    convention: str
    resolution: tuple[int, ...] | None
    value: int
    relative_error: float
    matches: bool
    cut: bool = False
    counters: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        """The claim as a JSON object."""
        record = {name: getattr(self, name) for name in ("claim", "convention", "value", "relative_error", "matches")}
        return {**record, "resolution": self.resolution and list(self.resolution), "counters": list(self.counters)}

    @property
    def text(self) -> str:
        """The convention and the input size."""
        size = "" if self.resolution is None else f" at {format_sizes(self.resolution)}"
        return f"{self.convention}{size}"


class _Number(NamedTuple):
    """A claimed number, and the unit of its last digit."""

    value: Decimal
    unit: Decimal

    def is_rounded(self, value: int) -> bool:
        return abs(value - self.value) * 2 <= self.unit

    def is_cut(self, value: int) -> bool:
        return 0 <= value - self.value < min(self.unit, self.value * MAX_CUT)


class _Figure(NamedTuple):
    """What a convention gives, with its place in the order of simplicity, 0 for plain MACs."""

    convention: str
    value: int
    order: int
    counters: tuple[str, ...] = ()


def parse_claim(text: str) -> _Number:
    """The number of a claim such as `4.5G`, `569 M MACs`, `8.2 GFLOPs` or `0.39B`, and the unit of its last digit.

    A number without a prefix has as many digits as it has before its trailing zeros.

    Raises:
        ConvcostError: The text is no number of operations above 0.

    >>> parse_claim("4.50G").unit == 10**7, parse_claim("569000000").unit == 10**6
    (True, True)
    """
    plain = re.sub(r"(?<=[\d\s])B(?=\s|$)", "G", text.strip())  # papers have B for billions
    try:
        value = quantity(plain, CLAIM)
    except ConvcostError as error:
        raise ConvcostError(f"claim {error}") from None
    if not value:
        raise ConvcostError(f"claim (={as_text(text)}) must be above 0; write it as 4.5G.")
    digits = re.match(r"[\d_]+(\.\d+)?([eE][+-]?\d+)?", plain, re.ASCII)
    written = Decimal(digits[0].replace("_", "")) if digits else value
    last = written.normalize() if written == value and digits and not digits[1] and not digits[2] else written
    return _Number(value, value / written * Decimal(10) ** int(last.as_tuple().exponent))


def image_of(report: ModelReport) -> Image | None:
    """The sizes of a model's only input, if it is a batch of images."""
    match = _IMAGE.fullmatch(report.inputs[0]) if len(report.inputs) == 1 else None
    return Image(*map(int, match.groups())) if match else None


def answer(claims: Sequence[str], report: ModelReport, others: Iterable[ModelReport] = ()) -> tuple[Claim, ...]:
    """For each claim the conventions that give it, best first, or the closest ones.

    Args:
        claims: Claimed numbers, as `parse_claim` reads them.
        report: Count of the model.
        others: Counts of the model at other input sizes, of which only plain MACs and FLOPs are considered.

    Raises:
        ConvcostError: A claim that is no number.
    """
    numbers = {text: parse_claim(text) for text in claims}
    figures = [(figure, _resolution(report)) for figure in _distinct(_figures(report))]
    figures += [(figure, _resolution(other)) for other in others for figure in _plain(other.totals.macs, order=4)]
    answers: list[Claim] = []
    for text, number in numbers.items():
        matching = [one for one in figures if number.is_rounded(one[0].value) or number.is_cut(one[0].value)]
        chosen = sorted(matching, key=lambda one: (one[0].order + CUT * (not number.is_rounded(one[0].value)), one))
        if not matching:
            chosen = sorted(figures, key=lambda one: (abs(one[0].value - number.value), one))[:MAX_CLOSEST]
        answers += [
            Claim(
                text,
                figure.convention,
                size,
                figure.value,
                float(figure.value / number.value - 1),
                bool(matching),
                bool(matching) and not number.is_rounded(figure.value),
                figure.counters,
            )
            for figure, size in chosen
        ]
    return tuple(answers)


def _resolution(report: ModelReport) -> tuple[int, ...] | None:
    image = image_of(report)
    return None if image is None else (image.height, image.width)


def _plain(macs: int, order: int = 0) -> Iterator[_Figure]:
    """MACs and FLOPs of convolutions, linear layers, matrix products and attention."""
    yield _Figure("MACs", macs, order)
    yield _Figure("FLOPs", FLOPS_PER_MAC * macs, order + 1)


def _figures(report: ModelReport) -> Iterator[_Figure]:
    """What each convention gives for the input of the count."""
    calls, macs = report.layers, report.totals.macs
    yield from _plain(macs)
    added = {  # a normalised element is a product and a sum, the others are one operation each
        "bias": (sum(map(bias_of, calls)), 1),
        "normalisation": (sum(inputs_of(call) for call in calls if is_normalisation(call)), FLOPS_PER_MAC),
        "activations": (sum(outputs_of(call) for call in calls if is_activation(call)), 1),
        "pooling": (sum(inputs_of(call) for call in calls if is_pooling(call)), 1),
    }
    kinds = report.by_operator
    products = kinds.get("attention", 0) or kinds.get("matmul", 0)
    left_out = {
        "without the classifier": _classifier(report),
        "without attention products" if kinds.get("attention") else "without products of activations": products,
        "of convolutions alone": macs - kinds.get("convolution", 0),
        "with transposed convolutions by output size": macs - sum(map(by_output_size, calls)),
    }
    for unit, factor in (("MACs", 1), ("FLOPs", FLOPS_PER_MAC)):
        for names in _SUMS:
            amounts = [added[name][0] * (added[name][1] if factor > 1 else 1) for name in names]
            if all(amounts):
                yield _Figure(" + ".join((unit, *names)), factor * macs + sum(amounts), 2 * len(names) + factor)
        for words, amount in left_out.items():
            yield _Figure(f"{unit} {words}", factor * (macs - amount), 1 + factor)
    sums = sum(outputs_of(call) for call in calls if call.macs)
    yield _Figure("FLOPs, 2K - 1 for a sum of K products", FLOPS_PER_MAC * macs - sums, 4)
    image = image_of(report)
    samples = 1 if image is None else image.samples
    for plain in _plain(macs // samples, order=2):
        yield plain._replace(convention=f"{plain.convention} of one sample")
    for counter, total in totals_of_others(calls, samples).items():
        yield _Figure(f"total of {counter}", total, 2, (counter,))


def _classifier(report: ModelReport) -> int:
    """MACs of the last layer, if it is a linear one, or a 1x1 convolution of a single pixel."""
    last = next((call for call in reversed(report.layers) if call.macs), None)
    if last is None:
        return 0
    is_pixel = last.conv is not None and set(last.output_shape[2:]) == {1}
    return last.macs if is_pixel or last.torch_name.lower() == "linear" else 0


def _distinct(figures: Iterable[_Figure]) -> list[_Figure]:
    """One figure for each value, by the first convention that gives it, with its counters; 0 only alone."""
    known: dict[int, _Figure] = {}
    for figure in figures:
        before = known.setdefault(figure.value, figure)
        if before is not figure:
            known[figure.value] = before._replace(counters=(*before.counters, *figure.counters))
    return [figure for figure in known.values() if figure.value > 0] or list(known.values())[:1]


def claim_lines(claims: Iterable[Claim]) -> list[str]:
    """One sentence for each claim: the convention that gives it, or the closest ones."""
    by_text: dict[str, list[Claim]] = {}
    for claim in claims:
        by_text.setdefault(claim.claim, []).append(claim)
    return [_line(text, *each) for text, each in by_text.items()]


def _line(text: str, best: Claim, *more: Claim) -> str:
    if not best.matches:
        nearest = (f"{one.text} ({one.value:,}, {human_percent(one.relative_error, '+')})" for one in (best, *more[:2]))
        return f"claim {text}: no convention gives it; the nearest are {', '.join(nearest)}"
    how = "cut" if best.cut else "rounded" if best.relative_error else "exactly"
    printed = f", as {listed(best.counters)} print{'s' if len(best.counters) == 1 else ''} it" if best.counters else ""
    names = [one.convention if one.resolution == best.resolution else one.text for one in more[:3]]
    also = f"; {len(more)} more with the same digits: {', '.join(names)}" if more else ""
    name = " called FLOPs" if "FLOP" in text.upper() and best.convention.startswith("MACs") else ""
    return f"claim {text}: {best.text}{name}, {how} ({best.value:,}{printed}){also}{', ...' if more[3:] else ''}"
