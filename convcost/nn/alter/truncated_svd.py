"""The truncated singular value decomposition of a convolution's weight as matrices, with little memory beside it.

The singular vectors of a side are the eigenvectors of the Gram matrix, which is added up part by part and decomposed in
its own memory. A squared singular value is the squared norm of the matrix times its vector, not the eigenvalue: all
eigenvalues are off by a rounding error of the largest one, whose root is far larger than that of a singular value.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

AXES: Final = "ocij"
"""Axes of a weight: output channels, input channels, height and width of the kernel."""
CHUNK: Final = 2**18
"""Numbers that are converted at once: 2 MB of float64."""
MAX_DOUBLES: Final = 2**18
"""Numbers of a Gram matrix that are worked out in float64 whatever the weights: 2 MB."""
ROUNDINGS: Final = 8
"""Relative error of matrices from a basis, as a multiple of its precision and the root of its size."""


@dataclass(frozen=True, slots=True)
class Matrices:
    """A weight seen as a batch of matrices (B, m, n).

    Attributes:
        weight: Weight (O, C, k_h, k_w).
        batch: Axis with a matrix for each of its positions; empty for one matrix.
        rows: Axes whose positions are the rows, the first one changing slowest.
        columns: Axes whose positions are the columns.
        unit: Absolute value in whose unit numbers are worked out, so that squares stay in the range of float32.
    """

    weight: Tensor
    batch: str
    rows: str
    columns: str
    unit: float

    @property
    def transposed(self) -> Matrices:
        """The same with rows and columns exchanged."""
        return Matrices(self.weight, self.batch, self.columns, self.rows, self.unit)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, m, n)."""
        sizes = dict(zip(AXES, self.weight.shape, strict=True))
        batch, rows, columns = (prod(sizes[axis] for axis in axes) for axes in (self.batch, self.rows, self.columns))
        return batch, rows, columns

    def basis(self) -> Tensor:
        """The right singular vectors (B, n, n) as columns, the strongest last."""
        vectors = self._gram().mT  # in LAPACK's order, so that it overwrites the Gram matrix
        torch.linalg.eigh(vectors, out=(vectors.new_empty(vectors.shape[:2]), vectors))
        return vectors

    def energies(self, basis: Tensor) -> Tensor:
        """Squared singular values (B, n) in float64, in the order of the basis."""
        sums = basis.new_zeros(basis.shape[0], basis.shape[2], dtype=torch.float64)
        for b, _, part in self._parts(basis.dtype):
            sums[b] += (part @ basis[b]).square_().sum(1, dtype=torch.float64)
        return sums

    def factors(self, basis: Tensor, energies: Tensor, rank: int) -> tuple[Tensor, Tensor]:
        """The factors (B, m, r) and (B, r, n) of the closest matrices of a rank, scaled by roots of singular values.

        Args:
            basis: Right singular vectors.
            energies: Squared singular values, in the order of the basis.
            rank: Rank, at most n; the strongest column of the first factor comes first.
        """
        values = energies[:, None, -rank:].flip(2).sqrt().to(basis.dtype)
        values[values == 0] = 1
        first = basis[:, :, -rank:].flip(2)
        left = self.weight.new_empty(*self.shape[:2], rank)
        for b, rows, part in self._parts(basis.dtype):
            left[b, rows] = (part @ first[b]).mul_((self.unit / values[b]).sqrt()).to(left.dtype)
        return left, first.mul_((self.unit * values).sqrt()).to(left.dtype).mT

    def error(self, left: Tensor, right: Tensor) -> float:
        """The relative error of two factors in the Frobenius norm, that of rounding included; 0 for zeros."""
        lost = total = 0.0
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        for b, rows, part in self._parts(dtype):
            product = (left[b, rows].to(dtype) / self.unit) @ right[b].to(dtype)
            lost += float((part - product).square_().sum(dtype=torch.float64))
            total += float(part.square_().sum(dtype=torch.float64))
        return (lost / total) ** 0.5 if total else 0.0

    def _gram(self) -> Tensor:
        """The products (B, n, n) of each two columns."""
        batch, _, side = self.shape
        gram = self.weight.new_zeros(batch, side, side, dtype=self._work_dtype)
        for b, _, part in self._parts(gram.dtype):
            gram[b].baddbmm_(part.mT, part)
        return gram

    def _parts(self, dtype: torch.dtype) -> Iterator[tuple[slice, slice, Tensor]]:
        """Parts as another dtype and in the unit, each with its place in the batch and its rows."""
        view = self.weight.permute([AXES.index(axis) for axis in self.batch + self.rows + self.columns])
        view = view if self.batch else view[None]
        batch, count, columns = self.shape
        inner = count // view.shape[1]
        several, few = max(1, CHUNK // (count * columns)), max(1, CHUNK // (inner * columns))
        for b in range(0, batch, several):
            for i in range(0, view.shape[1], few):
                part = view[b : b + several, i : i + few].to(dtype, copy=True).div_(self.unit)
                yield slice(b, b + several), slice(inner * i, inner * (i + few)), part.reshape(len(part), -1, columns)

    @property
    def _work_dtype(self) -> torch.dtype:
        """float64 where the Gram matrix is small beside the weight, else the weight's own, at least float32."""
        batch, _, side = self.shape
        if batch * side * side <= max(MAX_DOUBLES, self.weight.numel() // 4):
            return torch.float64
        return torch.promote_types(self.weight.dtype, torch.float32)


def energy_limit(total: float, max_loss: float, weight: Tensor, basis: Tensor) -> float:
    """The energy that may be lost, at least that of rounding errors.

    Args:
        total: Energy of the weight.
        max_loss: Largest share that may be lost.
        weight: Weight, whose own numbers are rounded.
        basis: Basis by which it is decomposed.
    """
    worked = ROUNDINGS * sqrt(basis.shape[-1]) * torch.finfo(basis.dtype).eps
    return max(max_loss, torch.finfo(weight.dtype).eps ** 2, worked**2) * total
