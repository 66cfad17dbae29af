"""A model altered by an emitted file: the copy that `convcost.replace` makes, with the same weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from emitted import assert_pep_8, load, run
from torch import nn

import convcost
from convcost.cli import main
from convcost.convolution.blocks import BLOCKS
from convcost.programs.dialect import WRITTEN

pytestmark = pytest.mark.torch


def network() -> nn.Sequential:
    """Convolutions with bias, stride, dilation, even kernels, several norms and activations; two blocks of each kind."""
    return nn.Sequential(
        nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12, eps=1e-3, momentum=None), nn.ReLU6(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(24, eps=1e-3), nn.ReLU6(),
        nn.Conv2d(24, 24, (3, 5), padding=(2, 4), dilation=2), nn.SiLU(),
        nn.Sequential(nn.Conv2d(24, 48, 3, padding=1), nn.Conv2d(48, 48, 5, padding=2)),
        nn.Conv2d(48, 48, 4, stride=(2, 1), padding=1),
    )  # fmt: skip


def altered_by(text, model, folder):
    """A copy of a model that the file's function alters."""
    return load(text, folder)["alter"](copy.deepcopy(model))


def assert_same_model(altered: nn.Module, expected: nn.Module, x: torch.Tensor) -> None:
    altered.load_state_dict(expected.state_dict())
    with torch.no_grad():
        assert torch.equal(altered.eval()(x), expected.eval()(x))


@pytest.mark.parametrize("block", [name for name in BLOCKS if name != "pointwise"])
def test_the_function_alters_the_model_as_replace_does(block, tmp_path):
    model, x = network(), torch.randn(2, 8, 14, 15)
    expected, result = convcost.replace(model, x, to=[block, "standard", "grouped"], min_kernel=3)
    text = result.program()
    altered = altered_by(text, model, tmp_path)
    assert_same_model(altered, expected, x)
    counted = convcost.count(altered, x).totals
    assert (counted.params, counted.macs) == (result.after.totals.params, result.after.totals.macs)
    assert_pep_8(text, tmp_path)


@pytest.mark.parametrize("options", [{"between": False}, {"only": "3|6"}, {"depth_multiplier": 2}])
def test_rules_and_parameters_are_in_the_file(options, tmp_path):
    model, x = network(), torch.randn(2, 8, 14, 15)
    expected, result = convcost.replace(model, x, to="depthwise-separable", **options)
    assert_same_model(altered_by(result.program(), model, tmp_path), expected, x)


@pytest.mark.parametrize("block", ["low-rank", "depthwise-separable", "tucker-2", "spatially-separable"])
def test_kept_weights_can_be_loaded_into_the_altered_model(block, tmp_path):
    model, x = network(), torch.randn(2, 8, 14, 15)
    expected, result = convcost.replace(model, x, to=block, keep_weights=True, energy=0.3)
    assert_same_model(altered_by(result.program(), model, tmp_path), expected, x)


def test_device_dtype_mode_and_requires_grad_are_those_of_the_layer(tmp_path):
    model = network().double().train()
    model[0].requires_grad_(requires_grad=False)
    model[3].eval()
    _, result = convcost.replace(model, torch.zeros(1, 8, 14, 15, dtype=torch.float64), to="depthwise-separable")
    altered = altered_by(result.program(), model, tmp_path)
    assert {one.dtype for one in altered[0].parameters()} == {torch.float64}
    assert not any(one.requires_grad for one in altered[0].parameters())
    assert all(one.requires_grad for one in altered[3].parameters())
    assert (
        altered[0].training,
        altered[3].training,
        altered[3][0].training if isinstance(altered[3], nn.Sequential) else altered[3].depthwise.training,
    ) == (True, False, False)
    with torch.device("meta"):
        assert next(load(result.program(), tmp_path)["alter"](network())[0].parameters()).is_meta


def test_blocks_that_differ_in_numbers_have_one_class():
    model = nn.Sequential(*(nn.Conv2d(c, 2 * c, 3, stride, 1, bias=False) for c, stride in ((8, 1), (16, 2), (32, 2))))
    _, result = convcost.replace(model, torch.zeros(1, 8, 16, 16), to="depthwise-separable")
    text = result.program()
    assert text.count("\nclass ") == 1
    assert "def __init__(\n        self, in_channels: int, out_channels: int, stride: int\n    ) -> None:" in text
    lines = [
        f'        "{i}": DepthwiseSeparable({c}, {2 * c}, stride={s}),'
        for i, (c, s) in enumerate([(8, 1), (16, 2), (32, 2)])
    ]
    assert "\n".join(lines) in text


def test_the_docstrings_have_formula_and_cost(tmp_path):
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    _, result = convcost.replace(model, torch.zeros(1, 8, 10, 10), to="depthwise-separable")
    names = load(result.program(), tmp_path)
    assert "MACs = N·H·W·C·m·(K² + O)\n         = 1·10·10·8·1·(3² + 16)\n" in names["DepthwiseSeparable"].__doc__
    assert "Batch normalisation adds 2 parameters for each of its channels." in names["DepthwiseSeparable"].__doc__
    before, after = 8 * 16 * 9, 8 * 9 + 8 * 16 + 2 * 8
    macs = 100 * 8 * 16 * 9, 100 * 8 * (9 + 16)
    assert f"0: {before:,} -> {after} parameters, {macs[0]:,} -> {macs[1]:,} MACs" in names["alter"].__doc__


def test_a_file_runs_as_a_script(tmp_path):
    _, result = convcost.replace(network(), torch.zeros(1, 8, 14, 15), to="depthwise-separable", only="^0$")
    lines = run(result.program(), tmp_path, "-W", "error")
    assert lines == [f"0: DepthwiseSeparable, {8 * 9 + 8 * 12 + 2 * 8} parameters"]


def test_a_model_that_is_the_layer_itself_becomes_its_block(tmp_path):
    model, x = nn.Conv2d(8, 16, 3), torch.randn(1, 8, 10, 10)
    expected, result = convcost.replace(model, x, to="depthwise-separable")
    assert_same_model(altered_by(result.program(), model, tmp_path), expected, x)
    assert "Replace 1 convolution of a model" in result.program()


def test_odd_names_of_layers_stay_what_they_are(tmp_path):
    model = nn.Sequential()
    for name in ("a (b", 'quote"', "back\\slash", "ümlaut,", "{brace}", "two\nlines", "\udc80", "\N{GRINNING FACE}"):
        model.add_module(name, nn.Conv2d(8, 8, 3, padding=1))
    x = torch.randn(1, 8, 9, 9)
    expected, result = convcost.replace(model, x, to="spatially-separable-depthwise")
    assert_same_model(altered_by(result.program(), model, tmp_path), expected, x)


class TwoPlaces(nn.Module):
    """A module that reaches its convolutions by another path than their first."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.all = nn.ModuleList([self.first, nn.ReLU(), nn.Conv2d(8, 16, 3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.all:
            x = part(x)
        return x


def test_a_layer_in_two_places_is_replaced_in_both(tmp_path):
    model, x = TwoPlaces(), torch.randn(1, 8, 9, 9)
    expected, result = convcost.replace(model, x, to="depthwise-separable")
    altered = altered_by(result.program(), model, tmp_path)
    assert altered.all[0] is altered.first
    assert_same_model(altered, expected, x)


def test_the_command_writes_the_file_and_never_over_a_folder(tmp_path, capsys):
    path = tmp_path / "altered.py"
    words = [
        "replace",
        "network:mobilenet_v1_full",
        "--arg",
        "alpha=0.25",
        "--to",
        "depthwise-separable",
        "--no-cross-check",
    ]
    assert main([*words, "--emit", str(path)]) == 0
    assert f"note: {path}: written; its function alter" in capsys.readouterr().err
    model = load(path.read_text(encoding="utf-8"), tmp_path)
    assert len(model["blocks"]()) == 13
    assert main([*words, "--emit", str(path)]) == 0  # over its own file
    path.write_text("mine = 1\n", encoding="utf-8")
    assert main([*words, "--emit", str(path)]) == 2
    assert f"emit (={path}) must not be a file that convcost did not write" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "mine = 1\n"
    for file, rule in (
        ("altered.txt", "must end in .py"),
        ("", "must end in .py"),
        ("none/altered.py", "must be in a folder"),
    ):
        assert main([*words, "--emit", str(tmp_path / file)]) == 2
        assert f"emit (={tmp_path / file}) {rule}" in capsys.readouterr().err


def test_the_file_of_the_target_stays_even_if_convcost_wrote_its_first_line(tmp_path, capsys):
    path = tmp_path / "net.py"
    text = f"{WRITTEN}\nfrom torch import nn\nnet = nn.Sequential(nn.Conv2d(8, 8, 3))\n"
    path.write_text(text, encoding="utf-8")
    words = ["replace", f"{path}:net", "--input", "1x8x9x9", "--to", "depthwise-separable", "--emit", str(path)]
    assert main(words) == 2
    assert f"emit (={path}) must not be the file of target" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == text


def test_a_block_is_not_written_over_a_file_of_the_users(tmp_path, capsys):
    path = tmp_path / "block.py"
    words = ["explain", "depthwise-separable", "--c", "8", "--o", "8", "--k", "3", "--emit", str(path)]
    assert main(words) == main(words) == 0
    path.write_bytes(b"\xff" * 100)
    assert main(words) == 2
    assert "convcost did not write" in capsys.readouterr().err
    assert path.read_bytes() == b"\xff" * 100


class Elsewhere(nn.Module):
    """A module that reaches its convolutions through a list, a dict and a tuple, one of them by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.steps: Any = [self.a, {"b": (self.b,)}]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, others = self.steps
        out: torch.Tensor = self.c(input=others["b"][0](first(x)))
        return out


@pytest.mark.parametrize("block", ["depthwise-separable", "inverted-residual", "ghost"])
def test_a_layer_is_replaced_wherever_the_model_holds_it(block, tmp_path):
    model, x = Elsewhere(), torch.randn(1, 8, 9, 9)
    expected, result = convcost.replace(model, x, to=block)
    assert len(result.replaced) == 3
    altered = altered_by(result.program(), model, tmp_path)
    assert convcost.count(altered, x).totals.macs == result.after.totals.macs
    assert_same_model(altered, expected, x)


def test_the_memory_format_is_that_of_the_layer(tmp_path):
    model = network()
    for weight in model.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    expected, result = convcost.replace(model, torch.zeros(1, 8, 14, 15), to="low-rank")
    altered = altered_by(result.program(), model, tmp_path)
    strides = [[one.stride() for one in each.parameters()] for each in (expected, altered)]
    assert strides[0] == strides[1] != [one.contiguous().stride() for one in expected.parameters()]
