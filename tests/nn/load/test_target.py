"""Targets of every kind, and every way in which one can be wrong."""

from __future__ import annotations

import pickle
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from convcost.nn.count.model_report import report
from convcost.nn.load.target import load_real, load_target, tensors_for
from convcost.text.errors import ConvcostError, MissingPackageError
from convcost.text.sizes import Input

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
import torch
from torch import nn

instance = nn.Linear(3, 4)
number = 5

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.a = nn.Linear(3, width)

def make(width=4):
    return Net(width)

def looks_at_values():
    net = Net()
    net.scale = float(net.a.weight.sum().item())
    return net

def without_weights():
    first, last = nn.Linear(4, 4, device="meta"), nn.Linear(4, 4, device="meta")
    last.weight = first.weight
    return nn.Sequential(first, nn.BatchNorm1d(4, device="meta"), last)

def scripted():
    return torch.jit.script(nn.Linear(3, 4))

def raises():
    raise RuntimeError("no weights here")

def gives_a_number():
    return 5

class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")

def raises_mute():
    raise Mute

class Unknown:
    @property
    def __class__(self):
        raise RuntimeError("no class")

unknown = Unknown()

class NoEval(Net):
    def eval(self):
        raise Mute
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "nets_of_test.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets_of_test", raising=False)
    return "nets_of_test.py"


def test_a_function_or_a_class_of_a_file_is_called_without_weights(file: str) -> None:
    for name in ("make", "Net"):
        loaded = load_target(f"{file}:{name}", {"width": 7})
        assert loaded.module.a.weight.shape == (7, 3)
        assert loaded.module.a.weight.device.type == "meta"
        assert not loaded.module.training


def test_a_name_of_a_package_is_found_from_the_current_folder(file: str) -> None:
    assert load_target(f"{file.removesuffix('.py')}:make").module.a.weight.shape == (4, 3)


def test_the_import_path_is_put_back(file: str) -> None:
    before = list(sys.path)
    load_target(f"{file}:make")
    assert sys.path == before


def test_a_model_that_makes_no_weights_itself_gets_zeros_for_timing(file: str) -> None:
    loaded = load_real(f"{file}:without_weights")
    assert {str(tensor.device) for tensor in loaded.module.state_dict().values()} == {"cpu"}
    assert not any(tensor.any() for tensor in loaded.module.state_dict().values())
    first, _, last = loaded.module.children()
    assert last.weight is first.weight
    assert loaded.note == "made on the meta device, without weights: zeros take their place"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # scripting is what is tested
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_scripted_module_is_loaded(file: str, device: str) -> None:
    assert load_target(f"{file}:scripted", device=device).module.weight.device.type == device


def test_an_instance_is_used_as_it_is(file: str) -> None:
    assert isinstance(load_target(f"{file}:instance").module, nn.Linear)


def test_a_factory_that_looks_at_values_is_made_on_the_cpu_and_said(file: str) -> None:
    loaded = load_target(f"{file}:looks_at_values")
    assert loaded.note is not None
    assert "CPU" in loaded.note


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", ["missing"]),
        ("number", ["number"]),
        ("raises", ["no weights here", "nets_of_test.py:"]),
        ("gives_a_number", ["gives_a_number"]),
        ("raises_mute", ["being called: Mute at ", "nets_of_test.py:"]),
        ("unknown", ["being loaded: RuntimeError: no class at ", "nets_of_test.py:"]),
        ("Unknown", ["being loaded: RuntimeError: no class at ", "nets_of_test.py:"]),
        ("NoEval", ["being loaded: Mute at ", "nets_of_test.py:"]),
    ],
)
def test_a_target_that_gives_no_module_is_one_line(file: str, name: str, words: list[str]) -> None:
    with pytest.raises(ConvcostError) as caught:
        load_target(f"{file}:{name}")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "target", ["", "nothing", "no_such_file.py:make", "no_such_module:make", "a/b.txt", "network:"]
)
def test_a_target_of_no_known_form_is_one_line(file: str, target: str) -> None:
    assert file
    with pytest.raises(ConvcostError) as caught:
        load_target(target)
    assert "\n" not in str(caught.value)


def test_a_network_as_data_brings_its_input() -> None:
    loaded = load_target("network:mobilenet_v1", {"resolution": 160})
    assert loaded.default_input == (Input((1, 3, 160, 160)),)
    assert loaded.note is None


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(ConvcostError, match="did you mean mobilenet_v1"):
        load_target("network:mobilenet_v11")


def test_a_network_without_its_prefix_or_with_another_one_is_found() -> None:
    with pytest.raises(ConvcostError, match=r"Did you mean network:resnet18\?$"):
        load_target("resnet18")
    with pytest.raises(ConvcostError, match=r"there is no netwrok; did you mean network\?$"):
        load_target("netwrok:resnet18")


def test_an_exported_program_brings_its_input(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(nn.Linear(3, 4).eval(), (torch.zeros(2, 3),)), path)
    loaded = load_target(str(path))
    assert loaded.default_input == (Input((2, 3)),)
    assert sum(p.numel() for p in loaded.module.parameters()) == 16


def test_a_pickle_is_refused_with_the_reason(tmp_path: Path) -> None:
    for name in ("model.pt", "model.pkl"):
        path = tmp_path / name
        if name.endswith("pt"):
            torch.save(nn.Linear(3, 4), path)
        else:
            path.write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(ConvcostError, match=r"code"):
            load_target(str(path))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # the file must be made with it to be refused
def test_torchscript_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "scripted.pt"
    torch.jit.script(nn.Linear(3, 4)).save(str(path))
    with pytest.raises(ConvcostError, match=r"TorchScript.*code"):
        load_target(str(path))


def test_torchvision_is_asked_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = types.ModuleType("torchvision")
    models: Any = types.ModuleType("torchvision.models")
    models.get_model = lambda _, **options: nn.Linear(3, options.get("num_classes", 4))
    models.list_models = lambda: ["small"]
    models.small = lambda **options: nn.Linear(3, options.get("num_classes", 4))
    package.models = models
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    assert load_target("torchvision:small", {"num_classes": 9}).module.out_features == 9


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_a_package_that_is_not_there_is_said_with_the_next_step(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=package):
        load_target(f"{package}:resnet18")


def test_tensors_have_the_sizes_and_dtypes_that_were_asked_for() -> None:
    wanted = (Input((1, 3)), Input((2,), "int64", "tokens"))
    positional, named = tensors_for(wanted, "meta")
    assert [(tuple(t.shape), t.dtype) for t in positional] == [((1, 3), torch.float32)]
    assert (tuple(named["tokens"].shape), named["tokens"].dtype) == ((2,), torch.int64)


def test_inputs_that_do_not_fit_into_memory_are_refused_before_they_are_allocated() -> None:
    with pytest.raises(ConvcostError, match=r"input \(=12.0 TB\) must fit into memory twice.* take a smaller input"):
        tensors_for((Input((10**6, 3, 10**6)),), "cpu")
    assert tensors_for((Input((10**6, 3, 10**6)),), "meta")[0][0].numel() == 3 * 10**12


def test_meta_inputs_are_not_made_real_beyond_the_memory() -> None:
    with pytest.raises(ConvcostError, match=r"input \(=12.0 TB\) must fit into memory twice"):
        report(nn.Identity(), (torch.empty(10**6, 3, 10**6, device="meta"),), device="cpu")
