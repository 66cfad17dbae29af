"""Sentences for the caption of a table of counts: unit, what is counted, by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost._version import __version__
from convcost.text.units import listed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

UNIT: Final = "MACs (multiply-accumulates; 1 MAC = 2 FLOPs)"
_KINDS: Final = {
    "convolution": "convolutions",
    "linear": "linear layers",
    "matmul": "matrix products",
    "attention": "attention products",
    "recurrent": "recurrent layers",
    "bilinear": "bilinear layers",
}
_COUNTERS: Final = {"fvcore": "fvcore", "torch": "torch's FlopCounterMode"}


def with_args(args: Mapping[str, object]) -> str:
    """The arguments of a model, to stand after its name; empty without any."""
    return f" ({', '.join(f'{name}={value}' for name, value in args.items())})" if args else ""


def what_is_counted(kinds: Collection[str]) -> str:
    """The kinds of operations that have MACs, and those that have none by convention."""
    counted = listed([words for kind, words in _KINDS.items() if kind in kinds]) or "no operation of the model"
    return f"{counted}. Bias, normalisation, activations and pooling are not counted."


def who_counted(torch_versions: Iterable[object], agreeing: Collection[str]) -> str:
    """The counter and its version.

    Args:
        torch_versions: Versions of torch that the models were counted on.
        agreeing: Other counters that agree on all models.
    """
    versions = listed(list(dict.fromkeys(map(str, torch_versions))))
    others = listed([name for who, name in _COUNTERS.items() if who in agreeing])
    return f"Counted with convcost {__version__} on torch {versions}{others and f', cross-checked with {others}'}."
