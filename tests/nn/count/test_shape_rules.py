"""Shape rules against torch's own meta kernels: drawn arguments, legal and not, of every operator that has a rule."""

from __future__ import annotations

import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from zoo import ZOO

import convcost
from convcost.nn.count.shape_rules import RULES, meta_output
from convcost.nn.count.storages import storage_key
from convcost.nn.load.target import load_target, tensors_for

if TYPE_CHECKING:
    from collections.abc import Callable

    Case = tuple[tuple[Any, ...], dict[str, Any]]
    Draw = Callable[["Drawer"], Case]

NETWORKS = Path(__file__).parents[3] / "configs/networks"
CASES = 250
MIN_LEGAL = 60
"""The least number of cases that torch accepts."""
ANSWERED = 5
"""A rule must answer at least one in so many of them."""
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
OTHERS = (torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64)


class Drawer(random.Random):
    """Random arguments of operators, reproducible by their seed."""

    def one_in(self, times: int) -> bool:
        return self.randrange(times) == 0

    def dtype(self) -> torch.dtype:
        if self.one_in(5):
            return self.choice((*FLOATS, *OTHERS))
        return torch.float32

    def shape(self, low: int = 0, high: int = 5) -> tuple[int, ...]:
        return tuple(0 if self.one_in(60) else self.randint(1, 5) for _ in range(self.randint(low, high)))

    def tensor(self, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A meta tensor in one of many layouts."""
        shape = self.shape() if shape is None else shape
        dtype = dtype or self.dtype()
        layout = self.choice(("plain", "plain", "plain", "last", "permuted", "sliced", "expanded"))
        if layout == "last" and len(shape) == 4:
            return torch.empty(shape, dtype=dtype, device="meta").contiguous(memory_format=torch.channels_last)
        if layout == "permuted":
            order = self.sample(range(len(shape)), len(shape))
            base = torch.empty([shape[axis] for axis in order], dtype=dtype, device="meta")
            return base.permute([order.index(axis) for axis in range(len(shape))])
        if layout == "sliced" and shape:
            base = torch.empty([size + 1 for size in shape], dtype=dtype, device="meta")
            return base[tuple(slice(size) for size in shape)]
        if layout == "expanded" and shape:
            axis = self.randrange(len(shape))
            base = torch.empty([1 if at == axis else size for at, size in enumerate(shape)], dtype=dtype, device="meta")
            return base.expand(shape)
        return torch.empty(shape, dtype=dtype, device="meta")

    def near(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that may be broadcast with this one; now and then it may not."""
        kept = shape[self.randint(0, len(shape)) :] if self.one_in(3) else shape
        return tuple(self.randint(1, 4) if self.one_in(15) else 1 if self.one_in(4) else size for size in kept)

    def axis(self, rank: int) -> int:
        return self.randint(-rank - 1, rank) if self.one_in(8) else self.randint(-rank, max(rank - 1, 0))

    def scalar(self) -> float:
        return self.choice((2, 1.5, -1, 0, 0.5))

    def sizes(self, low: int, high: int, count: int) -> list[int]:
        return [self.randint(low, high) for _ in range(self.choice((count, count, count, 1)))]


def unary(d: Drawer) -> Case:
    return (d.tensor(),), {}


def with_scalar(d: Drawer) -> Case:
    return (d.tensor(), d.scalar()), {}


def binary(d: Drawer) -> Case:
    shape = d.shape()
    one = d.tensor(shape)
    if d.one_in(6):
        return (one, d.scalar()), {}
    if d.one_in(12):
        return (one, one), {}
    if d.one_in(12) and shape:
        return (one, one[:1]), {}
    pair = (one, d.tensor(d.near(shape), one.dtype if d.one_in(2) else None))
    return (pair if d.one_in(2) or d.one_in(2) else pair[::-1]), {}


def scaled(d: Drawer) -> Case:
    args, _ = binary(d)
    return args, {"alpha": d.scalar()} if d.one_in(4) else {}


def three(d: Drawer) -> Case:
    shape = d.shape()
    return (d.tensor(shape), d.tensor(d.near(shape)), d.tensor(d.near(shape))), {}


def choice(d: Drawer) -> Case:
    (data, one, other), _ = three(d)
    return (d.tensor(tuple(data.shape), torch.bool if not d.one_in(8) else None), one, other), {}


def masked(d: Drawer) -> Case:
    shape = d.shape()
    return (d.tensor(shape), d.tensor(d.near(shape), torch.bool if not d.one_in(8) else None), d.scalar()), {}


def masked_tensor(d: Drawer) -> Case:
    (data, mask, _), _ = masked(d)
    return (data, mask, d.tensor(() if not d.one_in(6) else (1,))), {}


def convolution(d: Drawer) -> Case:
    axes = d.randint(1, 3)
    transposed, groups = d.one_in(3), d.choice((1, 1, 2, 4))
    wide, narrow = groups * d.randint(1, 2), d.randint(1, 2)
    weight = (wide, narrow, *(d.randint(1, 3) for _ in range(axes)))
    channels = wide if transposed else narrow * groups
    out = narrow * groups if transposed else wide
    if d.one_in(12):
        channels += 1
    data = d.tensor((d.randint(1, 2), channels, *(d.randint(1, 9) for _ in range(axes))))
    dtype = data.dtype if not d.one_in(12) else None
    bias = d.choice((None, d.tensor((out if not d.one_in(12) else out + 1,), dtype)))
    padding = d.sizes(-1 if d.one_in(20) else 0, 2, axes)
    return (
        data, d.tensor(weight, dtype), bias, d.sizes(0 if d.one_in(20) else 1, 3, axes), padding,
        d.sizes(1, 2, axes), transposed, d.sizes(0, 1, axes) if transposed else [0] * axes, groups,
    ), {}  # fmt: skip


def old_convolution(d: Drawer) -> Case:
    args, _ = convolution(d)
    return (*args, False, False, True, True), {}


def matrices(d: Drawer, *, batch: tuple[int, ...] = ()) -> tuple[torch.Tensor, torch.Tensor]:
    n, k, m = (d.randint(1, 4) for _ in range(3))
    one = d.tensor((*batch, n, k))
    other = (*(d.randint(1, 3) if d.one_in(12) else size for size in batch), k + d.one_in(12), m)
    return one, d.tensor(other if not d.one_in(15) else other[1:], one.dtype if not d.one_in(12) else None)


def product(d: Drawer) -> Case:
    return matrices(d), {}


def batched(d: Drawer) -> Case:
    return matrices(d, batch=(d.randint(1, 3),)), {}


def added(d: Drawer, batch: tuple[int, ...] = ()) -> Case:
    one, other = matrices(d, batch=batch)
    out = (*one.shape[:-1], other.shape[-1])
    plus = d.tensor(d.near(out), one.dtype if not d.one_in(12) else None)
    return (plus, one, other), d.choice(({}, {"beta": 0.5}, {"alpha": 2}))


def added_batched(d: Drawer) -> Case:
    return added(d, (d.randint(1, 3),))


def matrix_vector(d: Drawer) -> Case:
    one, other = matrices(d)
    return (one, other[..., 0]), {}


def vectors(d: Drawer) -> Case:
    size = d.randint(1, 5)
    return (d.tensor((size,)), d.tensor((size + d.one_in(9),))), {}


def whole(d: Drawer) -> Case:
    return (d.tensor(),), {"dtype": torch.float64} if d.one_in(12) else {}


def over_axes(d: Drawer) -> Case:
    data = d.tensor()
    axes = [d.axis(data.dim()) for _ in range(d.randint(1, 2))] if not d.one_in(12) else []
    return (data, axes, *((d.one_in(2),) if d.one_in(2) else ())), {}


def over_axis(d: Drawer) -> Case:
    data = d.tensor()
    return (data, d.axis(data.dim()), *((d.one_in(2),) if d.one_in(2) else ())), {}


def at_axis(d: Drawer) -> Case:
    data = d.tensor()
    return (data, d.axis(data.dim())), {}


def corrected(d: Drawer) -> Case:
    data = d.tensor()
    return (data, [d.axis(data.dim())]), {"correction": d.choice((0, 1)), "keepdim": d.one_in(2)}


def norm(d: Drawer) -> Case:
    data = d.tensor()
    return (data, d.choice((2, 1, float("inf"))), d.choice((None, [d.axis(data.dim())])), d.one_in(2)), {}


def softmax(d: Drawer) -> Case:
    args, _ = at_axis(d)
    return (*args, d.one_in(9)), {}


def of_norm(d: Drawer, data: torch.Tensor) -> torch.dtype | None:
    """A dtype of the parameters that normalise some data, which may have half their bytes."""
    return d.choice((data.dtype, data.dtype, torch.float32)) if not d.one_in(12) else None


def batch_norm(d: Drawer) -> Case:
    data = d.tensor(d.shape(1, 5), torch.bfloat16 if d.one_in(5) else None)
    channels = (data.shape[min(1, data.dim() - 1)] + d.one_in(12),)
    dtype = of_norm(d, data)
    affine, stats = d.one_in(2), not d.one_in(6)
    four = [d.tensor(channels, dtype) if on else None for on in (affine, affine, stats, stats)]
    return (data, *four, not stats or d.one_in(5), 0.1, 1e-5), {}


def batch_norm_in_eval(d: Drawer) -> Case:
    args, _ = batch_norm(d)
    return (*args[:5], 0.1, 1e-5), {}


def layer_norm(d: Drawer) -> Case:
    data = d.tensor(d.shape(1, 4), torch.float16 if d.one_in(5) else None)
    axes = d.randint(0 if d.one_in(9) else 1, data.dim())
    shape = tuple(data.shape[data.dim() - axes :]) if not d.one_in(12) else (7,)
    dtype = of_norm(d, data)
    pair = (d.tensor(shape, dtype), d.tensor(shape, dtype if not d.one_in(12) else None))
    return (data, list(shape), *d.choice(((None, None), pair)), 1e-5), {}


def group_norm(d: Drawer) -> Case:
    groups = d.randint(1, 3)
    batch, channels = d.randint(1, 3), groups * d.randint(1, 3) + d.one_in(12)
    spatial = d.shape(0, 3)
    pixels = 1
    for size in spatial:
        pixels *= size
    data = d.tensor((batch, channels, *spatial), torch.bfloat16 if d.one_in(5) else None)
    dtype = of_norm(d, data)
    pair = (d.tensor((channels,), dtype), d.tensor((channels,), dtype))
    return (data, *d.choice(((None, None), pair)), batch, channels, pixels + d.one_in(15), groups, 1e-5), {}


def image(d: Drawer, axes: int = 2) -> torch.Tensor:
    rank = axes + 2 if not d.one_in(8) else d.randint(2, 5)
    if axes == 2:
        return d.tensor(tuple(d.randint(1, 9) for _ in range(rank)))
    rank -= d.one_in(3)
    shape = tuple(1 if d.one_in(25) else d.randint(2, 6) for _ in range(rank))
    return d.tensor(shape) if d.one_in(2) else torch.empty(shape, dtype=d.dtype(), device="meta")


def max_pool(d: Drawer, axes: int = 2) -> Case:
    kernel = d.sizes(1, 4, axes)
    stride = d.choice(([], d.sizes(0 if d.one_in(20) else 1, 3, axes)))
    high = 2 if d.one_in(3) else 1
    return (image(d, axes), kernel, stride, d.sizes(0, high, axes), d.sizes(1, 2, axes), d.one_in(3)), {}


def avg_pool(d: Drawer, axes: int = 2) -> Case:
    args, _ = max_pool(d, axes)
    return (*args[:4], args[5], d.one_in(2), d.choice((None, None, None, 2, 0))), {}


def resized(d: Drawer, axes: int = 2) -> Case:
    return (image(d, axes), [d.randint(0 if d.one_in(20) else 1, 9) for _ in range(axes + d.one_in(20))]), {}


def interpolated(d: Drawer, axes: int = 2) -> Case:
    args, _ = resized(d, axes)
    return (*args, d.one_in(2)), {}


def trilinear(d: Drawer) -> Case:
    """As `bilinear` calls it, now and then with a size that does not fit."""
    n, o, i, j = (d.randint(1, 4) for _ in range(4))
    dtype = d.dtype()
    one, two, three = (d.tensor(shape, dtype) for shape in ((n, i), (o, i, j + d.one_in(9)), (n, j)))
    return (one, two, three, [1, 3], [0], [1, 2], [2, 3] if not d.one_in(5) else [2]), {}


def windows(d: Drawer) -> Case:
    return (image(d), *([d.randint(low, high) for _ in range(2)] for low, high in ((1, 3), (1, 2), (0, 2), (1, 3)))), {}


def several(d: Drawer) -> Case:
    shape = d.shape(0 if d.one_in(12) else 1, 5)
    axis = d.axis(len(shape))
    dtype = d.dtype()
    shapes = [list(shape) for _ in range(d.randint(1, 3))]
    for one in shapes:
        if d.one_in(2) and -len(shape) <= axis < len(shape):
            one[axis] = d.randint(1, 4)
        if d.one_in(20) and one:
            one[0] += 1
    plain = d.one_in(2)
    tensors = [torch.empty(one, dtype=dtype, device="meta") if plain else d.tensor(tuple(one), dtype) for one in shapes]
    return (tensors, axis), {}


def stacked(d: Drawer) -> Case:
    shape = d.shape(0, 4)
    dtype = d.dtype()
    shapes = [shape if not d.one_in(20) else d.shape() for _ in range(d.randint(1, 3))]
    return ([d.tensor(one, dtype) for one in shapes], d.axis(len(shape) + 1)), {}


def rolled(d: Drawer) -> Case:
    data = d.tensor(d.shape(1, 4))
    count = d.randint(1, 2)
    return (data, [d.randint(-2, 3) for _ in range(count)], [d.axis(data.dim()) for _ in range(count)]), {}


def flipped(d: Drawer) -> Case:
    data = d.tensor(d.shape(1, 4))
    return (data, [d.axis(data.dim()) for _ in range(d.randint(1, 2))]), {}


def repeated(d: Drawer) -> Case:
    data = d.tensor(d.shape(0, 3))
    count = data.dim() + d.randint(-1 if d.one_in(9) and data.dim() else 0, 2)
    return (data, [d.randint(0 if d.one_in(20) else 1, 3) for _ in range(count)]), {}


def split(d: Drawer) -> Case:
    data = d.tensor(d.shape(1, 4))
    return (data, d.randint(0 if d.one_in(12) else 1, 4), d.axis(data.dim())), {}


def embedding(d: Drawer) -> Case:
    table = d.tensor((5, 3) if not d.one_in(12) else d.shape())
    return (table, d.tensor(d.shape(), torch.int64 if not d.one_in(6) else None)), {}


def index_select(d: Drawer) -> Case:
    data = d.tensor()
    kind = d.choice((torch.int64, torch.int64, torch.int32, torch.float32))
    return (data, d.axis(data.dim()), d.tensor((d.randint(1, 4),) if not d.one_in(9) else d.shape(), kind)), {}


def gather(d: Drawer) -> Case:
    data = d.tensor()
    index = tuple(max(size - d.one_in(5), 1) + d.one_in(20) for size in data.shape) if not d.one_in(12) else d.shape()
    return (data, d.axis(data.dim()), d.tensor(index, torch.int64 if not d.one_in(9) else torch.int32)), {}


def filled(d: Drawer) -> Case:
    return (d.tensor(), d.scalar()), {"dtype": d.dtype()} if d.one_in(4) else {}


def like(d: Drawer) -> Case:
    formats = (torch.contiguous_format, torch.preserve_format, torch.channels_last)
    options = {"dtype": d.dtype()} if d.one_in(4) else {}
    return (d.tensor(),), options | ({"memory_format": d.choice(formats)} if d.one_in(6) else {})


def single(d: Drawer) -> Case:
    return (d.scalar(),), {"dtype": d.dtype() if not d.one_in(9) else None, "device": torch.device("meta")}


def shuffled(d: Drawer) -> Case:
    factor = d.randint(0 if d.one_in(15) else 1, 3)
    sizes = [d.randint(1, 2), factor**2 * d.randint(1, 2), factor * d.randint(1, 3), factor * d.randint(1, 3)]
    if d.one_in(9):
        sizes[d.randint(1, 3)] += 1
    return (d.tensor(tuple(sizes) if not d.one_in(12) else tuple(sizes[1:])), factor), {}


def padded(d: Drawer, axes: int = 2) -> Case:
    return (image(d, axes), [d.randint(-1 if d.one_in(20) else 0, 2) for _ in range(2 * axes)]), {}


def indexed(d: Drawer) -> Case:
    data = d.tensor(d.shape(1, 4))
    common = d.shape(0, 2)
    draw = lambda: d.tensor(d.near(common), torch.int64 if not d.one_in(9) else None)  # noqa: E731 - short
    return (data, [None if d.one_in(3) else draw() for _ in range(d.randint(1, data.dim()))]), {}


def topk(d: Drawer) -> Case:
    data = d.tensor()
    axis = d.axis(data.dim())
    return (data, d.randint(0, 4), axis), {}


def truths(d: Drawer) -> Case:
    shape = d.shape()
    return tuple(d.tensor(one, torch.bool if not d.one_in(6) else None) for one in (shape, d.near(shape))), {}


def truth(d: Drawer) -> Case:
    return (d.tensor(None, torch.bool if not d.one_in(6) else None),), {}


def on_meta(d: Drawer) -> dict[str, Any]:
    return {"device": torch.device("meta")} | ({"dtype": d.dtype()} if d.one_in(4) else {})


def bare(d: Drawer) -> Case:
    options = {"layout": torch.strided, "pin_memory": False, "memory_format": torch.contiguous_format}
    few = {key: value for key, value in options.items() if d.one_in(4)}
    size = [-1] if d.one_in(30) else list(d.shape())
    return (size,), {"dtype": d.dtype(), "device": torch.device("meta"), **few}


def sized(d: Drawer) -> Case:
    return (list(d.shape()),), on_meta(d)


def steps(d: Drawer, *, count: int = 1) -> Case:
    whole = [d.randint(-1, 9), d.randint(0, 12), d.randint(0 if d.one_in(9) else 1, 3)]
    values = [value + 0.5 if d.one_in(12) else value for value in whole]
    return tuple(values[1:2] if count == 1 else values[:count]), on_meta(d)


def power_of_number(d: Drawer) -> Case:
    args, _ = with_scalar(d)
    return args[::-1], {}


def squares(d: Drawer, *, count: int = 1) -> Case:
    return tuple(d.randint(-1 if d.one_in(9) else 0, 4) for _ in range(count)), on_meta(d)


def scattered(d: Drawer) -> Case:
    args, _ = gather(d)
    return (*args, d.scalar()), {}


def scattered_from(d: Drawer) -> Case:
    data, axis, index = gather(d)[0]
    shape = tuple(max(size + (d.randint(-1, 1) if d.one_in(6) else 0), 1) for size in index.shape)
    return (data, axis, index, d.tensor(shape, data.dtype if not d.one_in(9) else None)), {}


def bags(d: Drawer) -> Case:
    table, indices = embedding(d)[0]
    kind = indices.dtype if not d.one_in(9) else None
    rest = (d.one_in(2), d.randint(0, 2), d.one_in(4), None, d.one_in(6), d.choice((-1, 0)))
    return (table, d.tensor((d.randint(1, 6),), indices.dtype), d.tensor((d.randint(1, 3),), kind), *rest), {}


def weight_norm(d: Drawer) -> Case:
    data = d.tensor(d.shape(1, 4))
    axis = d.choice((0, data.dim() - 1)) if not d.one_in(9) else d.axis(data.dim())
    shape = tuple(n if at == axis else 1 for at, n in enumerate(data.shape))
    return (data, d.tensor(shape if not d.one_in(9) else d.near(shape), data.dtype), axis), {}


def distances(d: Drawer) -> Case:
    shape, size = d.shape(0, 2), d.randint(1, 4)
    one = d.tensor((*shape, d.randint(1, 4), size))
    other = d.tensor((*d.near(shape), d.randint(1, 4), size + d.one_in(12)), one.dtype if not d.one_in(12) else None)
    return (one, other, d.choice((2.0, 1.0, -1.0)), d.choice((None, 0, 1, 2, 3))), {}


def loss(d: Drawer, axes: int = 0) -> Case:
    batch, classes, sizes = d.randint(1, 3), d.randint(1, 4), tuple(d.randint(1, 3) for _ in range(axes))
    data = d.tensor((batch, classes, *sizes))
    target = d.tensor((batch + d.one_in(12), *sizes), torch.int64 if not d.one_in(12) else None)
    weight = d.tensor((classes + d.one_in(12),), data.dtype) if d.one_in(3) else None
    return (data, target, weight, d.randint(0, 2), -100), {}


def difference(d: Drawer) -> Case:
    shape = d.shape()
    data = d.tensor(shape)
    return (data, d.tensor(d.near(shape), data.dtype), d.randint(0, 2)), {}


def entropy(d: Drawer) -> Case:
    data, target, reduction = difference(d)[0]
    same = d.tensor(tuple(data.shape), data.dtype) if not d.one_in(4) else target
    return (data, same), {"reduction": reduction}


def norm_over(d: Drawer) -> Case:
    data = d.tensor()
    return (data, d.choice((2, 1, None)), [d.axis(data.dim())], d.one_in(2)), {}


def threshold(d: Drawer) -> Case:
    return (d.tensor(), d.scalar(), d.scalar()), {}


def folded(d: Drawer) -> Case:
    kernel, dilation, padding, stride = (
        [d.randint(low, high) for _ in range(2)] for low, high in ((1, 3), (1, 2), (0, 2), (1, 3))
    )
    size = [d.randint(1, 7) for _ in range(2)]
    blocks = [
        (n + 2 * p - g * (k - 1) - 1) // s + 1
        for n, k, g, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    ]
    shape = (d.randint(1, 3) * kernel[0] * kernel[1] + d.one_in(12), max(blocks[0] * blocks[1], 1) + d.one_in(12))
    data = d.tensor(shape if d.one_in(4) else (d.randint(1, 2), *shape))
    return (data, size, kernel, dilation, padding, stride), {}


def unpooled(d: Drawer) -> Case:
    data, size = resized(d)[0]
    shape = tuple(data.shape) if not d.one_in(12) else d.shape()
    return (data, d.tensor(shape, torch.int64 if not d.one_in(12) else None), size), {}


def sampled(d: Drawer) -> Case:
    data = image(d)
    shape = (data.shape[0] + d.one_in(12), d.randint(1, 4), d.randint(1, 4), 2 + d.one_in(12))
    pair = (data, d.tensor(shape, data.dtype))
    if d.one_in(2):
        pair = (torch.empty_like(data, memory_format=torch.contiguous_format), torch.empty(shape, device="meta"))
    return (*pair, d.randint(0, 1), d.randint(0, 2), d.one_in(2)), {}


def affine_grid(d: Drawer) -> Case:
    size = [d.randint(1, 4) for _ in range(4 + d.one_in(9))]
    return (d.tensor((size[0] + d.one_in(12), 2, 3)), size, d.one_in(2)), {}


def spaced(d: Drawer) -> Case:
    return (d.scalar(), d.scalar(), d.randint(-1 if d.one_in(9) else 0, 5)), on_meta(d)


def at_axes(d: Drawer) -> Case:
    return over_axes(d)[0][:2], {}


def whole_numbers(d: Drawer) -> Case:
    args, kwargs = binary(d)
    kind = d.choice((torch.int64, torch.int32, torch.uint8, torch.bool))
    return tuple(d.tensor(tuple(one.shape), kind) if isinstance(one, torch.Tensor) else one for one in args), kwargs


def whole_and_number(d: Drawer) -> Case:
    return (d.tensor(None, d.choice((torch.int64, torch.int32, torch.uint8, d.dtype()))), d.randint(0, 3)), {}


def rounded_quotient(d: Drawer, *, number: bool = False) -> Case:
    (one, other, *_), _ = with_scalar(d) if number else binary(d)
    return (one, other), {"rounding_mode": d.choice(("floor", "trunc", None))}


def between(d: Drawer, *, number: bool = False) -> Case:
    args, _ = three(d)
    args = args if d.one_in(3) else tuple(d.tensor(tuple(one.shape), torch.float32) for one in args)
    return (*args[:2], d.scalar()) if number else args, {}


def clamped(d: Drawer) -> Case:
    args, _ = between(d)
    return tuple(None if at and d.one_in(4) else one for at, one in enumerate(args)), {}


def rounded(d: Drawer) -> Case:
    return (d.tensor(),), {"decimals": d.randint(0, 2)}


def complex_or_real(d: Drawer) -> Case:
    return (d.tensor(None, torch.complex64 if d.one_in(2) else None),), {}


def complex_pair(d: Drawer) -> Case:
    (one, other, *_), _ = binary(d)
    shapes = [tuple(value.shape) if isinstance(value, torch.Tensor) else None for value in (one, other)]
    scalar = d.choice((2.0, 1j))
    kinds = (torch.complex64, d.choice((torch.complex64, torch.float32, torch.complex128)))
    made = [scalar if size is None else d.tensor(size, kind) for size, kind in zip(shapes, kinds, strict=True)]
    return tuple(made), {}


def arithmetic(d: Drawer) -> Case:
    return d.choice((binary, complex_pair, whole_numbers))(d)


def transformed(d: Drawer, *, kind: str = "c2c") -> Case:
    dtype = torch.float32 if (kind == "r2c") != d.one_in(12) else torch.complex64
    data = d.tensor(d.shape(1, 4), dtype)
    if not d.one_in(3):
        sizes = [d.randint(2, 5) for _ in range(d.randint(2, 4))]
        data = torch.empty(sizes, dtype=dtype, device="meta")
    count = d.randint(1, data.dim())
    axes = list(range(data.dim()))[-count:] if not d.one_in(4) else [d.axis(data.dim())]
    last = {"c2c": d.one_in(2), "r2c": d.one_in(2), "c2r": d.randint(1, 9)}[kind]
    return (data, axes, d.randint(0, 2), last), {}


def put(d: Drawer) -> Case:
    data, indices = indexed(d)[0]
    try:
        shape = tuple(data[indices].shape)
    except (IndexError, RuntimeError):
        shape = d.shape()
    return (data, indices, d.tensor(d.near(shape), data.dtype if not d.one_in(9) else None)), {}


def index_added(d: Drawer) -> Case:
    data, axis, index = index_select(d)[0]
    shape = list(data.shape)
    if -len(shape) <= axis < len(shape) and index.dim() == 1:
        shape[axis] = index.shape[0] + d.one_in(12)
    return (data, axis, index, d.tensor(tuple(shape), data.dtype if not d.one_in(9) else None)), {}


def index_filled(d: Drawer) -> Case:
    return (*index_select(d)[0], d.scalar()), {}


def taken(d: Drawer) -> Case:
    return (d.tensor(), d.tensor(None, torch.int64 if not d.one_in(6) else None)), {}


def masked_scatter(d: Drawer) -> Case:
    data, mask, _ = masked(d)[0]
    source = d.tensor(tuple(data.shape), data.dtype if not d.one_in(9) else None)
    return (data, mask, source), {}


def scatter_reduced(d: Drawer) -> Case:
    args, _ = scattered_from(d)
    return (*args, d.choice(("sum", "mean", "amax", "prod"))), {"include_self": d.one_in(2)}


def sorted_in_order(d: Drawer) -> Case:
    data, axis = at_axis(d)[0]
    return (data,), {"stable": d.choice((True, None)), "dim": axis}


def searched(d: Drawer) -> Case:
    shape = d.shape(1, 3)
    data = d.tensor(shape if d.one_in(2) else shape[-1:])
    values = (*shape[:-1], d.randint(1, 4)) if not d.one_in(9) else d.shape()
    return (data, d.tensor(values, data.dtype if not d.one_in(9) else None)), {"out_int32": d.one_in(4)}


def drawn(d: Drawer) -> Case:
    return (
        d.tensor(d.shape(1, 2) if not d.one_in(9) else None),
        d.randint(0 if d.one_in(9) else 1, 4),
        d.one_in(2),
    ), {}


def triangle(d: Drawer) -> Case:
    return (*squares(d, count=2)[0], d.randint(-3, 3)), {"device": torch.device("meta")}


def random_numbers(d: Drawer, *, count: int = 1) -> Case:
    limits = (d.randint(-1, 3), d.randint(0, 6))[2 - count :]
    return (*limits, list(d.shape())), {"device": torch.device("meta")}


def reduced_in(d: Drawer, *, of: Draw = over_axes) -> Case:
    """A reduction that may name the dtype of its result."""
    args, _ = of(d)
    if d.one_in(2):
        args = (d.tensor(tuple(args[0].shape), d.choice((*FLOATS, *OTHERS))), *args[1:])
    return args, {"dtype": d.choice(FLOATS)} if d.one_in(4) else {}


def of_any(d: Drawer, *, of: Draw) -> Case:
    """Arguments with a tensor of any dtype in front."""
    args, kwargs = of(d)
    return (d.tensor(tuple(args[0].shape), d.choice((*FLOATS, *OTHERS))), *args[1:]) if d.one_in(2) else args, kwargs


def extremes(d: Drawer) -> Case:
    data, axis = at_axis(d)[0]
    return (data,), {"dim": axis if d.one_in(2) else None, "keepdim": d.one_in(2)}


def weighted_entropy(d: Drawer, *, logits: bool = False) -> Case:
    (data, target), kwargs = entropy(d)
    weights = [d.tensor(d.near(tuple(data.shape)), data.dtype) if d.one_in(2) else None for _ in range(1 + logits)]
    return (data, target, *weights), kwargs


def sampled_volume(d: Drawer) -> Case:
    shape = tuple(d.randint(1, 4) for _ in range(5))
    grid = (shape[0] + d.one_in(12), *(d.randint(1, 3) for _ in range(3)), 3 + d.one_in(12))
    pair = (d.tensor(shape, torch.float32), d.tensor(grid, torch.float32))
    return (*pair, d.randint(0, 1), d.randint(0, 2), d.one_in(2)), {}


def added_vector(d: Drawer) -> Case:
    one, other = matrix_vector(d)[0]
    return (d.tensor(d.near(tuple(one.shape[:1])), one.dtype), one, other), d.choice(({}, {"beta": 0.5}))


DRAWS: dict[str, Draw] = {
    **dict.fromkeys(
        (
            "add_.Tensor",
            "sub_.Tensor",
        ),
        scaled,
    ),
    **dict.fromkeys(("add.Tensor", "sub.Tensor"), lambda d: d.choice((scaled, arithmetic))(d)),
    **dict.fromkeys(("mul.Tensor", "div.Tensor", "mul_.Tensor", "div_.Tensor"), arithmetic),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin", "logaddexp", "heaviside", "copysign.Tensor"), binary),
    **dict.fromkeys(("remainder.Tensor", "fmod.Tensor", "floor_divide", "pow.Tensor_Tensor"), arithmetic),
    **dict.fromkeys(("remainder.Scalar", "fmod.Scalar", "floor_divide.Scalar"), whole_and_number),
    **dict.fromkeys(("neg", "exp", "sqrt", "reciprocal", "tanh", "sgn", "abs", "angle"), complex_or_real),
    "div.Tensor_mode": rounded_quotient,
    "div.Scalar_mode": partial(rounded_quotient, number=True),
    **dict.fromkeys(("lerp.Tensor", "lerp_.Tensor"), between),
    **dict.fromkeys(("lerp.Scalar", "lerp_.Scalar"), partial(between, number=True)),
    "clamp.Tensor": clamped,
    "round.decimals": rounded,
    "addmv": added_vector,
    **dict.fromkeys((f"bitwise_{name}.Scalar" for name in ("and", "or", "xor")), whole_and_number),
    **dict.fromkeys(("__lshift__.Scalar", "__rshift__.Scalar"), whole_and_number),
    "_fft_c2c": transformed,
    "_fft_r2c": partial(transformed, kind="r2c"),
    "_fft_c2r": partial(transformed, kind="c2r"),
    "index_put": put,
    **dict.fromkeys(("index_add", "index_add_", "index_copy", "index_copy_"), index_added),
    "index_fill.int_Scalar": index_filled,
    "take": taken,
    **dict.fromkeys(("masked_scatter", "masked_scatter_"), masked_scatter),
    **dict.fromkeys(("scatter_reduce.two", "scatter_reduce_.two"), scatter_reduced),
    "sort.stable": sorted_in_order,
    "searchsorted.Tensor": searched,
    "multinomial": drawn,
    **dict.fromkeys(("tril_indices", "triu_indices"), triangle),
    "randint": random_numbers,
    "randint.low": partial(random_numbers, count=2),
    "aminmax": extremes,
    "count_nonzero.dim_IntList": at_axes,
    "grid_sampler_3d": sampled_volume,
    **dict.fromkeys(("_prelu_kernel", "copy_"), binary),
    **dict.fromkeys((f"{name}.Tensor" for name in ("eq", "ne", "lt", "le", "gt", "ge")), binary),
    **dict.fromkeys((f"{name}.Scalar" for name in ("eq", "ne", "lt", "le", "gt", "ge")), with_scalar),
    **dict.fromkeys((f"{name}.Scalar" for name in ("rsub", "add", "sub", "mul", "div")), with_scalar),
    **dict.fromkeys((f"{name}_.Scalar" for name in ("add", "sub", "mul", "div", "pow", "fill")), with_scalar),
    **dict.fromkeys(("pow.Tensor_Scalar", "clamp", "clamp_", "clamp_min", "clamp_min_", "clamp_max"), with_scalar),
    **dict.fromkeys(("clamp_max_",), with_scalar),
    **dict.fromkeys(("addcmul", "addcdiv"), three),
    "where.self": choice,
    "masked_fill.Scalar": masked,
    "masked_fill.Tensor": masked_tensor,
    "convolution": convolution,
    "_convolution": old_convolution,
    "mm": product,
    "bmm": batched,
    "addmm": added,
    "baddbmm": added_batched,
    "mv": matrix_vector,
    "dot": vectors,
    "vdot": vectors,
    **dict.fromkeys(("any", "all", "argmax", "argmin"), whole),
    **dict.fromkeys(("sum", "mean", "prod"), partial(reduced_in, of=unary)),
    **dict.fromkeys(("sum.dim_IntList", "mean.dim"), reduced_in),
    **dict.fromkeys(("amax", "amin", "logsumexp"), over_axes),
    "prod.dim_int": partial(reduced_in, of=over_axis),
    **dict.fromkeys(("any.dim", "all.dim"), over_axis),
    **dict.fromkeys(("max.dim", "min.dim", "median.dim"), partial(of_any, of=over_axis)),
    **dict.fromkeys(("var.correction", "std.correction", "var_mean.correction", "std_mean.correction"), corrected),
    "linalg_vector_norm": norm,
    **dict.fromkeys(("_softmax", "_log_softmax"), softmax),
    **dict.fromkeys(("_safe_softmax", "glu", "cummax", "cummin", "logcumsumexp"), at_axis),
    **dict.fromkeys(("cumsum", "cumprod"), partial(reduced_in, of=at_axis)),
    "native_batch_norm": batch_norm,
    "_native_batch_norm_legit_no_training": batch_norm_in_eval,
    "native_layer_norm": layer_norm,
    "native_group_norm": group_norm,
    "max_pool2d_with_indices": max_pool,
    "avg_pool2d": avg_pool,
    "max_pool3d_with_indices": partial(max_pool, axes=3),
    "avg_pool3d": partial(avg_pool, axes=3),
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_max_pool2d"), resized),
    **dict.fromkeys(("upsample_nearest2d", "_upsample_nearest_exact2d"), resized),
    **dict.fromkeys(("upsample_bilinear2d", "upsample_bicubic2d"), interpolated),
    **dict.fromkeys(("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"), interpolated),
    **dict.fromkeys(("_adaptive_avg_pool3d", "adaptive_max_pool3d"), partial(resized, axes=3)),
    **dict.fromkeys(("upsample_nearest3d", "_upsample_nearest_exact3d"), partial(resized, axes=3)),
    **dict.fromkeys(("upsample_nearest1d", "_upsample_nearest_exact1d"), partial(resized, axes=1)),
    "upsample_trilinear3d": partial(interpolated, axes=3),
    "upsample_linear1d": partial(interpolated, axes=1),
    "_trilinear": trilinear,
    "im2col": windows,
    "cat": several,
    "stack": stacked,
    "roll": rolled,
    "flip": flipped,
    "repeat": repeated,
    "unsafe_split.Tensor": split,
    "embedding": embedding,
    "index_select": index_select,
    "gather": gather,
    **dict.fromkeys(("zeros_like", "ones_like", "empty_like", "rand_like", "randn_like"), like),
    "full_like": filled,
    "scalar_tensor": single,
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle", "channel_shuffle"), shuffled),
    **dict.fromkeys(("reflection_pad2d", "replication_pad2d"), padded),
    **dict.fromkeys(("reflection_pad1d", "replication_pad1d"), partial(padded, axes=1)),
    **dict.fromkeys(("reflection_pad3d", "replication_pad3d"), partial(padded, axes=3)),
    "binary_cross_entropy": weighted_entropy,
    "binary_cross_entropy_with_logits": partial(weighted_entropy, logits=True),
    "soft_margin_loss": difference,
    "norm.ScalarOpt_dim": norm_over,
    "index.Tensor": indexed,
    "topk": partial(of_any, of=topk),
    "sort": partial(of_any, of=at_axis),
    **dict.fromkeys(("logical_not", "bitwise_not"), truth),
    **dict.fromkeys((f"bitwise_{name}.Tensor" for name in ("and", "or", "xor")), whole_numbers),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor"), truths),
    "clamp_min_.Tensor": binary,
    "randn": sized,
    "empty.memory_format": bare,
    "pow.Scalar": power_of_number,
    **dict.fromkeys(("atan2", "hypot", "xlogy.Tensor"), binary),
    **dict.fromkeys(("threshold", "threshold_"), threshold),
    **dict.fromkeys(("mse_loss", "smooth_l1_loss", "huber_loss"), difference),
    **dict.fromkeys(("max", "min"), unary),
    **dict.fromkeys(("polar", "complex"), binary),
    "eye": squares,
    "eye.m": partial(squares, count=2),
    "masked_fill_.Scalar": masked,
    **dict.fromkeys(("scatter.value", "scatter_.value"), scattered),
    **dict.fromkeys(("scatter.src", "scatter_.src", "scatter_add", "scatter_add_"), scattered_from),
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), bags),
    "_weight_norm_interface": weight_norm,
    "_cdist_forward": distances,
    "nll_loss_forward": loss,
    "nll_loss2d_forward": partial(loss, axes=2),
    "col2im": folded,
    "max_unpool2d": unpooled,
    "grid_sampler_2d": sampled,
    "affine_grid_generator": affine_grid,
    "arange": steps,
    "linspace": spaced,
    "arange.start": partial(steps, count=2),
    "arange.start_step": partial(steps, count=3),
}
"""How arguments are drawn; the operators that are missing take one tensor."""


def operator_of(name: str) -> Any:
    """The operator of aten with this name; None if this release of torch lacks it."""
    packet, _, overload = name.removeprefix("aten::").partition(".")
    return getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)


def name_of(operator: Any) -> str:
    return str(operator).removeprefix("aten.").removesuffix(".default")


def key(tensor: torch.Tensor) -> int:
    return storage_key(tensor.untyped_storage())


def described(value: Any, args: tuple[Any, ...]) -> Any:
    """What a rule must get right: sizes, strides, dtype, and whether it is one of the arguments or a view of one."""
    if isinstance(value, (tuple, list)):
        return [described(one, args) for one in value]
    tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
    itself = [value is tensor for tensor in tensors]
    shares = [key(value) == key(tensor) for tensor in tensors]
    return tuple(value.shape), value.stride(), value.dtype, value.device.type, itself, shares


def outcome(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Exception | None]:
    """What torch's own kernel returns, or raises."""
    try:
        return operator(*args, **kwargs), None
    except Exception as error:  # noqa: BLE001 - torch refuses with many kinds of error
        return None, error


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("operator", [*filter(None, map(operator_of, RULES))], ids=name_of)
def test_a_rule_answers_as_torchs_kernel_or_not_at_all(operator: Any) -> None:
    draw = DRAWS.get(name_of(operator), unary)
    legal, answered = 0, 0
    for seed in range(CASES):
        args, kwargs = draw(Drawer(f"{operator} {seed}"))
        ours = meta_output(operator, args, kwargs)
        result, error = outcome(operator, args, kwargs)
        if error is not None:
            assert ours is NotImplemented, (seed, args, kwargs, error)
            continue
        legal += 1
        if ours is not NotImplemented:
            answered += 1
            if "batch_norm" in name_of(operator) and ours[1].numel() == 0:  # no statistics in eval mode, as on the CPU
                ours, result = ours[0], result[0]
            if "group_norm" in name_of(operator) and args[1] is not None and args[0].dtype != args[1].dtype:
                ours, result = ours[0], result[0]  # statistics in the dtype of the weights, as on the CPU
            assert described(ours, args) == described(result, args), (seed, args, kwargs)
    assert legal >= MIN_LEGAL
    assert answered * ANSWERED >= legal, f"the rule gave up in {legal - answered} of {legal} legal cases"


def report_of(model: torch.nn.Module, inputs: Any) -> dict[str, Any]:
    return dict(convcost.count(model, inputs).to_dict())


def alive_bytes(report: dict[str, Any]) -> list[int]:
    """The largest sizes of activations of the model and of its calls, which are taken out of the report."""
    del report["peak"]
    calls = [call.pop("alive_bytes") for call in report["layers"]]
    return [int(report["totals"].pop("peak_activation_bytes")), *(int(size) for size in calls if size is not None)]


def statistics_bytes(model: torch.nn.Module) -> int:
    """What torch's meta kernel makes for the largest batch norm in eval mode, and the CPU does not: mean and variance."""
    norms = [
        part
        for part in model.modules()
        if isinstance(part, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d))
    ]
    return max((2 * 4 * norm.num_features for norm in norms), default=0)


def assert_equal_reports(model: torch.nn.Module, inputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_rules = report_of(model, inputs)
    monkeypatch.setenv("CONVCOST_TRACER", "meta")
    without = report_of(model, inputs)
    most = statistics_bytes(model)
    assert all(
        0 <= more - less <= most for more, less in zip(alive_bytes(without), alive_bytes(with_rules), strict=True)
    )
    assert with_rules == without


@pytest.mark.parametrize("name", ZOO)
def test_a_network_costs_the_same_without_the_rules(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_equal_reports(*ZOO[name](), monkeypatch)


@pytest.mark.parametrize("path", sorted(NETWORKS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_published_network_costs_the_same_without_the_rules(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_target(str(path))
    assert_equal_reports(loaded.module, tensors_for(loaded.default_input, "meta")[0], monkeypatch)


FIRST = """
import torch, convcost
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3))
for _ in range(2):
    print(convcost.count(model, torch.zeros(1, 3, 8, 8)).totals.peak_activation_bytes)
"""


@pytest.mark.slow
def test_the_first_count_of_a_process_keeps_no_more_alive_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVCOST_TRACER", "meta")
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(4 * (3 * 8 * 8 + 2 * 4 * 6 * 6))] * 2  # the input, the convolution, and ReLU


def test_torch_refuses_what_a_rule_cannot_know() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(7, 2))
    with pytest.raises(convcost.ConvcostError, match=r"expects in_features 7, got input 1x288: .* same reduction dim"):
        convcost.count(model, torch.zeros(1, 3, 8, 8))


REFUSED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": lambda x: torch.nn.functional.gelu(x, approximate="foo"),
    "softshrink": lambda x: torch.nn.functional.softshrink(x, -1.0),
    "clamp": lambda x: torch.ops.aten.clamp(x, None, None),
    "clamp_": lambda x: torch.ops.aten.clamp_(x.clone(), None, None),
    "normal_": lambda x: x.clone().normal_(0, -1),
    "exponential_": lambda x: x.clone().exponential_(-1),
}


@pytest.mark.parametrize("function", REFUSED.values(), ids=REFUSED)
def test_a_rule_leaves_arguments_that_torch_refuses_to_torch(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for device in ("meta", "cpu"):
        with pytest.raises(convcost.ConvcostError, match=r"^the model .* (Runtime|Value)Error: "):
            convcost.count(function, torch.zeros(2, 3), device=device)


def test_the_debug_log_names_operators_without_a_rule(caplog: pytest.LogCaptureFixture) -> None:
    class Smallest(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.relu().kthvalue(1)[0]

    with caplog.at_level("DEBUG", "convcost"):
        convcost.count(Smallest(), torch.zeros(2, 3))
    assert [record.getMessage() for record in caplog.records] == ["no shape rule: aten.kthvalue.default"]
