"""Every case in which other counters are wrong, with the count worked out by hand."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from calls import Calls, zeros
from torch import nn
from torch.nn import functional

import convcost
from convcost.text.errors import ConvcostError


def macs(model: nn.Module, *inputs: torch.Tensor, device: str = "meta") -> int:
    report = convcost.count(model, inputs, device=device)
    assert report.uncounted == ()
    assert sum(row.macs for row in report.layers) == report.totals.macs
    assert sum(row.params for row in report.layers) == report.totals.params
    if not any(map(nn.parameter.is_lazy, model.parameters())):
        assert report.totals.params == sum(p.numel() for p in model.parameters())
    return report.totals.macs


CASES: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...], int]] = {
    "padding as text": (nn.Conv2d(3, 8, 3, padding="same"), (zeros(1, 3, 10, 10),), 10 * 10 * 8 * 3 * 9),
    "padding as text with an even kernel": (nn.Conv2d(3, 8, 2, padding="same"), (zeros(1, 3, 5, 5),), 25 * 8 * 3 * 4),
    "transposed with stride 2": (nn.ConvTranspose2d(8, 4, 3, stride=2), (zeros(1, 8, 5, 5),), 25 * 8 * 4 * 9),
    "transposed with groups": (nn.ConvTranspose2d(8, 4, 3, 2, groups=2), (zeros(1, 8, 5, 5),), 25 * 8 * 2 * 9),
    "transposed in three dimensions": (nn.ConvTranspose3d(2, 3, 2, stride=2), (zeros(1, 2, 3, 4, 5),), 60 * 2 * 3 * 8),
    "one dimension": (nn.Conv1d(2, 3, 4), (zeros(5, 2, 10),), 5 * 7 * 3 * 2 * 4),
    "functional convolution": (
        Calls(lambda m, x: functional.conv2d(x, m.w), w=nn.Parameter(zeros(4, 3, 3, 3))),
        (zeros(1, 3, 6, 6),),
        16 * 4 * 3 * 9,
    ),
    "torch.conv2d": (
        Calls(lambda m, x: torch.conv2d(x, m.w), w=nn.Parameter(zeros(4, 3, 3, 3))),
        (zeros(1, 3, 6, 6),),
        16 * 4 * 3 * 9,
    ),
    "weight_norm": (
        nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
        (zeros(1, 3, 6, 6),),
        16 * 4 * 3 * 9,
    ),
    "a module called twice": (Calls(lambda m, x: m.a(m.a(x)), a=nn.Linear(5, 5)), (zeros(2, 5),), 2 * 2 * 25),
    "batch 8": (nn.Conv2d(3, 4, 3), (zeros(8, 3, 6, 6),), 8 * 16 * 4 * 3 * 9),
    "an unbatched image": (nn.Conv2d(3, 4, 3), (zeros(3, 6, 6),), 16 * 4 * 3 * 9),
    "a lazy convolution": (nn.LazyConv2d(4, 3), (zeros(1, 3, 6, 6),), 16 * 4 * 3 * 9),
    "@": (Calls(lambda _, a, b: a @ b), (zeros(2, 3), zeros(3, 4)), 2 * 3 * 4),
    "matmul of a batch": (Calls(lambda _, a, b: torch.matmul(a, b)), (zeros(5, 2, 3), zeros(3, 4)), 5 * 2 * 3 * 4),
    "bmm": (Calls(lambda _, a, b: torch.bmm(a, b)), (zeros(5, 2, 3), zeros(5, 3, 4)), 5 * 2 * 3 * 4),
    "baddbmm": (
        Calls(lambda _, a, b: torch.baddbmm(zeros(5, 2, 4).to(a.device), a, b)),
        (zeros(5, 2, 3), zeros(5, 3, 4)),
        5 * 2 * 3 * 4,
    ),
    "einsum": (Calls(lambda _, a, b: torch.einsum("bij,bkj->bik", a, b)), (zeros(5, 2, 3), zeros(5, 4, 3)), 5 * 24),
    "matrix times vector": (Calls(lambda _, a, b: a @ b), (zeros(4, 3), zeros(3)), 12),
    "vector times vector": (Calls(lambda _, a, b: a @ b), (zeros(3), zeros(3)), 3),
    "scaled dot-product attention": (
        Calls(lambda _, q, k, v: functional.scaled_dot_product_attention(q, k, v)),
        (zeros(2, 3, 5, 8), zeros(2, 3, 7, 8), zeros(2, 3, 7, 6)),
        2 * 3 * 5 * 7 * (8 + 6),
    ),
    "nn.MultiheadAttention": (
        Calls(lambda m, x: m.a(x, x, x), a=nn.MultiheadAttention(8, 2, batch_first=True)),
        (zeros(3, 5, 8),),
        3 * (5 * 8 * 24 + 5 * 5 * 16 + 5 * 8 * 8),
    ),
    "nn.MultiheadAttention without its weights": (
        Calls(lambda m, x: m.a(x, x, x, need_weights=False), a=nn.MultiheadAttention(8, 2, batch_first=True)),
        (zeros(3, 5, 8),),
        3 * (5 * 8 * 24 + 5 * 5 * 16 + 5 * 8 * 8),
    ),
    "nn.TransformerEncoderLayer": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        (zeros(3, 5, 8),),
        3 * (5 * 8 * 24 + 5 * 5 * 16 + 5 * 8 * 8 + 2 * 5 * 8 * 16),
    ),
    "LSTM": (nn.LSTM(4, 5), (zeros(6, 2, 4),), 6 * 2 * 4 * 5 * (4 + 5)),
    "two-layer bidirectional LSTM": (
        nn.LSTM(4, 5, num_layers=2, bidirectional=True),
        (zeros(6, 2, 4),),
        2 * 12 * 20 * (4 + 5) + 2 * 12 * 20 * (10 + 5),
    ),
    "GRU": (nn.GRU(4, 5), (zeros(6, 2, 4),), 6 * 2 * 3 * 5 * (4 + 5)),
    "plain RNN": (nn.RNN(4, 5), (zeros(6, 2, 4),), 6 * 2 * 5 * (4 + 5)),
    "LSTM cell": (nn.LSTMCell(4, 5), (zeros(2, 4),), 2 * 20 * (4 + 5)),
    "bilinear": (nn.Bilinear(3, 4, 5), (zeros(2, 3), zeros(2, 4)), 2 * 5 * (3 * 4 + 4)),
    "a complex product": (
        Calls(lambda _, a, b: a @ b),
        (torch.zeros(2, 3, dtype=torch.complex64), torch.zeros(3, 4, dtype=torch.complex64)),
        4 * 24,  # ac, bd, ad and bc of (a + bi)(c + di)
    ),
    "a complex convolution": (
        nn.Conv2d(3, 4, 3, dtype=torch.complex64),
        (torch.zeros(1, 3, 8, 8, dtype=torch.complex64),),
        4 * 36 * 4 * 3 * 9,
    ),
    "a complex transposed convolution": (
        nn.ConvTranspose2d(3, 4, 3, stride=2, dtype=torch.complex64),
        (torch.zeros(1, 3, 5, 5, dtype=torch.complex64),),
        4 * 25 * 3 * 4 * 9,
    ),
    "two complex convolutions of one function": (
        Calls(
            lambda m, x: functional.conv1d(functional.conv1d(x, m.w), m.w),
            w=nn.Parameter(zeros(3, 3, 2).to(torch.cfloat)),
        ),
        (torch.zeros(1, 3, 8, dtype=torch.complex64),),
        4 * (7 + 6) * 3 * 3 * 2,
    ),
    "cdist": (Calls(lambda _, a, b: torch.cdist(a, b)), (zeros(2, 5, 3), zeros(2, 7, 3)), 2 * 5 * 7 * 3),
    "pdist": (Calls(lambda _, a: torch.pdist(a)), (zeros(5, 3),), 5 * 4 // 2 * 3),
    "an output that is a dict with an int in it": (
        Calls(lambda m, x: {"out": m.a(x), "size": 3}, a=nn.Linear(4, 5)),
        (zeros(2, 4),),
        40,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_case_is_counted_as_by_hand(case: str) -> None:
    model, inputs, expected = CASES[case]
    assert macs(model, *inputs) == expected


@pytest.mark.parametrize("case", [name for name in CASES if "lazy" not in name])
def test_a_run_on_real_tensors_counts_the_same(case: str) -> None:
    model, inputs, expected = CASES[case]
    assert macs(model, *inputs, device="cpu") == expected


@pytest.mark.parametrize("case", CASES)
def test_every_counter_agrees_or_differs_for_a_known_reason(case: str) -> None:
    model, inputs, _ = CASES[case]
    report = convcost.count(model, inputs, cross_check=True)
    for check in report.cross_check.values():
        assert check.status in {"agrees", "unavailable"}, check
        if check.status == "agrees":
            assert check.macs == report.totals.macs - sum(d.ours - d.theirs for d in check.differences)
    assert report.cross_check["torch"].status == "agrees"


def test_a_subclass_of_a_convolution_is_one() -> None:
    class Mine(nn.Conv2d):
        pass

    report = convcost.count(Mine(3, 4, 3), (zeros(1, 3, 6, 6),))
    assert report.layers[0].conv is not None
    assert report.totals.macs == 16 * 4 * 3 * 9


def test_two_modules_that_share_a_weight_count_it_once() -> None:
    a, b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    b.weight = a.weight
    report = convcost.count(nn.Sequential(a, b), (zeros(1, 4),))
    assert report.totals.params == 16
    assert [row.params for row in report.layers] == [16, 0]
    assert report.totals.macs == 32


def test_a_model_on_the_meta_device_is_counted() -> None:
    with torch.device("meta"):
        model = nn.Conv2d(3, 4, 3)
    assert convcost.count(model, (torch.empty(1, 3, 6, 6, device="meta"),)).totals.macs == 16 * 4 * 3 * 9


def test_10_to_the_20_macs_are_exact() -> None:
    with torch.device("meta"):
        model = nn.Conv2d(10**5, 10**5, 10, bias=False)
    data = torch.empty(1, 10**5, 10009, 10009, device="meta")
    assert convcost.count(model, (data,)).totals.macs == 10**8 * 10**10 * 100


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch 2.13 warns of it
def test_a_scripted_module_is_counted_or_listed_never_an_exception() -> None:
    scripted = torch.jit.script(nn.Conv2d(3, 4, 3))
    report = convcost.count(scripted, (zeros(1, 3, 6, 6),), device="cpu")
    assert report.totals.macs == 16 * 4 * 3 * 9


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # as the next line
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the old ways to script and quantise are what is tested
@pytest.mark.parametrize("kind", ["compiled", "a compiled part", "traced", "wrapped", "exported", "fx", "quantised"])
def test_a_module_that_was_treated_is_counted_or_listed_never_an_exception(kind: str) -> None:
    plain, data = nn.Sequential(nn.Linear(8, 4), nn.ReLU()).eval(), zeros(2, 8)
    make = {
        "compiled": lambda: torch.compile(plain),
        "a compiled part": lambda: nn.Sequential(cast("nn.Module", torch.compile(plain[0])), nn.ReLU()),
        "traced": lambda: torch.jit.trace(plain, data),
        "wrapped": lambda: nn.DataParallel(plain),
        "exported": lambda: torch.export.export(plain, (data,)).module(),
        "fx": lambda: torch.fx.symbolic_trace(plain),
        "quantised": lambda: torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, dtype=torch.qint8),
    }
    report = convcost.count(make[kind](), (data,))
    if kind == "quantised":
        assert [missed.op for missed in report.uncounted] == ["quantized.linear_dynamic"]
        assert report.notes == (
            f"0 holds {8 * 4 + 4} packed weights: params and weight_bytes are not obtained.",
            "a scripted or quantised part does not run on meta tensors: the model was run once on the CPU.",
        )
    else:
        assert report.totals.macs == 2 * 8 * 4
        assert report.uncounted == ()


def test_a_custom_operator_is_listed_until_it_has_a_formula() -> None:
    @torch.library.custom_op("convcost_test::triple", mutates_args=())
    def triple(x: torch.Tensor) -> torch.Tensor:
        return 3 * x

    triple.register_fake(torch.empty_like)
    model = Calls(lambda _, x: triple(x))
    report = convcost.count(model, (zeros(2, 5),))
    assert [(missed.op, missed.calls) for missed in report.uncounted] == [("convcost_test.triple", 1)]
    assert any(line.startswith("not counted: convcost_test.triple, 1 call,") for line in report.verdicts)
    assert "at least" in report.verdicts[0]

    def formula(x: torch.Tensor, *, out: torch.Tensor) -> int:
        assert out.shape == x.shape
        return 3 * x.numel()

    convcost.register(torch.ops.convcost_test.triple)(formula)
    assert convcost.count(model, (zeros(2, 5),)).totals.macs == 30
    with pytest.raises(ConvcostError, match="has a formula; register each operator once"):
        convcost.register(torch.ops.convcost_test.triple)(formula)
    with pytest.raises(ConvcostError, match=r"must be an operator of torch\.ops"):
        convcost.register(len)


@pytest.mark.parametrize(
    ("name", "run"),
    [("aten._fft_r2c", lambda _, x: torch.fft.rfft(x)), ("aten.linalg_inv_ex", lambda _, x: torch.linalg.inv(x))],
)
def test_arithmetic_without_a_formula_is_listed_with_where(name: str, run: Any) -> None:
    report = convcost.count(Calls(run), (zeros(4, 4),))
    assert [missed.op for missed in report.uncounted] == [name]
    assert report.uncounted[0].where


def test_elementwise_work_normalisation_and_pooling_are_0_macs_and_not_listed() -> None:
    model = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Softmax(1),
        nn.Upsample(scale_factor=2),
        nn.Dropout(),
        nn.GELU(),
    )
    report = convcost.count(model, (zeros(1, 3, 8, 8),))
    assert report.totals.macs == 0
    assert report.uncounted == ()
    assert all(row.traffic_bytes > 0 for row in report.layers if row.op != "Dropout")


def snapshot(model: nn.Module) -> Any:
    return [
        (name, type(part), part.training, {key: (id(value), repr(value)) for key, value in vars(part).items()})
        for name, part in model.named_modules()
    ], {name: (id(p), p.device, p.requires_grad, p.clone()) for name, p in model.state_dict(keep_vars=True).items()}


@pytest.mark.parametrize("case", [name for name in CASES if "lazy" not in name])
def test_the_module_is_left_exactly_as_it_was(case: str) -> None:
    model, inputs, _ = CASES[case]
    model.train()
    before, tensors = snapshot(model)
    state = torch.get_rng_state()
    convcost.count(model, inputs, cross_check=True)
    after, tensors_after = snapshot(model)
    assert after == before
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    for name, (identity, device, wants, value) in tensors.items():
        assert (identity, device, wants) == tensors_after[name][:3]
        assert torch.equal(value, tensors_after[name][3])


def test_a_lazy_module_stays_lazy() -> None:
    model = nn.LazyConv2d(4, 3)
    convcost.count(model, (zeros(1, 3, 6, 6),))
    assert type(model) is nn.LazyConv2d
    assert nn.parameter.is_lazy(model.weight)
    assert model(zeros(1, 5, 6, 6)).shape == (1, 4, 4, 4)


def test_a_wrong_input_names_the_layer_what_it_expects_and_what_it_got() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(10, 5))
    with pytest.raises(
        ConvcostError,
        match=r"^2 \(Linear\) expects in_features 10, got input 1x128: RuntimeError: .*; change the input",
    ):
        convcost.count(model, (zeros(1, 3, 6, 6),))


@pytest.mark.parametrize(
    ("model", "inputs", "step"),
    [
        (nn.Embedding(9, 4), (zeros(2, 5),), "2x5:int64"),
        (nn.EmbeddingBag(9, 4), (zeros(2, 5),), "2x5:int64"),
        (Calls(lambda _, x: torch.arange(9.0)[x]), (zeros(2, 5),), "2x5:int64"),
        (Calls(lambda _, x: x << 1), (zeros(2, 5),), "2x5:int64"),
        (Calls(lambda m, x, i: m.part(i).sum() + x, part=nn.Embedding(9, 4)), (zeros(3), zeros(2, 5)), "2x5:int64"),
        (nn.Conv2d(3, 8, 3), (torch.zeros(1, 3, 6, 6, dtype=torch.int64),), "1x3x6x6:float32"),
        (nn.LayerNorm(5), (torch.zeros(2, 5, dtype=torch.int64),), "2x5:float32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_input_of_the_wrong_dtype_is_told_the_right_one(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], step: str
) -> None:
    wanted = step.partition(":")[2]
    with pytest.raises(
        ConvcostError, match=rf"; write the input as {step}, in Python as a tensor of torch\.{wanted}\.$"
    ):
        convcost.count(model, inputs)


@pytest.mark.parametrize(
    ("forward", "dtype", "hint"),
    [
        (lambda _, x: x.long().softmax(1), torch.float32, None),
        (lambda _, x: x @ x.long().T, torch.float32, None),
        (lambda _, x: x.long().diag().view(1, 1).inverse(), torch.float32, None),
        (lambda _, x: x.softmax(1), torch.int64, "float32"),
        (lambda _, x: x.softmax(1), torch.bool, "float32"),
        (lambda _, x: x.index_select(0, x[0]), torch.float32, "int64"),
    ],
)
def test_the_dtype_that_an_operator_got_is_not_the_one_that_it_wants(
    forward: Any, dtype: torch.dtype, hint: str | None
) -> None:
    with pytest.raises(ConvcostError) as raised:
        convcost.count(Calls(forward), torch.ones(1, 4, dtype=dtype), device="cpu")
    step = "mend it there" if hint is None else f"write the input as 1x4:{hint}, in Python as a tensor of torch.{hint}"
    assert f"; {step}" in str(raised.value)


def test_control_flow_on_values_names_the_line_and_offers_the_cpu() -> None:
    model = Calls(lambda _, x: x if x.sum() > 0 else -x)
    with pytest.raises(ConvcostError, match=r"test_model_report\.py:\d+ needs the values of a tensor.*device cpu\.$"):
        convcost.count(model, (zeros(2, 3),))
    assert convcost.count(model, (zeros(2, 3),), device="cpu").totals.macs == 0


def test_names_tell_second_calls_and_functional_calls_apart() -> None:
    inner = Calls(lambda _, x: torch.relu(x @ x))
    model = Calls(lambda m, x: m.b(m.a(m.a(x))) + x, a=nn.Linear(4, 4), b=inner)
    names = [row.name for row in convcost.count(model, (zeros(4, 4),)).layers]
    assert names == ["a", "a#2", "b.matmul#1", "b.relu#1", "add#1"]


def test_memory_counts_outputs_once_and_knows_what_is_alive() -> None:
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(inplace=True), nn.Linear(20, 5))
    totals = convcost.count(model, (zeros(1, 10),)).totals
    assert totals.activation_bytes == 4 * (20 + 5)  # the activation works in place
    assert totals.peak_activation_bytes == 4 * (10 + 20 + 5)  # the caller keeps the input
    assert totals.weight_bytes == 4 * (10 * 20 + 20 + 20 * 5 + 5)


def test_a_convolutions_row_equals_the_layer_of_a_block() -> None:
    row = convcost.compare(8, 16, 3, height=10, blocks=["standard"], count=False, time=False).rows[0].placed
    traced = convcost.count(nn.Conv2d(8, 16, 3, padding=1, bias=False), (zeros(1, 8, 10, 10),)).layers[0]
    assert (traced.macs, traced.params, traced.traffic_bytes) == (
        row.cost.macs,
        row.cost.params,
        row.cost.traffic_bytes,
    )
    assert traced.conv == row.layers[0].op


def test_the_json_object_has_the_promised_fields() -> None:
    payload = convcost.count(nn.Conv2d(3, 4, 3), (zeros(1, 3, 6, 6),), cross_check=True).to_dict()
    assert payload["schema"] == "convcost.model/1"
    assert set(payload["totals"]) == {
        *("params", "trainable_params", "macs", "flops", "weight_bytes", "activation_bytes", "peak_activation_bytes")
    }
    assert payload["layers"][0]["kernel_size"] == [3, 3]
    assert payload["cross_check"]["torch"] == {
        "status": "agrees",
        "macs": 16 * 4 * 27,
        "reason": None,
        "differences": [],
    }
    assert json.loads(json.dumps(payload)) == payload


def test_a_cross_check_that_nobody_asked_for_says_so() -> None:
    report = convcost.count(nn.Linear(3, 4), (zeros(1, 3),))
    assert {check.status for check in report.cross_check.values()} == {"unavailable"}
    assert report.to_dict()["cross_check"]["fvcore"]["reason"] == "not requested"
    assert not any("not requested" in line for line in report.verdicts)


def test_a_counter_that_lies_about_a_model_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from convcost.nn.count import cross_check as reconcile

    true_graph = vars(reconcile)["fvcore_graph"]

    def seven_more(*arguments: Any) -> Any:
        graph = true_graph(*arguments)
        (product,) = graph.products
        return replace(graph, products=(replace(product, counted=product.counted + 7, macs=product.macs + 7),))

    monkeypatch.setattr(reconcile, "fvcore_graph", seven_more)
    report = convcost.count(nn.Conv2d(3, 4, 3), (zeros(1, 3, 6, 6),), cross_check=True)
    assert report.cross_check["fvcore"].status == "disagrees"
    assert report.cross_check["fvcore"].reason == "-7 MACs are left over"
    assert not report.agrees


def test_copies_of_a_counted_module_are_whole() -> None:
    model = nn.LSTM(4, 5)
    convcost.count(model, (zeros(6, 2, 4),))
    assert copy.deepcopy(model)(zeros(6, 2, 4))[0].shape == (6, 2, 5)


def test_what_a_forward_prints_is_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    def talk(self: Any, x: torch.Tensor) -> Any:
        print("hello")  # noqa: T201 - what the user's own forward may do
        return self.c(x)

    convcost.count(Calls(talk, c=nn.Conv2d(3, 4, 3)), (zeros(1, 3, 6, 6),), cross_check=True)
    streams = capsys.readouterr()
    assert (streams.out, set(streams.err.split())) == ("", {"hello"})  # once for each counter
