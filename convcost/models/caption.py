"""The caption of a table of counts: unit, input, what is counted, counter and version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost._version import __version__
from convcost.text.units import human_count, listed

if TYPE_CHECKING:
    from convcost.models.report import ModelReport

_PLURALS: Final = {
    "convolution": "convolutions",
    "linear": "linear layers",
    "matmul": "matrix products",
    "attention": "attention products",
    "recurrent": "recurrent layers",
    "bilinear": "bilinear layers",
}
NOT_COUNTED: Final = "Bias, normalisation, activations and pooling are not counted."


def counted_kinds(*reports: ModelReport) -> str:
    """The kinds of operations that make the MACs of one or several models."""
    kinds = [words for kind, words in _PLURALS.items() if any(one.by_operator.get(kind) for one in reports)]
    return listed(kinds) or "no products"


def counter(*reports: ModelReport) -> str:
    """Who counted, with versions, and which other counters agree on all of the models."""
    versions = listed(list(dict.fromkeys(str(one.conditions.get("torch_version")) for one in reports)))
    agreeing = [
        name
        for who, name in (("fvcore", "fvcore"), ("torch", "torch's FlopCounterMode"))
        if all(one.cross_check.get(who) is not None and one.cross_check[who].status == "agrees" for one in reports)
    ]
    checked = f", cross-checked with {listed(agreeing)}" if agreeing else ""
    return f"Counted with convcost {__version__} on torch {versions}{checked}."


def caption_of(report: ModelReport) -> str:
    """The sentences for a table of one model."""
    totals = report.totals
    least = "at least " if report.uncounted else ""
    params = "" if totals.params is None else f"{human_count(totals.params)} parameters and "
    return (
        f"One forward pass of {report.target} on an input of {', '.join(report.inputs)}: {params}"
        f"{least}{human_count(totals.macs)} MACs (multiply-accumulates; 1 MAC = 2 FLOPs) of "
        f"{counted_kinds(report)}. {NOT_COUNTED} {counter(report)}"
    )
