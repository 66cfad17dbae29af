"""Differences to other counters: each has its known reason, and adds up to the last MAC, or the counters disagree."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from typing import TYPE_CHECKING, Any

import pytest
import torch
from calls import Calls
from torch import nn
from torch._higher_order_ops.map import map as torch_map
from torch._higher_order_ops.scan import scan
from torch.autograd import forward_ad
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention

import convcost
from convcost.nn.count import cross_check, fvcore_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.models.report import CrossCheck

UNSUPPORTED = "fvcore counts it 0 and lists {} as unsupported"
HIDDEN = "fvcore counts it 0: its graph does not show what it runs"


class Product(torch.autograd.Function):
    """A matrix product with a derivative of its own."""

    @staticmethod
    def forward(_: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a @ b


def weight(*sizes: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(*sizes))


def checked(model: nn.Module, *inputs: torch.Tensor, macs: int) -> tuple[CrossCheck, CrossCheck]:
    """The checks of fvcore and torch, after the count itself."""
    report = convcost.count(model, inputs, cross_check=True)
    assert report.totals.macs == macs
    for check in report.cross_check.values():
        if check.status == "agrees":
            assert check.macs == macs - sum(difference.ours - difference.theirs for difference in check.differences)
            assert all(difference.reason for difference in check.differences)
    return report.cross_check["fvcore"], report.cross_check["torch"]


LIBRARY = torch.library.Library("hidden_products", "FRAGMENT")
LIBRARY.define("twice(Tensor x, Tensor w) -> Tensor")
LIBRARY.define("product(Tensor x, Tensor w) -> Tensor")
LIBRARY.impl("product", lambda x, w: x @ w * 2, "CompositeImplicitAutograd")
convcost.register(torch.ops.hidden_products.product)(lambda *_, out: 7 * out.shape[0])
LIBRARY.impl("twice", lambda x, w: x @ w @ w, "CompositeImplicitAutograd")


def _tangent(m: Any, x: torch.Tensor) -> torch.Tensor:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(m.part(forward_ad.make_dual(x, torch.ones_like(x))))[1]


x2d = torch.zeros(2, 5)
REASONS: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...], int, tuple[str, int, str]]] = {
    "a matrix times a batch": (
        Calls(lambda m, x: m.w @ x, w=weight(10, 10)),
        (torch.zeros(8, 10, 4),),
        8 * 10 * 10 * 4,
        ("matmul", 10 * 10 * 4, "fvcore's formula ignores the batch of the second factor"),
    ),
    "a batch of matrices times a broadcast batch": (
        Calls(lambda m, x: x @ m.w, w=weight(4, 1, 5, 6)),
        (torch.zeros(3, 2, 5),),
        4 * 3 * 2 * 5 * 6,
        ("matmul", 3 * 2 * 5 * 6, "fvcore's formula ignores the batch of the second factor"),
    ),
    "a matrix times a vector": (
        Calls(lambda m, x: x @ m.w, w=weight(5)),
        (x2d,),
        2 * 5,
        ("matmul", 0, "fvcore refuses a vector"),
    ),
    "an einsum of many digits": (
        Calls(lambda m, x: torch.einsum("bd,dn->bn", x, m.w), w=weight(123, 457)),
        (torch.zeros(64, 123),),
        64 * 123 * 457,  # 7,195,008 FLOPs, of which fvcore reads 7.195e6
        ("einsum", 3_597_500, "fvcore rounds an einsum to four digits"),
    ),
    "an einsum with an ellipsis": (
        Calls(lambda m, x: torch.einsum("...ij,jk->...ik", x, m.w), w=weight(123, 457)),
        (torch.zeros(2, 3, 61, 123),),
        6 * 61 * 123 * 457,  # 41,146,452 FLOPs, of which fvcore reads 4.115e7
        ("einsum", 20_575_000, "fvcore rounds an einsum to four digits"),
    ),
    "an einsum that only sums": (
        Calls(lambda _, x: torch.einsum("bi->b", x)),
        (x2d,),
        0,
        ("einsum", 10, "fvcore counts sums and plain products of an einsum, or another order of its contractions"),
    ),
    "tensordot": (
        Calls(lambda m, x: torch.tensordot(x, m.w, 1), w=weight(5, 6)),
        (x2d,),
        2 * 5 * 6,
        ("tensordot", 0, UNSUPPORTED.format("aten::tensordot")),
    ),
    "inner": (
        Calls(lambda m, x: torch.inner(x, m.w), w=weight(6, 5)),
        (x2d,),
        2 * 5 * 6,
        ("inner", 0, UNSUPPORTED.format("aten::inner")),
    ),
    "multi_dot": (
        Calls(lambda m, x: torch.linalg.multi_dot([x, m.a, m.b]), a=weight(5, 6), b=weight(6, 7)),
        (x2d,),
        2 * 5 * 6 + 2 * 6 * 7,
        ("linalg_multi_dot", 0, UNSUPPORTED.format("aten::linalg_multi_dot")),
    ),
    "matrix_power": (
        Calls(lambda _, x: torch.matrix_power(x, 3)),
        (torch.zeros(5, 5),),
        2 * 5**3,
        ("matrix_power", 0, UNSUPPORTED.format("aten::linalg_matrix_power")),
    ),
    "an autograd.Function": (
        nn.Sequential(nn.Linear(5, 5), Calls(lambda m, x: Product.apply(x, m.w), w=weight(5, 6))),
        (x2d,),
        2 * 5 * 5 + 2 * 5 * 6,
        ("prim::PythonOp.Product", 0, HIDDEN),
    ),
    "forward-mode differentiation": (
        Calls(_tangent, part=nn.Linear(5, 6)),
        (x2d,),
        3 * 2 * 5 * 6,  # that of the values, and two of tangents: dx @ w and x @ dw, which is 0
        ("aten::_unpack_dual", 0, HIDDEN),
    ),
    "a product that writes into a tensor": (
        Calls(lambda m, x: torch.mm(x, m.w, out=x.new_empty(2, 6)), w=weight(5, 6)),
        (x2d,),
        2 * 5 * 6,
        ("mm", 0, "fvcore refuses an argument out"),
    ),
    "a vector of weights": (
        Calls(lambda m, x: functional.linear(x, m.w), w=weight(5)),
        (x2d,),
        2 * 5,
        ("linear", 50, "fvcore takes a vector of weights for a matrix"),
    ),
    "attention in vmap": (
        Calls(lambda _, x: torch.vmap(lambda q: functional.scaled_dot_product_attention(q, q, q))(x)),
        (torch.zeros(3, 2, 2, 3, 4),),
        3 * 2 * 2 * 2 * 3 * 3 * 4,
        ("aten::_scaled_dot_product_flash_attention_for_cpu", 0, HIDDEN),
    ),
    "a composite operator of another library": (
        Calls(lambda m, x: torch.ops.hidden_products.twice(x, m.w), w=weight(5, 5)),
        (x2d,),
        2 * 2 * 5 * 5,
        ("hidden_products::twice", 0, HIDDEN),
    ),
    "torch.jit.fork": (
        Calls(lambda m, x: torch.jit.wait(torch.jit.fork(m.part, x)), part=nn.Linear(5, 6)),
        (x2d,),
        2 * 5 * 6,
        ("aten::wait", 0, HIDDEN),
    ),
    "a module whose result nobody uses": (
        Calls(lambda m, x: (m.unused(x), m.used(x))[1], used=nn.Linear(5, 6), unused=nn.Linear(5, 7)),
        (x2d,),
        2 * 5 * 6 + 2 * 5 * 7,
        ("results that nobody uses", 0, "torch.jit drops them from its trace"),
    ),
    "a product whose result nobody uses": (
        Calls(lambda m, x: (x @ m.a, x @ m.b)[1], a=weight(5, 7), b=weight(5, 8)),
        (x2d,),
        2 * 5 * 7 + 2 * 5 * 8,
        ("results that nobody uses", 0, "torch.jit drops them from its trace"),
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_what_fvcore_counts_otherwise_has_a_known_reason(case: str) -> None:
    model, inputs, macs, (op, theirs, reason) = REASONS[case]
    by_fvcore, by_torch = checked(model, *inputs, macs=macs)
    assert by_fvcore.status == "agrees"
    assert [(d.op, d.theirs, d.reason) for d in by_fvcore.differences] == [(op, theirs, reason)]
    assert by_torch.status == "agrees"


@pytest.mark.parametrize(
    ("equation", "sizes", "macs"),
    [
        ("i,j->ij", [(5,), (6,)], 0),  # nothing is added
        ("ij,jk,kl->il", [(2, 3), (3, 5), (5, 7)], 2 * 3 * 5 + 2 * 5 * 7),  # from left to right
        ("ij,kj->i", [(2, 3), (4, 3)], 2 * 3),  # k is summed before
        ("ij,jk", [(2, 3), (3, 5)], 2 * 3 * 5),
        ("...i,i->...", [(4, 7, 3), (3,)], 4 * 7 * 3),
        ("bij,ij->bi", [(1, 3, 4), (3, 4)], 3 * 4),
        ("ij,j->i", [(3, 1), (1,)], 0),  # a sum of one
    ],
)
def test_every_einsum_adds_up(equation: str, sizes: list[tuple[int, ...]], macs: int) -> None:
    inputs = [torch.zeros(size) for size in sizes]
    by_fvcore, by_torch = checked(Calls(lambda _, *x: torch.einsum(equation, *x)), *inputs, macs=macs)
    assert (by_fvcore.status, by_torch.status) == ("agrees", "agrees")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch 2.13 warns of it
def test_a_scripted_function_is_a_known_reason() -> None:
    product = torch.jit.script(_product)
    by_fvcore, _ = checked(Calls(lambda m, x: product(x, m.w), w=weight(5, 6)), x2d, macs=2 * 5 * 6)
    assert [(d.op, d.ours, d.reason) for d in by_fvcore.differences] == [("prim::CallFunction", 60, HIDDEN)]


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.mm(a, b)


def test_a_registered_operator_is_a_known_reason_for_both_counters() -> None:
    library = torch.library.Library("convcost_cross_check", "FRAGMENT")
    library.define("deform(Tensor x, Tensor w) -> Tensor")
    library.impl("deform", lambda x, w: functional.conv2d(x, w, padding=1), "CPU")
    library.impl("deform", lambda x, w: x.new_empty(x.shape[0], w.shape[0], *x.shape[2:]), "Meta")
    operator = torch.ops.convcost_cross_check.deform
    convcost.register(operator)(lambda _, w, out: out.numel() * w[0].numel())
    model = Calls(lambda m, x: operator(m.offsets(x), m.w), offsets=nn.Conv2d(8, 8, 1), w=weight(16, 8, 3, 3))
    deformed = 16 * 16 * 16 * 8 * 9
    by_fvcore, by_torch = checked(model, torch.zeros(1, 8, 16, 16), macs=16 * 16 * 8 * 8 + deformed)
    assert [(d.op, d.ours, d.theirs, d.reason) for d in by_fvcore.differences] == [
        ("deform", deformed, 0, UNSUPPORTED.format("convcost_cross_check::deform"))
    ]
    assert [(d.op, d.reason) for d in by_torch.differences] == [("deform", "torch has no formula for it")]


TANGENTS: dict[str, tuple[Callable[..., Any], int]] = {
    "the value and both tangents": (lambda _, value: value, 3 * 2 * 4 * 3),
    "the value alone: torch.jit drops the others": (lambda m, value: m.l(value[0]), 2 * 4 * 3 + 2 * 3 * 3),
}


@pytest.mark.parametrize("case", TANGENTS)
def test_a_registered_operator_that_jvp_takes_apart_is_a_known_reason_for_both_counters(case: str) -> None:
    operator = torch.ops.hidden_products.product
    use, theirs = TANGENTS[case]

    def forward(m: Any, x: torch.Tensor) -> Any:
        return use(m, torch.func.jvp(lambda y: operator(y, m.w), (x,), (x,)))

    after = 0 if "both" in case else 2 * 3 * 3
    by_fvcore, by_torch = checked(Calls(forward, l=nn.Linear(3, 3), w=weight(4, 3)), torch.zeros(2, 4), macs=14 + after)
    assert [(d.op, d.ours, d.theirs) for d in by_fvcore.differences] == [("product", 14, theirs - after)]
    assert by_fvcore.differences[0].reason == "fvcore counts the parts of an operator that has a registered formula"
    assert [d.op for d in by_torch.differences] == ["mm", "product"]


LOOPS: dict[str, tuple[Callable[..., Any], int]] = {
    "map": (lambda m, x: torch_map(lambda row, *_: row @ m.w, x), 2 * 5 * 5),
    "scan": (lambda m, x: scan(lambda carry, row: ((carry @ m.w), row @ m.w), x[0].clone(), x), 2 * 2 * 5 * 5),
    "while_loop": (
        lambda m, x: torch.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y @ m.w), (0, x)),
        3 * 2 * 5 * 5,
    ),
    "cond": (lambda m, x: torch.cond(x.sum() > 1, lambda y: y @ m.w @ m.w, lambda y: y @ m.w, (x,)), 2 * 5 * 5),
}


needs_2_7 = pytest.mark.skipif(torch.__version__ < "2.7", reason="torch's counter runs no loops before torch 2.7")


@needs_2_7
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch compiles its loops, and warns of it
@pytest.mark.parametrize("case", LOOPS)
def test_torchs_counter_counts_loops_and_the_branch_that_runs(case: str) -> None:
    run, macs = LOOPS[case]
    model = Calls(run, w=weight(5, 5)).requires_grad_(False)
    by_torch = convcost.count(model, (x2d,), device="auto", cross_check=True).cross_check["torch"]
    assert (by_torch.status, by_torch.macs, by_torch.differences) == ("agrees", macs, ())


@needs_2_7
def test_torchs_counter_says_in_a_sentence_that_it_knows_no_flex_attention() -> None:
    x = torch.zeros(1, 2, 16, 8)
    _, by_torch = checked(Calls(lambda _, q: flex_attention(q, q, q)), x, macs=2 * 2 * 16 * 16 * 8)
    assert (by_torch.status, by_torch.reason) == ("unavailable", "it has no formula for flex attention")


def test_a_plain_difference_is_left_over_beside_a_known_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(fvcore_graph)["_FORMULAS"], "matmul", lambda _: 5)  # a formula of ours that is wrong
    report = convcost.count(Calls(lambda m, x: x @ m.w, w=weight(5, 6)), (x2d,), cross_check=True)
    assert report.cross_check["fvcore"].status == "disagrees"
    assert not report.agrees


def test_agreement_with_differences_is_worded_as_such() -> None:
    report = convcost.count(nn.LSTM(4, 5), (torch.zeros(6, 2, 4),), cross_check=True)
    lines = report.verdicts
    assert "fvcore: agrees, apart from:" in lines
    plain = convcost.count(nn.Linear(4, 5), (torch.zeros(2, 4),), cross_check=True)
    assert {"fvcore: agrees", "torch: agrees"} <= set(plain.verdicts)


class Token(nn.Module):
    """A parameter that is expanded and passed into a module."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.head = weight(1, 5), nn.Sequential(nn.Linear(5, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.token.expand(3, -1)) + x.sum()
        return out


@pytest.mark.parametrize(
    "model", [Token(), Calls(lambda m, x: m.part(x + torch.zeros(5)), part=nn.Linear(5, 6))], ids=["token", "zeros"]
)
def test_an_expanded_parameter_and_a_tensor_made_in_forward_do_not_cost_us_torchs_counter(model: nn.Module) -> None:
    by_fvcore, by_torch = checked(model, torch.zeros(3, 5), macs=3 * 5 * 6)
    assert (by_fvcore.status, by_fvcore.macs) == ("agrees", 90)
    assert (by_torch.status, by_torch.macs) == ("agrees", 90)


@pytest.mark.parametrize("seed", range(4))
def test_every_counter_sees_the_same_random_numbers(seed: int) -> None:
    def one_of_two(self: Any, x: torch.Tensor) -> Any:
        return self.narrow(x) if random.random() < 0.5 else self.wide(x)

    random.seed(seed)
    state = random.getstate()
    report = convcost.count(Calls(one_of_two, narrow=nn.Linear(5, 6), wide=nn.Linear(5, 7)), (x2d,), cross_check=True)
    expected = 60 if random.Random(seed).random() < 0.5 else 70
    assert random.getstate() == state
    assert (report.totals.macs, *(check.macs for check in report.cross_check.values())) == (expected,) * 3


jit: Any = torch.jit  # its types leave out a public function


def when_traced(action: Callable[[], object]) -> nn.Module:
    """A linear layer that does something when torch.jit traces it, as fvcore lets it."""

    def forward(self: Any, x: torch.Tensor) -> Any:
        if jit.is_tracing():
            action()
        return self.part(x)

    return Calls(forward, part=nn.Linear(5, 6))


@pytest.mark.parametrize(
    ("action", "end"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "signal SIGSEGV"),
        (lambda: os._exit(3), "exit code 3"),
    ],
)
def test_a_counter_that_ends_its_process_is_unavailable(
    action: Callable[[], object], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, children = os.fork, list[int]()

    def noted_fork() -> int:
        children.append(fork())
        return children[-1]

    monkeypatch.setattr(os, "fork", noted_fork)
    by_fvcore, by_torch = checked(when_traced(action), x2d, macs=60)
    assert (by_fvcore.status, by_fvcore.macs) == ("unavailable", None)
    assert by_fvcore.reason == f"fvcore's tracing ended the process ({end})"
    assert by_torch.status == "agrees"
    (child,) = children
    with pytest.raises(ChildProcessError):  # no process is left behind
        os.waitpid(child, os.WNOHANG)


def test_a_counter_that_crashes_in_cpp_leaves_no_dump(capfd: pytest.CaptureFixture[str]) -> None:
    def stop(*_: Any) -> None:
        raise StopIteration

    def forward(self: Any, x: torch.Tensor) -> Any:
        with contextlib.suppress(StopIteration):
            self.stopped(x)
        return self.part(x)

    model = Calls(forward, part=nn.Linear(5, 6), stopped=Calls(stop))
    by_fvcore, _ = checked(model, x2d, macs=60)
    assert by_fvcore.reason == "fvcore's tracing ended the process (signal SIGABRT)"
    assert "c10::Error" not in capfd.readouterr().err


def test_what_a_model_raises_while_it_is_traced_is_the_reason() -> None:
    def refuse() -> None:
        raise ValueError("not while tracing")

    by_fvcore, _ = checked(when_traced(refuse), x2d, macs=60)
    assert (by_fvcore.status, by_fvcore.reason) == ("unavailable", "fvcore's tracing fails: not while tracing")


def test_positions_in_a_buffer_are_legal_for_fvcore_where_the_model_has_no_values() -> None:
    """As in BERT, whose position_ids are no part of its weights; memory that nobody wrote holds any number."""
    with torch.device("meta"):
        model = Calls(lambda m, x: m.last(m.table(m.positions) + x), table=nn.Embedding(5, 6), last=nn.Linear(6, 7))
        model.register_buffer("positions", torch.arange(5), persistent=False)
    by_fvcore, _ = checked(model, torch.zeros(2, 5, 6, device="meta"), macs=2 * 5 * 6 * 7)
    assert by_fvcore.status == "agrees"


def test_fvcore_may_not_take_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_check, "FVCORE_SECONDS", 0.5)
    by_fvcore, _ = checked(when_traced(signal.pause), x2d, macs=60)
    assert (by_fvcore.status, by_fvcore.reason) == ("unavailable", "fvcore's tracing took longer than 0.5 s")


SAME_IN_ALL = {
    "attention": (nn.MultiheadAttention(8, 2, batch_first=True), (torch.zeros(2, 7, 8),) * 3, "cpu"),
    "an encoder": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (torch.zeros(2, 7, 8),), "cpu"),
    "a transformer": (nn.Transformer(8, 2, 1, 1, 16, batch_first=True), (torch.zeros(2, 7, 8),) * 2, "cpu"),
    "a recurrent layer in inference mode": (
        Calls(lambda m, x: torch.inference_mode()(m.part)(x), part=nn.LSTM(8, 6, batch_first=True)),
        (torch.zeros(2, 7, 8),),
        "meta",
    ),
    "a product with a sparse matrix": (
        Calls(lambda _, a, b: torch.sparse.mm(a, b)),
        (torch.eye(5).to_sparse(), torch.zeros(5, 4)),
        "cpu",
    ),
    "a sparse product that stays sparse": (
        Calls(lambda _, a, b: torch.smm(a, b).to_dense()),
        (torch.eye(5).to_sparse(), torch.zeros(5, 4)),
        "cpu",
    ),
    "products of vectors with tangents": (
        Calls(lambda _, x: torch.func.jvp(lambda y: torch.linalg.vecdot(y, y), (x,), (x,))),
        (torch.zeros(5, 4),),
        "cpu",
    ),
}


@pytest.mark.parametrize("case", SAME_IN_ALL)
def test_counters_agree_where_torch_runs_the_same_products_by_other_operators(case: str) -> None:
    model, inputs, device = SAME_IN_ALL[case]
    report = convcost.count(model, inputs, device=device, cross_check=True)
    assert {name: check.status for name, check in report.cross_check.items()} == dict.fromkeys(
        ("fvcore", "torch"), "agrees"
    )
