"""One call of a layer in a traced model: its shapes, its cost and its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from convcost.convolution.cost import FLOPS_PER_MAC

if TYPE_CHECKING:
    from convcost.convolution.conv import Conv
    from convcost.convolution.layer import Layer
    from convcost.timing.account import Account
    from convcost.timing.bound import Bound, Work
    from convcost.timing.conditions import Conditions
    from convcost.timing.hints import Hint


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer, or one functional call.

    Attributes:
        name: Path of the module; `path#2` for its second call, `path.matmul#1` for a functional call.
        op: Class of the module, or name of the function.
        input_shape: Shape of the image, for a convolution; else of the first input tensor.
        output_shape: Shape of the first output tensor.
        params: Parameters that belong to this call: no earlier call used them.
        macs: Multiply-accumulates.
        traffic_bytes: Bytes of the input tensors, parameters and output tensors, each moved once.
        macs_share: Share of the model's MACs; None if these are 0.
        conv: Convolution that the call consists of; None for any other call.
        inputs: Texts of the input tensors, such as `1x16:int64`.
        weights: Dtypes of the parameters.
        shares: Name of the first earlier call with one of these parameters; None without one.
        least_bytes: Bytes that any kernel must move, fewer than the traffic where a call reads only parts or works in
            place; None if unknown, as for a view or a user's class.
        uncounted: Number of operations without a formula; if there are any, the MACs are a lower bound.
        torch_name: Name of the torch class that the module is or is derived from, else of the function.
        is_function: Whether it is a functional call, which counters that hook modules do not see.
        has_bias: Whether a convolution or a linear layer adds a bias.
        has_packed: Whether it has packed weights, as of quantisation, which are not among its parameters.
        settings: Hyper-parameters of the module, by name.
        time_s: Median seconds of the layer alone; None if not timed.
        bound: Least possible time on this machine; None if it is not calibrated, or if the least work is unknown.
        account: Account of the time of a convolution; None if not requested.
        hint: Change that would make it faster; None if not requested, or if nothing helps.
        note: Reason why there is no account; None with one.
        conditions: Conditions of the timing, with the layer's own dtype and memory format; None if not timed.
        alive_bytes: Largest total size of the activations alive during the call, its own and those kept for later,
            with the inputs of the model, without parameters; None if unknown.
    """

    name: str
    op: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    params: int
    macs: int
    traffic_bytes: int
    macs_share: float | None = None
    conv: Conv | None = None
    inputs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    shares: str | None = None
    least_bytes: int | None = None
    uncounted: int = 0
    torch_name: str = ""
    is_function: bool = False
    has_bias: bool = False
    has_packed: bool = False
    settings: tuple[tuple[str, object], ...] = ()
    time_s: float | None = None
    bound: Bound | None = None
    account: Account | None = None
    hint: Hint | None = None
    note: str | None = None
    conditions: Conditions | None = None
    alive_bytes: int | None = None

    @property
    def flops(self) -> int:
        """Floating-point operations, 2 per MAC."""
        return FLOPS_PER_MAC * self.macs

    @property
    def flop_per_byte(self) -> float | None:
        """FLOPs per byte of traffic; None for a call without traffic."""
        return self.flops / self.traffic_bytes if self.traffic_bytes else None

    @property
    def layer(self) -> Layer | None:
        """The convolution placed on the call's input, where a single sample counts as a batch of one.

        None if the call is not exactly one convolution: a subclass, or a padding other than zeros, may have changed
        the input.
        """
        if self.conv is None or not 1 <= len(self.input_shape) - len(self.conv.kernel_size) <= 2:  # noqa: PLR2004 - C, or N and C
            return None
        from convcost.convolution.layer import Layer
        from convcost.convolution.shape import Shape
        from convcost.text.errors import ShapeError

        alone = (1,) * (len(self.conv.kernel_size) + 2 - len(self.input_shape))
        batch, channels, *spatial = *alone, *self.input_shape
        try:
            layer = Layer(self.name, self.conv, Shape(batch, channels, tuple(spatial)))
        except ShapeError:
            return None
        return layer if layer.output.sizes == (*alone, *self.output_shape) else None

    def work(self, dtype: str) -> Work | None:
        """The least work of the call; None if unknown."""
        from convcost.timing.bound import Work, least_work

        layer = self.layer
        if layer is not None:
            return least_work(layer, dtype)
        if not self.macs and not self.least_bytes:
            return None
        return Work(self.flops, self.least_bytes or 0, convolution=False)

    @property
    def attained(self) -> float | None:
        """The bound ÷ the time of the layer alone; None without either."""
        return self.bound.seconds / self.time_s if self.bound is not None and self.time_s else None

    @property
    def warning(self) -> str | None:
        """Reasons not to trust the row's time; None without any."""
        beaten = () if self.bound is None else self.bound.doubts(self.attained)
        seen = () if self.account is None else self.account.warnings
        return "; ".join(filter(None, (self.note, *beaten, *seen))) or None

    @property
    def padding(self) -> tuple[int, ...] | None:
        """The padding of the convolution, one size for each axis; None for any other call."""
        if self.conv is None or len(self.input_shape) < len(self.conv.kernel_size):
            return None
        return tuple(
            before for before, _ in self.conv.explicit_padding(self.input_shape[-len(self.conv.kernel_size) :])
        )
