"""Every operator of torch has one verdict, and what is not counted is a short list with reasons."""

from __future__ import annotations

import importlib
import re
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import convcost
from convcost.nn.count.formulas import CONVOLUTIONS, FORMULAS
from convcost.nn.count.free_operators import FREE, is_free_name
from convcost.nn.count.operators import Verdict, cost, saved_formulas, verdict
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convcost.models.report import ModelReport

UNCOUNTED = {
    "fft": "_fft_c2c _fft_c2r _fft_r2c prims::fft_c2c prims::fft_c2r prims::fft_r2c",
    "decompositions and solvers of linear algebra": """
        _cholesky_solve_helper _compute_linear_combination _linalg_det _linalg_eigh _linalg_eigvals _linalg_slogdet
        _linalg_solve_ex _linalg_svd cholesky cholesky_inverse cholesky_solve geqrf linalg_cholesky_ex linalg_eig
        linalg_eigvals linalg_householder_product linalg_inv_ex linalg_ldl_factor_ex linalg_ldl_solve linalg_lstsq
        linalg_lu linalg_lu_factor_ex linalg_lu_solve linalg_matrix_exp linalg_pinv linalg_qr linalg_solve_triangular
        ormqr prims::svd triangular_solve""",
    "sparse times sparse, where the count depends on where the non-zeros are": "_sparse_sparse_matmul _spsolve",
    "one vendor's formats of sparse weights": """
        _cslt_sparse_mm _cslt_sparse_mm_search _sparse_semi_structured_addmm _sparse_semi_structured_linear
        _sparse_semi_structured_mm""",
    "attention over sequences of several lengths": """
        _cudnn_attention_forward _flash_attention_forward_no_dropout_inplace""",
    "weights packed in an object without a shape": """
        _wrapped_quantized_linear_prepacked fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation
        fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation quantized_gru quantized_gru_cell
        quantized_lstm quantized_lstm_cell quantized_rnn_relu_cell quantized_rnn_tanh_cell""",
    "the backward pass of products": """
        _cdist_backward _cudnn_attention_backward _cudnn_rnn_backward _pdist_backward
        _scaled_dot_product_flash_attention_for_cpu_backward
        _scaled_dot_product_fused_attention_overrideable_backward _slow_conv2d_backward
        _sparse_mm_reduce_impl_backward convolution_backward_overrideable linear_backward lstm_mps_backward
        matmul_backward miopen_rnn_backward mkldnn_linear_backward mkldnn_linear_backward_input
        mkldnn_linear_backward_weights mkldnn_rnn_layer_backward mps_convolution_backward
        mps_convolution_transpose_backward""",
    "torch's own tests": """
        _foobar _test_autograd_multiple_dispatch _test_functorch_fallback _test_optional_filled_intlist
        _test_optional_floatlist _test_optional_intlist _test_parallel_materialize _test_warn_in_autograd""",
}
"""What is not counted, by the reason; a name without a library is one of aten."""


def overloads() -> Iterator[Any]:
    """Every overload of every operator of aten and prims, those of torch's compiler included."""
    importlib.import_module("torch._inductor.inductor_prims")
    for full in torch._C._dispatch_get_all_op_names():
        library, _, name = full.partition("::")
        base, _, overload = name.partition(".")
        if library in {"aten", "prims"}:
            yield getattr(getattr(getattr(torch.ops, library), base), overload or "default")


def test_what_is_not_counted_is_a_short_list_with_reasons() -> None:
    listed = {name for names in UNCOUNTED.values() for name in names.split()}
    uncounted = {op._schema.name.removeprefix("aten::") for op in overloads() if verdict(op) is Verdict.UNCOUNTED}
    assert uncounted <= listed, f"place these operators: {sorted(uncounted - listed)}"


def test_an_operator_is_placed_once() -> None:
    groups = [name.removeprefix("prims::") for names in UNCOUNTED.values() for name in names.split()]
    assert len(groups) == len(set(groups))
    ours = {name.removeprefix("aten::") for name in (*CONVOLUTIONS, *FORMULAS)}
    assert not ours & set(groups)
    assert not [name for name in (*ours, *groups) if is_free_name(name)]
    assert not CONVOLUTIONS & FORMULAS.keys()


def test_every_form_of_a_free_operator_is_free() -> None:
    mixed = {
        op._schema.name
        for op in overloads()
        if is_free_name(op._schema.name.partition("::")[2]) and verdict(op) not in {Verdict.FREE, Verdict.DECOMPOSED}
    }
    assert mixed == set()


def test_forms_have_the_verdict_of_their_operator() -> None:
    aten = torch.ops.aten
    assert {verdict(op) for op in (aten.addmm.default, aten.addmm_.default, aten.addmm.out)} == {Verdict.FORMULA}
    assert {verdict(op) for op in (aten.mish.default, aten.mish_.default, aten.mish.out)} == {Verdict.FREE}
    assert verdict(aten.linear.default) is Verdict.DECOMPOSED
    assert verdict(aten.linear.out) is Verdict.FORMULA
    assert verdict(aten.matmul.default) is Verdict.DECOMPOSED


def test_quantised_operators_are_free_by_the_same_names() -> None:
    quantized = torch.ops.quantized
    assert {verdict(op) for op in (quantized.add.default, quantized.hardswish.default)} == {Verdict.FREE}
    assert {verdict(op) for op in (quantized.linear.default, quantized.conv2d.new)} == {Verdict.UNCOUNTED}


def test_names_alone_place_what_torch_calls_pointwise() -> None:
    """An older torch lacks the tag on many, such as hardtanh and hardswish."""
    tagged = {op for op in overloads() if torch.Tag.pointwise in op.tags and verdict(op) is Verdict.FREE}
    names = {op._schema.name.partition("::")[2] for op in tagged}
    assert {name for name in names if not is_free_name(name)} == set()
    assert {"hardtanh", "hardswish", "hardsigmoid", "relu", "gelu", "elu", "mish", "threshold", "softplus"} <= FREE


@pytest.mark.parametrize("name", ["linear_cross_entropy", "layer_norm_gemm", "conv_norm", "matmul_softmax", "my_pool"])
def test_a_name_that_only_looks_free_is_not(name: str) -> None:
    library = torch.library.Library("convcost_looks_free", "FRAGMENT")
    library.define(f"{name}(Tensor x) -> Tensor")
    assert not is_free_name(name)
    assert verdict(getattr(torch.ops.convcost_looks_free, name).default) is Verdict.UNCOUNTED


class Calls(nn.Module):
    """A module whose forward pass is a function."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self._run = forward

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self._run(*inputs)


FREE_CALLS: dict[str, Any] = {
    "hardswish": nn.Hardswish(),
    "mish in place": nn.Mish(inplace=True),
    "threshold in place": nn.Threshold(0.1, 20, inplace=True),
    "log_sigmoid": nn.LogSigmoid(),
    "floor_divide": Calls(lambda x: x // 2),
    "binary_cross_entropy": Calls(lambda x: functional.binary_cross_entropy(x, x)),
    "binary_cross_entropy_with_logits": Calls(lambda x: functional.binary_cross_entropy_with_logits(x, x)),
    "hann_window": Calls(lambda x: x * torch.hann_window(4)),
    "hamming_window": Calls(lambda x: x * torch.hamming_window(4)),
    "kaiser_window": Calls(lambda x: x * torch.kaiser_window(4)),
    "blackman_window": Calls(lambda x: x * torch.blackman_window(4)),
    "bartlett_window": Calls(lambda x: x * torch.bartlett_window(4)),
    "trace": Calls(torch.trace),
    "diag_embed": Calls(torch.diag_embed),
    "logcumsumexp": Calls(lambda x: torch.logcumsumexp(x, 0)),
    "addr": Calls(lambda x: torch.addr(x, x[0], x[1])),
    "cross": Calls(lambda x: torch.linalg.cross(x[:, :3], x[:, 1:])),
    "histogram of the fft's frequencies": Calls(lambda x: x + torch.fft.fftfreq(4)),
    "in place on a list": Calls(lambda x: torch._foreach_add([x, x], 1)),
}


@pytest.mark.parametrize("case", FREE_CALLS)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_one_pass_over_the_elements_is_0_macs_and_not_listed(case: str, device: str) -> None:
    report = convcost.count(FREE_CALLS[case], (torch.full((4, 4), 0.5),), device=device)
    assert (report.totals.macs, report.uncounted) == (0, ())


OUT_CALLS: dict[str, tuple[Any, int]] = {
    "mm": (lambda a, b: torch.mm(a, b, out=a.new_empty(3, 6)), 3 * 5 * 6),
    "matmul": (lambda a, b: torch.matmul(a, b, out=a.new_empty(3, 6)), 3 * 5 * 6),
    "mv": (lambda a, b: torch.mv(a, b[:, 0], out=a.new_empty(3)), 3 * 5),
    "dot": (lambda a, _: torch.dot(a[0], a[1], out=a.new_empty(())), 5),
    "addmm": (lambda a, b: torch.addmm(a.new_ones(6), a, b, out=a.new_empty(3, 6)), 3 * 5 * 6),
    "addmm in place": (lambda a, b: a.new_ones(3, 6).addmm_(a, b), 3 * 5 * 6),
    "bmm": (lambda a, b: torch.bmm(a[None], b[None], out=a.new_empty(1, 3, 6)), 3 * 5 * 6),
    "baddbmm": (lambda a, b: torch.baddbmm(a.new_ones(6), a[None], b[None], out=a.new_empty(1, 3, 6)), 3 * 5 * 6),
    "addmv": (lambda a, b: torch.addmv(a.new_ones(3), a, b[:, 0], out=a.new_empty(3)), 3 * 5),
    "linear": (lambda a, b: torch.ops.aten.linear.out(a, b.T, out=a.new_empty(3, 6)), 3 * 5 * 6),
}  # fmt: skip


@pytest.mark.parametrize("case", OUT_CALLS)
def test_a_product_that_writes_into_a_tensor_is_the_same_product(case: str) -> None:
    run, expected = OUT_CALLS[case]
    report = convcost.count(Calls(run), (torch.ones(3, 5), torch.ones(5, 6)))
    assert (report.totals.macs, report.uncounted) == (expected, ())


@pytest.fixture
def triple() -> Iterator[Any]:
    """An operator whose own argument is called `out`."""
    library = torch.library.Library("convcost_test_out", "FRAGMENT")
    library.define("triple(Tensor x, Tensor(a!) out) -> ()")

    def run(x: torch.Tensor, out: torch.Tensor) -> None:
        out.copy_(3 * x)

    library.impl("triple", run, "CompositeExplicitAutograd")
    with saved_formulas():
        yield torch.ops.convcost_test_out.triple
    library._destroy()


def tripled(op: Any) -> ModelReport:
    return convcost.count(Calls(lambda x: op(x, torch.empty_like(x))), (torch.ones(2, 5),))


def test_a_formula_gets_the_operators_own_argument_called_out(triple: Any) -> None:
    @convcost.register(triple)
    def _(x: torch.Tensor, out: torch.Tensor) -> int:
        return x.numel() + out.numel()

    assert tripled(triple).totals.macs == 10 + 10


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_formula_holds_in_place_unless_that_form_has_one(device: str) -> None:
    model, x = Calls(lambda x: torch.relu_(x + 0)), torch.ones(2, 5)
    with saved_formulas():
        convcost.register(torch.ops.aten.relu)(lambda x, out: 2 * x.numel() * out.dim())
        assert convcost.count(model, x, device=device).totals.macs == 2 * 10 * 2
        convcost.register(torch.ops.aten.relu_)(lambda x, **_: 7 * x.numel())
        assert convcost.count(model, x, device=device).totals.macs == 7 * 10
        with pytest.raises(ConvcostError, match="has a formula"):
            convcost.register(torch.ops.aten.relu_)(lambda x, **_: x.numel())
    with saved_formulas():
        convcost.register(torch.ops.aten.relu_)(lambda x, **_: 7 * x.numel())
        convcost.register(torch.ops.aten.relu)(lambda x, **_: x.numel())
        assert convcost.count(model, x, device=device).totals.macs == 7 * 10


def test_a_formula_holds_in_place_where_torch_takes_the_operator_apart() -> None:
    library = torch.library.Library("convcost_test_in_place", "FRAGMENT")
    library.define("twice(Tensor x) -> Tensor")
    library.define("twice_(Tensor(a!) x) -> Tensor(a!)")
    library.impl("twice", lambda x: x * 2, "CompositeImplicitAutograd")
    library.impl("twice_", lambda x: x.mul_(2), "CompositeImplicitAutograd")
    with saved_formulas():
        convcost.register(torch.ops.convcost_test_in_place.twice)(lambda x, **_: x.numel())
        model = Calls(lambda x: torch.ops.convcost_test_in_place.twice_(x + 0))
        assert convcost.count(model, torch.ones(2, 5)).totals.macs == 10
    library._destroy()


def test_a_formula_that_names_its_arguments_otherwise_gets_the_result_as_out(triple: Any) -> None:
    @convcost.register(triple)
    def _(x: torch.Tensor, target: torch.Tensor, *, out: None) -> Any:
        assert out is None
        return np.int64(x.numel() * target.dim())

    assert tripled(triple).totals.macs == 10 * 2


@pytest.mark.parametrize("value", [-1, 2.5, 3.0, "3", None, True])
def test_a_formula_that_returns_no_count_is_refused(triple: Any, value: object) -> None:
    def formula(*_: Any, **__: Any) -> Any:
        return value

    convcost.register(triple)(formula)
    line = formula.__code__.co_firstlineno
    returned = f"^the formula of convcost_test_out.triple returned {re.escape(repr(value))}"
    text = rf"{returned}; it must .* whole number of at least 0 \({re.escape(__file__)}:{line}\)\.$"
    with pytest.raises(ConvcostError, match=text):
        tripled(triple)


def test_a_formula_that_raises_is_reported_with_its_operator_and_place(triple: Any) -> None:
    @convcost.register(triple)
    def _(x: torch.Tensor, out: torch.Tensor) -> int:
        return x.numel() // (out.numel() - 10)

    with pytest.raises(
        ConvcostError,
        match=r"^the formula of convcost_test_out\.triple raised ZeroDivisionError: .*test_operators\.py:\d+\); mend",
    ):
        tripled(triple)


class Doubled:
    """A formula that is an object."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        return 2.0


@pytest.mark.parametrize(
    ("formula", "place"),
    [
        (partial(lambda *_, **__: -1), rf"{re.escape(__file__)}:\d+"),
        (Doubled(), rf"{re.escape(__file__)}:\d+"),
        (dict, "<class 'dict'>"),
    ],
)
def test_a_formula_of_any_kind_has_a_place(triple: Any, formula: Any, place: str) -> None:
    convcost.register(triple)(formula)
    with pytest.raises(ConvcostError, match=place):
        tripled(triple)


@pytest.mark.parametrize("raised", [ValueError("no"), SystemExit(3), ConvcostError("no"), RuntimeError("meta tensor")])
def test_a_model_that_catches_what_a_formula_raises_is_not_counted(triple: Any, raised: BaseException) -> None:
    @convcost.register(triple)
    def _(*_: Any, **__: Any) -> int:
        raise raised

    def forward(x: torch.Tensor) -> torch.Tensor:
        try:
            return triple(x, torch.empty_like(x))
        except (ValueError, RuntimeError, SystemExit):
            return x

    for device in ("meta", "cpu", "auto"):
        kind = type(raised).__name__
        with pytest.raises(ConvcostError, match=rf"raised {kind}: .*\({re.escape(__file__)}:\d+\); mend the function"):
            convcost.count(Calls(forward), (torch.ones(2, 5),), device=device)


def test_only_a_function_is_a_formula(triple: Any) -> None:
    with pytest.raises(ConvcostError, match=r"^formula \(=7\) must be a function of convcost_test_out\.triple's arg"):
        convcost.register(triple)(cast("Any", 7))


def test_a_formula_of_other_arguments_is_reported_where_it_is_defined(triple: Any) -> None:
    convcost.register(triple)(lambda: 3)
    with pytest.raises(ConvcostError, match=r"raised TypeError: .*\(.*test_operators\.py:\d+\)"):
        tripled(triple)


def test_an_operator_of_torch_with_a_formula_is_not_registered_again() -> None:
    for op in (torch.ops.aten.mm, torch.ops.aten.addmm_, torch.ops.aten.convolution):
        with pytest.raises(ConvcostError, match="has a formula; register each operator once"):
            convcost.register(op)(len)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("overload", [None, "default"])
def test_a_formula_counts_an_operator_that_torch_would_take_apart(mode: Any, device: str, overload: str | None) -> None:
    library = torch.library.Library("convcost_composite", "FRAGMENT")
    library.define("twice(Tensor a, Tensor b) -> Tensor")
    library.impl("twice", lambda a, b: 2 * (a @ b))  # by default, torch sees its parts alone

    def run(x: torch.Tensor) -> Any:
        packet = torch.ops.convcost_composite.twice
        with mode():
            return (packet if overload is None else getattr(packet, overload))(x, x.T)

    with saved_formulas():
        convcost.register(torch.ops.convcost_composite.twice)(lambda a, _, out: 2 * out.numel() * a.shape[-1])
        report = convcost.count(Calls(run), (torch.ones(2, 5),), device=device, cross_check=True)
    library._destroy()
    assert [(row.name, row.macs) for row in report.layers] == [("twice#1", 2 * 2 * 2 * 5)]
    assert report.totals.activation_bytes == 2 * 2 * 4
    assert (report.cross_check["torch"].status, report.cross_check["torch"].macs) == ("agrees", 2 * 2 * 5)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_product_of_vectors_is_the_same_by_any_name(mode: Any, device: str) -> None:
    def run(x: torch.Tensor, y: torch.Tensor) -> Any:
        with mode():
            return (
                torch.linalg.vecdot(x, y),  # 3 products of 4
                torch.linalg.vecdot(x.T, y.T, dim=0),
                torch.linalg.vecdot(x, y[:1]),
                torch.einsum("ij,ij->i", x, y),
                torch.vdot(x[0], y[0]),
                torch.inner(x[0], y[0]),
                torch.linalg.vecdot(x.to(torch.complex64), y.to(torch.complex64)),
            )

    report = convcost.count(Calls(run), (torch.ones(3, 4), torch.ones(3, 4)), device=device, cross_check=True)
    assert [row.macs for row in report.layers if row.macs] == [12, 12, 12, 12, 4, 4, 4 * 12]
    assert report.agrees


def test_an_operator_of_torch_that_is_the_sum_of_its_parts_takes_no_formula() -> None:
    for op in (torch.ops.aten.matmul, torch.ops.aten.linalg_multi_dot.default, torch.ops.aten.inner):
        with pytest.raises(
            ConvcostError, match=r"is taken apart by torch before it is counted, .*; register a formula"
        ):
            convcost.register(op)


def test_a_product_that_compiled_code_hides_is_listed_outside_of_inference_mode_too() -> None:
    def run(x: torch.Tensor) -> Any:
        weight = torch.fbgemm_pack_gemm_matrix_fp16(torch.ones(6, 5))
        return torch.fbgemm_linear_fp16_weight(x, weight, torch.zeros(6))

    report = convcost.count(Calls(run), (torch.ones(2, 5),), device="cpu")
    assert [one.op for one in report.uncounted] == ["aten.fbgemm_linear_fp16_weight"]


def test_torchs_own_formula_counts_what_has_none_here() -> None:
    x = torch.empty(2, 3, 8, 8, device="meta")
    weight = torch.empty(4, 3, 3, 3, device="meta")
    gradient = torch.empty(2, 4, 6, 6, device="meta")
    window = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, False])
    op = torch.ops.aten.convolution_backward.default
    args = (gradient, x, weight, None, *window)
    priced = cost(op, args, {}, op(*args), [gradient, x, weight])
    assert priced is not None
    assert priced.macs == 2 * (2 * 36 * 4 * 3 * 9)  # once for the input, once for the weight
