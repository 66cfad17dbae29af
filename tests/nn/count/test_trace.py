"""Rows of models whose forward pass is written in an unusual way: each expectation is a product written out."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from calls import Calls, zeros
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils.flop_counter import FlopCounterMode

import convcost
from convcost.text.errors import ConvcostError

DEVICES = pytest.mark.parametrize("device", ["meta", "cpu"])


def rows(model: nn.Module, *inputs: Any, device: str = "meta") -> list[tuple[str, int]]:
    report = convcost.count(model, inputs, device=device)
    assert report.uncounted == ()
    assert sum(row.macs for row in report.layers) == report.totals.macs
    assert sum(row.params for row in report.layers) == report.totals.params
    return [(row.name, row.macs) for row in report.layers if row.op != "parameters"]


# ---------------------------------------------------------------------------------------------- calls that raise


def _raise(*_: Any) -> None:
    raise ValueError


class Fails(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(9, 8)

    def forward(self, x: torch.Tensor) -> Any:
        return self.second(self.first(x))


def _hooked() -> nn.Module:
    part = nn.Linear(8, 10)
    part.register_forward_hook(_raise)
    return part


FAILING: dict[str, tuple[Any, list[tuple[str, int]]]] = {
    "a module of torch": (lambda m, x: m.part(x), []),
    "a function": (lambda _, x: functional.linear(x, torch.zeros(10, 9, device=x.device)), []),
    "an operator": (lambda _, x: x @ torch.zeros(9, 10, device=x.device), []),
    # its products were computed before the hook raised, and a hook may raise just to end a model early
    "a hook, after its module ran": (lambda m, x: m.hooked(x), [("hooked", 4 * 8 * 10)]),
    "an own module, whose first part ran": (lambda m, x: m.own(x), [("own.first", 4 * 8 * 8)]),
    "a module of torch with parts": (lambda m, x: m.attention(x, x, x), []),
    "Python itself": (lambda *_: _raise(), []),
}


@DEVICES
@pytest.mark.parametrize("what", FAILING)
def test_a_call_that_raises_and_is_caught_leaves_only_the_work_that_was_done(what: str, device: str) -> None:
    attempt, done = FAILING[what]

    def forward(m: Any, x: torch.Tensor) -> Any:
        try:
            y = attempt(m, x)
        except (RuntimeError, ValueError, AssertionError):
            y = m.slow(x)
        return m.head(torch.relu(y))

    parts = {"part": nn.Linear(9, 10), "own": Fails(), "hooked": _hooked(), "attention": nn.MultiheadAttention(6, 2)}
    model = Calls(forward, **parts, slow=nn.Linear(8, 10), head=nn.Linear(10, 3))
    counted = [row for row in rows(model, zeros(4, 8), device=device) if row[0] != "zeros#1"]
    assert counted == [*done, ("slow", 4 * 8 * 10), ("relu#1", 0), ("head", 4 * 10 * 3)]


def test_an_error_names_the_module_that_raised_it_and_not_one_that_was_caught_before() -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        try:
            m.a(x)
        except RuntimeError:
            return m.b(x)

    with pytest.raises(ConvcostError, match=r"^b \(Linear\) expects in_features 7, got input 4x8: "):
        convcost.count(Calls(forward, a=nn.Linear(9, 10), b=nn.Linear(7, 10)), (zeros(4, 8),))


# ------------------------------------------------------------------------ inference mode, torch.func, and loops

COMPOSITE: dict[str, tuple[Any, tuple[torch.Tensor, ...], int]] = {
    "padding as text": (nn.Conv2d(3, 4, 3, padding="same"), (zeros(1, 3, 8, 8),), 8 * 8 * 4 * 27),
    "linear": (nn.Linear(4, 5), (zeros(2, 3, 4),), 2 * 3 * 4 * 5),
    "RNN cell": (nn.RNNCell(4, 6), (zeros(2, 4),), 2 * 6 * (4 + 6)),
    "GRU cell": (nn.GRUCell(4, 6), (zeros(2, 4),), 2 * 3 * 6 * (4 + 6)),
    "LSTM": (nn.LSTM(4, 5), (zeros(6, 2, 4),), 6 * 2 * 4 * 5 * (4 + 5)),
    "matmul": (Calls(lambda _, a, b: a @ b), (zeros(5, 2, 3), zeros(3, 4)), 5 * 2 * 3 * 4),
    "einsum": (Calls(lambda _, a, b: torch.einsum("ij,kj->ik", a, b)), (zeros(2, 3), zeros(4, 3)), 2 * 3 * 4),
    "attention": (
        Calls(lambda _, q: functional.scaled_dot_product_attention(q, q, q)),
        (zeros(2, 3, 5, 8),),
        2 * 3 * 5 * 5 * (8 + 8),
    ),
    "bilinear": (nn.Bilinear(3, 4, 5), (zeros(2, 3), zeros(2, 4)), 2 * 5 * (3 * 4 + 4)),
}


@DEVICES
@pytest.mark.parametrize("case", COMPOSITE)
def test_inference_mode_changes_no_count(case: str, device: str) -> None:
    model, inputs, expected = COMPOSITE[case]

    def forward(m: Any, *x: torch.Tensor) -> Any:
        with torch.inference_mode():
            return m.part(*x)

    inside = convcost.count(Calls(forward, part=model), inputs, device=device)
    with torch.inference_mode():
        around = convcost.count(model, inputs, device=device)
    assert (inside.totals.macs, inside.uncounted) == (expected, ())
    assert (around.totals.macs, around.uncounted) == (expected, ())


FUNCTORCH: dict[str, tuple[Any, int]] = {
    "vmap": (lambda m, x: torch.vmap(m.l)(x), 5 * 4 * 3),
    "nested vmap": (lambda m, x: torch.vmap(torch.vmap(m.l))(x[None]), 5 * 4 * 3),
    "vmap of a function": (lambda m, x: torch.vmap(lambda y: functional.linear(y, m.l.weight))(x), 5 * 4 * 3),
    "jvp: the value, and the tangents of the input and of the weight": (
        lambda m, x: torch.func.jvp(m.l, (x,), (x,)),
        3 * 5 * 4 * 3,
    ),
    "grad: forward, and the gradient of the input": (
        lambda m, x: torch.func.grad(lambda y: m.l(y).sum())(x),
        2 * 5 * 4 * 3,
    ),
    "jacrev: forward, and a product for each of 3 outputs": (
        lambda m, x: torch.vmap(torch.func.jacrev(m.l))(x),
        5 * 4 * 3 + 5 * 3 * 3 * 4,
    ),
    "make_fx: traced, and run": (lambda m, x: make_fx(m.l)(x)(x), 2 * 5 * 4 * 3),
    "linearize: the value, jvp while it is traced, value and weight's tangent once more, and the input's tangent": (
        lambda m, x: torch.func.linearize(m.l, x)[1](x),
        (1 + 3 + 2 + 1) * 5 * 4 * 3,
    ),
}


@DEVICES
@pytest.mark.parametrize("case", FUNCTORCH)
def test_the_transforms_of_torch_func_are_counted(case: str, device: str) -> None:
    forward, expected = FUNCTORCH[case]
    assert convcost.count(Calls(forward, l=nn.Linear(4, 3)), zeros(5, 4), device=device).totals.macs == expected


IN_PLACE: dict[str, Any] = {
    "relu": functional.relu_,
    "elu": functional.elu_,
    "hardswish": lambda x: functional.hardswish(x, inplace=True),
    "clamp": lambda x: x.clamp_(0, 1),
    "add": lambda x: torch.add(x, 1, out=x),
    "fill": lambda x: x.fill_(0),
}


@DEVICES
@pytest.mark.parametrize("name", IN_PLACE)
def test_a_function_in_place_is_a_row_with_its_traffic_and_no_activation(name: str, device: str) -> None:
    report = convcost.count(IN_PLACE[name], zeros(3, 4), device=device)
    (row,) = report.layers
    assert (row.op, row.output_shape, row.macs) == (name, (3, 4), 0)
    assert (row.traffic_bytes, report.totals.activation_bytes) == (2 * 4 * 3 * 4, 0)  # read, and written


@DEVICES
def test_what_computes_nothing_is_no_row(device: str) -> None:
    model = Calls(lambda _, x: functional.dropout(x.t().contiguous().t().reshape(2, 6), training=False).unsqueeze_(0))
    assert [row.op for row in convcost.count(model, zeros(4, 3).t(), device=device).layers] == ["reshape"]


def test_a_mode_around_the_count_sees_the_same_operators() -> None:
    with FlopCounterMode(display=False) as counter:
        assert convcost.count(nn.Linear(4, 3), zeros(5, 4)).totals.macs == 5 * 4 * 3
    assert counter.get_total_flops() == 2 * 5 * 4 * 3


@pytest.mark.skipif(torch.__version__ < "2.7", reason="torch 2.6 runs the function of a scan twice more, for shapes")
@DEVICES
def test_a_loop_of_torch_runs_its_function_once_for_each_step(device: str) -> None:
    from torch._higher_order_ops.scan import scan

    def forward(m: Any, x: torch.Tensor) -> Any:
        def step(carry: torch.Tensor, item: torch.Tensor) -> Any:
            y = m.l(item) + carry
            return y, y.clone()

        return scan(step, x[0], x)[1]

    counted = rows(Calls(forward, l=nn.Linear(4, 4)), zeros(5, 4), device=device)
    assert sum(macs for _, macs in counted) == 5 * 4 * 4


@DEVICES
@pytest.mark.parametrize("has_mask", [False, True])
def test_flex_attention_is_two_products_with_or_without_a_mask(device: str, *, has_mask: bool) -> None:
    def forward(_: Any, q: torch.Tensor) -> Any:
        def is_earlier(_b: Any, _h: Any, i: Any, j: Any) -> Any:
            return i >= j

        mask = create_block_mask(is_earlier, None, None, 128, 128, device=q.device) if has_mask else None
        return flex_attention(q, q, q, block_mask=mask)

    counted = rows(Calls(forward), zeros(1, 2, 128, 16), device=device)
    assert sum(macs for _, macs in counted) == 2 * 128 * 128 * (16 + 16)


# ------------------------------------------------------------------------- keywords, and arguments in any order


def _by_keyword(m: Any, x: torch.Tensor) -> Any:
    y = m.pool(input=m.c(input=x))
    y = y.flatten(2).transpose(1, 2)
    y = m.a(value=y, key=y, query=y)[0]
    return functional.linear(weight=m.l.weight, input=m.l(input=y))


def _by_position(m: Any, x: torch.Tensor) -> Any:
    y = m.pool(m.c(x))
    y = y.flatten(2).transpose(1, 2)
    y = m.a(y, y, y)[0]
    return functional.linear(m.l(y), m.l.weight)


@DEVICES
def test_arguments_by_keyword_give_the_rows_of_arguments_by_position(device: str) -> None:
    parts = {
        "c": nn.Conv2d(3, 4, 3),
        "pool": nn.MaxPool2d(2),
        "a": nn.MultiheadAttention(4, 2, batch_first=True),
        "l": nn.Linear(4, 4),
    }
    reports = [
        convcost.count(Calls(forward, **parts), (zeros(1, 3, 8, 8),), device=device)
        for forward in (_by_position, _by_keyword)
    ]
    assert reports[0].layers == reports[1].layers
    assert reports[1].layers[0].traffic_bytes == 4 * (3 * 8 * 8 + 4 * 27 + 4 + 4 * 6 * 6)
    assert reports[1].layers[0].input_shape == (1, 3, 8, 8)
    assert reports[0].to_dict()["layers"] == reports[1].to_dict()["layers"]
    assert len(reports[1].to_frame()) == len(reports[1].layers)


class Timed(nn.Conv2d):
    def forward(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # the odd signature is what is tested
        return super().forward(x) * (1 + t)


class Styled(nn.Conv2d):
    def forward(self, style: torch.Tensor, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # the odd signature is what is tested
        return super().forward(x * style[:, :, None, None])


class Scaled(nn.Conv2d):
    def forward(self, scale: torch.Tensor, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # as above
        return super().forward(x * scale)


class Made(nn.Conv2d):
    def forward(self, seed: torch.Tensor) -> torch.Tensor:
        return super().forward(seed.expand(1, 3, 8, 8) + 1)


@pytest.mark.parametrize(("kind", "first"), [(Timed, (1,)), (Timed, (1, 1, 1, 1)), (Styled, (1, 3))], ids=str)
def test_the_image_of_a_convolution_is_what_it_convolves(kind: type[nn.Conv2d], first: tuple[int, ...]) -> None:
    report = convcost.count(Calls(lambda m, t, x: m.c(t, x), c=kind(3, 4, 3)), (zeros(*first), zeros(1, 3, 8, 8)))
    row = report.layers[0]
    assert (row.input_shape, row.macs) == ((1, 3, 8, 8), 6 * 6 * 4 * 27)
    assert report.to_dict()["layers"][0]["padding"] == [0, 0]
    assert len(report.to_frame()) == 1


def test_a_convolution_whose_image_is_made_inside_has_that_image() -> None:
    report = convcost.count(Calls(lambda m, x: m.c(x), c=Made(3, 4, 3)), (zeros(1, 1, 1),))
    assert (report.layers[0].input_shape, report.layers[0].macs) == ((1, 3, 8, 8), 6 * 6 * 4 * 27)
    assert report.to_dict()["totals"]["macs"] == 6 * 6 * 4 * 27


def test_a_single_image_keeps_its_own_shape() -> None:
    assert convcost.count(nn.Conv2d(3, 4, 3), (zeros(3, 8, 8),)).layers[0].input_shape == (3, 8, 8)


def test_a_model_may_call_itself_as_deep_as_without_a_recording() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor, depth: int) -> Any:
            return self(x, depth - 1) if depth else self.l(x)

    limit = sys.getrecursionlimit()
    assert convcost.count(Deep(), (zeros(1, 4), 240)).totals.macs == 16
    assert sys.getrecursionlimit() == limit


def test_a_model_with_its_own_function_mode_keeps_it_and_its_rows() -> None:
    from torch.overrides import TorchFunctionMode

    class Doubles(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            del types
            return func(*args, **(kwargs or {}))

    def forward(m: Any, x: torch.Tensor) -> Any:
        with Doubles():
            y = m.l(x)
        return m.l(torch.relu(y))

    counted = rows(Calls(forward, l=nn.Linear(4, 4)), zeros(2, 4))
    assert counted == [("l", 2 * 16), ("relu#1", 0), ("l#2", 2 * 16)]


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_products_of_a_score_modification_are_in_the_row_of_flex_attention(device: str) -> None:
    weights = nn.Parameter(torch.zeros(2, 6))

    class Scored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = weights

        def forward(self, q: torch.Tensor) -> Any:
            return flex_attention(q, q, q, score_mod=lambda s, _b, h, _i, _j: s + self.weights[h] @ self.weights[h])

    report = convcost.count(Scored(), torch.zeros(1, 2, 5, 4), device=device)
    assert report.totals.macs == 2 * 2 * 5 * 5 * 4 + 2 * 6  # the product depends on the head alone
    assert not report.uncounted
