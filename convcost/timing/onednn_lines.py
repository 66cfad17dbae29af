"""What oneDNN says of each primitive that it runs: its verbose lines, read as values.

An execution line, from version 1.0 to 3.12, is a list of fields between commas; newer versions put more of them in
front (a version, a timestamp, the word primitive), so fields are counted from the word exec and from the end:

    onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward_training,
    src:f32:a:blocked:aBcd8b::f0 wei:f32:a:blocked:ABcd8b8a::f0 ...,attributes,auxiliary,mb1_ic64oc64_...,0.98
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CONVOLUTIONS", "Primitive", "parse_lines", "separate"]

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
