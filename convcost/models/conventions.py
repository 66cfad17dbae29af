"""Conventions of counting: what each gives for a model, and which of them give a claimed number.

All conventions of one input size are figures over the calls of one count.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.models.claim import MAX_WITHOUT_PREFIX, Claim, Number, parse_claim
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
from convcost.text.units import STEP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from convcost.models.report import ModelReport

OTHER_SIZES: Final = (112, 128, 160, 192, 224, 256, 288, 299, 320, 331, 336, 384, 416, 448, 480, 512, 608, 640)
"""Usual heights and widths of images, for which a count is repeated if they are plausible."""
PREFIXES: Final = ("k", "M", "G", "T")
"""Prefixes that a claim may lack, 1000 apart."""
CUT: Final = 3
"""Places by which a figure that is cut to the claim's digits comes after one that is rounded to them."""
MAX_CLOSEST: Final = 5
"""Maximum number of conventions that are listed for a claim that they do not match."""
LAST: Final = 100
"""Place after all conventions of operations."""
MIN_SIZE: Final = 0.5
"""Smallest plausible size of images, ÷ that of the count."""
MAX_SIZE: Final = 1.75
"""Largest plausible size of images, ÷ that of the count."""
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


class _Figure(NamedTuple):
    """What a convention gives, with its place in the order of simplicity, 0 for plain MACs."""

    convention: str
    value: int
    order: int
    counters: tuple[str, ...] = ()


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
    own = _resolution(report)
    figures = [(figure, own) for figure in _distinct(_figures(report))]
    figures += [(figure, _resolution(other)) for other in others for figure in _plain(other.totals.macs, order=4)]
    params = [(_Figure("parameters, not operations", report.totals.params, LAST), None)] if report.totals.params else []
    answers: list[Claim] = []
    for text, number in numbers.items():
        matching = [one for one in (*figures, *params) if number.gives(one[0].value)]
        chosen = sorted(matching, key=lambda one: (one[0].order + CUT * (not number.is_rounded(one[0].value)), one))
        if not matching:
            chosen = sorted(figures, key=lambda one: (abs(one[0].value - number.value), one))[:MAX_CLOSEST]
        meant = () if matching else _meant(text, number, (*figures, *params))
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
                size not in {own, None},
                meant,
            )
            for figure, size in chosen
        ]
    return tuple(answers)


def _meant(text: str, number: Number, figures: Sequence[tuple[_Figure, tuple[int, ...] | None]]) -> tuple[str, ...]:
    """A claim whose prefix was forgotten, and the convention that then gives it; empty if none does."""
    if number.value >= MAX_WITHOUT_PREFIX:
        return ()
    digits, unit = re.match(r"\s*([\d._eE+-]*)\s*(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]  # it matches any text
    for power, prefix in enumerate(PREFIXES, 1):
        scaled = Number(number.value * STEP**power, number.unit * STEP**power)
        matching = [figure for figure, _ in figures if scaled.gives(figure.value)]
        if matching:
            best = min(matching, key=lambda one: one.order)
            return f"{digits}{prefix}{f' {unit}' if unit else ''}", f"{best.convention} ({best.value:,})"
    return ()


def plausible_sizes(size: int) -> tuple[int, ...]:
    """The other usual sizes of images that a model may have been counted at, if it is given this one."""
    return tuple(one for one in OTHER_SIZES if MIN_SIZE <= one / size <= MAX_SIZE and one != size)


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
        "without attention products" if kinds.get("attention") else "without matrix products": products,
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
