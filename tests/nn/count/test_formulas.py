"""Formulas of operators that a CPU does not run, or that belong to other libraries: the products, written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import convcost
from convcost.convolution.conv import Conv
from convcost.nn.count.formulas import CONVOLUTIONS, FORMULAS
from convcost.nn.count.operators import Cost, Verdict, cost, saved_formulas, verdict
from convcost.nn.count.tensors import tensors_in

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW = {"stride": 2, "padding": 1, "dilation": 1, "output_padding": 1, "kernel_size": 3}
FLAGS = dict.fromkeys(("benchmark", "deterministic", "cudnn_enabled", "allow_tf32"), False)


def empty(*sizes: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(sizes, dtype=dtype, device="meta")


def priced(op: Any, *args: Any, out: Any = None, **kwargs: Any) -> Cost:
    assert verdict(op) is Verdict.FORMULA
    result = cost(op, args, kwargs, out, tensors_in((args, kwargs)))
    assert result is not None
    return result


def convolution_arguments(op: Any, axes: int, *, groups: int, transposed: bool) -> list[Any]:
    """Arguments of the operator for an image of 4 channels and side 7, 6 outputs (4 where depthwise), kernel 3."""
    image = empty(2, 4, *(7,) * axes)
    depthwise = "depthwise" in str(op)
    weight = (
        empty(4, 6 // groups, *(3,) * axes) if transposed else empty(4 if depthwise else 6, 4 // groups, *(3,) * axes)
    )
    named: dict[str, Any] = {"input": image, "self": image, "weight": weight, "bias": None, "z": None, "alpha": None}
    named |= {"transposed": transposed, "groups": groups, **FLAGS}
    named |= {name: [size] * axes for name, size in WINDOW.items()}
    return [named[argument.name] for argument in op._schema.arguments]


@pytest.mark.parametrize("name", sorted(name for name in CONVOLUTIONS if name.startswith("aten::")))
def test_each_vendors_convolution_is_the_same_convolution(name: str) -> None:
    packet = getattr(torch.ops.aten, name.removeprefix("aten::"), None)
    if packet is None or name == "aten::conv_tbc":
        pytest.skip("this torch has no such operator, or it is tested below")
    op = packet.default
    transposed, axes = "transpose" in name, 3 if "3d" in name else 2
    takes_groups = any(argument.name == "groups" for argument in op._schema.arguments)
    groups = 4 if "depthwise" in name else 2 if takes_groups else 1
    result = priced(op, *convolution_arguments(op, axes, groups=groups, transposed=transposed))
    outputs = 4 if "depthwise" in name else 6
    assert result.conv == Conv(
        *(4, outputs, (3,) * axes, (2,) * axes, (1,) * axes, (1,) * axes, groups, False),
        transposed=transposed,
        output_padding=(1,) * axes if transposed else 0,
    )
    side = 7 if transposed else 4  # (7 + 2·1 − 3)/2 + 1
    pairs = 4 * 6 // groups if groups != 4 else 4  # pairs of an input and an output channel
    assert result.macs == 2 * side**axes * pairs * 3**axes


def test_conv_tbc_is_a_convolution_along_the_first_axis() -> None:
    result = priced(torch.ops.aten.conv_tbc.default, empty(9, 2, 4), empty(3, 4, 6), empty(6), 1)
    assert result.macs == 2 * 9 * 4 * 6 * 3
    assert result.conv == Conv(4, 6, (3,), padding=(1,), bias=True)


def test_onednns_weights_with_an_axis_of_groups_are_understood() -> None:
    op = torch.ops.aten.mkldnn_convolution.default
    plain = priced(op, empty(1, 4, 8, 8), empty(6, 2, 3, 3), None, [0, 0], [1, 1], [1, 1], 2)
    packed = priced(op, empty(1, 4, 8, 8), empty(2, 3, 2, 3, 3), None, [0, 0], [1, 1], [1, 1], 2)
    assert plain == packed
    assert plain.macs == 36 * 6 * 2 * 9


def test_an_empty_batch_has_no_macs() -> None:
    op = torch.ops.aten.convolution.default
    assert priced(op, empty(0, 4, 8, 8), empty(6, 4, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1).macs == 0


A, B = (3, 5), (5, 6)
FP8 = torch.float8_e4m3fn
PRODUCTS: dict[str, tuple[str, tuple[Any, ...], tuple[int, ...], int]] = {
    "int8": ("_int_mm", (empty(*A, dtype=torch.int8), empty(*B, dtype=torch.int8)), (3, 6), 3 * 5 * 6),
    "scaled float8": ("_scaled_mm", (empty(*A, dtype=FP8), empty(*B, dtype=FP8), empty(1), empty(1)), (3, 6), 90),
    "fused activation": ("_addmm_activation", (empty(6), empty(*A), empty(*B)), (3, 6), 3 * 5 * 6),
    "groups of rows": ("_grouped_mm", (empty(*A), empty(4, *B), empty(4)), (3, 6), 3 * 5 * 6),
    "groups of columns": ("_grouped_mm", (empty(4, *A), empty(*B), empty(4)), (3, 6), 3 * 5 * 6),
    "groups of the inner axis": ("_grouped_mm", (empty(*A), empty(*B), empty(4)), (4, 3, 6), 3 * 5 * 6),
    "a batch of groups": ("_grouped_mm", (empty(4, *A), empty(4, *B)), (4, 3, 6), 4 * 3 * 5 * 6),
    "scaled groups": ("_scaled_grouped_mm", (empty(*A), empty(4, *B), empty(3), empty(4, 6), empty(4)), (3, 6), 90),
    "a list": ("_foreach_mm", ([empty(*A), empty(2, 7)], [empty(*B), empty(7, 4)]), (), 3 * 5 * 6 + 2 * 7 * 4),
    "packed int8": ("_weight_int8pack_mm", (empty(*A), empty(6, 5), empty(6)), (3, 6), 3 * 5 * 6),
    "packed int4": ("_weight_int4pack_mm", (empty(3, 32), empty(1, 2, 32, 1), 32, empty(1, 8, 2)), (3, 8), 3 * 32 * 8),
    "oneDNN's linear": ("mkldnn_linear", (empty(2, *A), empty(6, 5), None), (2, 3, 6), 2 * 3 * 5 * 6),
    "distances": ("_cdist_forward", (empty(2, 5, 3), empty(2, 7, 3), 2.0, None), (2, 5, 7), 2 * 5 * 7 * 3),
    "distances by a product": ("_euclidean_dist", (empty(2, 5, 3), empty(2, 7, 3)), (2, 5, 7), 2 * 5 * 7 * 3),
    "attention of grouped heads": (
        *("_scaled_dot_product_cudnn_attention", (empty(2, 8, 5, 4), empty(2, 2, 7, 4), empty(2, 2, 7, 6), None, False)),
        *((2, 8, 5, 6), 2 * 8 * 5 * 7 * (4 + 6)),
    ),
    "cuDNN's LSTM of two directions": (
        "_cudnn_rnn",
        (
            *(empty(7, 2, 4), [empty(20, 4), empty(20, 5), empty(20), empty(20)] * 2, 4, None, empty(2, 2, 5), None),
            *(2, 5, 0, 1, False, 0.0, False, True, [], None),
        ),
        (7, 2, 10),
        2 * 7 * 2 * 20 * (4 + 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PRODUCTS)
def test_a_product_is_counted_from_its_shapes(case: str) -> None:
    name, args, shape, expected = PRODUCTS[case]
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        pytest.skip("this torch has no such operator")
    assert priced(packet.default, *args, out=empty(*shape)).macs == expected


def test_a_complex_product_is_four_real_ones() -> None:
    a, b = (empty(*sizes, dtype=torch.complex64) for sizes in (A, B))
    assert priced(torch.ops.aten.mm.default, a, b) == Cost(4 * 3 * 5 * 6, None, 3 * 5 * 6)


@pytest.mark.parametrize("layout", ["coo", "csr"])
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_a_sparse_product_counts_the_non_zeros(layout: str) -> None:
    pattern = torch.zeros(4, 5)
    pattern[0, 1] = pattern[2, 3] = pattern[3, 0] = 1.0
    a = pattern.to_sparse() if layout == "coo" else pattern.to_sparse_csr()
    aten, dense = torch.ops.aten, torch.zeros(5, 6)
    assert priced(aten.mm.default, a, dense) == Cost(3 * 6, None, 4 * 5 * 6)
    assert priced(aten.addmm.default, torch.zeros(4, 6), a, dense) == Cost(3 * 6, None, 4 * 5 * 6)
    assert priced(aten._sparse_addmm.default, torch.zeros(4, 6), a, dense).macs == 3 * 6
    assert priced(aten.mm.default, torch.zeros(2, 4), a).macs == 2 * 3
    assert priced(aten.sparse_sampled_addmm.default, a, torch.zeros(4, 7), torch.zeros(7, 5)).macs == 3 * 7
    assert cost(aten.mm.default, (a, a), {}, None, [a, a]) is None


SPARSE_CALLS: dict[str, Any] = {
    "@": lambda a, x: a @ x,
    "spmm": torch.spmm,
    "sparse.mm": torch.sparse.mm,
    "addmm": lambda a, x: torch.sparse.addmm(x, a, x),
}


@pytest.mark.parametrize("call", SPARSE_CALLS)
def test_the_adjacency_of_a_graph_counts_its_edges(call: str) -> None:
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.edges = torch.eye(10).to_sparse()

        def forward(self, x: torch.Tensor) -> Any:
            return SPARSE_CALLS[call](self.edges, x)

    report = convcost.count(Graph(), (torch.ones(10, 4),), device="cpu", cross_check=True)
    assert (report.totals.macs, report.uncounted) == (10 * 4, ())
    assert report.cross_check["torch"].status == "agrees"


def test_sparse_times_sparse_is_listed() -> None:
    class Paths(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            edges = x.to_sparse()
            return (edges @ edges).to_dense()

    report = convcost.count(Paths(), (torch.eye(4),), device="cpu", cross_check=True)
    assert [missed.op for missed in report.uncounted] == ["aten.mm"]
    assert report.cross_check["torch"].status == "agrees"


@pytest.mark.parametrize("mode", ["use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"])
@pytest.mark.parametrize(("p", "points"), [(2.0, 4), (2.0, 30), (1.0, 30)])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_distances_have_one_count_however_they_are_computed(mode: str, p: float, points: int, device: str) -> None:
    class Distances(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.cdist(x, y, p, mode)

    report = convcost.count(Distances(), (torch.ones(points, 3), torch.ones(7, 3)), device=device)
    assert (report.totals.macs, report.uncounted) == (points * 7 * 3, ())


def test_flex_attention_is_attention() -> None:
    q, k, v = empty(2, 3, 5, 8), empty(2, 3, 7, 8), empty(2, 3, 7, 6)
    operator = torch.ops.higher_order.flex_attention
    assert priced(operator, q, k, v, None, None, 1.0, {}).macs == 2 * 3 * 5 * 7 * (8 + 6)


DEFORM = (
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, int stride_h, int stride_w, "
    "int pad_h, int pad_w, int dilation_h, int dilation_w, int groups, int offset_groups, bool use_mask) -> Tensor"
)
NATTEN = (
    "(Tensor query, Tensor key, Tensor value, int[] kernel_size, int[] stride, int[] dilation, bool[] is_causal, "
    "float scale, int[] q_tile_shape, int[] kv_tile_shape) -> (Tensor, Tensor)"
)


@pytest.fixture
def stand_ins() -> Iterator[None]:
    """Operators of the names and arguments of torchvision's and NATTEN's, unless those are installed."""
    vision, natten = torch.library.Library("torchvision", "FRAGMENT"), torch.library.Library("natten", "FRAGMENT")
    if not hasattr(torch.ops.torchvision, "deform_conv2d"):
        vision.define(DEFORM)
        vision.impl(
            "deform_conv2d",
            lambda x, w, offset, *_: x.new_empty(x.shape[0], w.shape[0], *offset.shape[2:]),
            "CompositeExplicitAutograd",
        )
        vision.define("roi_align(Tensor input, Tensor rois) -> Tensor")
    natten.define("na1d_qk(Tensor query, Tensor key, int kernel_size) -> Tensor")
    natten.define("na1d_av(Tensor attn, Tensor value) -> Tensor")
    if not hasattr(torch.ops.natten, "na2d_forward"):
        natten.define(f"na2d_forward{NATTEN}")
        natten.impl(
            "na2d_forward",
            lambda q, _, v, *__: (q.new_empty(*q.shape[:-1], v.shape[-1]), q.new_empty(q.shape[:-1])),
            "CompositeExplicitAutograd",
        )
    yield
    vision._destroy()
    natten._destroy()


@pytest.mark.usefixtures("stand_ins")
def test_a_deformable_convolution_is_a_convolution() -> None:
    class Deformable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.zeros(6, 2, 3, 3)), nn.Parameter(torch.zeros(6))

        def forward(self, x: torch.Tensor, offset: torch.Tensor) -> Any:
            window = (2, 1, 1, 0, 1, 1)  # strides, paddings and dilations
            return torch.ops.torchvision.deform_conv2d(
                x, self.weight, offset, x.new_empty(0), self.bias, *window, 2, 1, False
            )

    report = convcost.count(Deformable(), (torch.zeros(1, 4, 9, 9), torch.zeros(1, 18, 5, 7)))
    row = next(row for row in report.layers if row.macs)
    assert row.conv == Conv(4, 6, (3, 3), (2, 1), (1, 0), (1, 1), 2, True)
    assert report.totals.macs == 5 * 7 * 6 * 2 * 9
    assert report.uncounted == ()


@pytest.mark.usefixtures("stand_ins")
def test_neighbourhood_attention_multiplies_each_query_with_its_window() -> None:
    class Neighbourhood(nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
            window = ([3, 5], [1, 1], [1, 1], [False, False])
            return torch.ops.natten.na2d_forward(q, k, v, *window, 1.0, [8, 8], [8, 8])[0]

    image = torch.zeros(2, 6, 7, 4, 8)  # batch, height, width, heads, features
    report = convcost.count(Neighbourhood(), (image, image, image))
    assert report.by_operator == {"attention": 2 * 6 * 7 * 4 * (3 * 5) * (8 + 8)}
    assert report.uncounted == ()


@pytest.mark.usefixtures("stand_ins")
def test_the_two_halves_of_neighbourhood_attention_are_counted_apart() -> None:
    image, scores = empty(2, 4, 9, 8), empty(2, 4, 9, 5)  # batch, heads, length, features or window
    assert priced(torch.ops.natten.na1d_qk.default, image, image, 5, out=scores).macs == 2 * 4 * 9 * 5 * 8
    assert priced(torch.ops.natten.na1d_av.default, scores, image, out=image).macs == 2 * 4 * 9 * 5 * 8


@pytest.mark.usefixtures("stand_ins")
def test_torchvisions_resampling_of_regions_is_free() -> None:
    assert verdict(torch.ops.torchvision.roi_align.default) is Verdict.FREE


@pytest.mark.usefixtures("stand_ins")
def test_your_own_formula_for_another_librarys_operator_replaces_ours() -> None:
    operator = torch.ops.natten.na2d_forward
    with saved_formulas():
        convcost.register(operator)(lambda *_, **__: 7)
        assert priced(operator.default, empty(1)).macs == 7


def test_formulas_of_other_libraries_need_none_of_them() -> None:
    assert {"natten::na2d_forward", "natten::hopper_na3d_forward", "higher_order::flex_attention"} <= FORMULAS.keys()
