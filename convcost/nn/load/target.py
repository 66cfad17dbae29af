"""Files that hold a model: told apart by what is in them, without running any of it."""

from __future__ import annotations

import importlib
import inspect
import zipfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from convcost.convolution.tree import place
from convcost.models.network import read_network, read_packaged_network
from convcost.nn.build.tree_module import build
from convcost.nn.load.user_code import PASSED_THROUGH, attribute, import_user_module, refuse_raised, user_code_context
from convcost.text.errors import ConvcostError, MissingPackageError, did_you_mean
from convcost.text.sizes import DTYPES, TARGET_RULE, Input

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.models.network import Network


__all__ = [
    "Loaded",
    "kind_of",
    "load_exported",
    "load_real",
    "load_target",
    "refuse_code",
    "tensors_for",
    "zoo_factory",
]

_ZIP: Final = b"PK\x03\x04"
_PICKLE: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_REFUSALS: Final = {
    "torchscript": (
        "is a TorchScript archive, which runs the code that it holds; "
        "give the Python that makes the model, as file.py:callable, or export it with torch.export to a .pt2 file."
    ),
    "pickle": (
        "is a pickle, which runs any code when it is read (or holds weights without a model); "
        "give the Python that makes the model, as file.py:callable."
    ),
    "safetensors": "holds weights without a model; give the Python that makes the model, as file.py:callable.",
    "unknown": "must be a .toml, a .pt2 (torch.export) or PYTHON_FILE:CALLABLE; give one of these.",
}


def kind_of(path: Path) -> str:
    """What a file holds: `pt2`, or one of the kinds that are refused; the suffix alone decides for safetensors.

    Raises:
        ConvcostError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start == _ZIP:
            with zipfile.ZipFile(path) as archive:
                return _kind_of_archive(archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        msg = f"target (={path}) must be a file that can be read: {error}; write it again, or give another path."
        raise ConvcostError(msg) from error
    if start[:2] in _PICKLE:
        return "pickle"
    return "safetensors" if path.suffix == ".safetensors" else "unknown"


def _kind_of_archive(names: list[str]) -> str:
    inner = {name.partition("/")[2] for name in names}
    if "models/model.json" in inner or "serialized_exported_program.json" in names:
        return "pt2"
    if "constants.pkl" in inner:
        return "torchscript"
    return "pickle" if "data.pkl" in inner else "unknown"


def refuse_code(path: Path) -> None:
    """Refuse every file that is no exported program, with the reason.

    Raises:
        ConvcostError: TorchScript, a pickle, weights alone, or anything else.
    """
    kind = kind_of(path)
    if kind != "pt2":
        msg = f"target (={path}) {_REFUSALS[kind]}"
        raise ConvcostError(msg)


def load_exported(path: Path) -> tuple[torch.nn.Module, tuple[Input, ...]]:
    """The module of an exported program, on the device it was exported on, and the inputs it was exported with.

    Its graph was fixed when it was exported, so its `.eval()` raises and is not needed.

    Raises:
        ConvcostError: torch cannot read the file.
    """
    try:
        program = torch.export.load(path)
        module = program.module()
    except Exception as error:  # torch raises of every kind for a file from another version
        why = " ".join(str(error).split())[:200] or type(error).__name__
        msg = f"target (={path}) must be a program of this torch's export: {why}; export it again with torch.export."
        raise ConvcostError(msg) from error
    return module, _examples(program)


def _examples(program: torch.export.ExportedProgram) -> tuple[Input, ...]:
    """The inputs of the export; none when one of them is no tensor, for then the user has to say."""
    args, kwargs = program.example_inputs or ((), {})
    named: list[tuple[str | None, Any]] = [*((None, value) for value in args), *kwargs.items()]
    if not all(isinstance(value, torch.Tensor) for _, value in named):
        return ()
    dtypes = [str(value.dtype).removeprefix("torch.") for _, value in named]
    if not all(dtype in DTYPES for dtype in dtypes):
        return ()
    return tuple(Input(tuple(value.shape), dtype, name) for (name, value), dtype in zip(named, dtypes, strict=True))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready to be counted.

    Attributes:
        module: in eval mode.
        note: how it was made, where that is not what one would expect; else None.
        default_input: what it is for, when it says so itself; else empty.
        network: what the module was built from, when it is a network as data: its cost is known without torch.
    """

    module: nn.Module
    note: str | None = None
    default_input: tuple[Input, ...] = ()
    network: Network | None = None


def load_target(target: str, args: Mapping[str, object] | None = None, device: str = "meta") -> Loaded:
    """Load a model.

    Args:
        target: `package.module:callable`, `path/to/file.py:callable`, `FILE.toml`, `network:NAME`,
            `torchvision:NAME`, `timm:NAME` or `FILE.pt2`. A module instance is used as it is, where it is; a class or
            a function is called.
        args: for the callable; `alpha` and `resolution` of a network as data.
        device: where the model is made; "meta" allocates no weights. What cannot be made there is made on the CPU and
            moved, and `note` says so.

    Raises:
        ConvcostError: the target is of no such form, does not import, is not callable, raises, or gives no module.
        MissingPackageError: torchvision or timm is asked for and cannot be imported.
    """
    given = dict(args or {})
    scheme, colon, name = target.partition(":")
    if scheme == "network" and colon:
        return _from_network(read_packaged_network(name, given), device)
    if scheme in {"torchvision", "timm"} and colon:
        with user_code_context(target):
            return _called(target, zoo_factory(scheme, name), given, device)
    path = Path(target)
    if path.suffix == ".toml":
        return _from_network(read_network(path, given), device)
    if path.is_file() and path.suffix != ".py":
        return _from_file(target, path, given)
    where, colon, dotted = target.rpartition(":")
    if not colon or not where or not dotted:
        msg = f"target (={target}) {TARGET_RULE}"
        raise ConvcostError(msg)
    with user_code_context(target):
        made = attribute(target, import_user_module(target, where), dotted)
        if isinstance(made, nn.Module):
            _refuse_args(target, given, "it is a module already")
            return Loaded(_in_eval_mode(made), _where_it_is(made, device))
        return _called(target, made, given, device)


def _from_network(network: Network, device: str) -> Loaded:
    module = build(network.tree, network.input, device=device)
    if place(network.tree, network.input)[1].spatial == (1, 1):
        module.add_module("flatten", nn.Flatten())  # (N, classes), as from a linear layer
    return Loaded(module, None, (Input(network.input.sizes),), network)


def _from_file(target: str, path: Path, args: Mapping[str, object]) -> Loaded:
    refuse_code(path)
    _refuse_args(target, args, "an exported program is fixed")
    module, inputs = load_exported(path)
    return Loaded(module, "an exported program: its weights are in memory, its mode is that of its export", inputs)


def _refuse_args(target: str, args: Mapping[str, object], why: str) -> None:
    for name, value in args.items():
        msg = f"arg {name} (={value}) goes nowhere: {target} is not called, {why}; leave the arg out."
        raise ConvcostError(msg)


def _called(target: str, factory: object, args: Mapping[str, object], device: str) -> Loaded:
    """Call the factory on the device; on the CPU when meta tensors are not enough for it."""
    if not callable(factory):
        msg = f"target (={target}) must be callable or a module: it is {_kind(factory)}; name a class or a function."
        raise ConvcostError(msg)
    _refuse_misfits(target, factory, args)
    try:
        with torch.device(device):
            module, note = _module(target, factory(**args)), None
    except PASSED_THROUGH:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it raises, the CPU is the judge
        if device != "meta":
            refuse_raised(target, "being called", error)
        module, note = _called_on_cpu(target, factory, args, error)
    return Loaded(_in_eval_mode(_moved(module, device)), note, _own_input(module))


def _called_on_cpu(
    target: str, factory: Callable[..., object], args: Mapping[str, object], first: BaseException
) -> tuple[nn.Module, str]:
    try:
        with torch.device("cpu"):
            module = _module(target, factory(**args))
    except PASSED_THROUGH:
        raise
    except BaseException as error:  # noqa: BLE001 - the user's own failure is told with its place
        refuse_raised(target, "being called", error)
    why = " ".join(str(first).split())[:120]
    return module, f"built on the CPU and moved: on meta tensors it raises {type(first).__name__}: {why}"


def _module(target: str, made: object) -> nn.Module:
    if not isinstance(made, nn.Module):
        msg = f"target (={target}) must return a torch.nn.Module, not {_kind(made)}; name what makes the model."
        raise ConvcostError(msg)
    return made


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _refuse_misfits(target: str, factory: Callable[..., object], args: Mapping[str, object]) -> None:
    """Refuse arguments that the callable does not take, and missing ones, before anything runs."""
    try:
        signature = inspect.signature(factory)
    except (ValueError, TypeError):  # a callable written in C need not have one: the call itself will tell
        return
    try:
        signature.bind(**args)
    except TypeError as error:
        known = [name for name, p in signature.parameters.items() if p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]
        unknown = [name for name in args if name not in known]
        hint = did_you_mean(unknown[0], known) if unknown and known else "give each as KEY=VALUE."
        msg = f"target (={target}) must be called with its own arguments: {error}; {hint}"
        raise ConvcostError(msg) from error


def _moved(module: nn.Module, device: str) -> nn.Module:
    """Put what was made elsewhere on the device; weights that are shared stay shared, which `.to("meta")` forgets."""
    memo: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # holds the original too, so that its id stays its own
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):  # noqa: SLF001 - setattr would run the user's own checks
            for name, tensor in tensors.items():
                if tensor is None or nn.parameter.is_lazy(tensor) or tensor.device.type == torch.device(device).type:
                    continue
                if id(tensor) not in memo:
                    memo[id(tensor)] = (tensor, _copy(tensor, device))
                tensors[name] = memo[id(tensor)][1]  # type: ignore[assignment]  # a parameter where one was
    return module


def _copy(tensor: torch.Tensor, device: str) -> torch.Tensor:
    moved = tensor.detach().to(device)
    return nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved


def _in_eval_mode(module: nn.Module) -> nn.Module:
    """The module in eval mode; one that was exported has no modes and refuses."""
    try:
        return module.eval()
    except NotImplementedError:
        return module


def _where_it_is(module: nn.Module, device: str) -> str | None:
    """A module instance that is not on the device stays where it is, and the note says so."""
    found = {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}
    elsewhere = sorted(found - {torch.device(device).type})
    return f"a module instance, used as it is, on {', '.join(elsewhere)}" if elsewhere else None


def _own_input(module: nn.Module) -> tuple[Input, ...]:
    """The input that timm writes into its models."""
    config = getattr(module, "default_cfg", None)
    size = config.get("input_size") if isinstance(config, dict) else None
    return (Input((1, *size)),) if size else ()


def load_real(target: str, args: Mapping[str, object] | None = None) -> Loaded:
    """A target with weights on the CPU, for timing; a model that was made without weights gets zeros.

    Raises:
        ConvcostError: as `load_target`.
    """
    loaded = load_target(target, args, "cpu")
    if all(tensor.device.type != "meta" for tensor in (*loaded.module.parameters(), *loaded.module.buffers())):
        return loaded
    module = loaded.module.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.zero_()
    return replace(loaded, module=module)


def tensors_for(inputs: Sequence[Input], device: str) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Tensors of these sizes and dtypes, zeros where the device holds values: positional ones, then keywords."""
    made = [(one.name, torch.zeros(one.sizes, dtype=getattr(torch, one.dtype), device=device)) for one in inputs]
    return (
        tuple(tensor for name, tensor in made if name is None),
        {name: tensor for name, tensor in made if name is not None},
    )


def zoo_factory(package: str, name: str) -> Callable[..., object]:
    """What makes the model of this name, without weights.

    Args:
        package: `torchvision` or `timm`.
        name: of the model, as the package's own `list_models` has it.

    Raises:
        MissingPackageError: the package is not installed, or raises when it is imported.
        ConvcostError: the package has no such model.
    """
    zoo = _import(package)
    known = zoo.list_models()
    if name not in known:
        msg = f"target (={package}:{name}) must be a model of {package}; {did_you_mean(name, known)}"
        raise ConvcostError(msg)
    if package == "timm":
        return partial(zoo.create_model, name, pretrained=False)
    return partial(zoo.get_model, name, weights=None)


def _import(package: str) -> Any:
    try:
        return importlib.import_module("torchvision.models" if package == "torchvision" else package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise _broken(package, error) from error
        msg = f"target (={package}:...) needs {package}, which is not installed; pip install 'convcost[{package}]'."
        raise MissingPackageError(msg) from error
    except Exception as error:  # a build for another torch raises RuntimeError and more
        raise _broken(package, error) from error


def _broken(package: str, error: Exception) -> MissingPackageError:
    why = " ".join(str(error).split())[:200]
    msg = (
        f"target (={package}:...) needs {package}, which raises {type(error).__name__} when imported: {why}; "
        f"install the release of {package} for this torch."
    )
    return MissingPackageError(msg)
