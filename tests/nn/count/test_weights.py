"""Weights: those of the module tree and those that were used, whatever a class says of its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from calls import Calls
from torch import nn
from torch.nn import functional

import convcost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.torch

DEVICES = pytest.mark.parametrize("device", ["meta", "cpu"])


class Denying(nn.Module):
    """A module that names neither its parts nor its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1))
        self.body[0].register_buffer("scale", torch.ones(()))

    def nothing(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())

    parameters = named_parameters = buffers = named_buffers = children = named_children = nothing

    def modules(self, *_: Any, **__: Any) -> Iterator[nn.Module]:
        yield self

    def named_modules(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Module]]:
        yield "", self

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(x)


@DEVICES
def test_the_module_tree_is_counted_whatever_the_class_says_of_it(device: str) -> None:
    report = convcost.count(Denying(), torch.zeros(1, 3, 8, 8), device=device)
    assert [row.name for row in report.layers] == ["body.0", "body.1"]
    params = 3 * 4 + 4 + 4 * 5 + 5
    assert (report.totals.params, report.totals.weight_bytes) == (params, 4 * params)


class Listed(nn.Module):
    """Parameters in a list and in nested tables, which torch does not register."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = [nn.Parameter(torch.zeros(8, 8)), nn.Parameter(torch.zeros(8, 3))]
        self.table = {"inner": {"w": nn.Parameter(torch.zeros(3, 2))}}
        self.never = [nn.Parameter(torch.zeros(50))]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights[0] @ self.weights[0] @ self.weights[1] @ self.table["inner"]["w"]


@DEVICES
def test_parameters_that_are_used_count_where_no_module_holds_them(device: str) -> None:
    report = convcost.count(Listed(), torch.zeros(1, 8), device=device)
    assert [row.params for row in report.layers] == [8 * 8, 0, 8 * 3, 3 * 2]
    assert report.totals.params == 8 * 8 + 8 * 3 + 3 * 2
    assert report.totals.peak_activation_bytes == 4 * (8 + 8 + 8)  # x, and two products; the weights are none


def test_an_input_that_is_a_parameter_and_what_forward_makes_are_no_weights() -> None:
    data = nn.Parameter(torch.zeros(1, 8))
    report = convcost.count(lambda x: nn.Linear(8, 3)(x @ nn.Parameter(torch.zeros(8, 8))), data)
    assert (report.totals.params, report.totals.macs) == (0, 8 * 8 + 8 * 3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int8])
def test_parameters_of_integers_may_be_packed(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    model[0].w_q = nn.Parameter(torch.zeros(2, 2, dtype=dtype), requires_grad=False)
    report = convcost.count(model, torch.zeros(1, 4))
    assert (report.totals.params, report.totals.weight_bytes) == (None, None)
    reason = "0 holds packed weights: params and weight_bytes are not obtained"
    assert (report.notes, report.doubts) == ((f"{reason}.",), {"params": reason, "weight_bytes": reason})
    assert "parameters not obtained" in report.verdicts[0]
    assert report.to_dict()["totals"]["weight_bytes"] is None


def test_a_parameter_of_truth_values_is_not_packed() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    model[0].mask = nn.Parameter(torch.zeros(2, dtype=torch.bool), requires_grad=False)
    assert convcost.count(model, torch.zeros(1, 4)).totals.params == 4 * 2 + 2 + 2


def _int8() -> torch.Tensor:
    return torch.zeros(4, 4, dtype=torch.int8)


def _uint8() -> torch.Tensor:
    return torch.zeros(4, 4, dtype=torch.uint8)


def _model(forward: Callable[[Any, torch.Tensor], torch.Tensor], **held: torch.Tensor) -> nn.Module:
    """A module with tensors: integers and floats of a byte are buffers, others plain attributes."""
    model = Calls(forward)
    for name, tensor in held.items():
        if tensor.dtype.itemsize == 1 or not tensor.dtype.is_floating_point:
            model.register_buffer(name, tensor)
        else:
            setattr(model, name, tensor)
    return model


def _copied(m: Any, x: torch.Tensor) -> torch.Tensor:
    weight = torch.empty(4, 4)
    weight.copy_(m.w)
    return x @ weight


def _through_new_memory(m: Any, x: torch.Tensor) -> torch.Tensor:
    data = torch.zeros(2, 4)
    data[:] = x
    return data @ m.w.float()


@DEVICES
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: _model(lambda m, x: x @ m.w.float(), w=_int8()), id="int8"),
        pytest.param(lambda: _model(lambda m, x: x @ m.w.float(), w=_int8().to(torch.float8_e4m3fn)), id="float8"),
        pytest.param(lambda: _model(lambda m, x: functional.conv1d(x[..., None], m.w[..., None].float()), w=_int8()), id="convolution"),
        pytest.param(lambda: _model(lambda m, x: x @ ((m.w[..., None] >> torch.arange(0, 8, 4)) & 15)[..., 0].float(), w=_int8()), id="int4"),
        pytest.param(lambda: _model(lambda m, x: x @ torch.arange(256.0)[m.w.int()], w=_int8()), id="codebook"),
        pytest.param(lambda: _model(lambda m, x: x @ (m.w.float() * torch.tensor(0.1)), w=_int8()), id="scaled"),
        pytest.param(lambda: _model(lambda m, x: x @ ((m.w.float() - torch.tensor(8)) * 2), w=_uint8()), id="zero point"),
        pytest.param(lambda: _model(lambda m, x: x @ (m.w & 15).float(), w=_uint8()), id="bits"),
        pytest.param(lambda: _model(lambda m, x: x @ (m.w % 16 - 8).float(), w=_uint8().int()), id="bits by numbers"),
        pytest.param(lambda: _model(lambda m, x: x @ torch.arange(256.0)[m.w.int()], w=_uint8()), id="a table"),
        pytest.param(lambda: _model(lambda m, x: x @ m.w.view(torch.float8_e5m2).float(), w=_uint8()), id="float8 as uint8"),
        pytest.param(lambda: _model(lambda m, x: x.int() @ m.w, w=_uint8().int()), id="a product of integers"),
        pytest.param(lambda: _model(_copied, w=_int8()), id="copied"),
        pytest.param(lambda: _model(_through_new_memory, w=_int8()), id="activations copied"),
    ],
)  # fmt: skip
def test_what_activations_are_multiplied_by_is_a_packed_weight_whatever_its_name(
    model: Callable[[], nn.Module], device: str
) -> None:
    report = convcost.count(model(), torch.zeros(2, 4), device=device)
    assert (report.totals.params, report.totals.weight_bytes) == (None, None)
    assert report.notes == ("Calls holds 16 packed weights: params and weight_bytes are not obtained.",)
    assert set(report.doubts) == {"params", "weight_bytes"}


@DEVICES
def test_plain_tensors_as_weights_leave_params_in_doubt(device: str) -> None:
    model, outside = _model(lambda m, x: functional.linear(x, m.w.t() * 2), w=torch.zeros(4, 5)), _int8()
    report = convcost.count(model, torch.zeros(2, 4), device=device)
    assert report.totals.params == 0
    assert report.doubts["params"].startswith(
        "Calls multiplies by w, 20 values that are neither in a parameter nor in a"
    )
    report = convcost.count(Calls(lambda _, x: x @ outside.float()), torch.zeros(2, 4), device=device)
    assert report.doubts["weight_bytes"].startswith("Calls multiplies by a tensor of no module, 16 values")


@DEVICES
def test_a_product_with_a_buffer_of_floats_is_named_in_a_note(device: str) -> None:
    model = Calls(lambda m, x: m.l(x) @ m.w.t() * 2, l=nn.Linear(4, 4), w=nn.Buffer(torch.zeros(5, 4)))
    report = convcost.count(model, torch.zeros(2, 4), device=device)
    assert (report.totals.macs, report.totals.params, report.doubts) == (2 * 4 * 4 + 2 * 4 * 5, 4 * 4 + 4, {})
    assert report.notes == (
        "matmul multiplies by buffers, which are no parameters: params and weight_bytes leave them out.",
    )


@DEVICES
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize(
    "forward",
    [
        pytest.param(lambda m, x: m.w.float() @ m.l(x), id="a graph's edges"),
        pytest.param(lambda m, x: m.w.float() / m.w.float().sum(-1, keepdim=True) @ m.l(x), id="normalised"),
        pytest.param(lambda m, x: (m.w + torch.eye(4)) @ m.l(x), id="with each node itself"),
        pytest.param(lambda m, x: functional.conv1d(m.l(x)[:, None], m.w[:, None].float() / 16), id="a filter"),
        pytest.param(lambda m, x: x @ (m.l.weight * m.w), id="a mask of weights"),
    ],
)
def test_a_product_with_integers_that_nothing_decodes_leaves_params_known(
    forward: Callable[[Any, torch.Tensor], torch.Tensor], dtype: torch.dtype, device: str
) -> None:
    model = Calls(forward, l=nn.Linear(4, 4), w=nn.Buffer(torch.ones(4, 4, dtype=dtype)))
    report = convcost.count(model, torch.zeros(4, 4), device=device)
    assert (report.totals.params, report.doubts) == (4 * 4 + 4, {})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the old way to quantise is what is tested
def test_the_flags_of_fake_quantisation_are_no_weights() -> None:
    model = Calls(
        lambda m, x: functional.linear(x, m.quantised(m.l.weight), m.l.bias),
        l=nn.Linear(4, 2),
        quantised=torch.ao.quantization.default_fused_wt_fake_quant(),
    )
    report = convcost.count(model, torch.zeros(1, 4))
    assert (report.totals.params, report.notes) == (4 * 2 + 2, ())


def _in_a_cache(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.cache[:] = x
    return x @ m.cache.t()


@DEVICES
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: Calls(_in_a_cache, cache=nn.Buffer(torch.zeros(2, 4))), id="a cache"),
        pytest.param(
            lambda: Calls(
                lambda m, x: x @ (m.l.weight * m.mask).t(), l=nn.Linear(4, 4), mask=nn.Buffer(torch.ones(4, 4))
            ),
            id="a mask of weights",
        ),
        pytest.param(lambda: Calls(lambda m, x: torch.baddbmm(m.b, x, x), b=nn.Buffer(torch.ones(4))), id="added"),
        pytest.param(lambda: Calls(lambda m, x: x * m.scale, scale=nn.Buffer(torch.ones(4))), id="a factor"),
    ],
)
def test_a_buffer_that_is_no_weight_of_a_product_is_named_in_no_note(
    model: Callable[[], nn.Module], device: str
) -> None:
    x = torch.zeros(2, 4, 4) if "b" in model()._buffers else torch.zeros(2, 4)
    assert convcost.count(model(), x, device=device).notes == ()


def _cached(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.cache[:] = x
    m.quantised[:] = x
    return x @ m.cache.t() @ m.quantised.float()


def _positions(m: Any, x: torch.Tensor) -> torch.Tensor:
    near = m.table.weight[m.ids]
    angles = torch.einsum("i,j->ij", m.ids.float(), m.frequencies)
    scores = (x @ near.t()).masked_fill(m.mask == 0, -9) + angles.sum()
    return functional.scaled_dot_product_attention(scores @ x, x, x, attn_mask=m.added)


@DEVICES
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: _model(_cached, cache=torch.zeros(2, 4), quantised=torch.zeros(2, 4).to(torch.int8)), id="caches"),
        pytest.param(lambda: _model(lambda m, x: x * m.mean, mean=torch.zeros(4)), id="factor"),
        pytest.param(lambda: Calls(lambda _, x: x @ x.new_tensor([[1.0]] * 4) @ torch.tensor([[1.0]])), id="made in forward"),
        pytest.param(lambda: Calls(lambda _, x: x @ torch.FloatTensor([[1.0]] * 4)), id="made by its class"),
    ],
)  # fmt: skip
def test_what_forward_writes_or_makes_and_what_is_no_factor_of_a_product_is_no_weight(
    model: Callable[[], nn.Module], device: str
) -> None:
    report = convcost.count(model(), torch.zeros(2, 4), device=device)
    assert (report.totals.params, report.notes, report.doubts) == (0, (), {})


@DEVICES
def test_positions_masks_and_counters_are_no_weights(device: str) -> None:
    model = _model(
        _positions, ids=torch.arange(2), mask=torch.ones(2, 2, dtype=torch.uint8), added=torch.zeros(2, 2), frequencies=torch.ones(3)
    )  # fmt: skip
    model.table, model.norm = nn.Embedding(8, 4), nn.BatchNorm1d(4)
    report = convcost.count(model, torch.zeros(2, 4), device=device)
    assert (report.totals.params, report.notes, report.doubts) == (8 * 4 + 4 + 4, (), {})
