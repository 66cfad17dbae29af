"""The trace of one forward pass: a row for each call of a module or function, with the operators it ran.

Modules and functions name a row, operators give its cost. Every operator belongs to one row, so the rows add up to the
total.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import torch
from torch import nn
from torch._ops import HigherOrderOperator
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from convcost.nn.count.memory import Memory, has_storage, least_bytes, storage_key, total_bytes
from convcost.nn.count.operators import Verdict, cost, join_complex_convolutions, meta_output, verdict
from convcost.text.sizes import Input

if TYPE_CHECKING:
    from collections.abc import Iterable

    from convcost.convolution.conv import Conv

ONE_ROW: Final = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, _ConvNd, nn.Linear, nn.Bilinear)
"""Modules whose call is one row although they, or their subclasses, have submodules."""
NO_ROW: Final = frozenset({"__get__", "__set__", "size", "dim", "numel", "stride", "is_floating_point", "__len__"})
"""Functions that compute nothing."""


@dataclass(frozen=True, slots=True)
class Event:
    """One call of an operator that has a formula.

    Attributes:
        op: Torch's name of the operator.
        kind: The kind of operation, in the field's words.
        macs: MACs of this call.
        conv: The convolution, if it is one.
        plain_macs: MACs if complex numbers were real ones and sparse tensors dense.
    """

    op: str
    kind: str
    macs: int
    conv: Conv | None
    plain_macs: int


@dataclass(slots=True)
class Row:
    """A call of a module or a function, while it runs and after.

    Attributes:
        path: Path of the module that was called, or that called the function.
        function: Name of the function; empty for a module.
        op: Class of the module, or name of the function.
        owner: The module that was called.
        inputs: Its input tensors, until it ends.
        text_padding: Whether an argument is text, as a convolution's padding may be.
        events: Calls of operators that have a formula.
        new_storages: Bytes of each storage that appeared during the call, by key.
        uncounted: Number of calls of each operator that has no formula and is not free.
        input_shape: Shape of the first input.
        input_texts: Shape and dtype of each input.
        output_shape: Shape of the first output.
        weights: Parameters that the call used.
        traffic_bytes: Compulsory traffic, every tensor once.
        least_bytes: Bytes that any implementation must move.
        activation_bytes: Bytes of the outputs' new storages.
    """

    path: str
    function: str
    op: str
    owner: nn.Module | None
    inputs: list[torch.Tensor]
    text_padding: bool = False
    events: list[Event] = field(default_factory=list)
    new_storages: dict[int, int] = field(default_factory=dict)
    uncounted: Counter[str] = field(default_factory=Counter)
    input_shape: tuple[int, ...] = ()
    input_texts: tuple[str, ...] = ()
    output_shape: tuple[int, ...] = ()
    weights: list[torch.Tensor] = field(default_factory=list)
    traffic_bytes: int = 0
    least_bytes: int | None = None
    activation_bytes: int = 0

    @property
    def name(self) -> str:
        """`path`, or `path.function`; not unique."""
        return f"{self.path}.{self.function}".strip(".") if self.function else self.path or self.op


class Recorder(TorchDispatchMode):
    """Records the rows of one forward pass; enter it around the call of the module.

    Args:
        module: The module that will be called.
        inputs: Its input tensors, which are alive during the pass.
        device: Device of new tensors for which the model names none.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False avoids the import of torch's dynamo, 800 modules."""
        return False

    def __init__(self, module: nn.Module, inputs: Iterable[torch.Tensor], device: str) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.failed_shape: tuple[int, ...] | None = None
        self.memory = Memory([*module.parameters(), *module.buffers()])
        self.memory.add(inputs)
        self._names = {id(part): name for name, part in reversed(list(module.named_modules()))}
        self._parameters = {id(p) for p in module.parameters()}
        self._paths: list[str] = []
        self._open: Row | None = None
        self._functions = _Functions(self, device)
        self._functions_paused = False
        self._hooks: list[Any] = []

    @property
    def path(self) -> str:
        """Path of the module that is running."""
        return self._paths[-1] if self._paths else ""

    @property
    def is_open(self) -> bool:
        """Whether a row is open."""
        return self._open is not None

    def __enter__(self) -> Self:
        register = nn.modules.module
        self._hooks = [
            register.register_module_forward_pre_hook(self._enter_module),
            register.register_module_forward_hook(self._leave_module),
        ]
        super().__enter__()
        self._functions.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if not self._functions_paused:
            self._functions.__exit__(*error)
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def _enter_module(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._paths.append(self._names.get(id(module), type(module).__name__))
        tensors = _tensors(inputs)
        self.failed_shape = tuple(tensors[0].shape) if tensors else None
        if self._open is None and is_one_row(module):
            self.open(Row(self.path, "", type(module).__name__, module, tensors))
            if type(module).__module__.startswith("torch."):  # its functions are all in this row: run them faster
                self._functions.__exit__(None, None, None)
                self._functions_paused = True

    def _leave_module(self, module: nn.Module, _: object, output: Any) -> None:
        if self._open is not None and self._open.owner is module:
            if self._functions_paused:
                self._functions.__enter__()
                self._functions_paused = False
            self.close(output)
        self._paths.pop()

    def open(self, row: Row) -> Row:
        """Open a row, to which every operator belongs until it is closed."""
        row.input_shape = tuple(row.inputs[0].shape) if row.inputs else ()
        row.input_texts = tuple(map(tensor_text, row.inputs))
        self._open = row
        return row

    def drop(self) -> None:
        """Forget the open row, whose call failed."""
        self._open = None

    def close(self, output: Any) -> None:
        """Close the open row; forget it if it computed nothing, as a view does."""
        row, self._open = self._open, None
        if row is None or not (row.events or row.uncounted or row.new_storages or row.owner is not None):
            return
        outputs = _tensors((output,))
        row.output_shape = tuple(outputs[0].shape) if outputs else ()
        if any(tensor.is_complex() for tensor in (*row.inputs, *outputs)):
            row.events = join_complex_convolutions(row.events)
        used: list[torch.Tensor] = [] if row.owner is None else list(row.owner.parameters())
        used += [tensor for tensor in row.inputs if id(tensor) in self._parameters]
        row.weights = list({id(tensor): tensor for tensor in used}.values())
        row.traffic_bytes = total_bytes((*row.inputs, *row.weights)) + total_bytes(outputs)
        keys = {storage_key(tensor.untyped_storage()) for tensor in outputs if has_storage(tensor)}
        row.activation_bytes = sum(size for key, size in row.new_storages.items() if key in keys)
        if row.owner is not None:
            computes = any(event.macs for event in row.events)
            row.least_bytes = least_bytes(
                row.owner, row.inputs, outputs, allocated=row.activation_bytes, computes=computes
            )
        row.inputs = []
        self.rows.append(row)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operator and record its cost."""
        del types
        named = kwargs or {}
        worth = verdict(func)
        if isinstance(func, HigherOrderOperator) and worth is not Verdict.FORMULA:
            return func(*args, **named)
        if worth is Verdict.DECOMPOSED:
            super().__enter__()  # a mode is off while it handles an operator: the parts must be recorded too
            try:
                return func.decompose(*args, **named)
            finally:
                super().__exit__(None, None, None)
        out = meta_output(func, args, named)
        if out is NotImplemented:
            out = func(*args, **named)
        outermost = self._open is None
        op = str(getattr(func, "overloadpacket", func))
        name = op.rpartition(".")[2]
        row = self._open or self.open(Row(self.path, name, name, None, _tensors(args)))
        if isinstance(func, HigherOrderOperator) or (torch.Tag.inplace_view not in func.tags and not func.is_view):
            row.new_storages.update(self.memory.add(_tensors((out,))))
        price = cost(func, args, named, out) if worth is Verdict.FORMULA else None
        if price is not None:
            kind = "convolution" if price.conv else _kind(row, name)
            row.events.append(Event(name, kind, price.macs, price.conv, price.plain_macs))
        elif worth is not Verdict.FREE:
            row.uncounted[op] += 1
        if outermost:
            self.close(out)
        return out


class _Functions(TorchFunctionMode):
    """Opens a row for each function that is called outside any row."""

    def __init__(self, recorder: Recorder, device: str) -> None:
        super().__init__()
        self._recorder = recorder
        self._device = torch.device(device)
        self._constructors = _device_constructors()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run a function, in a row of its own if none is open."""
        del types
        named, recorder = kwargs or {}, self._recorder
        if func in self._constructors and named.get("device") is None:
            named = {**named, "device": self._device}
        name = getattr(func, "__name__", str(func))
        if name in NO_ROW or recorder.is_open:
            return func(*args, **named)
        has_text = any(isinstance(value, str) for value in (*args, *named.values()))
        op = name.strip("_")
        recorder.open(Row(recorder.path, op, op, None, _tensors((args, named)), has_text))
        try:
            out = func(*args, **named)
        except BaseException:
            recorder.drop()
            raise
        recorder.close(out)
        return out


def tensor_text(tensor: torch.Tensor) -> str:
    """Shape and dtype as a user writes an input: `1x16:int64`."""
    return "nested" if tensor.is_nested else str(Input(tuple(tensor.shape), dtype_text(tensor)))


def dtype_text(tensor: torch.Tensor) -> str:
    """The dtype's name, such as `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def is_one_row(module: nn.Module) -> bool:
    """Whether a call of the module is one row: torch's modules without submodules, and those of `ONE_ROW`."""
    if isinstance(module, (torch.jit.ScriptModule, *ONE_ROW)):
        return True
    bases = [kind for kind in type(module).__mro__ if kind not in {nn.Module, object}]
    return next(module.children(), None) is None and any(kind.__module__.startswith("torch.") for kind in bases)


def _kind(row: Row, op: str) -> str:
    """The kind of a matrix product: by the row it is in, else by its operator."""
    is_attention = row.op in {"scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward"}
    if "attention" in op or (is_attention and op in {"bmm", "baddbmm"}):
        return "attention"
    if isinstance(row.owner, nn.RNNBase | nn.RNNCellBase) or row.op in {"lstm", "gru", "rnn_tanh", "rnn_relu"}:
        return "recurrent"
    if isinstance(row.owner, nn.Linear) or row.op == "linear":
        return "linear"
    return "bilinear" if op == "_trilinear" else "matmul"


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
