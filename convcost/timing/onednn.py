"""oneDNN's verbose lines as values: primitives, the sizes they convolved, and what each one is for."""

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


__all__ = [
    "CONVOLUTIONS",
    "Agreement",
    "Primitive",
    "Problem",
    "agreement",
    "parse_lines",
    "parse_problem",
    "problem_of",
    "reorder_sizes",
    "roles",
    "separate",
]

CONVOLUTIONS: Final = ("convolution", "deconvolution")
LINE: Final = re.compile(r"(?:onednn|dnnl)_verbose,[^\n]*(?:\n|$)")
LATEST_EXEC: Final = 5
"""How many fields may stand before the word exec: marker, version, timestamp, primitive, and one to come."""
FIELDS_AFTER_EXEC: Final = 9
"""engine, primitive, implementation, propagation, memory descriptors, attributes, auxiliary, problem, milliseconds."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """One primitive that ran.

    Attributes:
        kind: convolution, deconvolution, reorder, matmul ...
        implementation: the kernel, such as jit:avx2 or jit_dw:avx512_core.
        problem: the sizes, in oneDNN's own notation.
        seconds: of this run, to about a microsecond.
        layouts: format tag of each memory (src, wei, bia, dst) that has one, such as aBcd8b.
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
        """The implementation with its kind where that is not a convolution: `jit:avx2`, `matmul brg:avx2`."""
        return self.implementation if self.is_convolution else f"{self.kind} {self.implementation}"


def separate(text: str) -> tuple[str, str]:
    r"""What oneDNN wrote in a text, and what others did; a line of theirs may be cut by one of oneDNN's.

    >>> separate("half onednn_verbose,v1,info\nof a line\n")
    ('onednn_verbose,v1,info\n', 'half of a line\n')
    """
    return "".join(LINE.findall(text)), LINE.sub("", text)


def parse_lines(lines: Iterable[str]) -> tuple[Primitive, ...]:
    """The primitives that ran, in order; every line that is no execution of a primitive is ignored.

    >>> line = "onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:f32::blocked:abcd::f0,,,1x64x56x56,0.02"
    >>> parse_lines([line, "Hello"])[0].problem
    '1x64x56x56'
    """
    return tuple(filter(None, map(_parse, lines)))


def _parse(line: str) -> Primitive | None:
    fields = line.strip().split(",")
    if not LINE.match(line) or "exec" not in fields[1 : LATEST_EXEC + 1]:
        return None
    after = fields[fields.index("exec") + 1 :]
    if len(after) < FIELDS_AFTER_EXEC:
        return None
    seconds = _seconds(after[-1])
    if seconds is None:
        return None
    return Primitive(after[1], after[2], after[-2], seconds, _layouts(after[4]))


def _seconds(text: str) -> float | None:
    """Milliseconds as seconds; None for what is no time."""
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


def reorder_sizes(text: str) -> tuple[int, ...]:
    """The sizes of a reorder, `1x64x56x56`; none where the text is something else."""
    words = text.split("x")
    return tuple(map(int, words)) if all(word.isdecimal() for word in words) else ()


def roles(primitives: Sequence[Primitive]) -> tuple[str, ...]:
    """The part of a call's time that each primitive belongs to.

    A reorder that begins in the layout and the shape of the output of the convolution before it belongs to that one;
    else it is the input or the weights of the one after it, by the layout and the shape that it ends in. What is none
    of these is native.

    Args:
        primitives: of one call, in the order they ran.
    """
    found: list[str] = []
    since: list[str] = []
    before: Primitive | None = None
    for index, one in enumerate(primitives):
        if one.is_convolution:
            found.append("convolution")
            before, since = one, []
            continue
        after = next((later for later in primitives[index + 1 :] if later.is_convolution), None)
        role = _role(one, before if not since else None, after, since)
        found.append(role)
        since.append(role)
    return tuple(found)


def _role(one: Primitive, before: Primitive | None, after: Primitive | None, since: Sequence[str]) -> str:
    """Of one primitive between two convolutions, knowing the roles that were given between them already."""
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
        weights = sizes if problem is None else _weight_sizes(problem, len(sizes))
        for role, memory, expected in (("reorder_input", "src", inputs), ("reorder_weights", "wei", weights)):
            if role not in since and one.layouts.get("dst") == after.layouts.get(memory) and sizes == expected:
                return role
    return "native"


def _activation_sizes(problem: Problem, rank: int, *, output: bool) -> tuple[int, ...]:
    """N x C and as many spatial axes as the rank has room for; those left out have size 1."""
    channels, spatial = (problem.out_channels, problem.out_size) if output else (problem.in_channels, problem.in_size)
    return (problem.batch, channels, *spatial[len(spatial) - max(0, rank - 2) :])


def _weight_sizes(problem: Problem, rank: int) -> tuple[int, ...]:
    """O x C x kernel of a group, with the groups in front where there are any."""
    o, c = problem.out_channels // problem.groups, problem.in_channels // problem.groups
    front = (problem.groups, o, c) if problem.groups > 1 else (o, c)
    return (*front, *problem.kernel_size[len(problem.kernel_size) - max(0, rank - len(front)) :])
