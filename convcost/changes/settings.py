"""The hyper-parameters of a layer that differ between two models, where they are no sizes of a convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.text.errors import one_line
from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.models.call import Call

_OF_CONVOLUTIONS: Final = frozenset(
    {"in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"}
)
"""Hyper-parameters that a convolution's call has already."""
_IN_SHAPES: Final = frozenset({"in_features", "normalized_shape", "num_channels", "num_features"})
"""Hyper-parameters that follow from the input."""
_WITHOUT_EFFECT: Final = frozenset({"inplace"})
"""Hyper-parameters that change no value of the output."""


def changed_settings(before: Call, after: Call) -> Iterator[str]:
    """Each hyper-parameter of two modules of one class that differs: `padding_mode zeros → reflect`."""
    if before.op != after.op or not before.settings or not after.settings:
        return
    old, new = dict(before.settings), dict(after.settings)
    known = _IN_SHAPES | _WITHOUT_EFFECT | (_OF_CONVOLUTIONS if before.conv and after.conv else frozenset())
    for name, value in old.items():
        if name in new and name not in known and not _are_equal(value, new[name]):
            yield f"{name} {_text(value)} → {_text(new[name])}"
    if before.has_bias != after.has_bias and "bias" not in old:
        yield "bias added" if after.has_bias else "bias removed"


def own_padding(call: Call) -> str | None:
    """The padding of a convolution that pads with other values than zeros, before it convolves; None for any other."""
    settings = dict(call.settings)
    padding = settings.get("padding")
    is_other = settings.get("padding_mode", "zeros") != "zeros"
    return format_sizes(padding) if is_other and isinstance(padding, tuple) else None


def _are_equal(one: object, other: object) -> bool:
    """Whether two values are equal, where a number may stand for one on each axis."""
    sides = [set(value) if isinstance(value, tuple) else {value} for value in (one, other)]
    return one == other or (isinstance(one, tuple) is not isinstance(other, tuple) and sides[0] == sides[1])


def _text(value: object) -> str:
    return format_sizes(value) if isinstance(value, tuple) and value else one_line(str(value))
