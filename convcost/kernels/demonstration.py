"""A kernel and its factors: as layers with a cost, and convolved with one image to show that they agree."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any, Final

from convcost.convolution.cost import cost
from convcost.convolution.tree import chain, place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convcost.convolution.cost import Cost
    from convcost.convolution.layer import Layer
    from convcost.convolution.spec import Spec
    from convcost.convolution.tree import Node
    from convcost.kernels.matrix import Matrix
    from convcost.kernels.separability import Separation

MAX_PIXELS: Final = 2**22
MAX_PRODUCTS: Final = 10**9
"""Largest numbers of pixels of the image and of products of its convolution; a larger image is cut to save time."""
SEED: Final = 0
LEVELS: Final = 256


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel, or its factors, applied to each channel alone.

    Attributes:
        tree: Stages of the kernel or the factors.
        layers: Stages placed on the input.
        cost: Total cost of the layers.
    """

    tree: Node
    layers: tuple[Layer, ...]
    cost: Cost


@dataclass(frozen=True, slots=True)
class Agreement:
    """The outputs of a kernel and of its factors for one image.

    Attributes:
        size: (height, width) of the image, which holds whole numbers from 0 to 255.
        difference: Largest difference between both outputs, in float64.
        largest: Largest output of the kernel, to compare the difference with.
    """

    size: tuple[int, int]
    difference: float
    largest: float


def as_layers(separation: Separation, spec: Spec) -> tuple[Candidate, Candidate]:
    """The kernel as a depthwise k_h×k_w layer, and its factors as depthwise k_h×1 and 1×k_w layers.

    For rank r, the first of the two layers makes r channels of each channel, and the second adds these up. A kernel of
    zeros has factors of zeros. In and out channels of the spec are equal.
    """
    channels = spec.in_channels
    between = channels * max(1, separation.rank)
    column = spec.spatial("column", channels, between, groups=channels, axis=0)
    row = spec.spatial("row", between, channels, groups=channels, axis=1)
    whole = spec.spatial("kernel", channels, channels, groups=channels)
    return _candidate(whole, spec), _candidate(chain(column, row), spec)


def _candidate(tree: Node, spec: Spec) -> Candidate:
    layers, _ = place(tree, spec.input)
    return Candidate(tree, layers, cost(layers))


def column_row_weights(separation: Separation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The factors as weights of one channel's two layers: (r, 1, k_h, 1) and (1, r, 1, k_w)."""
    import numpy as np

    columns = [[float(entry) for entry in term.column] for term in separation.terms] or [[0.0] * separation.height]
    rows = [[float(entry) for entry in term.scaled_row] for term in separation.terms] or [[0.0] * separation.width]
    return np.array(columns)[:, None, :, None], np.array(rows)[None, :, None, :]


def agreement(matrix: Matrix, separation: Separation, height: int, width: int) -> Agreement:
    """Convolve one image of height × width with the kernel, and with its factors one after the other, in float64.

    The image is padded by zeros and cut where it is large. As in torch, the kernel is not flipped.
    """
    import numpy as np

    most = isqrt(min(MAX_PIXELS, MAX_PRODUCTS // (matrix.height * matrix.width)))
    size = (min(height, most), min(width, most)) if height * width > most * most else (height, width)
    image = np.random.default_rng(SEED).integers(0, LEVELS, size).astype(np.float64)
    whole = _convolved(image, matrix.array())
    columns, rows = column_row_weights(separation)
    parts = sum(_convolved(_convolved(image, column), row) for column, row in zip(columns[:, 0], rows[0], strict=True))
    return Agreement(size, float(np.abs(whole - parts).max()), float(np.abs(whole).max()))


def _convolved(image: NDArray[np.float64], kernel: NDArray[Any]) -> NDArray[np.float64]:
    """The output, of the image's size, as a sum of shifted images, one for each entry of the kernel."""
    import numpy as np

    (height, width), (tall, wide) = image.shape, kernel.shape
    above, left = (tall - 1) // 2, (wide - 1) // 2
    padded = np.pad(image, ((above, tall - 1 - above), (left, wide - 1 - left)))
    output = np.zeros_like(image)
    for i in range(tall):
        for j in range(wide):
            if kernel[i, j]:
                output += kernel[i, j] * padded[i : i + height, j : j + width]
    return output
