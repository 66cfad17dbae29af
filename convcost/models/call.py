"""One call of a layer in a traced model: what it is, what it costs, how long it took. A plain value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.text.errors import ShapeError
from convcost.timing.bound import Work, least_work

if TYPE_CHECKING:
    from convcost.convolution.conv import Conv
    from convcost.timing.account import Account
    from convcost.timing.bound import Bound
    from convcost.timing.conditions import Conditions
    from convcost.timing.hints import Hint


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer, or one functional call.

    Attributes:
        name: the module's path, `path#2` for a second call, `path.matmul#1` for a functional call.
        op: the module's class, or the function.
        input_shape: of the first tensor that goes in.
        output_shape: of the first tensor that comes out.
        params: of this call's module that no call before it used.
        macs: multiply-accumulates.
        traffic_bytes: tensors and parameters in, tensors out, each moved once.
        macs_share: of the total; None for a total of 0.
        conv: the convolution, where the call is exactly one.
        inputs: each tensor that goes in, as `1x16:int64`.
        weights: dtypes of its parameters.
        shares: the first call before it that used one of its parameters; None where there is none.
        least_bytes: what no kernel can leave unmoved, less than the traffic where a call reads parts or works in place;
            None where nobody can say, as of a view or of a class of the user's.
        uncounted: operations without a formula in it; its MACs are then a lower bound.
        time_s: of the layer alone; None where it was not timed.
        bound: the time that cannot be beaten on this machine; None where it is not calibrated, or where nothing is
            known that the call cannot leave out.
        account: where the time of a convolution goes; None when not asked for.
        hint: what would make it faster; None when not asked for, or when nothing was found.
        note: why there is no account.
        conditions: of its timing, with its own dtype and memory format; None where it was not timed.
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
    time_s: float | None = None
    bound: Bound | None = None
    account: Account | None = None
    hint: Hint | None = None
    note: str | None = None
    conditions: Conditions | None = None

    @property
    def flops(self) -> int:
        """2 a MAC."""
        return FLOPS_PER_MAC * self.macs

    @property
    def flop_per_byte(self) -> float | None:
        """Arithmetic intensity; None where nothing is moved."""
        return self.flops / self.traffic_bytes if self.traffic_bytes else None

    @property
    def layer(self) -> Layer | None:
        """The convolution on the call's own input, a single sample taken for a batch of one.

        None where the call is no convolution, or not exactly one: a subclass, or a padding other than zeros, may have
        changed what goes into it.
        """
        if self.conv is None or not 1 <= len(self.input_shape) - len(self.conv.kernel_size) <= 2:  # noqa: PLR2004 - (N,) C
            return None
        alone = (1,) * (len(self.conv.kernel_size) + 2 - len(self.input_shape))
        batch, channels, *spatial = *alone, *self.input_shape
        try:
            layer = Layer(self.name, self.conv, Shape(batch, channels, tuple(spatial)))
        except ShapeError:
            return None
        return layer if layer.output.sizes == (*alone, *self.output_shape) else None

    def work(self, dtype: str) -> Work | None:
        """What cannot be left out; None where nothing is known of it."""
        layer = self.layer
        if layer is not None:
            return least_work(layer, dtype)
        if not self.macs and not self.least_bytes:
            return None
        return Work(self.flops, self.least_bytes or 0, convolution=False)

    @property
    def attained(self) -> float | None:
        """The bound ÷ the time of the layer alone."""
        return self.bound.seconds / self.time_s if self.bound is not None and self.time_s else None

    @property
    def warning(self) -> str | None:
        """What to know before trusting the row's time."""
        beaten = () if self.bound is None else self.bound.doubts(self.attained)
        seen = () if self.account is None else self.account.warnings
        return "; ".join(filter(None, (self.note, *beaten, *seen))) or None

    @property
    def padding(self) -> tuple[int, ...] | None:
        """Of the convolution, one size an axis (both sides are equal in torch)."""
        if self.conv is None:
            return None
        return tuple(
            before for before, _ in self.conv.explicit_padding(self.input_shape[-len(self.conv.kernel_size) :])
        )
