"""Random layers (block, sizes, memory format) for the benchmarks of `--why` and of the bound."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import convcost
from convcost.text.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.comparison.result import Comparison

CHANNELS = (3, 16, 32, 64, 128, 256)
BLOCKS = [name for name in convcost.BLOCKS if name != "shared-kernel"]
"""All but the one whose module is not what its formula is about."""


def comparisons(seed: int, count: int, **options: object) -> Iterator[Comparison]:
    """So many comparisons of one row, in either memory format by turns.

    Args:
        seed: of the draw.
        count: of the layers.
        options: of `convcost.compare`.
    """
    draw, number = random.Random(seed), 0
    while number < count:
        block = draw.choice(BLOCKS)
        try:
            result = convcost.compare(
                draw.choice(CHANNELS),
                draw.choice(CHANNELS),
                draw.choice((1, 3, 5, 7)),
                height=draw.choice((7, 14, 28, 56, 112)),
                batch=draw.choice((1, 1, 1, 4)),
                stride=draw.choice((1, 1, 2)),
                blocks=[block],
                baseline=block,
                memory_format=("contiguous", "channels_last")[number % 2],
                count=False,
                **options,
            )
        except ShapeError:
            continue  # the block does not allow the shape: another is drawn
        number += 1
        yield result


def described(result: Comparison) -> str:
    """The layer of such a comparison in a few words."""
    row = result.rows[0]
    spec = row.placed.spec
    size = f"{spec.in_channels}→{spec.out_channels} {spec.kernel_size[0]}×{spec.kernel_size[0]} @{spec.height}"
    return f"{row.placed.block.name} {size} {row.conditions.memory_format}"
