"""A row of a trace: one call of a module or function, with the cost of the operators it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from convcost.nn.count.formulas import ATTENTION
from convcost.nn.count.moved_bytes import certainly_read, parameters_of, total_bytes
from convcost.nn.count.one_row import kind_of
from convcost.nn.count.operators import Event
from convcost.nn.count.storages import key_of
from convcost.nn.count.tensors import all_unwrapped, shape_of, tensor_text, tensors_in

if TYPE_CHECKING:
    import torch

    from convcost.convolution.conv import Conv
    from convcost.nn.count.operators import Cost


class Row:
    """A call of a module or a function, while it runs and after.

    Args:
        path: Path of the module that was called, or that called the function.
        function: Name of the function; empty for a module.
        op: Class of the module, or name of the function.
        owner: The module that was called.
        inputs: Its input tensors, kept until it ends.

    Attributes:
        text_padding: Whether an argument is text, as a convolution's padding may be.
        events: Calls of operators that have a formula.
        parts: Calls of operators that one of the events stands for.
        multiplies_buffers: Whether activations are multiplied by floats that come from buffers alone.
        writes: Whether an operator wrote into a tensor that existed before.
        new_storages: Bytes of each storage that appeared during the call, by key.
        uncounted: Number of calls of each operator that has no formula and is not free.
        input_shape: Shape of the image, for a convolution; else of the first input.
        input_texts: Shape and dtype of each input.
        output_shape: Shape of the first output.
        used: Parameters that its operators used, themselves or what was computed from them, by identity.
        has_activations: Whether an operator used other values than parameters.
        weights: Parameters that the call used, its module's own among them.
        traffic_bytes: Compulsory traffic, every tensor once.
        least_bytes: Bytes that any implementation must move.
        activation_bytes: Bytes of the outputs' new storages.
        alive_bytes: Largest sum of the bytes of activations that were alive during the call.
        in_thread: Whether another thread than that of the forward pass ran it.
    """

    def __init__(
        self,
        path: str,
        function: str,
        op: str,
        owner: nn.Module | None,
        inputs: list[torch.Tensor],
    ) -> None:
        self.path, self.function, self.op = path, function, op
        self.owner = owner
        self.inputs = inputs
        self.text_padding = False
        self.events: list[Event] = []
        self.parts: list[Event] = []
        self.multiplies_buffers = False
        self.writes = False
        self.new_storages: dict[int, int] = {}
        self.uncounted: dict[str, int] = {}
        self.input_shape = shape_of(inputs[0]) if inputs else ()
        self.input_texts = tuple(map(tensor_text, inputs))
        self.output_shape: tuple[int, ...] = ()
        self.used: dict[int, torch.Tensor] = {}
        self.has_activations = False
        self.weights: list[torch.Tensor] = []
        self.traffic_bytes = 0
        self.least_bytes: int | None = None
        self.activation_bytes = 0
        self.alive_bytes = 0
        self.in_thread = False

    @property
    def name(self) -> str:
        """`path`, or `path.function`; not unique."""
        return f"{self.path}.{self.function}".strip(".") if self.function else self.path or self.op

    @property
    def torch_name(self) -> str:
        """The torch class that the module is or is derived from, else the function's name."""
        return self.op if self.owner is None else kind_of(self.owner).torch_name or self.op

    @property
    def has_bias(self) -> bool:
        """Whether it adds a bias to products."""
        if len(self.events) == 1 and self.events[0].conv is not None:
            return self.events[0].conv.bias
        return bool(self.events) and any(weight.ndim == 1 for weight in self.weights)

    @property
    def is_preparation(self) -> bool:
        """Whether a function computed something from parameters alone, such as a mask times a weight."""
        return self.owner is None and bool(self.used) and not self.has_activations

    def add_event(self, op: str, price: Cost, data: torch.Tensor | None) -> None:
        """Record a call of an operator that has a formula.

        Args:
            op: Name of the operator.
            price: Its cost.
            data: Its first argument, the image of a convolution.
        """
        if price.conv is not None and data is not None and not self.events:
            self.input_shape = _image_shape(price.conv, self.inputs, data)
        kind = "convolution" if price.conv else _kind(self, op)
        self.events.append(Event(op, kind, price.macs, price.conv, price.plain_macs))

    def close(self, output: Any) -> bool:
        """Work out what the call moved.

        Returns:
            Whether the row counts: not that of a function that computed nothing, such as a view.
        """
        inputs, self.inputs = self.inputs, []
        if self.owner is None and not (self.events or self.uncounted or self.new_storages or self.writes):
            return False
        outputs = tensors_in(output)
        self.output_shape = shape_of(outputs[0]) if outputs else ()
        own = [] if self.owner is None else all_unwrapped(parameters_of(self.owner))
        if own or self.used:
            self.weights = list(({id(tensor): tensor for tensor in own} | self.used).values())
        read, written = total_bytes((*inputs, *own)), total_bytes(outputs)
        self.traffic_bytes = read + written
        if self.new_storages:
            keys = set(map(key_of, outputs))
            self.activation_bytes = sum([size for key, size in self.new_storages.items() if key in keys])
        if self.owner is not None:
            computes, new = any(event.macs for event in self.events), min(self.activation_bytes, written)
            if new or getattr(self.owner, "inplace", False):
                part = certainly_read(self.owner, inputs, outputs, read, computes=computes)
                self.least_bytes = None if part is None else part + new
        if self.events and self.events[0].conv is not None and len(self.events) > 1:
            self.input_shape = shape_of(inputs[0]) if inputs else ()
        return True


def _image_shape(conv: Conv, inputs: list[torch.Tensor], data: torch.Tensor) -> tuple[int, ...]:
    """The image as it went into the call: the input that the convolution's data is, or was made from.

    Of the inputs with its channels and number of axes, that is the one in the storage of the data, else one of the
    sizes of the data, else the only one. Without any, it is the data.
    """
    axes, whole = len(conv.kernel_size), shape_of(data)
    if any(tensor is data for tensor in inputs):
        return whole
    shapes = []
    for tensor in inputs:
        shape = shape_of(tensor)
        if len(shape) in {axes + 1, axes + 2} and shape[-axes - 1] == conv.in_channels:
            if key_of(tensor) is not None and key_of(tensor) == key_of(data):
                return shape
            shapes.append(shape)
    return whole if whole in shapes or len(shapes) != 1 else shapes[0]


def _kind(row: Row, op: str) -> str:
    """The kind of a matrix product: by the row it is in, else by its operator."""
    is_attention = row.op in {"scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward"}
    if "attention" in op or op in ATTENTION or (is_attention and op in {"bmm", "baddbmm"}):
        return "attention"
    if isinstance(row.owner, nn.RNNBase | nn.RNNCellBase) or row.op in {"lstm", "gru", "rnn_tanh", "rnn_relu"}:
        return "recurrent"
    if isinstance(row.owner, nn.Linear) or row.op == "linear":
        return "linear"
    return "bilinear" if op == "_trilinear" else "matmul"
