"""Models that need values: one sentence with the place and the next step, or the CPU by itself; inputs of other kinds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from calls import Calls
from torch import nn

import convcost
from convcost.cli import main
from convcost.nn.count import model_report, size_limit
from convcost.pytest import assert_cost
from convcost.text.errors import ConvcostError, NeedsValuesError
from convcost.text.units import human_count

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MEAN = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)
CONVOLUTION = 3 * 6 * 6 * 4 * 3 * 9
"""MACs of the convolution in each model here."""
HINT = re.compile(
    r"^.+test_cpu_trial\.py:\d+ (needs the values of a tensor|uses a tensor that is in none of the model's modules.*), "
    r"which .*\); run it with device cpu\.$"
)


class Net(nn.Module):
    """A convolution of what a function makes of the input."""

    mean = torch.ones(1, 3, 1, 1)

    def __init__(self, prepare: Callable[..., Any]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.table = {"mean": [MEAN, 1]}
        self.pair = (torch.ones(1, 3, 1, 1), "no list of tensors")
        self.prepare = prepare

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        prepared: torch.Tensor = self.prepare(self, x)
        out: torch.Tensor = self.convolution(prepared)
        return out


def on_the_cpu(x: torch.Tensor) -> torch.Tensor:
    with torch.device("cpu"):
        return x + torch.ones(1, 3, 1, 1)


def printed(x: torch.Tensor) -> torch.Tensor:
    return x * float(f"{x.sum():.3f}")


@torch.library.custom_op("convcost_values::same", mutates_args=())
def same(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


LOGS = torch.zeros(5, 1, 4).log_softmax(2)
PREPARATIONS: dict[str, Callable[..., Any]] = {
    "a module-level tensor": lambda _, x: x - MEAN,
    "a class attribute": lambda m, x: x - m.mean,
    "a tensor in a dict": lambda m, x: x - m.table["mean"][0],
    "a tensor in a tuple": lambda m, x: x - m.pair[0],
    "a legacy constructor": lambda _, x: x + torch.FloatTensor([1.0]).view(1, 1, 1, 1).expand(1, 3, 1, 1),
    "a tensor of NumPy's": lambda _, x: x + torch.from_numpy(np.ones((1, 3, 1, 1), np.float32)),
    "a named device": lambda _, x: x + torch.zeros(1, 3, 1, 1, device="cpu"),
    "a device around": lambda _, x: on_the_cpu(x),
    "numpy()": lambda _, x: x * float(x.numpy().max()),
    "np.asarray": lambda _, x: x * float(np.asarray(x).max()),
    "a mask": lambda _, x: x + x[x > 0].sum(),
    "masked_select": lambda _, x: x + torch.masked_select(x, x > 0).sum(),
    "nonzero": lambda _, x: x + x.nonzero().sum(),
    "where with one argument": lambda _, x: x + torch.where(x > 0)[0].sum(),
    "argwhere": lambda _, x: x + torch.argwhere(x).sum(),
    "unique": lambda _, x: x + torch.unique(x).sum(),
    "unique_consecutive": lambda _, x: x + torch.unique_consecutive(x).sum(),
    "bincount": lambda _, x: x + torch.bincount(x.long().flatten()).sum(),
    "equal": lambda _, x: x if torch.equal(x, x) else -x,
    "item": lambda _, x: x * x.sum().item(),
    "float": lambda _, x: x * float(x.sum()),
    "an if": lambda _, x: x if x.sum() > 0 else -x,
    "tolist": lambda _, x: x * x.flatten().tolist()[0],
    "a format": lambda _, x: printed(x),
    "repeat_interleave": lambda _, x: x + torch.repeat_interleave(x.long().abs().flatten() + 1).sum(),
    "an operator without a fake implementation": lambda _, x: same(x),
}


@pytest.mark.parametrize("case", PREPARATIONS)
def test_a_model_that_needs_values_says_where_and_what_to_do(case: str) -> None:
    model, x = Net(PREPARATIONS[case]), torch.zeros(3, 3, 8, 8)
    with pytest.raises(NeedsValuesError) as raised:
        convcost.count(model, (x,))
    assert HINT.match(str(raised.value)), raised.value
    assert convcost.count(model, (x,), device="cpu").totals.macs == CONVOLUTION


def test_auto_runs_such_a_model_on_the_cpu_and_says_so() -> None:
    report = convcost.count(Net(PREPARATIONS["a mask"]), (torch.zeros(3, 3, 8, 8),), device="auto")
    assert (report.totals.macs, report.conditions["device"]) == (CONVOLUTION, "cpu")
    values, note = report.notes
    assert values.startswith("the forward pass reads values of tensors (index in Net)")
    assert re.search(r"test_cpu_trial\.py:\d+ needs the values of a tensor: the model was run once on the CPU", note)
    assert assert_cost(Net(PREPARATIONS["item"]), torch.zeros(3, 3, 8, 8), max_macs="1 M", device="auto").notes


def test_auto_stays_on_meta_where_nothing_needs_values() -> None:
    report = convcost.count(nn.Linear(4, 5), torch.zeros(2, 4), device="auto")
    assert (report.totals.macs, report.conditions["device"], report.notes) == (2 * 4 * 5, "meta", ())


@pytest.mark.parametrize("device", ["meta", "auto"])
def test_a_model_that_runs_nowhere_gets_its_own_error(device: str) -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(4, 5))
    with pytest.raises(ConvcostError, match=r"^1 \(Linear\) expects in_features 4, got input 2x5: ") as raised:
        convcost.count(model, torch.zeros(2, 4), device=device)
    assert "device cpu" not in str(raised.value)


def test_an_error_that_only_looks_as_if_values_were_missing_is_the_models_own() -> None:
    def refuse(*_: object) -> None:
        raise ValueError("call item() before, no data here, not a meta tensor")

    with pytest.raises(ConvcostError, match=r"ValueError: call item\(\) before.* at .+:\d+; mend it there") as raised:
        convcost.count(Net(refuse), torch.zeros(3, 3, 8, 8))
    assert not isinstance(raised.value, NeedsValuesError)


def test_what_a_model_prints_while_it_is_tried_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    def talk(_: object, x: torch.Tensor) -> torch.Tensor:
        print("hello")  # noqa: T201 - what the user's own forward may do
        return x * x.sum().item()

    with pytest.raises(NeedsValuesError):
        convcost.count(Net(talk), torch.zeros(3, 3, 8, 8))
    streams = capfd.readouterr()
    assert (streams.out, streams.err) == ("", "hello\n")


def test_a_model_that_is_too_large_to_be_tried_is_judged_by_torchs_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_limit, "MAX_BYTES", 1)
    x = torch.zeros(3, 3, 8, 8)
    with pytest.raises(NeedsValuesError, match=r"run it with device cpu\.$"):
        convcost.count(Net(PREPARATIONS["item"]), x)
    with pytest.raises(ConvcostError, match="change the input") as raised:
        convcost.count(nn.Linear(3, 4), x[0, 0])
    assert not isinstance(raised.value, NeedsValuesError)


def test_a_model_cpu_trial_of_its_own_is_tried_with_zeros() -> None:
    with torch.device("meta"):
        model = Net(PREPARATIONS["a mask"])
        x = torch.empty(3, 3, 8, 8)
    with pytest.raises(NeedsValuesError):
        convcost.count(model, (x,))
    assert convcost.count(model, (x,), device="auto").totals.macs == CONVOLUTION
    assert model.convolution.weight.device.type == "meta"


def test_a_check_counts_such_a_model_on_the_cpu_unless_it_is_told_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_values_net.py").write_text(
        "import torch\n"
        "MEAN = torch.ones(1, 3, 1, 1)\n"
        "class Net(torch.nn.Conv2d):\n"
        "    def __init__(self):\n"
        "        super().__init__(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        return super().forward(x - MEAN)\n"
    )
    budget = '[budget.net]\ntarget = "needs_values_net.py:Net"\ninput = ["3x3x8x8"]\nmacs = "1 M"\n'
    (tmp_path / "convcost.toml").write_text(budget)
    monkeypatch.chdir(tmp_path)
    result = convcost.check()
    assert (result.passed, result.budgets[0].judged[0].reading.actual) == (True, CONVOLUTION)
    (note,) = result.budgets[0].notes
    assert "needs_values_net.py:7 uses a tensor that is in none of the model's modules, nor an input" in note
    (refused,) = convcost.check(device="meta").errors
    assert refused.endswith("run it with device cpu.")
    (tmp_path / "convcost.toml").write_text(f'{budget}device = "meta"\n')
    assert convcost.check().errors
    assert convcost.check(device="cpu").budgets[0].notes == ()
    with pytest.raises(ConvcostError, match=r"^device \(=tpu\) must be auto, meta or cpu; leave it out"):
        convcost.check(device="tpu")


rows = torch.zeros(3, 4), torch.zeros(2, 4)


def test_a_function_is_counted_and_a_class_is_refused() -> None:
    def square(x: torch.Tensor) -> torch.Tensor:
        return x @ x

    report = convcost.count(square, torch.zeros(4, 4))
    assert (report.target, report.totals.macs) == ("square", 4**3)
    with pytest.raises(ConvcostError, match=r"^model must be a torch.nn.Module, not the class Linear; call it"):
        convcost.count(nn.Linear, torch.zeros(4, 4))
    with pytest.raises(
        ConvcostError, match=r"^model must be a torch.nn.Module, not a int; give a module or a function"
    ):
        convcost.count(3, torch.zeros(4, 4))  # type: ignore[arg-type]  # what a user may do


@pytest.mark.parametrize(
    ("inputs", "kwargs", "rule"),
    [
        (3, None, r"^inputs must be a tuple of positional arguments, not a int\.$"),
        (
            {"input": rows[0]},
            None,
            r"^inputs must be a tuple of positional arguments, not a dict\.$",
        ),
        ((), [rows[0]], r"^kwargs must be a dict of arguments by name, not a list\.$"),
        ((), {"inputt": rows[0]}, r"TypeError: .*unexpected keyword argument 'inputt'"),
        ((None,), None, r"TypeError: "),
    ],
)
def test_inputs_of_no_form_are_refused(inputs: Any, kwargs: Any, rule: str) -> None:
    with pytest.raises(ConvcostError, match=rule) as raised:
        convcost.count(nn.Linear(4, 6), inputs, kwargs)
    assert "fault of convcost" not in str(raised.value)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConvcostError, match=r"^device \(=cuda\) must be auto, meta or cpu\.$"):
        convcost.count(nn.Linear(4, 6), rows[0], device="cuda")


FAULT = r"^a fault of convcost, not of the model: TypeError: .* at \w+\.py:\d+; report it with its traceback, "


def test_what_is_raised_in_convcosts_own_code_is_a_fault_of_convcost() -> None:
    with pytest.raises(ConvcostError, match=f"{FAULT}which convcost model TARGET --debug prints"):
        convcost.count(lambda _: human_count(None), rows[0])  # type: ignore[arg-type]  # a mistake


def test_a_fault_after_the_forward_pass_is_none_of_the_models_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_report, "report_of", lambda *_: human_count(None))  # type: ignore[arg-type]  # a mistake
    for device in ("meta", "cpu", "auto"):
        with pytest.raises(ConvcostError, match=FAULT):
            convcost.count(nn.Linear(4, 6), rows[0], device=device)


def test_what_torch_raises_for_an_operator_is_no_fault_of_convcost() -> None:
    with pytest.raises(ConvcostError, match=r"\(<lambda>\) got input 2x3: RuntimeError: .*reduction dim") as raised:
        convcost.count(lambda x: x @ x, torch.zeros(2, 3))
    assert "fault of convcost" not in str(raised.value)


def test_the_trial_is_silent_about_warnings() -> None:
    def warn(_: object, x: torch.Tensor) -> torch.Tensor:
        warnings.warn("mine", stacklevel=1)
        return x * x.sum().item()

    with pytest.raises(NeedsValuesError):
        convcost.count(Net(warn), torch.zeros(3, 3, 8, 8))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch 2.13 warns of it
def test_a_scripted_part_is_counted_on_the_cpu_and_keeps_its_values() -> None:
    scripted = torch.jit.script(nn.Linear(5, 6))
    model, before = nn.Sequential(nn.Linear(4, 5), scripted), scripted.weight.clone()
    report = convcost.count(model, torch.zeros(2, 4))
    assert report.totals.macs == 2 * 4 * 5 + 2 * 5 * 6
    assert report.notes == (
        "a scripted or quantised part does not run on meta tensors: the model was run once on the CPU.",
    )
    assert torch.equal(scripted.weight, before)


def test_the_command_says_the_place_and_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "masked_net.py").write_text(
        "import torch\nclass Net(torch.nn.Linear):\n    def __init__(self):\n        super().__init__(4, 5)\n"
        "    def forward(self, x):\n        return super().forward(x + x[x > 0].sum())\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["model", "masked_net.py:Net", "--input", "2x4", "--format", "json"]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"error: \S+masked_net\.py:6 needs the values of a tensor, .*; run it with --device cpu\.$", line)
    for device in ("cpu", "auto"):
        assert main([*words, "--device", device]) == 0
        assert json.loads(capsys.readouterr().out)["totals"]["macs"] == 2 * 4 * 5
    check = ["check", "masked_net.py:Net", "--input", "2x4", "--max-macs", "40"]
    assert (main(check), main([*check, "--device", "cpu"]), main([*check, "--device", "meta"])) == (0, 0, 2)


@pytest.mark.filterwarnings("ignore::UserWarning")  # nested tensors are prototypes of torch's
@pytest.mark.parametrize("make", [torch.nested.as_nested_tensor, torch.nested.nested_tensor])
def test_a_failing_check_inside_torch_is_not_quoted(make: Any) -> None:
    model = Net(lambda _, x: make([x[0], x[0]]).to_padded_tensor(0.0))
    with pytest.raises(
        ConvcostError,
        match=r"^.*test_cpu_trial\.py:\d+ needs the values of a tensor, which a meta tensor does not have "
        r"\(an internal check of torch fails\); run it with device cpu\.$",
    ):
        convcost.count(model, torch.zeros(1, 3, 8, 8))
    assert convcost.count(model, torch.zeros(1, 3, 8, 8), device="auto").totals.macs == 2 * 6 * 6 * 4 * 27


class Hidden:
    """An object of a class of its own."""

    def __init__(self, value: Any) -> None:
        self.value = value


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.held[0](m.l(x)),
        lambda m, x: m.named["a"](m.l(x)),
        lambda m, x: m.own.value(m.l(x)),
        lambda m, x: m.bound(m.l(x)),
    ],
)
def test_modules_that_no_module_holds_are_the_reason_and_not_values(forward: Any) -> None:
    part = nn.Linear(3, 2)
    model = Calls(forward, l=nn.Linear(4, 3), held=[part], named={"a": part}, own=Hidden(part), bound=partial(part))
    x = torch.zeros(5, 4)
    with pytest.raises(
        ConvcostError, match=r":\d+ uses a tensor that is in none of the model's modules.*device cpu\.$"
    ):
        convcost.count(model, x)
    report = convcost.count(model, x, device="auto")
    assert report.totals.macs == 5 * (4 * 3 + 3 * 2)
    assert "uses a tensor that is in none of the model's modules" in report.notes[-1]


def test_an_input_in_an_object_is_the_reason_and_not_values() -> None:
    model = Calls(lambda m, data: m.l(data.value), l=nn.Linear(4, 3))
    with pytest.raises(ConvcostError, match=r"nor an input in a list or dict, which was not moved"):
        convcost.count(model, (Hidden(torch.zeros(5, 4)),))


def test_a_model_without_values_is_counted_on_the_cpu_with_zeros() -> None:
    report = convcost.count(nn.Linear(4, 3, device="meta"), torch.zeros(5, 4), device="cpu")
    assert (report.totals.macs, report.conditions["device"]) == (5 * 4 * 3, "cpu")


def test_flex_attention_is_counted_where_forward_imports_it() -> None:
    code = (
        "import torch, convcost\n"
        "def forward(q):\n"
        "    from torch.nn.attention.flex_attention import flex_attention\n"
        "    return flex_attention(q, q, q)\n"
        "print(convcost.count(forward, torch.zeros(1, 2, 16, 8)).totals.macs)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 2 * 2 * 16 * 16 * 8
