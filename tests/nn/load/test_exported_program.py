"""Files of torch.export: read as they were exported, and nothing in them is ever called."""

from __future__ import annotations

import io
import json
import math
import operator
import os
import pickle
import re
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import torch
from calls import Calls, zeros
from torch import nn

import convcost
from convcost.nn.load.exported_program import (
    _LAYOUTS,
    _MEMORY_FORMATS,
    _function,
    read_program,
)
from convcost.nn.load.program_file import SCALAR_TYPES
from convcost.nn.load.target import load_target
from convcost.nn.load.weights import convolutions_of
from convcost.text.errors import ConvcostError
from convcost.text.sizes import Input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # torch 2.13 warns of itself as it saves
needs_2_8 = pytest.mark.skipif(torch.__version__ < "2.8", reason="torch before 2.8 writes files of the former layout")


class Net(nn.Module):
    """Parameters, buffers of both kinds, a constant, list outputs, and tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.head = nn.Linear(8, 5)
        self.tied = self.head
        self.register_buffer("scale", torch.full((5,), 2.0))
        self.register_buffer("hidden", torch.full((5,), 3.0), persistent=False)
        self.constant = torch.arange(5.0)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        first, second = self.stem(x).chunk(2, 1)
        y = self.tied(torch.cat([second, first], 1).mean((2, 3))) * self.scale + self.hidden + self.constant
        y = self.head(torch.cat([y, y], 1)[:, :8]) if mask is None else y + mask
        return {"y": y.to(torch.float64), "top": y.topk(2)[1]}


def branches(net: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.cond(x.shape[0] > 2, net.layer, lambda x: x + 1, (x,))


def attention(net: Any, x: torch.Tensor) -> torch.Tensor:
    batch, steps, width = x.shape
    heads = net.layer(x).view(batch, steps, 2, width // 2).transpose(1, 2)
    with torch.no_grad():
        heads = heads + 1
    return nn.functional.scaled_dot_product_attention(heads, heads, heads).reshape(batch, 2 * steps // 2, width)


FREE = torch.export.Dim("free", max=9)
PROGRAMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[int, Any]]] = {
    "a network": (lambda: Net().eval(), (2, 3, 9, 9), {}),
    "a network in training": (Net, (2, 3, 9, 9), {}),
    "sizes left open": (lambda: Calls(attention, layer=nn.Linear(4, 4)), (3, 5, 4), {0: FREE}),
    "branches": (lambda: Calls(branches, layer=nn.Linear(4, 4)), (3, 4), {0: FREE}),
    "a buffer counts": (lambda: Calls(lambda m, x: x + m.count.add_(1), count=nn.Buffer(zeros(1))), (3,), {}),
    "one argument of many": (lambda: Calls(lambda _, x: torch.einsum("ij,kj->ik", x, x).pow(2.5)), (3, 4), {}),
}


def exported(
    module: nn.Module, inputs: tuple[torch.Tensor, ...], free: dict[int, Any] | None = None, **named: Any
) -> Any:
    return torch.export.export(module, inputs, named, dynamic_shapes=(((free,),) if free else None))


def save_as_before_2_8(program: Any, path: Path) -> None:
    """The file that `torch.export.save` of torch 2.7 writes."""
    from torch._export.serde.serialize import serialize

    made = serialize(program)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.8")
        archive.writestr("serialized_exported_program.json", made.exported_program)
        archive.writestr("serialized_state_dict.pt", made.state_dict)
        archive.writestr("serialized_constants.pt", made.constants)
        archive.writestr("serialized_example_inputs.pt", made.example_inputs)


SAVES: dict[str, Callable[[Any, Path], None]] = {"today": torch.export.save, "torch 2.7": save_as_before_2_8}


@pytest.mark.filterwarnings(
    "ignore:(Attempted to insert a|Node constant target):UserWarning"
)  # torch 2.6, of its own module
@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES.keys())
@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize(("make", "sizes", "free"), PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_computes_what_it_did(
    *,
    make: Callable[[], nn.Module],
    sizes: tuple[int, ...],
    free: dict[int, Any],
    decomposed: bool,
    save: Any,
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    x = torch.rand(sizes)
    program = exported(make(), (x,), free)
    program = program.run_decompositions() if decomposed else program
    save(program, tmp_path / "net.pt2")
    read = read_program(tmp_path / "net.pt2")
    assert read.inputs == (Input(sizes),)
    theirs, ours, flat = program.module(), read.module, torch.utils._pytree.tree_leaves
    for _ in range(2):  # a second call sees what the first one changed
        torch.testing.assert_close(flat(ours(x)), flat(theirs(x)))
    assert {name: tuple(one.shape) for name, one in ours.state_dict().items()} == {
        name: tuple(one.shape) for name, one in theirs.state_dict().items()
    }
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]


def test_an_input_that_was_named_stays_named(tmp_path: Path) -> None:
    x, mask = torch.rand(2, 3, 9, 9), torch.rand(2, 5)
    torch.export.save(exported(Net().eval(), (x,), mask=mask), tmp_path / "net.pt2")
    read = read_program(tmp_path / "net.pt2")
    assert read.inputs == (Input((2, 3, 9, 9)), Input((2, 5), name="mask"))
    assert read.module(x, mask=mask)[0].shape == (2, 5)


@pytest.mark.parametrize("sizes", [(2, 4), (10, 4), (3, 5), (3,), (3, 4, 1)])
def test_sizes_that_the_export_did_not_leave_open_are_refused(sizes: tuple[int, ...], tmp_path: Path) -> None:
    program = exported(Calls(lambda m, x: m.layer(x), layer=nn.Linear(4, 4)), (zeros(3, 4),), {0: FREE})
    torch.export.save(program, tmp_path / "net.pt2")
    module = read_program(tmp_path / "net.pt2").module
    if sizes == (2, 4):
        assert module(zeros(*sizes)).shape == (2, 4)
        return
    with pytest.raises(ConvcostError, match=rf"\(={'x'.join(map(str, sizes))}\) must be s\d+x4.*to 9"):
        module(zeros(*sizes))


def test_numbers_of_dtypes_layouts_and_memory_formats_are_those_of_torch() -> None:
    from torch._export.serde import serialize

    dtypes = {int(key): str(value) for key, value in serialize._SERIALIZE_TO_TORCH_DTYPE.items()}
    layouts = {int(key): str(value) for key, value in serialize._SERIALIZE_TO_TORCH_LAYOUT.items()}
    formats = {int(key): str(value) for key, value in serialize._SERIALIZE_TO_TORCH_MEMORY_FORMAT.items()}
    assert {key: f"torch.{value}" for key, value in SCALAR_TYPES.items()}.items() >= dtypes.items()
    assert {key: f"torch.{value}" for key, value in _LAYOUTS.items()}.items() >= layouts.items() - {
        (6, "torch._mkldnn")
    }
    assert {key: f"torch.{value}" for key, value in _MEMORY_FORMATS.items()} == formats


# Attacks


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A folder that must never be there."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists()


def torch_saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def traps(marker: Path) -> dict[str, bytes]:
    """A pickle of each form that torch reads."""
    old_form = io.BytesIO()
    torch.save({"head.weight": Trap(marker)}, old_form, _use_new_zipfile_serialization=False)
    return {
        "pickle": pickle.dumps(Trap(marker)),
        "protocol 0": pickle.dumps(Trap(marker), protocol=0),
        "torch.save": torch_saved({"head.weight": Trap(marker)}),
        "torch.save before 1.6": old_form.getvalue(),
    }


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, held: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in held.items():
            archive.writestr(name, data)


def use(path: Path) -> None:
    """Use a file in every way that a target is used; what is refused is refused in one line."""
    for action in (load_target, lambda target: convolutions_of(target, {})):
        try:
            made: Any = action(str(path))
            if isinstance(made, tuple):
                for layer in made[0]:
                    layer.read()
            else:
                made.module(torch.zeros(2, 3, 9, 9))
        except ConvcostError as error:
            message = str(error)
        except (TypeError, RuntimeError, KeyError):  # of the forward pass, for another graph
            message = ""
        else:
            message = ""
        assert "\n" not in message


def test_the_traps_work(marker: Path) -> None:
    for trap in traps(marker).values():
        with suppress(Exception):  # a pickle alone is no file of torch.save
            torch.load(io.BytesIO(trap), weights_only=False)
        marker.rmdir()


@pytest.mark.parametrize("suffix", [".pt2", ".pth", ".safetensors", ".bin", ""])
@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES.keys())
def test_a_pickle_in_place_of_any_member_is_not_called(save: Any, suffix: str, marker: Path, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pt2", tmp_path / f"net{suffix}"
    save(exported(Net().eval(), (zeros(2, 3, 9, 9),)), whole)
    held = members(whole)
    for name in held:
        for trap in traps(marker).values():
            write(path, {**held, name: trap})
            use(path)
            assert not marker.exists(), name


@needs_2_8
def test_a_weight_a_constant_or_an_object_that_is_a_pickle_is_refused_with_the_reason(
    marker: Path, tmp_path: Path
) -> None:
    whole, path = tmp_path / "whole.pt2", tmp_path / "net.pt2"
    torch.export.save(exported(Net().eval(), (zeros(2, 3, 9, 9),)), whole)
    held = members(whole)
    for kind, place in (
        ("weights", "weight_0"),
        ("constants", "tensor_0"),
        ("constants", "opaque_obj_0"),
        ("constants", "custom_obj_0"),
    ):
        config = f"whole/data/{kind}/model_{kind}_config.json"
        for meta in (True, False):
            listed = json.loads(held[config])
            entry = next(iter(listed["config"].values()))
            entry |= {"path_name": place, "use_pickle": True} | ({} if meta else {"tensor_meta": None})
            for trap in traps(marker).values():
                write(path, {**held, config: json.dumps(listed).encode(), f"whole/data/{kind}/{place}": trap})
                with pytest.raises(
                    ConvcostError, match=r"is a pickle, which runs any code when it is read; .*file\.py:callable"
                ):
                    load_target(str(path))


def test_legacy_weights_beside_the_graph_are_read_and_never_called(marker: Path, tmp_path: Path) -> None:
    """Files of torch 2.8 have their weights in `model.pt`."""
    module, x = Net().eval(), torch.rand(2, 3, 9, 9)
    whole, path = tmp_path / "whole.pt2", tmp_path / "net.pt2"
    program = exported(module, (x,))
    torch.export.save(program, whole)
    held = members(whole)
    legacy = {
        "whole/data/weights/model.pt": torch_saved(program.state_dict),
        "whole/data/constants/model.pt": torch_saved(dict(program.constants)),
    }
    write(path, {**held, **legacy})
    torch.testing.assert_close(read_program(path).module(x)[0], module(x)["y"])
    for name in legacy:
        for trap in traps(marker).values():
            write(path, {**held, **legacy, name: trap})
            with pytest.raises(ConvcostError):
                load_target(str(path))


CODE = (
    "__import__('os').mkdir({0!r})",
    "x=__import__('os').mkdir({0!r})",
    "x, y=__import__('os').mkdir({0!r})",
    "x: __import__('os').mkdir({0!r})",
    "x\n    __import__('os').mkdir({0!r})\n",
    "x'), __import__('os').mkdir({0!r}), ('",
    'x"), __import__("os").mkdir("{0}"), ("',
    "torch.os.mkdir",
    "torch.ops.aten.relu.default.__init__.__globals__",
    "_operator.attrgetter",
)


@needs_2_8
def test_code_in_place_of_any_text_of_the_graph_is_not_run(marker: Path, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pt2", tmp_path / "net.pt2"
    module = Calls(attention, layer=nn.Linear(4, 4))
    torch.export.save(exported(module, (zeros(3, 5, 4),), {0: FREE}), whole)
    held = members(whole)
    graph = held["whole/models/model.json"].decode()
    texts = {
        text for text in re.findall(r'"(?:[^"\\]|\\.)*"', graph) if "stack_trace" not in text and "File" not in text
    }
    for text in sorted(texts):
        for code in CODE:
            evil = json.dumps(code.format(str(marker)))
            write(path, {**held, "whole/models/model.json": graph.replace(text, evil).encode()})
            use(path)
            assert not marker.exists(), (text, code)


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",  # maps a file, and makes it
        "torch.ops.aten.from_file.out",
        "torch.ops.aten._print.default",  # writes on stdout
        "torch.ops.aten.save.default",  # writes a file
        "torch.ops.debugprims.load_tensor.default",
        "torch.ops.c10d.send.default",
        "torch.ops.profiler._record_function_enter.default",
        "torch.ops.higher_order.print",
        "torch.ops.higher_order.run_const_graph",
        "torch.ops.higher_order.aoti_call_delegate",
        "torch.ops.load_library",
        "torch.ops.load_library.__call__.__class__",
        "torch.ops.aten.conv2d.__init__",
        "torch.ops.aten.no_such.default",
        "torch.os.system",
        "torch.load",
        "math.__loader__.load_module",
        "_operator.methodcaller",
        "#aten:relu",
        "",
    ],
)
def test_a_call_of_anything_but_an_operator_that_computes_is_refused(target: str) -> None:
    with pytest.raises(ConvcostError, match=re.escape(f"it calls {target}, which is no operator")):
        _function(target)


def test_operators_that_compute_are_known() -> None:
    assert _function("torch.ops.aten.conv2d.default") is torch.ops.aten.conv2d.default
    assert _function("torch.ops.aten.add.Tensor") is torch.ops.aten.add.Tensor
    assert (_function("_operator.mul"), _function("math.ceil")) == (operator.mul, math.ceil)


def test_native_code_of_a_package_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    write(path, {"net/archive_format": b"pt2", "net/data/aotinductor/model/model.so": b"\x7fELF"})
    with pytest.raises(ConvcostError, match=r"AOTInductor, whose native code is not loaded; give the Python"):
        load_target(str(path))


def test_damaged_programs_are_refused_in_one_line_without_words_of_torch(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, path = tmp_path / "whole.pt2", tmp_path / "net.pt2"
    torch.export.save(exported(Net().eval(), (zeros(2, 3, 9, 9),)), whole)
    held = members(whole)
    for name in held:
        for data in (b"", b"{}", b"[]", b'"', b"[" * 100_000, b"9" * 5001, held[name][: len(held[name]) // 2]):
            write(path, {**held, name: data})
            use(path)
        write(path, {key: value for key, value in held.items() if key != name})
        use(path)
    capfd.readouterr()
    for cut in range(0, len(whole.read_bytes()), 997):
        path.write_bytes(whole.read_bytes()[:cut])
        use(path)
    assert capfd.readouterr() == ("", "")


def test_a_program_that_fails_as_it_runs_prints_no_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole, path = tmp_path / "whole.pt2", tmp_path / "net.pt2"
    torch.export.save(exported(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), (zeros(1, 3),)), whole)
    renamed = {key: data.replace(b'"input"', b'"torch"') for key, data in members(whole).items()}
    write(path, renamed)
    module = load_target(str(path)).module
    with pytest.raises(ConvcostError, match="AttributeError: 'Tensor' object has no attribute 'ops'; change the input"):
        convcost.count(module, zeros(1, 3))
    assert capfd.readouterr() == ("", "")


def test_a_compressed_member_is_refused(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pt2", tmp_path / "net.pt2"
    torch.export.save(exported(nn.Linear(3, 3), (zeros(1, 3),)), whole)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members(whole).items():
            archive.writestr(name, data)
    with pytest.raises(ConvcostError, match="in it is compressed"):
        load_target(str(path))


@needs_2_8
def test_a_tensor_beyond_its_bytes_is_refused_and_one_without_bytes_takes_no_memory(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pt2", tmp_path / "net.pt2"
    torch.export.save(exported(nn.Linear(3, 3), (zeros(1, 3),)), whole)
    held = members(whole)
    config = "whole/data/weights/model_weights_config.json"
    listed = json.loads(held[config])
    listed["config"]["weight"]["tensor_meta"]["sizes"] = [{"as_int": 10**9}, {"as_int": 3}]
    larger = {**held, config: json.dumps(listed).encode()}
    write(path, larger)
    with pytest.raises(ConvcostError, match="storage"):
        load_target(str(path))
    write(path, {**larger, "whole/data/weights/weight_0": b""})
    assert load_target(str(path)).module.weight.is_meta
