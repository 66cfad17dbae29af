"""A forward pass watched from three sides: modules, functions and operators.

Modules and functions say whose call a row is, operators say what it costs. Every operator belongs to one row, so the
rows add up to the total.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from convcost.convolution.conv import Conv
from convcost.convolution.cost import macs
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.nn.count.memory import Memory, least_bytes, storage_key
from convcost.nn.count.operator_formulas import has_formula, is_convolution, is_free, macs_of
from convcost.nn.count.shortcuts import shortcut
from convcost.text.sizes import Input

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Event", "Recorder", "Row", "dtype_text", "is_one_row", "tensor_text"]

WHOLE: Final = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear)  # noqa: SLF001 - the base of all convolutions
"""Modules whose call is one row although they, or their subclasses, have parts."""
UNSEEN: Final = frozenset({"__get__", "__set__", "size", "dim", "numel", "stride", "is_floating_point", "__len__"})


@dataclass(frozen=True, slots=True)
class Event:
    """One operator that has a formula.

    Attributes:
        op: torch's name of the operator.
        kind: what a person calls it.
        macs: of this call.
        conv: the convolution, if it is one.
    """

    op: str
    kind: str
    macs: int
    conv: Conv | None = None


@dataclass(slots=True)
class Row:
    """A call while it runs: of a module, or a function."""

    path: str
    function: str
    op: str
    owner: nn.Module | None
    inputs: list[torch.Tensor]
    text_padding: bool = False
    events: list[Event] = field(default_factory=list)
    new: dict[int, int] = field(default_factory=dict)
    uncounted: Counter[str] = field(default_factory=Counter)
    input_shape: tuple[int, ...] = ()
    input_texts: tuple[str, ...] = ()
    output_shape: tuple[int, ...] = ()
    weights: list[torch.Tensor] = field(default_factory=list)
    traffic_bytes: int = 0
    least_bytes: int | None = None
    activation_bytes: int = 0

    @property
    def base(self) -> str:
        """Its name before it is told apart from other calls: `path`, or `path.function`."""
        return f"{self.path}.{self.function}".strip(".") if self.function else self.path or self.op


class Recorder(TorchDispatchMode):
    """Records the rows of one forward pass; enter it around the call of the module.

    Args:
        module: that will be called.
        inputs: tensors that go in, for the memory that is alive.
        device: where tensors are made that name no device of their own.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False spares the import of torch's dynamo, 800 modules."""
        return False

    def __init__(self, module: nn.Module, inputs: Iterable[torch.Tensor], device: str) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.path: list[str] = []
        self._names = {id(part): name for name, part in reversed(list(module.named_modules()))}
        self._parameters = {id(p) for p in module.parameters()}
        self.memory = Memory([*module.parameters(), *module.buffers()])
        self.memory.see(inputs)
        self._open: Row | None = None
        self._functions = _Functions(self, device)
        self._is_deaf = False
        self._hooks: list[Any] = []
        self.failed_shape: tuple[int, ...] | None = None

    def __enter__(self) -> Self:
        """Begin to watch."""
        register = nn.modules.module
        self._hooks = [
            register.register_module_forward_pre_hook(self._enter_module),
            register.register_module_forward_hook(self._leave_module),
        ]
        super().__enter__()
        self._functions.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Watch no more, and leave nothing behind."""
        if not self._is_deaf:
            self._functions.__exit__(*error)
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def _enter_module(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        path = self._names.get(id(module), type(module).__name__)
        self.path.append(path)
        shapes = [tuple(tensor.shape) for tensor in _tensors(inputs)[:1]]
        self.failed_shape = shapes[0] if shapes else None
        if self._open is None and is_one_row(module):
            self.begin(Row(path, "", type(module).__name__, module, _tensors(inputs)))
            if type(module).__module__.startswith("torch."):  # its functions are all in this row: spare them the detour
                self._functions.__exit__(None, None, None)
                self._is_deaf = True

    def _leave_module(self, module: nn.Module, _: object, output: Any) -> None:
        if self._open is not None and self._open.owner is module:
            if self._is_deaf:
                self._functions.__enter__()
                self._is_deaf = False
            self.end(output)
        self.path.pop()

    def begin(self, row: Row) -> None:
        """Let every operator from here on belong to this row."""
        row.input_shape = tuple(row.inputs[0].shape) if row.inputs else ()
        row.input_texts = tuple(map(tensor_text, row.inputs))
        self._open = row

    @property
    def is_open(self) -> bool:
        """Whether a row is under way."""
        return self._open is not None

    def drop(self) -> None:
        """Close the row of a call that failed."""
        self._open = None

    def end(self, output: Any) -> None:
        """Close the row; one in which nothing was computed (a view, a question) is forgotten."""
        row, self._open = self._open, None
        if row is None or not (row.events or row.uncounted or row.new or row.owner is not None):
            return
        outputs = _tensors((output,))
        row.output_shape = tuple(outputs[0].shape) if outputs else ()
        used: list[torch.Tensor] = list(row.owner.parameters()) if row.owner is not None else []
        used += [tensor for tensor in row.inputs if id(tensor) in self._parameters]
        row.weights = list({id(tensor): tensor for tensor in used}.values())
        moved = {id(tensor): tensor for tensor in (*row.inputs, *row.weights)}
        row.traffic_bytes = sum(map(_bytes, moved.values())) + sum(map(_bytes, outputs))
        keys = {storage_key(tensor) for tensor in outputs if tensor.layout == torch.strided and not tensor.is_nested}
        row.activation_bytes = sum(size for key, size in row.new.items() if key in keys)
        if row.owner is not None:
            made, computes = row.activation_bytes, any(event.macs for event in row.events)
            row.least_bytes = least_bytes(row.owner, row.inputs, outputs, made=made, computes=computes)
        row.inputs = []
        self.rows.append(row)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operator and write down what it costs."""
        del types
        named = kwargs or {}
        if isinstance(func, torch._ops.HigherOrderOperator):  # noqa: SLF001 - the type has no public name
            return func(*args, **named)
        known = is_convolution(func.overloadpacket) or has_formula(func.overloadpacket)
        if not known and not is_free(func):
            super().__enter__()  # watch what it is made of, as a mode does that enters itself
            try:
                taken_apart = func.decompose(*args, **named)
            finally:
                super().__exit__(None, None, None)
            if taken_apart is not NotImplemented:
                return taken_apart
        out = shortcut(func, args, named)
        if out is NotImplemented:
            out = func(*args, **named)
        alone = self._open is None
        if alone:
            self.begin(
                Row(
                    self.path[-1] if self.path else "",
                    func.overloadpacket.__name__,
                    func.overloadpacket.__name__,
                    None,
                    _tensors(args),
                )
            )
        self._record(func, args, named, out, known=known)
        if alone:
            self.end(out)
        return out

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, *, known: bool) -> None:
        row = self._open
        assert row is not None  # noqa: S101 - a row was opened for this operator
        if torch.Tag.inplace_view not in func.tags and not _is_view(func):
            row.new.update(self.memory.see(_tensors((out,))))
        name = func.overloadpacket.__name__
        if is_convolution(func.overloadpacket):
            row.events.append(_convolution(name, args))
        elif known:
            row.events.append(Event(name, _kind(row, name), macs_of(func.overloadpacket, args, kwargs, out)))
        elif not is_free(func):
            row.uncounted[str(func.overloadpacket)] += 1


class _Functions(TorchFunctionMode):
    """Opens a row for each outermost function that is called outside a module's own row."""

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
        """Run the function, in a row of its own if there is none."""
        del types
        named, recorder = kwargs or {}, self._recorder
        if func in self._constructors and named.get("device") is None:
            named = {**named, "device": self._device}
        name = getattr(func, "__name__", str(func))
        if name in UNSEEN or recorder.is_open:
            return func(*args, **named)
        path = recorder.path[-1] if recorder.path else ""
        recorder.begin(
            Row(path, name.strip("_"), name.strip("_"), None, _tensors((args, named)), _has_text(args, named))
        )
        try:
            out = func(*args, **named)
        except BaseException:
            recorder.drop()
            raise
        recorder.end(out)
        return out


def tensor_text(tensor: torch.Tensor) -> str:
    """Shape and dtype as a user types an input: `1x16:int64`."""
    return "nested" if tensor.is_nested else str(Input(tuple(tensor.shape), dtype_text(tensor)))


def dtype_text(tensor: torch.Tensor) -> str:
    """`float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def is_one_row(module: nn.Module) -> bool:
    """Whether a call of the module is one row: torch's own modules without parts, and a few with parts."""
    if isinstance(module, (torch.jit.ScriptModule, *WHOLE)):
        return True
    own = [kind for kind in type(module).__mro__ if kind not in {nn.Module, object}]
    return next(module.children(), None) is None and any(kind.__module__.startswith("torch.") for kind in own)


def _convolution(name: str, args: tuple[Any, ...]) -> Event:
    data, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args[:9]
    kernel = tuple(weight.shape[2:])
    many = len(kernel)

    def each(sizes: list[int]) -> tuple[int, ...]:
        return tuple(sizes) if len(sizes) == many else tuple(sizes) * many

    conv = Conv(
        int(data.shape[1]),
        int(weight.shape[1] * groups if transposed else weight.shape[0]),
        kernel,
        each(stride),
        each(padding),
        each(dilation),
        int(groups),
        bias is not None,
        transposed=bool(transposed),
        output_padding=each(output_padding) if transposed else 0,
    )
    if 0 in data.shape:
        return Event(name, "convolution", 0, conv)
    layer = Layer(name, conv, Shape(int(data.shape[0]), int(data.shape[1]), tuple(map(int, data.shape[2:]))))
    return Event(name, "convolution", macs(layer).value, conv)


def _kind(row: Row, op: str) -> str:
    """Matrix products inside attention are attention; the rest goes by what it is."""
    products = {"bmm", "baddbmm"}
    if (
        row.op in {"scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward"}
        and op in products
    ):
        return "attention"
    if "attention" in op:
        return "attention"
    if isinstance(row.owner, nn.RNNBase | nn.RNNCellBase) or row.op in {"lstm", "gru", "rnn_tanh", "rnn_relu"}:
        return "recurrent"
    if isinstance(row.owner, nn.Linear) or row.op == "linear":
        return "linear"
    return "bilinear" if op == "_trilinear" else "matmul"


def _is_view(func: Any) -> bool:
    """Whether the output is only another look at the input."""
    return any(a.alias_info is not None and not a.alias_info.is_write for a in func._schema.arguments)  # noqa: SLF001 - torch's own way to ask


def _has_text(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(isinstance(value, str) for value in (*args, *kwargs.values()))


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _bytes(tensor: torch.Tensor) -> int:
    return 0 if nn.parameter.is_lazy(tensor) else tensor.numel() * tensor.element_size()
