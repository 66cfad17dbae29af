"""oneDNN's verbose lines as values: primitives, the sizes of their convolutions, and the purpose of each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import TYPE_CHECKING, Final

from convcost.convolution.conv import Conv
from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from convcost.convolution.layer import Layer


CONVOLUTIONS: Final = ("convolution", "deconvolution")
LINE: Final = re.compile(r"(?:onednn|dnnl)_verbose,[^\n]*(?:\n|$)")
MAX_EXEC_FIELD: Final = 5
"""Last field that may be the word exec; before it come marker, version, timestamp, primitive and one more at most."""
MIN_FIELDS_AFTER_EXEC: Final = 9
"""Engine, primitive, implementation, propagation, memory descriptors, attributes, auxiliary, problem, milliseconds."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """One primitive that ran.

    Attributes:
        kind: Kind of primitive, such as "convolution", "deconvolution", "reorder" or "matmul".
        implementation: Name of the kernel, such as jit:avx2 or jit_dw:avx512_core.
        problem: Sizes of the problem in oneDNN's notation.
        seconds: Seconds of this run, with a resolution of about 1 µs.
        layouts: Format tag, such as aBcd8b, of each memory (src, wei, bia, dst) that has one.
    """

    kind: str
    implementation: str
    problem: str
    seconds: float
    layouts: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_convolution(self) -> bool:
        """Whether it convolves, transposed or not."""
        return self.kind in CONVOLUTIONS

    @property
    def kernel(self) -> str:
        """The implementation, with the kind of a primitive that does not convolve: `jit:avx2`, `matmul brg:avx2`."""
        return self.implementation if self.is_convolution else f"{self.kind} {self.implementation}"


def separate(text: str) -> tuple[str, str]:
    r"""The lines of oneDNN in a text, and the rest; a line of oneDNN may stand within another program's line.

    >>> separate("half onednn_verbose,v1,info\nof a line\n")
    ('onednn_verbose,v1,info\n', 'half of a line\n')
    """
    return "".join(LINE.findall(text)), LINE.sub("", text)


def parse_lines(lines: Iterable[str]) -> tuple[Primitive, ...]:
    """The primitives that ran, in order; all other lines are ignored.

    >>> line = "onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:f32::blocked:abcd::f0,,,1x64x56x56,0.02"
    >>> parse_lines([line, "Hello"])[0].problem
    '1x64x56x56'
    """
    return tuple(filter(None, map(_parse, lines)))


def _parse(line: str) -> Primitive | None:
    fields = line.strip().split(",")
    if not LINE.match(line) or "exec" not in fields[1 : MAX_EXEC_FIELD + 1]:
        return None
    after = fields[fields.index("exec") + 1 :]
    if len(after) < MIN_FIELDS_AFTER_EXEC:
        return None
    seconds = _seconds(after[-1])
    if seconds is None:
        return None
    return Primitive(after[1], after[2], after[-2], seconds, _layouts(after[4]))


def _seconds(text: str) -> float | None:
    """Milliseconds as seconds; None for text that is no time."""
    try:
        milliseconds = float(text)
    except ValueError:
        return None
    return milliseconds / 1000 if isfinite(milliseconds) and milliseconds >= 0 else None


def _layouts(descriptors: str) -> dict[str, str]:
    """Format tags by memory: `src:f32::blocked:abcd::f0`, or `src_f32::blocked:abcd:f0` before version 3.4."""
    tags = {}
    for descriptor in descriptors.split():
        words = descriptor.split(":")
        if "blocked" in words[:-1]:
            tags[words[0].partition("_")[0]] = words[words.index("blocked") + 1]
    return tags


CHANNELS: Final = re.compile(r"(?:g(\d+))?mb(\d+)_(?:g(\d+))?ic(\d+)oc(\d+)")
AXES: Final = ("d", "h", "w")
_NO_AXIS: Final = (1, 1, 1, 1, 0, 0)
"""Input, output, kernel, stride, dilation and padding of an axis that a convolution lacks."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The sizes of one convolution, on three axes (depth, height, width); a missing axis has size 1.

    Attributes:
        groups: Number of groups.
        batch: Batch size.
        in_channels: Input channels, all groups together.
        out_channels: Output channels, all groups together.
        in_size: Size of the input, including zeros that torch pads before the convolution.
        out_size: Size of the output.
        kernel_size: Kernel size without dilation.
        stride: Stride of the kernel.
        dilation: Dilation; 1 for a dense kernel.
        padding: Padding before each axis.
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
        """The differences as texts such as `groups 64 here, 1 for oneDNN`."""
        return tuple(
            f"{f.name} {_text(getattr(self, f.name))} here, {_text(getattr(other, f.name))} for oneDNN"
            for f in fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        )


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether the convolutions that oneDNN ran are those of the block.

    Attributes:
        agrees: Whether all convolutions agree; None where oneDNN ran none.
        differences: Texts of the differences, each with its stage.
        ran: Number of convolutions that oneDNN ran.
        stages: Number of convolutions of the block; ATen ran those that oneDNN did not.
    """

    agrees: bool | None
    differences: tuple[str, ...] = ()
    ran: int = 0
    stages: int = 0

    def __str__(self) -> str:
        """The result of the comparison on one line; empty where oneDNN ran no convolution."""
        if self.agrees is None:
            return ""
        if not self.agrees:
            return f"oneDNN convolved another layer: {'; '.join(self.differences)}"
        seen = "" if self.ran == self.stages else f" for the {self.ran} of {self.stages} stages that it ran"
        return f"oneDNN's problem text has the groups, channels and sizes of this layer{seen}"


def parse_problem(text: str) -> Problem | None:
    """The sizes in oneDNN's text; None for a text that describes no convolution.

    >>> parse_problem("g4mb2_ic32oc64_ih56oh28kh3sh2dh1ph2_iw40ow40kw5sw1dw0pw2").dilation
    (1, 2, 1)
    """
    channels = CHANNELS.match(text)
    axes = [_axis(text, axis) for axis in AXES]
    if channels is None or axes[-1] is None:
        return None
    known = [axis or _NO_AXIS for axis in axes]
    in_size, out_size, kernel, stride, dilation, padding = zip(*known, strict=True)
    before, batch, within, c, o = channels.groups()
    groups = int(before or within or 1)
    dense = tuple(size + 1 for size in dilation)
    return Problem(groups, int(batch), int(c), int(o), in_size, out_size, kernel, stride, dense, padding)


def problem_text(problem: Problem) -> str:
    """The sizes as oneDNN writes them: the inverse of `parse_problem`.

    >>> problem_text(parse_problem("g4mb2_ic32oc64_ih56oh28kh3sh2dh1ph2_iw40ow40kw5sw1dw0pw2"))
    'g4mb2_ic32oc64_ih56oh28kh3sh2dh1ph2_iw40ow40kw5sw1dw0pw2'
    """
    groups = f"g{problem.groups}" if problem.groups > 1 else ""
    dilation = tuple(size - 1 for size in problem.dilation)
    sizes = (problem.in_size, problem.out_size, problem.kernel_size, problem.stride, dilation, problem.padding)
    axes = [
        "".join(f"{name}{axis}{size}" for name, size in zip("ioksdp", values, strict=True))
        for axis, values in zip(AXES, zip(*sizes, strict=True), strict=True)
        if axis != AXES[0] or values != _NO_AXIS
    ]
    return "_".join([f"{groups}mb{problem.batch}", f"ic{problem.in_channels}oc{problem.out_channels}", *axes])


def weight_sizes(problem: Problem, rank: int) -> tuple[int, ...]:
    """O x C x kernel of a group, after the number of groups where there are several.

    Args:
        problem: Sizes of the convolution.
        rank: Number of the sizes, which decides how many axes the kernel has.
    """
    o, c = problem.out_channels // problem.groups, problem.in_channels // problem.groups
    front = (problem.groups, o, c) if problem.groups > 1 else (o, c)
    return (*front, *problem.kernel_size[len(problem.kernel_size) - max(0, rank - len(front)) :])


def _axis(text: str, axis: str) -> tuple[int, ...] | None:
    names = "".join(rf"{name}{axis}(\d+)" for name in "ioksdp")
    match = re.search(f"_{names}", text)
    return None if match is None else tuple(map(int, match.groups()))


def problem_of(layer: Layer) -> Problem:
    """The sizes of a placed convolution as torch passes them on: uneven padding is applied to the input beforehand.

    Raises:
        TypeError: The layer is no convolution.
    """
    conv = layer.op
    if not isinstance(conv, Conv):
        raise TypeError(f"layer (={layer.name}) must be a convolution.")
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
    """Compare the convolutions that oneDNN ran with the stages, both in order.

    Stages may have run outside oneDNN, so each problem must equal one of the stages that follow the last match.

    Args:
        layers: Layers of the block; all but convolutions are skipped.
        texts: Problem of each convolution that oneDNN ran.
    """
    stages = [(layer.name, problem_of(layer)) for layer in layers if isinstance(layer.op, Conv)]
    if not texts:
        return Agreement(None, stages=len(stages))
    differences: list[str] = []
    position = 0
    for number, text in enumerate(texts):
        theirs = parse_problem(text)
        left = stages[position:]
        if theirs is None:
            differences.append(f"oneDNN's problem {text} cannot be read")
        elif not left:
            differences.append(f"oneDNN ran {text}, which is no stage of this block")
        elif len(stages) == len(texts):
            name, ours = stages[number]
            differences += [f"{name}: {difference}" for difference in ours.differences(theirs)]
        else:
            match = next((index for index, (_, ours) in enumerate(left) if ours == theirs), None)
            if match is None:
                nearest, ours = min(left, key=lambda stage: len(stage[1].differences(theirs)))
                differences += [f"{nearest}: {difference}" for difference in ours.differences(theirs)]
            else:
                position += match + 1
    return Agreement(not differences, tuple(differences), len(texts), len(stages))


def _three(sizes: tuple[int, ...], missing: int) -> tuple[int, ...]:
    return (missing,) * (len(AXES) - len(sizes)) + tuple(sizes)


def _text(value: int | tuple[int, ...]) -> str:
    return format_sizes(value) if isinstance(value, tuple) else str(value)


def reorder_sizes(text: str) -> tuple[int, ...]:
    """The sizes in the text of a reorder, `1x64x56x56`; none for any other text."""
    words = text.split("x")
    return tuple(map(int, words)) if all(word.isdecimal() for word in words) else ()


def roles(primitives: Sequence[Primitive]) -> tuple[str, ...]:
    """The part of a call's time that each primitive belongs to.

    1. A convolution is `convolution`.
    2. A reorder from the layout and shape of the previous convolution's output is `reorder_output`.
    3. A reorder to the layout and shape of the next convolution's input or weights is `reorder_input` or
       `reorder_weights`.
    4. All others are `native`.

    Args:
        primitives: Primitives of one call, in the order they ran.
    """
    assigned: list[str] = []
    since: list[str] = []
    before: Primitive | None = None
    for index, one in enumerate(primitives):
        if one.is_convolution:
            assigned.append("convolution")
            before, since = one, []
            continue
        after = next((later for later in primitives[index + 1 :] if later.is_convolution), None)
        role = _role(one, before if not since else None, after, since)
        assigned.append(role)
        since.append(role)
    return tuple(assigned)


def _role(one: Primitive, before: Primitive | None, after: Primitive | None, since: Sequence[str]) -> str:
    """The role of a primitive between two convolutions, given the roles of earlier primitives between them."""
    if one.kind != "reorder":
        return "native"
    sizes = reorder_sizes(one.problem)
    if before is not None and one.layouts.get("src") == before.layouts.get("dst"):
        problem = parse_problem(before.problem)
        if problem is None or sizes == _activation_sizes(problem, len(sizes), output=True):
            return "reorder_output"
    if after is not None:
        problem = parse_problem(after.problem)
        inputs = sizes if problem is None else _activation_sizes(problem, len(sizes), output=False)
        weights = sizes if problem is None else weight_sizes(problem, len(sizes))
        for role, memory, expected in (("reorder_input", "src", inputs), ("reorder_weights", "wei", weights)):
            if role not in since and one.layouts.get("dst") == after.layouts.get(memory) and sizes == expected:
                return role
    return "native"


def _activation_sizes(problem: Problem, rank: int, *, output: bool) -> tuple[int, ...]:
    """N x C and as many spatial axes as the rank leaves room for; the others have size 1."""
    channels, spatial = (problem.out_channels, problem.out_size) if output else (problem.in_channels, problem.in_size)
    return (problem.batch, channels, *spatial[len(spatial) - max(0, rank - 2) :])
