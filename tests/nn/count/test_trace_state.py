"""The state that a model is counted in: its mode, its parameters, autocast, and what its inputs are."""

from __future__ import annotations

import copy
import gc
import weakref
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import torch
from calls import Calls, zeros
from torch import nn
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention

import convcost
from convcost.nn.count.model_report import reports
from convcost.text.errors import ConvcostError

DEVICES = pytest.mark.parametrize("device", ["meta", "cpu"])


# ------------------------------------------------------------------------------------------------------ the mode


class Folding(nn.Module):
    """In eval mode the 1x1 convolution is part of the 3x3 one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 1, bias=False)
        self.folded = False

    def train(self, mode: bool = True) -> Any:  # noqa: FBT001, FBT002 - as torch's own
        super().train(mode)
        self.folded = not mode
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.folded:
            return functional.conv2d(x, self.a.weight + functional.pad(self.b.weight, [1] * 4), padding=1)
        return self.a(x) + self.b(x)


class Merging(nn.Linear):
    """A low-rank layer, merged into the weight, in place, while it is in eval mode."""

    def __init__(self) -> None:
        super().__init__(10, 12, bias=False)
        self.down, self.up = nn.Parameter(torch.ones(2, 10)), nn.Parameter(torch.ones(12, 2))
        self.merged = False

    def train(self, mode: bool = True) -> Any:  # noqa: FBT001, FBT002 - as torch's own
        super().train(mode)
        if self.merged == mode:
            self.weight.data += (-1 if mode else 1) * (self.up @ self.down).data
            self.merged = not mode
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y if self.merged else y + x @ self.down.T @ self.up.T


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.aux, self.h = nn.Linear(8, 8), nn.Linear(8, 100), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.a(x)
        if self.training:
            return self.h(y), self.aux(y)
        return self.h(y), y


@DEVICES
@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [(Folding, (1, 4, 8, 8), 64 * 4 * 36), (Merging, (2, 10), 2 * 10 * 12), (Auxiliary, (2, 8), 2 * 8 * (8 + 3))],
)
def test_a_module_is_counted_after_its_own_eval_and_is_left_as_it_was(
    make: Any, shape: tuple[int, ...], expected: int, device: str
) -> None:
    for model in (make().train(), make().eval(), make().train()):
        before = (model.training, vars(model).get("folded"), vars(model).get("merged"))
        weights = {name: (p, p.detach().clone()) for name, p in model.named_parameters()}
        report = convcost.count(model, zeros(*shape), device=device)
        assert (report.totals.macs, report.conditions["mode"]) == (expected, "eval")
        assert before == (model.training, vars(model).get("folded"), vars(model).get("merged"))
        for name, weight in model.named_parameters():
            assert weight is weights[name][0]
            assert torch.equal(weight, weights[name][1])


CLOSED_OVER: dict[str, Any] = {
    "a function": lambda part: lambda x: part(x)[0],
    "a list": lambda part: Calls(lambda m, x: m.parts[0](x), parts=[part]),
}


@pytest.mark.parametrize("case", CLOSED_OVER)
@pytest.mark.parametrize("training", [True, False])
def test_a_module_that_no_module_holds_keeps_its_mode_and_the_report_says_so(case: str, *, training: bool) -> None:
    part = Auxiliary().train(training)
    report = convcost.count(CLOSED_OVER[case](part), zeros(2, 8), device="cpu")
    assert report.totals.macs == 2 * 8 * (8 + 3 + 100 * training)
    assert report.conditions["mode"] == ("mixed" if training else "eval")
    assert any("counted in training mode (Auxiliary): call eval() on them" in note for note in report.notes) is training
    assert part.training is training


def test_a_method_train_that_was_set_on_a_module_is_called() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def train(mode: bool = True) -> nn.Module:  # noqa: FBT001, FBT002 - as torch's own
        model[1] = nn.ReLU() if mode else nn.Linear(4, 4, device="meta")
        return nn.Module.train(model, mode)

    vars(model)["train"] = train  # as torch does with an exported program
    assert convcost.count(model, zeros(2, 4)).totals.macs == 2 * 2 * 4 * 4
    assert isinstance(model[1], nn.ReLU)
    assert model.training
    assert model[1].training


@DEVICES
def test_a_buffer_that_forward_changes_is_left_as_it_was(device: str) -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        m.calls.add_(1)
        return m.l(x)

    buffer = nn.Buffer(torch.zeros(1))
    model = Calls(forward, l=nn.Linear(4, 6), calls=buffer)
    assert convcost.count(model, zeros(2, 4), device=device).totals.macs == 2 * 4 * 6
    assert model.calls is buffer
    assert torch.equal(buffer, torch.zeros(1))


def _replaced(m: Any, x: torch.Tensor) -> Any:
    m.l.weight.data = torch.ones(6, 4, device=x.device)
    return m.l(x)


def _changed(m: Any, x: torch.Tensor) -> Any:
    m.l.weight.data.mul_(3)
    m.l.bias.add_(1)
    m.list[0] += 1
    return m.l(x.mul_(2))


def _in_a_list(m: Any, x: torch.Tensor) -> Any:
    m.list.append(m.l(x))
    m.dict["inner"].append(x)
    m.dict["new"] = [x]
    m.set.add(3)
    return m.list[-1]


NORM = nn.BatchNorm1d(6)
CHANGES: dict[str, Any] = {
    "the data of a parameter": _replaced,
    "values in place": _changed,
    "items of containers": _in_a_list,
    "a part outside, in training mode": lambda m, x: NORM(m.l(x)),
}


@DEVICES
@pytest.mark.parametrize("cross_check", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_what_forward_changes_is_left_as_it_was(change: str, device: str, *, cross_check: bool) -> None:
    if device == "meta" and change.endswith("mode"):
        device = "auto"
    parts: dict[str, Any] = {"list": [torch.ones(2)], "dict": {"inner": []}, "set": set()}
    model, x = Calls(CHANGES[change], l=nn.Linear(4, 6), **parts), torch.ones(2, 4)
    before = copy.deepcopy((model.state_dict(), model.list, model.dict, model.set, x, NORM.state_dict()))
    assert convcost.count(model, x, device=device, cross_check=cross_check).totals.macs == 2 * 4 * 6
    after = (model.state_dict(), model.list, model.dict, model.set, x, NORM.state_dict())
    assert str(after) == str(before)
    assert (model.list, model.dict, model.set) == tuple(parts.values())
    assert model.list is parts["list"]


@DEVICES
def test_lazy_modules_stay_lazy(device: str) -> None:
    model = nn.Sequential(nn.LazyLinear(6), nn.LazyBatchNorm1d())
    assert convcost.count(model, zeros(2, 4), device=device).totals.macs == 2 * 4 * 6
    assert [type(part) for part in model] == [nn.LazyLinear, nn.LazyBatchNorm1d]
    assert all(nn.parameter.is_lazy(p) for p in model.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # scripts are what is tested
@pytest.mark.parametrize("is_part", [False, True])
def test_scripted_modules_are_counted_in_eval_mode_and_stay_in_training(*, is_part: bool) -> None:
    scripted = torch.jit.script(Auxiliary())
    model = (nn.Sequential(scripted) if is_part else scripted).train()
    assert convcost.count(model, zeros(2, 8)).totals.macs == 2 * 8 * (8 + 3)
    assert model.training
    assert all(part.training for part in scripted.modules())


def test_each_part_keeps_its_own_training_flag() -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(4)).train()
    model[1].eval()
    convcost.count(model, zeros(2, 4))
    assert [part.training for part in model.modules()] == [True, True, False]


def _copied(new: nn.Conv2d, kernel: torch.Tensor) -> None:
    with torch.no_grad():
        new.weight.copy_(kernel)


def _set(new: nn.Conv2d, kernel: torch.Tensor) -> None:
    new.weight.data = kernel.data


def _read(new: nn.Conv2d, kernel: torch.Tensor) -> None:
    new.weight.data = kernel.data * float(kernel.sum())


def _through_numpy(new: nn.Conv2d, kernel: torch.Tensor) -> None:
    new.weight.data = torch.from_numpy(kernel.detach().numpy())


FOLDS: dict[str, tuple[Any, str]] = {
    "copy_": (_copied, "meta"),
    "data": (_set, "meta"),
    "load_state_dict": (lambda new, kernel: new.load_state_dict({"weight": kernel.detach()}), "meta"),
    "item": (_read, "cpu"),
    "numpy": (_through_numpy, "cpu"),
}


@pytest.mark.parametrize(("fill", "expected"), FOLDS.values(), ids=FOLDS)
def test_an_eval_that_makes_modules_runs_on_the_device_of_the_count(fill: Any, expected: str) -> None:
    class Refolding(Folding):
        def __init__(self) -> None:
            super().__init__()
            self.new: Any = None

        def train(self, mode: bool = True) -> Any:  # noqa: FBT001, FBT002 - as torch's own
            super().train(mode)
            if not mode:
                self.new = nn.Conv2d(4, 4, 3, padding=1, bias=False)
                fill(self.new, self.a.weight + functional.pad(self.b.weight, [1] * 4))
            return self

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if self.new is None else self.new(x)

    model = Refolding()
    report = convcost.count(model, zeros(1, 4, 8, 8), device="auto")
    assert (report.totals.macs, report.conditions["device"], model.new) == (64 * 4 * 36, expected, None)
    if expected == "cpu":
        with pytest.raises(ConvcostError, match=r"needs the values of a tensor.*run it with device cpu"):
            convcost.count(model, zeros(1, 4, 8, 8))


def test_a_not_implemented_eval_is_no_exported_program() -> None:
    class Unfinished(nn.Linear):
        def eval(self) -> Any:
            raise NotImplementedError

    with pytest.raises(ConvcostError, match=r"^eval\(\) of the model raises NotImplementedError"):
        convcost.count(Unfinished(3, 4), zeros(1, 3), device="auto")


def test_an_eval_that_raises_is_reported_with_its_place() -> None:
    class Stubborn(nn.Linear):
        def eval(self) -> Any:
            msg = "never"
            raise ValueError(msg)

    with pytest.raises(ConvcostError, match=r"^eval\(\) of the model raises ValueError at .*test_trace_state\.py:\d+"):
        convcost.count(Stubborn(3, 4), zeros(1, 3))


# ------------------------------------------------------------------------------------------------ the parameters


def _params(model: nn.Module, *inputs: torch.Tensor, device: str = "meta") -> dict[str, int]:
    report = convcost.count(model, inputs, device=device)
    assert sum(row.params for row in report.layers) == report.totals.params
    return {row.name: row.params for row in report.layers if row.params}


W = 3 * 4


@DEVICES
@pytest.mark.parametrize(
    ("use", "owner"),
    [
        (lambda w, x: functional.linear(x, w), "linear#1"),
        (lambda w, x: functional.linear(x, w.view(3, 4)), "linear#1"),
        (lambda w, x: x @ w.t(), "matmul#1"),
        (lambda w, x: functional.linear(x, w[None][0]), "linear#1"),
        (lambda w, x: x + w.expand(2, 3, 4)[:, 0], "add#1"),
        (lambda w, x: functional.linear(x.to(torch.bfloat16), w.to(torch.bfloat16)), "linear#1"),
        (lambda w, x: functional.linear(x, 2 * w), "linear#1"),
        (lambda w, x: functional.linear(x, (w * w).tanh().clone()), "linear#1"),
        (lambda w, x: functional.embedding(torch.ones_like(x, dtype=torch.int64), w), "embedding#1"),
    ],
    ids=["as it is", "a view", "transposed", "indexed", "expanded", "cast", "scaled", "a chain", "a table"],
)
def test_a_parameter_belongs_to_the_call_that_uses_it_however_it_gets_there(use: Any, owner: str, device: str) -> None:
    model = Calls(lambda m, x: use(m.w, x), w=nn.Parameter(zeros(3, 4)))
    assert _params(model, zeros(2, 4), device=device) == {owner: W}


@DEVICES
def test_the_product_of_two_parameters_belongs_to_the_call_that_uses_the_product(device: str) -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        return functional.linear(x, m.w + m.up @ m.down)

    parts = {"w": nn.Parameter(zeros(3, 4)), "up": nn.Parameter(zeros(3, 2)), "down": nn.Parameter(zeros(2, 4))}
    assert _params(Calls(forward, **parts), zeros(2, 4), device=device) == {"linear#1": 3 * 4 + 3 * 2 + 2 * 4}


def test_a_parameter_that_no_call_uses_with_an_input_belongs_to_the_first_that_uses_it() -> None:
    assert _params(Calls(lambda m, x: (x.relu(), 2 * m.w), w=nn.Parameter(zeros(3, 4))), zeros(2, 4)) == {"mul#1": W}


def test_parameters_that_are_never_used_stay_outside_any_call() -> None:
    model = Calls(lambda m, x: x.relu() if m.w.view(12).dim() else x, w=nn.Parameter(zeros(3, 4)))
    assert _params(model, zeros(2, 4)) == {"(parameters outside any call)": W}


@DEVICES
def test_a_part_that_forward_replaces_is_counted_as_it_was_at_the_call(device: str) -> None:
    def forward(m: Any, x: torch.Tensor) -> Any:
        y = m.a(x)
        m.a = nn.Identity()
        m.b = nn.Linear(5, 7, bias=False)
        return m.b(m.a(y))

    model = Calls(forward, a=nn.Linear(4, 5), b=nn.Linear(5, 3))
    report = convcost.count(model, zeros(2, 4), device=device)
    assert report.totals.params == (4 * 5 + 5) + (5 * 3 + 3)
    assert report.totals.macs == 2 * 4 * 5 + 2 * 5 * 7
    assert report.layers[0].params == 4 * 5 + 5


LINEAR = nn.Linear(4, 5)


def _unused_too(m: Any, x: torch.Tensor) -> Any:
    twin = nn.Parameter(torch.tensor([1.0, 2.0]))  # made in forward: no parameter of the model
    return (functional.linear(x, LINEAR.weight.detach()), m.l(x), twin * 2, 3 * torch.tensor(2.0, requires_grad=True))


OUTSIDE: dict[str, tuple[Any, int]] = {
    "a closure": (lambda x: LINEAR(x), 4 * 5 + 5),  # noqa: PLW0108 - a function is what is tested
    "a bound method": (LINEAR.forward, 4 * 5 + 5),
    "a partial function": (partial(functional.linear, weight=LINEAR.weight), 4 * 5),
    "a leaf that requires a gradient": (
        partial(functional.linear, weight=torch.zeros(5, 4, requires_grad=True)),
        4 * 5,
    ),
    "as_tensor": (lambda x: functional.linear(x, torch.as_tensor(LINEAR.weight)), 4 * 5),
    "a plain list": (Calls(lambda m, x: m.parts[0](m.parts[0](x)[:, :4]), parts=[LINEAR]), 4 * 5 + 5),
    "a list of parameters": (Calls(lambda m, x: x @ m.parts[0].t() @ m.parts[1], parts=[LINEAR.weight] * 2), 4 * 5),
    "a dict": (Calls(lambda m, x: m.parts["a"](x), parts={"a": LINEAR}), 4 * 5 + 5),
    "beside its own": (Calls(_unused_too, l=nn.Linear(4, 6)), 4 * 6 + 6 + 4 * 5),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_parameters_that_no_module_holds_are_counted_where_they_are_used_and_noted(case: str) -> None:
    model, expected = OUTSIDE[case]
    report = convcost.count(model, zeros(2, 4), device="auto")
    assert (report.totals.params, report.totals.trainable_params) == (expected, expected)
    assert report.totals.weight_bytes == 4 * expected
    assert sum(row.params for row in report.layers) == expected
    assert any("held by no module of the model" in note for note in report.notes)


def test_constants_and_inputs_that_require_a_gradient_are_no_parameters() -> None:
    constant, x = torch.zeros(5, 4), torch.zeros(2, 4, requires_grad=True)
    report = convcost.count(lambda x: functional.linear(x, constant) + x.detach()[:, :1], x, device="cpu")
    assert (report.totals.params, report.notes) == (0, ())


def test_the_tree_of_modules_says_what_is_a_parameter_whatever_named_parameters_gives() -> None:
    class Sharded(nn.Sequential):
        def named_parameters(self, *_: Any, **__: Any) -> Any:
            yield "flat", nn.Parameter(torch.zeros(1000))

        def parameters(self, *_: Any, **__: Any) -> Any:
            yield nn.Parameter(torch.zeros(1000))

    assert _params(Sharded(nn.Linear(4, 5), nn.ReLU()), zeros(2, 4)) == {"0": 4 * 5 + 5}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # as the next line
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the old way to quantise is what is tested
def test_packed_weights_are_reported_in_a_note() -> None:
    model = torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)), {nn.Linear}, dtype=torch.qint8
    )
    report = convcost.count(model, zeros(2, 16))
    assert (report.totals.params, report.totals.weight_bytes) == (None, None)
    assert report.to_dict()["totals"]["params"] is None
    expected = 16 * 8 + 8 + 8 * 4 + 4
    assert report.notes[0] == (
        f"0 and 1 more hold {expected} packed weights: params and weight_bytes are not obtained."
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # frozen scripts are what is tested
def test_the_weights_of_a_frozen_script_are_reported_in_a_note() -> None:
    frozen = torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Linear(8, 3)).eval()))
    report = convcost.count(nn.Sequential(frozen, nn.ReLU()).train(), zeros(2, 8))
    assert report.totals.macs == 2 * 8 * 3
    assert report.notes[0].startswith("0 holds packed weights: params")


def test_a_model_that_traces_a_part_is_counted() -> None:
    model = Calls(lambda m, x: torch.fx.symbolic_trace(m.l)(x), l=nn.Sequential(nn.Linear(8, 3), nn.ReLU()))
    assert convcost.count(model, zeros(2, 8)).totals.macs == 2 * 8 * 3


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # as the next line
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the old way to quantise is what is tested
@pytest.mark.parametrize(("cell", "gates"), [(nn.RNNCell, 1), (nn.GRUCell, 3), (nn.LSTMCell, 4)])
def test_packed_weights_of_cells_are_reported_in_a_note(cell: Any, gates: int) -> None:
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(cell(8, 6)), {cell})
    report = convcost.count(model, zeros(7, 8), device="auto")
    packed = gates * 6 * (8 + 6 + 1 + 1)
    assert report.notes[0] == f"0 holds {packed} packed weights: params and weight_bytes are not obtained."
    assert [one.calls for one in report.uncounted] == [1]
    assert [row["params"] for row in report.to_dict()["layers"]] == [None]
    assert report.layers[0].has_packed


def test_weights_of_integers_in_buffers_are_reported_in_a_note() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].register_buffer("qweight", torch.zeros(2, 4, dtype=torch.int32))
    assert convcost.count(model, zeros(2, 4)).notes == (
        "0 holds 8 packed weights: params and weight_bytes are not obtained.",
    )


# ------------------------------------------------------------------------------------------------- what is restored


RESHAPED: dict[str, Any] = {
    "a larger input": lambda m, x: (x.resize_(7, 4), m.l(x)),
    "a smaller input": lambda m, x: (x.resize_(1, 4), m.l(x)),
    "a turned input": lambda m, x: m.l(x.t_().t()),
    "a flat input": lambda m, x: m.l(x.unsqueeze_(0)),
    "an input in another storage": lambda m, x: m.l(x.set_(torch.ones(2, 4, device=x.device))),
    "a buffer": lambda m, x: (m.b.resize_(3), m.l(x)),
    "a buffer as an output": lambda m, x: (torch.add(x, 1, out=m.b), m.l(x)),
    "larger weights": lambda m, x: (m.l.weight.data.resize_(6, 4), m.l(x)),
    "smaller weights": lambda m, x: (m.l.weight.data.resize_(1, 4), m.l(x)),
    "turned weights": lambda m, x: (m.l.weight.t_(), m.l.weight.t_(), m.l.weight.unsqueeze_(0), m.l(x)),
}


@pytest.mark.parametrize("forward", RESHAPED.values(), ids=RESHAPED)
@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("is_meta", [False, True])
def test_tensors_have_their_shapes_and_values_again(forward: Any, device: str, *, is_meta: bool) -> None:
    model: Any = Calls(forward, l=nn.Linear(4, 3))
    model.register_buffer("b", torch.empty(0))
    x = torch.randn(2, 4)
    if is_meta:
        model, x = model.to("meta"), x.to("meta")
    tensors = [x, model.b, *model.parameters()]
    before = [(tensor, tensor.shape, tensor.stride(), tensor.clone()) for tensor in tensors]
    with suppress(ConvcostError):
        convcost.count(model, x, device=device)
    assert tensors == [x, model.b, *model.parameters()]
    for tensor, shape, stride, values in before:
        assert (tensor.shape, tensor.stride()) == (shape, stride)
        assert is_meta or torch.equal(tensor, values)


def _learning(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.l.weight.grad = torch.ones_like(m.l.weight)
    m.l.weight.register_hook(lambda gradient: gradient)
    m.l.weight.register_post_accumulate_grad_hook(lambda _: None)
    m.l.bias.requires_grad_(False)
    x.requires_grad_()
    x.grad = torch.ones_like(x)
    with torch.enable_grad():
        m.b(x).sum().backward()
    return m.l(x)


@DEVICES
@pytest.mark.parametrize("is_meta", [False, True])
def test_gradients_and_their_hooks_are_restored(device: str, *, is_meta: bool) -> None:
    if is_meta and device == "cpu":
        return
    place = "meta" if is_meta else "cpu"
    model: Any = Calls(_learning, l=nn.Linear(4, 3), b=nn.Linear(4, 5)).to(place)
    model.b.bias.grad = gradient = torch.ones(5, device=place)
    handle = model.b.bias.register_hook(lambda one: one)
    x = torch.zeros(2, 4, device=place)
    assert convcost.count(model, x, device=device).totals.macs == 2 * 4 * (3 * 5 + 3)  # forward, and two products back
    assert (x.requires_grad, x.grad, model.l.weight.grad, model.b.weight.grad) == (False, None, None, None)
    assert all(weight.requires_grad for weight in model.parameters())
    assert model.l.weight._backward_hooks is None
    assert model.l.weight._post_accumulate_grad_hooks is None
    assert list(model.b.bias._backward_hooks) == [handle.id]
    assert model.b.bias.grad is gradient
    assert is_meta or gradient.tolist() == [1] * 5


@DEVICES
def test_the_storage_of_a_weight_that_forward_frees_is_no_activation_and_no_activation_is_it(device: str) -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        for layer in m.layers:
            layer.weight.data = layer.weight.data.clone()
            x = layer(x)
            layer.weight.data = torch.empty(0, device=x.device)
        return x

    model = Calls(forward, layers=nn.ModuleList(nn.Linear(4, 4) for _ in range(4)))
    report = convcost.count(model, zeros(5, 4), device=device)
    assert report.totals.activation_bytes == 4 * (4 * 4 + 5 * 4) * 4  # of each layer the clone and the output
    assert report.totals.macs == 4 * 5 * 4 * 4


# ------------------------------------------------------------------------------------------------------ autocast


class Autocast(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.body(x)


def _mixed(m: Any, x: torch.Tensor) -> Any:
    y = m.n(m.l(m.l(x))) + x
    y = torch.einsum("bij,bkj->bik", y, y) @ y
    with torch.autocast("cpu", enabled=False):
        z = functional.linear(y.float(), m.l.weight)
    return torch.cat([y, x]), z


AUTOCAST: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolutions": (
        nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding="same")),
        (1, 3, 32, 32),
    ),
    "a classifier": (
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.Flatten(), nn.Linear(144, 3), nn.Softmax(1)
        ),
        (1, 3, 8, 8),
    ),
    "transposed": (nn.Sequential(nn.Conv1d(3, 4, 3), nn.ConvTranspose1d(4, 3, 3)), (1, 3, 8)),
    "views of a weight": (
        Calls(lambda m, x: (m.l(x), torch.bmm(x[None], m.l.weight[None]), x @ m.l.weight.T, m.l(x)), l=nn.Linear(4, 4)),
        (5, 4),
    ),
    "sums over a weight": (Calls(lambda m, x: torch.einsum("ij,kj->ik", x, m.l.weight), l=nn.Linear(4, 4)), (5, 4)),
    "groups": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.SiLU()), (1, 3, 8, 8)),
    "products": (Calls(_mixed, l=nn.Linear(8, 8), n=nn.LayerNorm(8)), (2, 5, 8)),
}


@pytest.mark.parametrize("case", AUTOCAST)
def test_autocast_gives_the_same_rows_and_memory_on_meta_as_on_the_cpu(case: str) -> None:
    body, shape = AUTOCAST[case]
    meta, cpu = (convcost.count(Autocast(body), zeros(*shape), device=device) for device in ("meta", "cpu"))
    assert meta.layers == cpu.layers
    assert meta.totals == cpu.totals


LINE = nn.Linear(4, 3)
PRECISIONS: dict[str, tuple[nn.Module, torch.Tensor]] = {
    "LSTM": (nn.LSTM(8, 6), zeros(2, 7, 8)),
    "LSTM of two directions": (nn.LSTM(8, 6, num_layers=2, bidirectional=True), zeros(2, 7, 8)),
    "LSTM with projections": (nn.LSTM(8, 6, proj_size=3), zeros(2, 7, 8)),
    "flex attention": (Calls(lambda _, q: flex_attention(q, q, q)), zeros(1, 2, 5, 4)),
    "a layer in vmap": (Calls(lambda m, x: torch.vmap(m.part)(x), part=LINE), zeros(5, 4)),
    "mv": (Calls(lambda _, x: torch.mv(x, x[0])), zeros(5, 4)),
    "dot": (Calls(lambda _, x: torch.dot(x[0], x[0])), zeros(5, 4)),
    "matrix times vector": (Calls(lambda _, x: x @ x[0]), zeros(5, 4)),
    "distances": (Calls(lambda _, x: torch.cdist(x, x)), zeros(5, 4).bfloat16()),
    "cross entropy": (Calls(lambda _, x: functional.cross_entropy(x, x)), zeros(5, 4).bfloat16()),
}


@pytest.mark.parametrize("case", PRECISIONS)
def test_autocast_gives_the_same_output_on_meta_as_on_the_cpu(case: str) -> None:
    body, x = PRECISIONS[case]
    dtypes = []

    def run(x: torch.Tensor) -> Any:
        out = Autocast(body)(x)
        dtypes.append((out[0] if isinstance(out, tuple) else out).dtype)
        return out

    model = Calls(lambda _, x: run(x), body=body)
    sizes = {convcost.count(model, x, device=device).totals.activation_bytes for device in ("meta", "cpu")}
    assert len(sizes) == len(set(dtypes)) == 1


def test_autocast_halves_the_activations_of_convolutions() -> None:
    body, shape = AUTOCAST["convolutions"]
    totals = convcost.count(Autocast(body), zeros(*shape)).totals
    assert totals.activation_bytes == 3 * 16 * 32 * 32 * 2  # three outputs of bfloat16
    assert totals.weight_bytes == 4 * (16 * 27 + 16 + 16 * 16 * 9 + 16)


# ----------------------------------------------------------------------------------------------- kinds of inputs

A, B = torch.ones(3, 4), torch.ones(2, 4)


@DEVICES
@pytest.mark.filterwarnings("ignore::UserWarning")  # nested and sparse tensors are prototypes of torch's
@pytest.mark.parametrize("kind", ["jagged", "packed", "packed alone", "quantised", "strided", "sparse"])
def test_unusual_inputs_are_counted_or_listed(kind: str, device: str) -> None:
    packed = nn.utils.rnn.pack_sequence([A, B])
    linear = nn.Linear(4, 6)
    model, inputs, expected = {
        "jagged": (linear, (torch.nested.nested_tensor([A, B], layout=torch.jagged),), 5 * 4 * 6),
        "packed": (nn.RNN(4, 6), (packed,), 5 * 6 * (4 + 6)),
        "packed alone": (nn.RNN(4, 6), packed, 5 * 6 * (4 + 6)),
        "quantised": (
            Calls(lambda m, x: m.l(x.dequantize()), l=linear),
            (torch.quantize_per_tensor(A, 0.1, 0, torch.qint8),),
            3 * 4 * 6,
        ),
        "strided": (linear, (torch.nested.nested_tensor([A, B]),), None),
        "sparse": (Calls(lambda _, x: x @ torch.zeros(4, 3, device=x.device)), (torch.eye(4).to_sparse_csr(),), None),
    }[kind]
    report = convcost.count(model, inputs, device=device)
    assert report.to_dict()["schema"] == "convcost.model/1"
    assert len(report.to_frame()) == len(report.layers)
    if expected is not None:
        assert report.totals.macs == expected
    else:
        assert report.uncounted or report.totals.macs
    if device == "meta" and "packed" not in kind:
        assert "inputs do not run on meta tensors: the model was run once on the CPU." in report.notes[-1]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_that_refuses_a_nested_tensor_is_no_fault_of_convcost() -> None:
    with pytest.raises(ConvcostError, match=r"^the model \(Calls\) could not run: RuntimeError"):
        convcost.count(Calls(lambda _, x: x.reshape(7, -1)), (torch.nested.nested_tensor([A, B]),))


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (nn.Linear, (A,), r"^model must be a torch\.nn\.Module, not the class Linear; call it to make a module\.$"),
        (None, (A,), r"^model must be a torch\.nn\.Module, not a NoneType"),
        (nn.Linear(4, 6), 3, r"^inputs must be a tuple of positional arguments, not a int\.$"),
    ],
)
def test_what_is_no_module_or_no_input_is_refused_in_one_sentence(model: Any, inputs: Any, message: str) -> None:
    with pytest.raises(ConvcostError, match=message):
        convcost.count(model, inputs)


def test_an_interrupted_forward_pass_leaves_what_it_ran() -> None:
    def interrupted(m: Any, x: torch.Tensor) -> torch.Tensor:
        m.a(x)
        raise KeyboardInterrupt

    steps = reports(Calls(interrupted, a=nn.Linear(4, 3), b=nn.Linear(4, 5)), zeros(2, 4))
    counted = next(steps)
    assert (counted.totals.macs, counted.totals.params) == (2 * 4 * 3, 4 * 3 + 3 + 4 * 5 + 5)
    assert counted.doubts["macs"] == "the forward pass was interrupted: what it had not run yet is not counted"
    with pytest.raises(KeyboardInterrupt):
        next(steps)


def test_a_class_that_was_counted_is_freed_with_what_it_holds() -> None:
    def counted() -> weakref.ref[type]:
        held = torch.zeros(4)

        class Local(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear = nn.Linear(4, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.linear(x) + held.shape[0]

        assert convcost.count(Local(), torch.zeros(2, 4)).totals.macs == 2 * 4 * 4
        return weakref.ref(Local)

    kind = counted()
    gc.collect()
    assert kind() is None
