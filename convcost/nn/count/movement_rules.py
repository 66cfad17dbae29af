"""Shape rules of operators that move, pick, resize or make elements; see `shape_rules`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape
from convcost.nn.build.conv_module import per_axis
from convcost.nn.count.layouts import broadcast, format_strides, is_in_order
from convcost.nn.count.rule_table import Rules, axis_of, empty, float_dtype, in_format, spread, sure

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES: Final = Rules()
_INDICES: Final = frozenset({torch.int32, torch.int64})


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
    is_in_volume = axes > 2 and (not is_in_order(data) or 1 in data.shape)  # torch knows a format of these too
    sure(not is_in_volume)


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
        divisor is None,
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
RULES.add("upsample_bicubic2d")(partial(_upsampled, 2))
RULES.add("upsample_trilinear3d", "upsample_nearest3d", "_upsample_nearest_exact3d")(partial(_upsampled, 3))


@RULES.add("_trilinear")
def _trilinear(
    one: Tensor,
    two: Tensor,
    three: Tensor,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Tensor:
    """The product of three tensors with axes of size 1 put in, summed over some axes."""
    del unroll_dim
    whole: dict[int, int] = {}
    for tensor, expand in ((one, expand1), (two, expand2), (three, expand3)):
        axes = [axis for axis in range(tensor.dim() + len(expand)) if axis not in expand]
        for axis, size in zip(axes, tensor.shape, strict=True):
            sure(whole.setdefault(axis, size) == size)
    sure(sorted(whole) == list(range(len(whole))))
    return empty([whole[axis] for axis in sorted(whole) if axis not in sumdim], float_dtype(one, two, three))


@RULES.add("im2col")
def _unfolded(
    data: Tensor, kernel: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> Tensor:
    sure(data.dim() == 4, all(len(one) == 2 for one in (kernel, dilation, padding, stride)))
    height, width = _conv_sizes(tuple(data.shape[2:]), tuple(kernel), tuple(stride), tuple(padding), tuple(dilation))
    return empty((data.shape[0], data.shape[1] * kernel[0] * kernel[1], height * width), float_dtype(data))


# Moved elements


@RULES.add("cat")
def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    dtype, shape = float_dtype(*tensors), list(tensors[0].shape)
    axis = axis_of(dim, len(shape))
    for tensor in tensors:
        sure(tensor.dim() == len(shape))
        sure(all(size == shape[at] for at, size in enumerate(tensor.shape) if at != axis))
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    strides = {format_strides(tensor, shape) for tensor in tensors}
    return empty(shape, dtype, strides.pop() if len(strides) == 1 else None)


@RULES.add("stack")
def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    shape = tuple(tensors[0].shape)
    axis = axis_of(dim, len(shape) + 1)
    sure(all(tuple(tensor.shape) == shape and is_in_order(tensor) for tensor in tensors))
    return empty((*shape[:axis], len(tensors), *shape[axis:]), float_dtype(*tensors))


@RULES.add("roll")
def _rolled(data: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Tensor:
    sure(is_in_order(data), len(shifts) == len(dims), all(-data.dim() <= dim < data.dim() for dim in dims))
    return spread(float_dtype(data), data)


@RULES.add("flip")
def _flipped(data: Tensor, dims: Sequence[int]) -> Tensor:
    sure(len({axis_of(dim, data.dim()) for dim in dims}) == len(dims))
    return spread(float_dtype(data), data)


@RULES.add("repeat")
def _repeated(data: Tensor, repeats: Sequence[int]) -> Tensor:
    added = len(repeats) - data.dim()
    sure(added >= 0, all(times > 0 for times in repeats))
    shape = (*(1,) * added, *data.shape)
    return empty([size * times for size, times in zip(shape, repeats, strict=True)], data.dtype)


@RULES.add("unsafe_split.Tensor")
def _split(data: Tensor, size: int, dim: int = 0) -> list[Tensor]:
    axis_of(dim, data.dim())
    sure(size > 0)
    return list(torch.ops.aten.split.Tensor(data, size, dim))


@RULES.add("glu")
def _gated(data: Tensor, dim: int = -1) -> Tensor:
    axis = axis_of(dim, data.dim())
    sure(data.shape[axis] % 2 == 0, data.is_contiguous())
    half = data.shape[axis] // 2
    halves = (data.narrow(axis, 0, half), data.narrow(axis, half, half))
    return spread(float_dtype(data), *halves)


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
    sure(data.dim() == 4, is_in_order(data), groups > 1, data.shape[1] % groups == 0)
    return empty(data.shape, float_dtype(data))


@RULES.add("reflection_pad2d")
def _padded(data: Tensor, padding: Sequence[int]) -> Tensor:
    sure(data.dim() == 4, is_in_order(data), len(padding) == 4)
    height, width = data.shape[2:]
    left, right, top, bottom = padding
    sure(min(padding) >= 0, max(left, right) < width, max(top, bottom) < height)
    return empty((*data.shape[:2], height + top + bottom, width + left + right), float_dtype(data))


# Elements by index


@RULES.add("index.Tensor")
def _indexed(data: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    given = [index for index in indices if index is not None]
    sure(
        is_in_order(data),
        1 not in data.shape,
        len(indices) <= data.dim(),
        bool(axes),
        all(index.dtype in _INDICES for index in given),
    )
    first, last = axes[0], axes[-1] + 1
    sure(len(axes) == last - first)  # indices of axes that are not neighbours move these axes to the front
    picked = broadcast(*(tuple(index.shape) for index in given))
    sure(picked is not None)
    return empty((*data.shape[:first], *(picked or ()), *data.shape[last:]), data.dtype)


@RULES.add("topk")
def _topk(data: Tensor, k: int, dim: int = -1, *_: bool) -> tuple[Tensor, Tensor]:
    axis, shape = axis_of(dim, data.dim()), list(data.shape)
    sure(0 < k <= shape[axis])
    shape[axis] = k
    return empty(shape, float_dtype(data)), empty(shape, torch.int64)


@RULES.add("sort")
def _sorted(data: Tensor, dim: int = -1, *_: bool) -> tuple[Tensor, Tensor]:
    axis_of(dim, data.dim())
    sure(is_in_order(data))
    return empty(data.shape, float_dtype(data)), empty(data.shape, torch.int64)


@RULES.add("embedding")
def _embedding(weight: Tensor, indices: Tensor, *_: Any, **__: Any) -> Tensor:
    sure(weight.dim() == 2, indices.dtype in _INDICES)
    return empty((*indices.shape, weight.shape[1]), float_dtype(weight))


@RULES.add("index_select")
def _index_select(data: Tensor, dim: int, index: Tensor) -> Tensor:
    axis, shape = axis_of(dim, data.dim()), list(data.shape)
    sure(index.dim() == 1, index.dtype in _INDICES)
    shape[axis] = index.shape[0]
    return empty(shape, data.dtype)


@RULES.add("gather")
def _gather(data: Tensor, dim: int, index: Tensor) -> Tensor:
    axis = axis_of(dim, data.dim())
    sure(index.dtype == torch.int64, index.dim() == data.dim())
    sure(all(index.shape[at] <= size for at, size in enumerate(data.shape) if at != axis))
    return empty(index.shape, data.dtype)


@RULES.add("masked_fill.Scalar")
def _masked_fill(data: Tensor, mask: Tensor, value: float) -> Tensor:
    sure(is_in_order(data), is_in_order(mask), mask.dtype == torch.bool, isinstance(value, (int, float)))
    return spread(float_dtype(data), mask, data)


@RULES.add("masked_fill.Tensor")
def _masked_fill_tensor(data: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    sure(value.dim() == 0, value.dtype == data.dtype)
    return _masked_fill(data, mask, 0)


# New tensors


@RULES.add("zeros_like", "ones_like", "empty_like")
def _like(data: Tensor, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    sure(all(value is None or value is False for key, value in options.items() if key not in {"device", "layout"}))
    sure(options.get("layout") in {None, torch.strided}, options.get("device") in {None, torch.device("meta")})
    return spread(dtype or data.dtype, data)


@RULES.add("rand_like", "randn_like")
def _random_like(data: Tensor, **options: Any) -> Tensor:
    result = _like(data, **options)
    float_dtype(result)
    return result


@RULES.add("full_like")
def _full_like(data: Tensor, value: float, **options: Any) -> Tensor:
    sure(isinstance(value, (int, float)))
    return _like(data, **options)


@RULES.add("scalar_tensor")
def _scalar_tensor(value: float, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    _sure_of(options)
    sure(isinstance(value, (int, float)))
    return empty((), dtype or torch.get_default_dtype())


@RULES.add("randn")
def _randn(size: Sequence[int], *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    _sure_of(options)
    sure(all(n > 0 for n in size))
    dtype = dtype or torch.get_default_dtype()
    sure(dtype.is_floating_point)
    return empty(size, dtype)


@RULES.add("arange")
def _arange(end: int, **options: Any) -> Tensor:
    return _stepped(0, end, **options)


@RULES.add("arange.start", "arange.start_step")
def _stepped(start: int, end: int, step: int = 1, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    _sure_of(options)
    sure(all(type(value) is int for value in (start, end, step)), step > 0, end > start)
    return empty((len(range(start, end, step)),), dtype or torch.int64)


@RULES.add("linspace")
def _spaced(start: float, end: float, steps: int, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    _sure_of(options)
    dtype = dtype or torch.get_default_dtype()
    sure(isinstance(start, (int, float)), isinstance(end, (int, float)), steps > 0, dtype.is_floating_point)
    return empty((steps,), dtype)


def _sure_of(options: dict[str, Any]) -> None:
    """Give up the rule unless a new tensor is an ordinary one of the meta device."""
    sure(options.get("layout") in {None, torch.strided}, not options.get("pin_memory"))
    sure(options.get("device") is not None and torch.device(options["device"]).type == "meta")
