"""Where a network's convolutions are found: modules of every kind, and files of weights."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convcost.cli import main
from convcost.kernels.columns import LAYER_COLUMNS
from convcost.nn.build.conv_module import conv_of
from convcost.nn.load.spectrum import ConvWeights, layer_row
from convcost.nn.load.weights import convolutions_of
from convcost.text.errors import ConvcostError, MissingPackageError

SOURCE = """
import torch
from torch import nn

def small(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, 8, 1), nn.Conv2d(8, 8, (1, 5), groups=8))

def others():
    return nn.Sequential(nn.Conv1d(3, 4, 3), nn.Conv3d(3, 4, 3), nn.ConvTranspose2d(3, 6, 2, stride=2))

def normed():
    return nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))

def linear():
    return nn.Sequential(nn.Linear(3, 4), nn.Conv2d(3, 4, 1))

def lazy():
    return nn.LazyConv2d(4, 3)

def functional():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 2, 3, 3))
        def forward(self, x):
            return nn.functional.conv2d(x, self.weight)
    return Own()

def shared():
    first, second = nn.Conv2d(4, 4, 3, bias=False), nn.Conv2d(4, 4, 3, bias=False)
    second.weight = first.weight
    return nn.Sequential(first, second, first)

def partly_functional():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3)
            self.bank = nn.Parameter(torch.randn(5, 5, 3, 3))
        def forward(self, x):
            return nn.functional.conv2d(self.conv(x), self.bank)
    return Both()
"""


class Trap:
    """What an attacker pickles: opening it writes a file."""

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("opened"),)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets_of_kernels.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets_of_kernels", raising=False)
    return tmp_path


def found(target: str, **args: Any) -> dict[str, tuple[object, ...]]:
    layers, _ = convolutions_of(target, args)
    return {
        one.name: (one.op, one.conv.in_channels, one.conv.out_channels, one.conv.kernel_size, one.conv.groups)
        for one in layers
    }


def test_convolutions_of_a_module_with_a_kernel_above_1x1() -> None:
    assert found("nets_of_kernels.py:small", width=6) == {
        "0": ("Conv2d", 3, 6, (3, 3), 1),
        "2": ("Conv2d", 8, 8, (1, 5), 8),
    }


def test_convolutions_over_other_axes_are_left_out_and_that_is_said() -> None:
    assert found("nets_of_kernels.py:others") == {"2": ("ConvTranspose2d", 3, 6, (2, 2), 1)}
    _, notes = convolutions_of("nets_of_kernels.py:others", {})
    assert notes == ("2 convolutions over one or three axes are left out: a pair of K×1 and 1×K needs two.",)


def test_a_parametrised_weight_is_that_which_is_used() -> None:
    (layer,), _ = convolutions_of("nets_of_kernels.py:normed", {})
    assert layer.read().shape == (4, 3, 3, 3)
    assert layer_row(layer).spectrum.kernels == 12


def test_a_weight_that_no_convolution_module_owns_is_found_by_its_shape() -> None:
    (layer,), notes = convolutions_of("nets_of_kernels.py:functional", {})
    assert (layer.conv.in_channels, layer.conv.out_channels) == (2, 5)
    assert notes[0].startswith("weights alone tell neither groups nor stride")


def test_a_network_as_data_has_weights_and_says_that_they_are_not_trained() -> None:
    layers, notes = convolutions_of("network:mobilenet_v1", {"alpha": 0.25})
    assert [one.conv.groups for one in layers[:2]] == [1, 8]
    assert any("has no trained weights" in note for note in notes)


def test_a_state_dict_is_read_tensor_by_tensor(folder: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 9, 1))
    torch.save({"epoch": 3, "state_dict": module.state_dict()}, folder / "w.pt")
    expected = {"state_dict.0": (None, 3, 4, (3, 3), 1), "state_dict.2": (None, 4, 4, (3, 3), 4)}
    assert found("w.pt") == expected
    layers, notes = convolutions_of("w.pt", {})
    assert torch.equal(layers[0].read(), module[0].get_parameter("weight"))
    assert notes[0].startswith("weights alone tell neither groups nor stride")
    (stride,) = [column for column in LAYER_COLUMNS if column.name == "stride"]
    assert stride.value(layer_row(layers[0])) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_safetensors_are_read_tensor_by_tensor(folder: Path, dtype: torch.dtype) -> None:
    weight = torch.randn(4, 3, 3, 3).to(dtype)
    save_file(
        {"stem.weight": weight, "fc.weight": torch.ones(2, 2), "stem.bias": torch.ones(4)}, folder / "w.safetensors"
    )
    assert found("w.safetensors") == {"stem": (None, 3, 4, (3, 3), 1)}
    layers, _ = convolutions_of("w.safetensors", {})
    assert torch.equal(layers[0].read(), weight)


def test_without_safetensors_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    save_file({"w": torch.ones(2)}, folder / "w.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingPackageError, match=r"; pip install safetensors\.$"):
        convolutions_of("w.safetensors", {})


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.safetensors", "w"])
def test_a_pickle_is_refused_before_it_is_opened_as_one(folder: Path, name: str) -> None:
    (folder / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ConvcostError, match=r"must be no pickle, which could run any code when opened; "):
        convolutions_of(name, {})
    assert not (folder / "opened").exists()


def test_a_checkpoint_that_holds_more_than_weights_runs_nothing(folder: Path) -> None:
    torch.save({"weights": torch.ones(2), "trap": Trap()}, folder / "w.pt")
    with pytest.raises(ConvcostError, match=r"must hold weights alone; it names other objects"):
        convolutions_of("w.pt", {})
    assert not (folder / "opened").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nets_of_kernels.py:linear", "must have a convolution over two axes with a kernel above 1x1; it has none."),
        ("nets_of_kernels.py:lazy", "layer (=LazyConv2d) must have weights: it is lazy"),
        ("gone.pt", "target (=gone.pt) must be a file that is there; "),
        ("broken.safetensors", "must be a whole safetensors file: "),
        ("broken.pt", "broken.pt"),
        ("no_such_package:model", "no_such_package"),
    ],
)
def test_targets_without_convolutions_are_refused_in_one_line(folder: Path, target: str, message: str) -> None:
    (folder / "broken.safetensors").write_bytes(b"nothing")
    torch.save({"a": torch.ones(100)}, folder / "whole.pt")
    (folder / "broken.pt").write_bytes((folder / "whole.pt").read_bytes()[:-60])
    with pytest.raises(ConvcostError) as error:
        convolutions_of(target, {})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_not_as_torch_saves_it_is_refused(folder: Path) -> None:
    torch.save({"a.weight": torch.ones(64, 64, 3, 3)}, folder / "whole.pt")
    with (
        zipfile.ZipFile(folder / "whole.pt") as whole,
        zipfile.ZipFile(folder / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(ConvcostError, match=r"must be as torch.save writes it, and .* in it is compressed"):
        convolutions_of("packed.pt", {})
    torch.save({"a.weight": torch.ones(1).expand(200, 200, 3, 3)}, folder / "grows.pt")
    (layer,), _ = convolutions_of("grows.pt", {})
    with pytest.raises(ConvcostError, match=r"tensor \(=a.weight\) must hold its own numbers"):
        layer_row(layer)
    (folder / "text.pt").write_text("no weights", encoding="utf-8")
    with pytest.raises(
        ConvcostError, match=r"target \(=text.pt\) must hold weights, and this file holds something else"
    ):
        convolutions_of("text.pt", {})


def test_an_exported_program_tells_groups_and_stride_and_what_is_transposed(folder: Path) -> None:
    module = nn.Sequential(nn.Conv2d(4, 8, 3, 2, groups=2), nn.ConvTranspose2d(8, 6, (5, 2), (2, 1), groups=2)).eval()
    torch.export.save(torch.export.export(module, (torch.ones(1, 4, 9, 9),)), folder / "net.pt2")
    (first, second), _ = convolutions_of("net.pt2", {})
    assert (first.conv.in_channels, first.conv.out_channels, first.conv.groups, first.conv.stride) == (4, 8, 2, (2, 2))
    assert (second.conv.in_channels, second.conv.out_channels, second.conv.groups) == (8, 6, 2)
    assert (second.conv.transposed, second.conv.stride) == (True, (2, 1))
    for ours, theirs in ((first, module[0]), (second, module[1])):
        of_module = ConvWeights("0", None, conv_of(theirs), partial(getattr, theirs, "weight"))
        assert layer_row(ours).spectrum == layer_row(of_module).spectrum


def test_a_shared_weight_counts_once_in_the_totals(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert folder.exists()
    assert main(["kernel", "--model", "nets_of_kernels.py:shared", "--format", "json"]) == 0
    streams = capsys.readouterr()
    assert [layer["params_before"] for layer in json.loads(streams.out)["layers"]] == [144, 144]
    assert "keep 99 % of the energy: 144 → " in streams.err


def test_weights_of_no_convolution_module_are_named(folder: Path) -> None:
    assert folder.exists()
    _, notes = convolutions_of("nets_of_kernels.py:partly_functional", {})
    assert notes == ("weights of no convolution module are left out, whatever is done with them: bank.",)


def test_arguments_of_a_file_of_weights_go_nowhere(folder: Path) -> None:
    torch.save({"a.weight": torch.ones(1, 1, 3, 3)}, folder / "w.pt")
    with pytest.raises(ConvcostError, match=r"arg width goes nowhere: w.pt is a file of weights"):
        convolutions_of("w.pt", {"width": 2})


@pytest.mark.filterwarnings("always")
def test_torchs_warnings_about_a_file_do_not_reach_the_user(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    weight = torch._make_per_tensor_quantized_tensor(torch.zeros(4, 3, 3, 3, dtype=torch.int8), 1.0, 0)
    torch.save({"weight": weight}, folder / "w.pth")
    recwarn.clear()
    convolutions_of("w.pth", {})
    assert [str(one.message) for one in recwarn] == []
