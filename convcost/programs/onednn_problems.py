"""Blocks as problem texts of oneDNN, which its benchdnn runs: `benchdnn --conv --batch=FILE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.convolution.conv import Conv
from convcost.text.errors import ConvcostError
from convcost.text.sizes import format_sizes
from convcost.timing.onednn import problem_of, problem_text, weight_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convcost.convolution.layer import Layer
    from convcost.programs.documented_block import DocumentedBlock

_HEAD: Final = "# Convolutions as problems of oneDNN: a batch file for the driver conv of benchdnn"
_RANK: Final = 5
"""Sizes of a grouped weight: g, oc/g, ic/g, kh, kw; one less without groups."""


def onednn_problems(blocks: Sequence[DocumentedBlock]) -> str:
    """A batch file of benchdnn: a problem for each convolution, after a comment with its name and weight sizes.

    Raises:
        ConvcostError: A stage is a transposed convolution.
    """
    return "\n\n".join([_HEAD, *("\n".join(_lines(block)) for block in blocks)]) + "\n"


def _lines(block: DocumentedBlock) -> Iterator[str]:
    for paragraph in block.paragraphs:
        yield from (f"# {line}" for line in paragraph)
    for layer in block.layers:
        if isinstance(layer.op, Conv):
            yield f"# {_remark(block, layer, layer.op)}"
            yield problem_text(problem_of(layer))


def _remark(block: DocumentedBlock, layer: Layer, conv: Conv) -> str:
    """The name of a convolution, and the sizes of its weights as oneDNN has them."""
    if conv.transposed:
        raise ConvcostError(
            f"{block.name} cannot be written for oneDNN: its stage {layer.name} is transposed, and a file of problems "
            "has convolutions alone; write it for torch."
        )
    names = "g, oc/g, ic/g, kh, kw" if conv.groups > 1 else "oc, ic, kh, kw"
    sizes = weight_sizes(problem_of(layer), _RANK - (conv.groups == 1))
    shared = "; one bank of filters, repeated for every group" if conv.tied and conv.groups > 1 else ""
    pairs = conv.explicit_padding(layer.input.spatial)
    padded = (
        "; zeros are put around the input beforehand, more after than before" if any(a != b for a, b in pairs) else ""
    )
    return f"{layer.name}: weights {{{names}}} = {format_sizes(sizes)}{shared}{padded}"
