"""Shape rules of operators on images: pooling, resizing, windows, sampling, shuffles, padding; see `shape_rules`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape
from convcost.nn.build.conv_module import per_axis
from convcost.nn.count.layouts import is_in_order
from convcost.nn.count.rule_table import Rules, empty, float_dtype, in_format, spread, sure

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES: Final = Rules()


# Windows


def _pooled(
    data: Tensor,
    axes: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> list[int]:
    """Sizes of pooled images: each axis as in a convolution, whose last window may be cut off."""
    _sure_of_images(data, axes)
    sizes = tuple(data.shape[-axes:])
    windows = [per_axis(list(one), axes) for one in (kernel, stride or kernel, padding, dilation)]
    whole = _conv_sizes(sizes, *windows)
    pooled = list(data.shape[:-axes])
    for out, n, k, s, p, d in zip(whole, sizes, *windows, strict=True):
        sure(2 * p <= k)
        is_cut_off = (out - 1) * s + d * (k - 1) + 1 < n + 2 * p
        pooled.append(out + (ceil_mode and is_cut_off and out * s < n + p))
    return pooled


def _sure_of_images(data: Tensor, axes: int) -> None:
    """Give up unless the data is a batch of images, or one image, whose results' memory format is known."""
    float_dtype(data)
    sure(data.dim() in {axes + 1, axes + 2})
    sure(axes < 3 or data.dim() > 4 or (is_in_order(data) and 1 not in data.shape))  # one volume is no batch of images


def _conv_sizes(
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """Spatial sizes after a convolution with this kernel, stride, padding and dilation."""
    return tuple(Conv(1, 1, kernel, stride, padding, dilation).output_shape(Shape(1, 1, sizes)).spatial)


def _max_pool(
    axes: int,
    data: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    shape = _pooled(data, axes, kernel, stride, padding, dilation, ceil_mode)
    return in_format(data, shape), in_format(data, shape, torch.int64)


def _avg_pool(
    axes: int,
    data: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Tensor:
    del count_include_pad
    sure(
        divisor != 0,
        axes == 2 or all(n >= k for n, k in zip(data.shape[-axes:], per_axis(list(kernel), axes), strict=False)),
    )
    return in_format(data, _pooled(data, axes, kernel, stride, padding, (1,), ceil_mode))


def _resized(axes: int, data: Tensor, size: Sequence[int], *_: Any, **__: Any) -> Tensor:
    _sure_of_images(data, axes)
    sure(is_in_order(data) or 1 not in data.shape)  # else torch's choice depends on more than the strides
    sure(len(size) == axes, all(n > 0 for n in size))
    return in_format(data, (*data.shape[:-axes], *size))


def _upsampled(axes: int, data: Tensor, size: Sequence[int], *_: Any, **__: Any) -> Tensor:
    sure(data.dim() == axes + 2)
    return _resized(axes, data, size)


def _adaptive_max_pool(axes: int, data: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    out = _resized(axes, data, size)
    return out, in_format(data, out.shape, torch.int64)


for _axes in (2, 3):
    RULES.add(f"max_pool{_axes}d_with_indices")(partial(_max_pool, _axes))
    RULES.add(f"avg_pool{_axes}d")(partial(_avg_pool, _axes))
    RULES.add(f"_adaptive_avg_pool{_axes}d")(partial(_resized, _axes))
    RULES.add(f"adaptive_max_pool{_axes}d")(partial(_adaptive_max_pool, _axes))
RULES.add("upsample_linear1d", "upsample_nearest1d", "_upsample_nearest_exact1d")(partial(_upsampled, 1))
RULES.add("upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_bilinear2d")(partial(_upsampled, 2))
RULES.add("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa")(partial(_upsampled, 2))
RULES.add("upsample_trilinear3d", "upsample_nearest3d", "_upsample_nearest_exact3d")(partial(_upsampled, 3))


@RULES.add("im2col")
def _unfolded(
    data: Tensor, kernel: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> Tensor:
    sure(data.dim() in {3, 4}, all(len(one) == 2 for one in (kernel, dilation, padding, stride)))
    height, width = _conv_sizes(tuple(data.shape[-2:]), tuple(kernel), tuple(stride), tuple(padding), tuple(dilation))
    sizes = (*data.shape[:-3], data.shape[-3] * kernel[0] * kernel[1], height * width)
    return empty(sizes, float_dtype(data))


@RULES.add("col2im")
def _folded(
    data: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Tensor:
    sure(data.dim() in {2, 3}, all(len(one) == 2 for one in (size, kernel, dilation, padding, stride)))
    height, width = _conv_sizes(tuple(size), tuple(kernel), tuple(stride), tuple(padding), tuple(dilation))
    pixels = kernel[0] * kernel[1]
    sure(data.shape[-1] == height * width, data.shape[-2] % pixels == 0)
    batch = data.shape[0] if data.dim() > 2 else 1
    padded = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    whole = empty((batch, data.shape[-2] // pixels, *padded), float_dtype(data))
    for axis, (at, n) in enumerate(zip(padding, size, strict=True), 2):
        whole = whole.narrow(axis, at, n)
    image = empty(whole.shape, whole.dtype, whole.stride()) if whole.is_contiguous() else spread(whole.dtype, whole)
    return image if data.dim() > 2 else image.squeeze(0)


@RULES.add("max_unpool2d")
def _unpooled(data: Tensor, indices: Tensor, size: Sequence[int]) -> Tensor:
    sure(data.dim() in {3, 4}, data.shape == indices.shape, indices.dtype == torch.int64)
    sure(len(size) == 2, min(size) > 0)
    return empty((*data.shape[:-2], *size), float_dtype(data))


@RULES.add("grid_sampler_2d")
def _sampled(data: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool) -> Tensor:
    del align_corners
    sure(mode in {0, 1, 2}, padding in {0, 1, 2}, data.dim() == 4, grid.dim() == 4, grid.shape[-1] == 2)
    sure(is_in_order(data), is_in_order(grid), data.shape[0] == grid.shape[0])
    return empty((*data.shape[:2], *grid.shape[1:3]), float_dtype(data, grid))


@RULES.add("grid_sampler_3d")
def _sampled_volume(data: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool) -> Tensor:
    del align_corners
    sure(mode in {0, 1}, padding in {0, 1, 2}, data.dim() == 5, grid.dim() == 5, grid.shape[-1] == 3)
    sure(is_in_order(data), is_in_order(grid), data.shape[0] == grid.shape[0])
    return empty((*data.shape[:2], *grid.shape[1:4]), float_dtype(data, grid))


@RULES.add("affine_grid_generator")
def _affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    del align_corners
    sure(len(size) == 4, min(size) > 0, theta.shape == (size[0], 2, 3), is_in_order(theta))
    return empty((size[0], *size[2:], 2), float_dtype(theta))


# Shuffled and padded


@RULES.add("pixel_shuffle")
def _pixel_shuffle(data: Tensor, factor: int) -> Tensor:
    sure(data.dim() == 4, is_in_order(data), factor > 0)
    batch, channels, height, width = data.shape
    sure(channels % factor**2 == 0)
    return empty((batch, channels // factor**2, height * factor, width * factor), float_dtype(data))


@RULES.add("pixel_unshuffle")
def _pixel_unshuffle(data: Tensor, factor: int) -> Tensor:
    sure(data.dim() == 4, is_in_order(data), factor > 0)
    batch, channels, height, width = data.shape
    sure(height % factor == 0, width % factor == 0)
    return empty((batch, channels * factor**2, height // factor, width // factor), float_dtype(data))


@RULES.add("channel_shuffle")
def _channel_shuffle(data: Tensor, groups: int) -> Tensor:
    sure(data.dim() == 4, is_in_order(data), 1 < groups < data.shape[1], data.shape[1] % groups == 0)
    return empty(data.shape, float_dtype(data))


def _padded(axes: int, is_reflection: bool, data: Tensor, padding: Sequence[int]) -> Tensor:
    sure(data.dim() in {axes + 1, axes + 2}, is_in_order(data), len(padding) == 2 * axes, min(padding) >= 0)
    sizes = list(data.shape)
    for axis, (before, after) in enumerate(zip(padding[::2], padding[1::2], strict=True), 1):
        sure(not is_reflection or max(before, after) < sizes[-axis])
        sizes[-axis] += before + after
    return empty(sizes, float_dtype(data))


for _axes in (1, 2, 3):
    RULES.add(f"reflection_pad{_axes}d")(partial(_padded, _axes, True))
    RULES.add(f"replication_pad{_axes}d")(partial(_padded, _axes, False))
