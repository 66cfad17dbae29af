"""Targets: models as the user names them, loaded for counting or for timing."""

from __future__ import annotations

import importlib
import inspect
import sys
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from convcost.convolution.tree import place
from convcost.models.network import list_networks, read_network, read_packaged_network
from convcost.nn.build.tree_module import build
from convcost.nn.load.by_shape_rules import ByShapeRules
from convcost.nn.load.exported_program import read_program
from convcost.nn.load.meta_device import move, parts_of, require_memory, tensors_of
from convcost.nn.load.model_file import kind_of
from convcost.nn.load.source_tree import forget_other_modules
from convcost.nn.load.user_code import (
    import_object,
    is_own_fault,
    own_fault,
    running_user_code,
    user_code_context,
    user_error,
)
from convcost.text.errors import ConvcostError, MissingPackageError, as_text, did_you_mean, first_line
from convcost.text.input_file import is_file
from convcost.text.sizes import TARGET_RULE, Input
from convcost.text.units import human_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.models.network import Network

_REFUSALS: Final = {
    "compiled": (
        "is a package of AOTInductor, whose native code is not loaded; "
        "give the Python that makes the model, as file.py:callable, or export it with torch.export to a .pt2 file."
    ),
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
"""Why a file of each kind is no model."""


WITHOUT_WEIGHTS: Final = "made on the meta device, without weights: zeros take their place"
"""The note on a model whose factory makes it on the meta device."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready to be counted.

    Attributes:
        module: The model, in eval mode.
        note: How the model was made, where that could surprise the user.
        default_input: Inputs that the model declares itself.
    """

    module: nn.Module
    note: str | None = None
    default_input: tuple[Input, ...] = ()


def load_target(target: str, args: Mapping[str, object] | None = None, device: str = "meta") -> Loaded:
    """Load a model.

    Args:
        target: `package.module:callable`, `path/to/file.py:callable`, `FILE.toml`, `network:NAME`,
            `torchvision:NAME`, `timm:NAME` or `FILE.pt2`. A module instance is used as it is, where it is; a class or
            a function is called.
        args: Arguments of the callable; `alpha` and `resolution` of a network as data.
        device: Where to make the model; "meta" allocates no weights. A model that cannot be made there is made on the
            CPU and moved, with a note.

    Raises:
        ConvcostError: A target of no such form, or one that does not import, is not callable, raises, or makes no
            module.
        MissingPackageError: torchvision or timm is needed and cannot be imported.
    """
    args = dict(args or {})
    scheme, colon, name = target.partition(":")
    path = Path(target)
    if scheme == "network" and colon:
        return _from_network(read_packaged_network(name, args), device)
    if scheme in {"torchvision", "timm"} and colon:
        with user_code_context(target):
            return from_factory(target, _zoo_factory(scheme, name), args, device)
    if path.suffix == ".toml":
        return _from_network(read_network(path, args), device)
    if is_file(path) and path.suffix != ".py":
        return _from_file(target, path, args)
    where, _, dotted = target.rpartition(":")
    if not where or not dotted:
        known = f" Did you mean network:{dotted}?" if dotted in list_networks() else ""
        raise ConvcostError(f"target (={target}) {TARGET_RULE}{known}")

    def describe(error: BaseException) -> ConvcostError:
        return own_fault(error) if is_own_fault(error) else user_error(target, "being loaded", error)

    with user_code_context(target), running_user_code(describe):
        forget_other_modules(target, Path.cwd())
        value = import_object(target, where, dotted)
        if not isinstance(value, nn.Module):
            return from_factory(target, value, args, device)
        _refuse_args(target, args, "it is a module already")
        elsewhere = ", ".join(sorted(_devices(value) - {torch.device(device).type}))
        return Loaded(_in_eval_mode(value), f"a module instance, used as it is, on {elsewhere}" if elsewhere else None)


def load_real(target: str, args: Mapping[str, object] | None = None) -> Loaded:
    """A target with weights on the CPU, for timing; a model that was made without weights gets zeros.

    Raises:
        ConvcostError: As `load_target`.
    """
    loaded = load_target(target, args, "cpu")
    if "meta" in _devices(loaded.module):  # an instance
        move(parts_of(loaded.module).values(), "cpu")
    return loaded


def tensors_for(inputs: Sequence[Input], device: str) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Tensors of zeros for inputs: the positional ones, then those with a name.

    Raises:
        ConvcostError: They do not fit into the memory; nothing is allocated.
    """
    needed = sum(prod(one.sizes) * getattr(torch, one.dtype).itemsize for one in inputs)
    if needed > sys.maxsize:  # torch holds no more, on the meta device either
        sizes = ", ".join(map(str, inputs))
        raise ConvcostError(
            f"input (={as_text(sizes)}) must be at most {human_bytes(sys.maxsize)}; give smaller sizes."
        )
    if device != "meta":
        require_memory(needed)
    tensors = [(one.name, torch.zeros(one.sizes, dtype=getattr(torch, one.dtype), device=device)) for one in inputs]
    return (
        tuple(tensor for name, tensor in tensors if name is None),
        {name: tensor for name, tensor in tensors if name is not None},
    )


def _devices(module: nn.Module) -> set[str]:
    return {tensor.device.type for tensor in tensors_of(parts_of(module).values())}


def _in_eval_mode(module: nn.Module) -> nn.Module:
    try:
        return module.eval()
    except NotImplementedError:  # an exported module has no modes
        return module


def _refuse_args(target: str, args: Mapping[str, object], why: str) -> None:
    for name, value in args.items():
        raise ConvcostError(f"arg {name} (={value}) goes nowhere: {target} is not called, {why}; leave the arg out.")


def _from_network(network: Network, device: str) -> Loaded:
    module = build(network.tree, network.input, device=device)
    if place(network.tree, network.input)[1].spatial == (1, 1):
        module.add_module("flatten", nn.Flatten())  # (N, classes), as from a linear layer
    return Loaded(module, None, (Input(network.input.sizes),))


def from_factory(target: str, factory: object, args: Mapping[str, object], device: str) -> Loaded:
    """Call a factory on the device, or on the CPU where it needs more than meta tensors."""
    if not callable(factory):
        msg = f"target (={target}) must be callable or a module: it is {_kind(factory)}; name a class or a function."
        raise ConvcostError(msg)
    _require_fitting_args(target, factory, args)
    try:
        module, note = _call(target, factory, args, device), None
    except _FactoryError as error:
        if device != "meta":
            raise
        cause = error.__cause__ or error
        module = _call(target, factory, args, "cpu")
        note = f"built on the CPU and moved: on meta tensors it raises {type(cause).__name__}: {first_line(cause)}"
    if device != "meta" and "meta" in _devices(module):
        note = WITHOUT_WEIGHTS
    move(parts_of(module).values(), device)
    config = getattr(module, "default_cfg", None)  # timm writes the input into its models
    size = config.get("input_size") if isinstance(config, dict) else None
    return Loaded(_in_eval_mode(module), note, (Input((1, *size)),) if size else ())


class _FactoryError(ConvcostError):
    """The user's factory raised."""


def _call(target: str, factory: Callable[..., object], args: Mapping[str, object], device: str) -> nn.Module:
    def describe(error: BaseException) -> ConvcostError:
        return _FactoryError(user_error(target, "being called", error))

    with running_user_code(describe), torch.device(device), ByShapeRules():
        module = factory(**args)
    if not isinstance(module, nn.Module):
        msg = f"target (={target}) must return a torch.nn.Module, not {_kind(module)}; name what makes the model."
        raise ConvcostError(msg)
    return module


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _require_fitting_args(target: str, factory: Callable[..., object], args: Mapping[str, object]) -> None:
    """Refuse missing and unknown arguments before anything runs."""
    try:
        signature = inspect.signature(factory)
    except (ValueError, TypeError):  # some callables written in C have no signature: the call itself will raise
        return
    try:
        signature.bind(**args)
    except TypeError as error:
        known = [name for name, p in signature.parameters.items() if p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]
        unknown = [name for name in args if name not in known]
        hint = did_you_mean(unknown[0], known) if unknown and known else "give it those alone, each as key=value."
        raise ConvcostError(f"target (={target}) must be called with its own arguments: {error}; {hint}") from error


def _zoo_factory(package: str, name: str) -> Callable[..., object]:
    """The function that makes a model of torchvision or timm, without weights.

    Raises:
        MissingPackageError: The package is not installed, or raises when imported.
        ConvcostError: The package has no such model.
    """
    needs = f"target (={package}:...) needs {package}, which"
    try:
        zoo: Any = importlib.import_module("torchvision.models" if package == "torchvision" else package)
    except Exception as error:  # a build for another torch raises RuntimeError and more
        msg = f"{needs} is not installed; pip install {package}."
        if not isinstance(error, ModuleNotFoundError) or error.name != package:
            msg = (
                f"{needs} raises {type(error).__name__} when imported: {first_line(error)}; "
                f"install the release of {package} for this torch."
            )
        raise MissingPackageError(msg) from error
    known = zoo.list_models()
    if name not in known:
        raise ConvcostError(f"target (={package}:{name}) must be a model of {package}; {did_you_mean(name, known)}")
    if package == "timm":
        return partial(zoo.create_model, name, pretrained=False)
    return partial(zoo.get_model, name, weights=None)


def _from_file(target: str, path: Path, args: Mapping[str, object]) -> Loaded:
    """The module of an exported program, on the device of its export, with the inputs of the export.

    Raises:
        ConvcostError: A file of another kind, with the reason, or one that this torch cannot read.
    """
    kind = kind_of(path)
    if kind != "pt2":
        raise ConvcostError(f"target (={path}) {_REFUSALS[kind]}")
    _refuse_args(target, args, "an exported program is fixed")
    try:
        program = read_program(path)
    except Exception as error:  # a damaged graph raises any exception where it is read
        is_reason = isinstance(error, ConvcostError)
        why = first_line(error) if is_reason else f"it is damaged ({type(error).__name__}: {first_line(error)})"
        raise ConvcostError(
            f"target (={path}) must be a program of torch.export that is a graph and tensors alone: "
            f"{why}; export it again, or give the Python that makes the model, as file.py:callable."
        ) from error
    return Loaded(
        program.module, "an exported program: its weights are in memory, its mode is that of its export", program.inputs
    )
