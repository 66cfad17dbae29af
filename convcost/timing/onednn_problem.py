"""The sizes that oneDNN says it convolved, checked against ours: an independent witness of what a layer is.

oneDNN's text is `g64mb1_ic64oc64_ih56oh56kh3sh1dh0ph1_iw56ow56kw3sw1dw0pw1`: groups (none for 1), batch, channels, then
for each axis input, output, kernel, stride, dilation - 1 and the padding before. Source: oneDNN, benchdnn,
doc/knobs_conv.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from convcost.convolution.conv import Conv
from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.convolution.conv import Layer

__all__ = ["Agreement", "Problem", "agreement", "parse_problem", "problem_of"]

CHANNELS: Final = re.compile(r"(?:g(\d+))?mb(\d+)_(?:g(\d+))?ic(\d+)oc(\d+)")
AXES: Final = ("d", "h", "w")


@dataclass(frozen=True, slots=True)
class Problem:
    """The sizes of one convolution, on three axes (depth, height, width); an axis that is not there has size 1.

    Attributes:
        groups: g.
        batch: N.
        in_channels: C, all groups together.
        out_channels: O, all groups together.
        in_size: of the input, zeros that were put around it before the convolution included.
        out_size: of the output.
        kernel_size: without dilation.
        stride: of the kernel.
        dilation: 1 for a dense kernel.
        padding: before each axis.
    """

    groups: int
    batch: int
    in_channels: int
    out_channels: int
    in_size: tuple[int, ...]
    out_size: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]

    def differences(self, other: Problem) -> tuple[str, ...]:
        """What differs, such as `groups 64 here, 1 for oneDNN`; nothing when all agrees."""
        return tuple(
            f"{f.name} {_text(getattr(self, f.name))} here, {_text(getattr(other, f.name))} for oneDNN"
            for f in fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        )


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether oneDNN convolved the layers that we mean.

    Attributes:
        agrees: None where oneDNN ran no convolution.
        differences: each with the stage it is in.
        ran: how many convolutions oneDNN ran.
        stages: how many the block has; those that oneDNN did not run are ATen's own.
    """

    agrees: bool | None
    differences: tuple[str, ...] = ()
    ran: int = 0
    stages: int = 0

    def __str__(self) -> str:
        """What the witness says, in one line; empty where it saw nothing."""
        if self.agrees is None:
            return ""
        if not self.agrees:
            return f"oneDNN convolved another layer: {'; '.join(self.differences)}"
        seen = "" if self.ran == self.stages else f" for the {self.ran} of {self.stages} stages that it ran"
        return f"oneDNN's problem text is this layer{seen}: groups, channels, sizes"


def parse_problem(text: str) -> Problem | None:
    """The sizes in oneDNN's text; None for a text that is no convolution's.

    >>> parse_problem("g4mb2_ic32oc64_ih56oh28kh3sh2dh1ph2_iw40ow40kw5sw1dw0pw2").dilation
    (1, 2, 1)
    """
    channels = CHANNELS.match(text)
    axes = [_axis(text, axis) for axis in AXES]
    if channels is None or axes[-1] is None:
        return None
    known = [axis or (1, 1, 1, 1, 0, 0) for axis in axes]
    in_size, out_size, kernel, stride, dilation, padding = zip(*known, strict=True)
    before, batch, within, c, o = channels.groups()
    groups = int(before or within or 1)
    dense = tuple(size + 1 for size in dilation)
    return Problem(groups, int(batch), int(c), int(o), in_size, out_size, kernel, stride, dense, padding)


def _axis(text: str, axis: str) -> tuple[int, ...] | None:
    names = "".join(rf"{name}{axis}(\d+)" for name in "ioksdp")
    found = re.search(f"_{names}", text)
    return None if found is None else tuple(map(int, found.groups()))


def problem_of(layer: Layer) -> Problem:
    """The sizes of a placed convolution as torch hands them over: padding that differs before and after is put first.

    Raises:
        TypeError: the layer is no convolution.
    """
    conv = layer.op
    if not isinstance(conv, Conv):
        msg = f"layer (={layer.name}) must be a convolution."
        raise TypeError(msg)
    pairs = conv.explicit_padding(layer.input.spatial)
    sizes, padding = layer.input.spatial, tuple(before for before, _ in pairs)
    if any(before != after for before, after in pairs):
        sizes = tuple(n + before + after for n, (before, after) in zip(sizes, pairs, strict=True))
        padding = (0,) * len(sizes)
    return Problem(
        conv.groups,
        layer.input.batch,
        conv.in_channels,
        conv.out_channels,
        _three(sizes, 1),
        _three(layer.output.spatial, 1),
        _three(conv.kernel_size, 1),
        _three(conv.stride, 1),
        _three(conv.dilation, 1),
        _three(padding, 0),
    )


def agreement(layers: Sequence[Layer], texts: Sequence[str]) -> Agreement:
    """Check the convolutions that oneDNN ran against the stages, both in the order they ran.

    Some stages may have run outside oneDNN: each text must be one of the stages that are left, in order.

    Args:
        layers: of the block; what is no convolution is passed over.
        texts: the problem of each convolution that oneDNN ran.
    """
    stages = [(layer.name, problem_of(layer)) for layer in layers if isinstance(layer.op, Conv)]
    if not texts:
        return Agreement(None, stages=len(stages))
    said: list[str] = []
    position = 0
    for number, text in enumerate(texts):
        theirs = parse_problem(text)
        left = stages[position:]
        if theirs is None:
            said.append(f"oneDNN's problem {text} cannot be read")
        elif not left:
            said.append(f"oneDNN ran {text}, which is no stage of this block")
        elif len(stages) == len(texts):
            name, ours = stages[number]
            said += [f"{name}: {difference}" for difference in ours.differences(theirs)]
        else:
            match = next((index for index, (_, ours) in enumerate(left) if ours == theirs), None)
            if match is None:
                nearest, ours = min(left, key=lambda stage: len(stage[1].differences(theirs)))
                said += [f"{nearest}: {difference}" for difference in ours.differences(theirs)]
            else:
                position += match + 1
    return Agreement(not said, tuple(said), len(texts), len(stages))


def _three(sizes: tuple[int, ...], missing: int) -> tuple[int, ...]:
    return (missing,) * (len(AXES) - len(sizes)) + tuple(sizes)


def _text(value: int | tuple[int, ...]) -> str:
    return format_sizes(value) if isinstance(value, tuple) else str(value)
