"""The figures of kernels: each as an image with its factors, and the layers of a network before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from convcost.kernels.factors import entry_text
from convcost.text.figure import Figure, data, distinct, largest, of_all, panels, shortened, tooltips
from convcost.text.sizes import format_sizes
from convcost.timing.figures import PARAMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

    from convcost.kernels.matrix import Entry
    from convcost.kernels.row import KernelRow, LayerRow

MAX_KERNELS: Final = 12
MAX_TERMS: Final = 3
"""Maximum number of columns and rows that are drawn for a kernel."""
MAX_NAME: Final = 24
"""Maximum number of characters of the name above a kernel."""
MAX_LABELLED: Final = 9
"""Largest side of a kernel whose numbers are written into the image."""
IMAGE: Final = 200
"""Height and width of the image of a large kernel in pixels."""
CELL: Final = 34
"""Height and width of a cell of a small kernel in pixels."""

DIGIT: Final = 7
"""Width of a digit in a cell in pixels."""
MAX_WIDE: Final = 63
"""Maximum width of a cell for its number, in pixels."""


def kernel_figures(rows: Sequence[KernelRow]) -> tuple[Figure, ...]:
    """Each kernel as an image, beside the columns and rows whose products add up to it."""
    import altair as alt

    rest = of_all(min(len(rows), MAX_KERNELS), len(rows), "an image")
    shown = rows[:MAX_KERNELS]
    names = shortened(distinct(row.separation.name for row in shown), MAX_NAME)
    charts = [_kernel(row, name) for row, name in zip(shown, names, strict=True)]
    sentence = f"Is the kernel a column times a row? Beside it: its factors, at most {MAX_TERMS} pairs.{rest}"
    return (Figure(sentence, alt.vconcat(*charts, spacing=24) if charts else None),)


def _kernel(row: KernelRow, name: str) -> alt.HConcatChart:
    import altair as alt

    own, cell = row.separation, max(1, min(CELL, IMAGE // max(row.size)))
    images = [_image(row.matrix.entries, f"{name}, {format_sizes(row.size)}, rank {own.rank}", cell)]
    for index, term in enumerate(own.terms[:MAX_TERMS], 1):
        number = f" {index}" if len(own.terms) > 1 else ""
        images.append(_image([[entry] for entry in term.column], f"column{number}", cell))
        images.append(_image([term.scaled_row], f"row{number}", cell))
    chart: alt.HConcatChart = alt.hconcat(*images, spacing=30).resolve_scale(color="independent")
    return chart


def _image(entries: Sequence[Sequence[Entry]], title: str, cell: int) -> alt.LayerChart | alt.FacetChart:
    """A matrix as an image: blue below zero, orange above, white at zero."""
    import altair as alt

    cells: list[dict[str, Any]] = [
        {"row": i, "column": j, "value": float(entry), "entry": entry_text(entry, short=True), "cell": _cell(entry)}
        for i, line in enumerate(entries)
        for j, entry in enumerate(line)
    ]
    most = max(abs(one["value"]) for one in cells) or 1
    height, width = len(entries), len(entries[0])
    scale = alt.Scale(scheme="blueorange", domain=[-most, most])
    base = alt.Chart(data(cells)).encode(alt.X("column:O", axis=None), alt.Y("row:O", axis=None))
    image = base.mark_rect().encode(
        alt.Color("value:Q", scale=scale, legend=None), tooltip=tooltips("row", "column", "entry")
    )
    layers, wide = [image], cell
    if max(height, width) <= MAX_LABELLED:
        wide = max(cell, min(MAX_WIDE, DIGIT * max(len(one["cell"]) for one in cells)))
        colour = alt.when(f"abs(datum.value) > {0.6 * most}").then(alt.value("white")).otherwise(alt.value("black"))
        layers.append(base.mark_text(fontSize=10).encode(text="cell:N", color=colour))
    return alt.layer(*layers).properties(width=width * wide, height=height * cell, title=title)


def _cell(entry: Entry) -> str:
    """A number that a cell has room for."""
    text = entry_text(entry, short=True)
    return text if DIGIT * len(text) <= MAX_WIDE else f"{float(entry):.2g}"


def weights_figures(rows: Sequence[LayerRow]) -> tuple[Figure, ...]:
    """The weights of each layer, and of the pair of convolutions that keeps 99 % of its energy."""
    known = [row for row in rows if row.params_after is not None]
    chosen = [known[index] for index in largest([row.params_before for row in known])]
    sides = ("layer", "pair")
    values = [dict(zip(sides, (row.params_before, row.params_after), strict=True)) for row in chosen]
    chart = panels([row.name for row in chosen], {PARAMS: values}, "layer", sides)
    rest = of_all(len(chosen), len(known), "the most weights")
    return (Figure(f"Which layers would a pair of k×1 and 1×k convolutions make smaller?{rest}", chart),)
