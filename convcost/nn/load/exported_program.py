"""Programs of torch.export, read as data: the graph from JSON, the weights from bytes.

`torch.export.load` unpickles weights, constants and inputs, evaluates the text of sizes and resolves any name below
`torch`. Here nothing in the file is unpickled or evaluated: operators come from a list, and names are checked, since
torch.fx writes them into the Python that it generates.
"""

from __future__ import annotations

import json
import keyword
import math
import operator
import re
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx, nn
from torch._C import _dispatch_has_kernel
from torch._ops import OpOverload

from convcost.nn.load.program_file import SCALAR_TYPES, ProgramFile
from convcost.text.errors import ConvcostError
from convcost.text.sizes import DTYPES, Input, format_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_NAMESPACES: Final = ("aten", "prims", "quantized", "quantized_decomposed", "torchvision", "torchao")
"""Namespaces of operators that compute; those of others reach files, processes and networks."""
_OUTSIDE: Final = ("aten::from_file", "aten::_print")
"""Operators of these namespaces that reach outside all the same."""
_HIGHER_ORDER: Final = (
    *("cond", "while_loop", "map", "map_impl", "scan", "associative_scan", "invoke_subgraph"),
    *("hints_wrapper", "strict_mode", "wrap_with_set_grad_enabled", "wrap_with_autocast"),
)
"""Operators that run graphs, and nothing else."""
_ARITHMETIC: Final = (
    *("add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "neg", "pos"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "lshift", "rshift"),
)
_SYMBOLIC: Final = ("sym_int", "sym_float", "sym_not", "sym_max", "sym_min", "sym_ite")
_ON_SIZES: Final[dict[str, Callable[..., Any]]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in _ARITHMETIC},
    **{f"math.{name}": getattr(math, name) for name in ("trunc", "ceil", "floor")},
    **{f"torch.{name}": getattr(torch, name) for name in _SYMBOLIC},
}
"""Functions on sizes."""
_LAYOUTS: Final = {1: "sparse_coo", 2: "sparse_csr", 3: "sparse_csc", 4: "sparse_bsr", 5: "sparse_bsc", 7: "strided"}
_MEMORY_FORMATS: Final = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}


def _literal(value: Any) -> Any:
    """A number, a text or a list of these, which torch.fx writes as they are."""
    if isinstance(value, list):
        return [_literal(one) for one in value]
    if not isinstance(value, (int, float, str)):
        raise ConvcostError(f"an argument of a call in it has an unknown form, {type(value).__name__}")
    return value


_PLAIN: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("as_int", "as_ints", "as_bool", "as_bools", "as_string", "as_strings"), _literal),
    "as_float": float,  # "Infinity" is a text
    "as_floats": lambda value: [float(one) for one in value],
    "as_none": lambda _: None,
    "as_complex": lambda value: complex(value["real"], value["imag"]),
    "as_device": lambda value: torch.device(*(one for one in (value["type"], value["index"]) if one is not None)),
    "as_scalar_type": lambda value: getattr(torch, SCALAR_TYPES[value]),
    "as_layout": lambda value: getattr(torch, _LAYOUTS[value]),
    "as_memory_format": lambda value: getattr(torch, _MEMORY_FORMATS[value]),
}
"""Functions that read an argument that refers to no other part of the file."""
_NAMED: Final = ("as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool")
_NAMED_LISTS: Final = tuple(f"{kind}s" for kind in _NAMED)
_KEYWORD: Final = 2
"""The number in the file of an argument that is passed by its name."""


@dataclass(frozen=True, slots=True)
class Program:
    """An exported program.

    Attributes:
        module: The program as a module, on the CPU.
        inputs: Inputs of the export; empty when one of them is no tensor of a dtype that an input can have.
    """

    module: fx.GraphModule
    inputs: tuple[Input, ...]


def read_program(path: Path) -> Program:
    """The program in a file of `torch.export.save`.

    Raises:
        ConvcostError: The file holds more than a graph and tensors, or is damaged; the message has the reason alone.
    """
    with path.open("rb") as opened:
        file = ProgramFile(opened)
        source = file.document("models/model.json", "serialized_exported_program.json")
        graph, signature = source["graph_module"]["graph"], source["graph_module"]["signature"]
        tensors = file.tensors("weights", "serialized_state_dict") | file.tensors("constants", "serialized_constants")
    reader = _Reader()
    inputs = reader.signature_inputs(graph, signature, tensors)
    reader.nodes(graph)
    reader.signature_outputs(graph, signature)
    module = reader.module()
    rules = {name: graph["tensor_values"][name]["sizes"] for name in inputs}
    module.register_forward_pre_hook(partial(_require_sizes, rules, source["range_constraints"]), with_kwargs=True)
    return Program(module, _default_inputs(source["graph_module"], inputs))


class _Reader:
    """Builds a module from the graph in a file.

    Attributes:
        graph: The graph so far.
        owner: The module, which has the graph's tensors and inner graphs as attributes.
        values: Node of each name in the file.
        paths: Path of each tensor of the module, by its name in the file.
    """

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.owner = fx.GraphModule(nn.Module(), fx.Graph())
        self.values: dict[str, fx.Node] = {}
        self.paths: dict[str, str] = {}

    def module(self) -> fx.GraphModule:
        """The module of the graph, which is complete."""
        self.owner.graph = self.graph
        del type(self.owner).__call__  # torch.fx gives each graph a class of its own, whose call prints tracebacks
        return self.owner

    def signature_inputs(
        self, graph: Mapping[str, Any], signature: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
    ) -> list[str]:
        """Make the inputs: the names of those that a call passes; the others become attributes."""
        passed: list[str] = []
        for one, argument in zip(signature["input_specs"], graph["inputs"], strict=True):
            kind, spec = _only(one)
            if kind == "user_input" and "as_tensor" in argument:
                passed.append(argument["as_tensor"]["name"])
            elif kind in {"parameter", "buffer", "tensor_constant"}:
                path = self.paths[spec["arg"]["name"]] = spec[f"{kind}_name"]
                _set_tensor(self.owner, path, tensors[path], kind, persistent=spec.get("persistent", True))
            elif kind != "constant_input" and not (kind == "user_input" and _only(argument)[0] in _PLAIN):
                raise ConvcostError(f"it has an input that is no tensor ({kind})")
        for name in passed:
            self.placeholder(name)
        for name, path in self.paths.items():
            self.values[name] = self.graph.create_node("get_attr", path, name=name)
        return passed

    def placeholder(self, name: str) -> None:
        """Make an input of the graph."""
        self.values[name] = self.graph.placeholder(_identifier(name))

    def signature_outputs(self, graph: Mapping[str, Any], signature: Mapping[str, Any]) -> None:
        """Make the outputs; what the program changes in place is copied there at the end."""
        names = {path: name for name, path in self.paths.items()}
        outputs = []
        for one, argument in zip(signature["output_specs"], graph["outputs"], strict=True):
            kind, spec = _only(one)
            value = self.value(argument)
            if kind in {"buffer_mutation", "parameter_mutation", "user_input_mutation"}:
                changed = spec[f"{kind.removesuffix('_mutation')}_name"]
                place = self.values[names.get(changed, changed)]
                self.graph.call_function(torch.ops.aten.copy_.default, (place, value))
            elif kind in {"user_output", "loss_output"}:
                outputs.append(value)
            else:
                raise ConvcostError(f"it has an output that is no tensor ({kind})")
        self.graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))

    def nodes(self, graph: Mapping[str, Any]) -> None:
        """Make the calls of a graph."""
        for node in graph["nodes"]:
            function = _function(node["target"])
            args, kwargs = self._arguments(function, node["inputs"])
            self._name_outputs(self.graph.call_function(function, args, kwargs), node)

    def _arguments(
        self, function: Callable[..., Any], inputs: Sequence[Mapping[str, Any]]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and named arguments; files before torch 2.7 leave it to the schema which ones are which."""
        schema = getattr(function, "_schema", None)
        named = {one.name for one in schema.arguments if one.kwarg_only or one.has_default_value()} if schema else set()
        args, kwargs = [], {}
        for one in inputs:
            name, kind = one["name"], one.get("kind")
            if kind == _KEYWORD or (kind is None and name in named and not keyword.iskeyword(name)):
                kwargs[_identifier(name)] = self.value(one["arg"])
            else:
                args.append(self.value(one["arg"]))
        return tuple(args), kwargs

    def _name_outputs(self, made: fx.Node, node: Mapping[str, Any]) -> None:
        """Give the outputs of a call their names in the file."""
        outputs = node["outputs"]
        if len(outputs) == 1 and node.get("is_hop_single_tensor_return") is not False:
            kind, value = _only(outputs[0])
            if kind in _NAMED:
                self.values[_named(value)] = made
                return
            outputs = [{"as_tensor": one} for one in value] if kind == "as_tensors" else outputs
        for index, output in enumerate(outputs):
            self._name_part(made, index, output)

    def _name_part(self, whole: fx.Node, index: int, output: Mapping[str, Any]) -> None:
        kind, value = _only(output)
        if kind == "as_none":
            return
        part = self.graph.call_function(operator.getitem, (whole, index))
        if kind in _NAMED:
            self.values[_named(value)] = part
        elif kind == "as_tensors":
            for place, one in enumerate(value):
                self._name_part(part, place, {"as_tensor": one})
        else:
            raise ConvcostError(f"an output of a call in it has an unknown form, {kind}")

    def value(self, argument: Mapping[str, Any]) -> Any:
        """An argument: a node, or a plain value."""
        kind, value = _only(argument)
        if kind in _PLAIN:
            return _PLAIN[kind](value)
        if kind in _NAMED:
            return self._item(value)
        if kind in _NAMED_LISTS:
            return [self._item(one) for one in value]
        if kind == "as_optional_tensors":
            return [self.value(one) for one in value]
        if kind == "as_graph":
            return self._graph(value)
        raise ConvcostError(f"an argument of a call in it has an unknown form, {kind}")

    def _item(self, item: Mapping[str, Any]) -> Any:
        """A tensor or a size by its name; a size may be a number."""
        kind, value = _only(item)
        return self.values[value] if kind in {"name", "as_name"} else _literal(value)

    def _graph(self, argument: Mapping[str, Any]) -> fx.Node:
        """A graph that an operator runs, as an attribute."""
        name, graph = _identifier(argument["name"]), argument["graph"]
        inner = _Reader()
        for one in graph["inputs"]:
            inner.placeholder(_named(_only(one)[1]))
        inner.nodes(graph)
        outputs = tuple(inner.value(one) for one in graph["outputs"])
        inner.graph.output(outputs[0] if graph.get("is_single_tensor_return") else outputs)
        self.owner.add_module(name, inner.module())
        return self.graph.create_node("get_attr", name)


def _only(union: Mapping[str, Any]) -> tuple[str, Any]:
    """The kind and the value of a union."""
    ((kind, value),) = union.items()
    return kind, value


def _named(value: Mapping[str, Any]) -> str:
    """The name in the file of a tensor, or of a size."""
    name = value["name"] if "name" in value else value["as_name"]
    return str(name)


def _identifier(name: str) -> str:
    """A name that torch.fx may write into the Python that it generates."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ConvcostError(f"a name in it is no identifier of Python, {name!r}")
    return name


def _set_tensor(module: nn.Module, path: str, tensor: torch.Tensor, kind: str, *, persistent: bool) -> None:
    """Put a tensor at its path in a module, in modules that are made on the way."""
    if not re.fullmatch(r"""[^"'\\\x00-\x1f\x7f]+""", path):  # torch.fx writes it into Python too
        raise ConvcostError(f"a name in it holds quotes or control characters, {path!r}")
    *folders, name = path.split(".")
    for folder in folders:
        if folder not in module._modules:  # noqa: SLF001 - `getattr` would give methods too
            module.add_module(folder, nn.Module())
        module = module.get_submodule(folder)
    if kind == "parameter":
        tied = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, tensor.requires_grad)
        module.register_parameter(name, tied)
    elif kind == "buffer":
        module.register_buffer(name, tensor, persistent=persistent)
    elif hasattr(module, name):
        raise ConvcostError(f"a name in it is taken, {path!r}")
    else:
        setattr(module, name, tensor)


def _function(target: str) -> Callable[..., Any]:
    """The function of a call: an operator that computes or that runs graphs, or arithmetic on sizes."""
    if target in _ON_SIZES:
        return _ON_SIZES[target]
    match = re.fullmatch(r"torch\.ops\.(\w+)\.(\w+)(?:\.(\w+))?", target, re.ASCII)
    if match is not None:
        space, name, overload = match.groups()
        if space == "higher_order" and overload is None and name in _HIGHER_ORDER:
            import_module(
                "torch._higher_order_ops.triton_kernel_wrap"
            )  # torch's counter looks for it at each such operator
            operator_of_graphs: Callable[..., Any] = getattr(torch.ops.higher_order, name)
            return operator_of_graphs
        if space in _NAMESPACES and overload is not None:
            operation = getattr(getattr(getattr(torch.ops, space), name, None), overload, None)
            if isinstance(operation, OpOverload) and _computes(operation):
                return operation
    raise ConvcostError(f"it calls {target}, which is no operator that convcost runs from a file")


def _computes(operation: OpOverload) -> bool:
    """Whether an operator is one of the dispatcher, not only of TorchScript (`aten::save`), and stays inside."""
    schema = operation._schema  # noqa: SLF001 - torch tells the name and the arguments nowhere else
    overload = f".{schema.overload_name}" if schema.overload_name else ""
    return schema.name not in _OUTSIDE and _dispatch_has_kernel(f"{schema.name}{overload}")


def _require_sizes(
    rules: Mapping[str, Sequence[Mapping[str, Any]]],
    ranges: Mapping[str, Mapping[str, Any]],
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """Refuse inputs of other sizes than the export's; those that it left open may differ, within their limits."""
    del module
    if torch._C._is_tracing():  # noqa: SLF001 - no type is known of `torch.jit.is_tracing`, and it is this
        return
    symbols: dict[str, int] = {}
    for name, value in (dict(zip(rules, args, strict=False)) | dict(kwargs)).items():
        sizes = tuple(getattr(value, "shape", ()))
        rule = [_size_rule(one) for one in rules.get(name, ())]
        fits = len(sizes) == len(rule)
        for size, wanted in zip(sizes, rule, strict=False):
            if isinstance(wanted, int):
                fits &= size == wanted
            elif wanted in ranges:
                least, most = ranges[wanted]["min_val"], ranges[wanted]["max_val"]
                fits &= size == symbols.setdefault(wanted, size) and size >= (least or 0)
                fits &= most is None or size <= most
        if not fits:
            limits = [f"{key} from {one['min_val']} to {one['max_val']}" for key, one in ranges.items() if key in rule]
            raise ConvcostError(
                f"input {name} (={format_sizes(sizes)}) must be {'x'.join(map(str, rule))}, as in the export"
                f"{''.join(f', {one}' for one in limits)}; change the input, or export with dynamic_shapes."
            )


def _size_rule(size: Mapping[str, Any]) -> int | str:
    """A size of the export, or the name of one that it left open; `?` for one that follows from others."""
    if "as_int" in size:
        return int(size["as_int"])
    match = re.fullmatch(r"Symbol\('(\w+)'.*\)|(\w+)", size["as_expr"]["expr_str"])
    return (match[1] or match[2]) if match else "?"


def _default_inputs(program: Mapping[str, Any], names: Sequence[str]) -> tuple[Input, ...]:
    """The inputs of the export; empty when one of them is no tensor of a dtype that an input can have."""
    inputs = []
    by_name = _keywords(program)
    for name in names:
        meta = program["graph"]["tensor_values"][name]
        sizes = tuple(size for one in meta["sizes"] if (size := _exported_size(one)) is not None)
        dtype = SCALAR_TYPES[meta["dtype"]]
        if len(sizes) < len(meta["sizes"]) or dtype not in DTYPES:
            return ()
        inputs.append(Input(sizes, dtype, name if name in by_name else None))
    return tuple(inputs)


def _exported_size(size: Mapping[str, Any]) -> int | None:
    """A size in the export; None where the file does not tell it."""
    if "as_int" in size:
        return int(size["as_int"])
    hint = size["as_expr"]["hint"]
    return int(hint["as_int"]) if hint else None


def _keywords(program: Mapping[str, Any]) -> list[str]:
    """The inputs that the export passed by their names."""
    whole = next(one["signature"] for one in program["module_call_graph"] if one["fqn"] == "")
    _, arguments = json.loads(whole["in_spec"])
    keys = arguments["children_spec"][1]["context"]
    return list(json.loads(keys)) if isinstance(keys, str) else list(keys)
