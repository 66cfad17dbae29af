"""Which block of the catalogue may stand in the place of a convolution, and what it costs there."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from convcost.changes.rank_choice import RankChoice, require_algebra
from convcost.comparison.rows import Placed, place_block
from convcost.convolution.conv import Conv
from convcost.convolution.cost import Cost, cost
from convcost.convolution.shape import require_at_least
from convcost.convolution.spec import PARAMETERS, Spec, find_block
from convcost.convolution.tree import Chain, Concat, Residual, Scope, Split, Step, place
from convcost.models.network_layers import Style, dress
from convcost.text.errors import ConvcostError, ShapeError, as_text, did_you_mean
from convcost.text.sizes import is_number
from convcost.text.units import human_percent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.convolution.layer import Layer
    from convcost.convolution.spec import Value
    from convcost.convolution.tree import Node
    from convcost.models.call import Call
    from convcost.models.report import ModelReport

Origin: TypeAlias = Literal["standard", "grouped", "depthwise", "pointwise"]
"""A kind of convolution that blocks may replace."""
ORIGINS: Final[tuple[str, ...]] = get_args(Origin)
MIN_KERNEL: Final = 2
"""Default of the smallest kernel that is replaced."""
MAX_IMAGE_CHANNELS: Final = 4
"""Maximum number of channels of an image: red, green, blue and one more."""
MIN_IMAGE_SHARE: Final = 0.01
"""Share of the model's MACs below which a layer that reads the image stays as it is."""
MAX_REASONS: Final = 3
"""Maximum number of reasons, or of names, in the message that no layer is left."""
PLAIN: Final = Style(norm=False, activation=None)
"""No operation between the stages of a block."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which convolutions are replaced, and by what.

    Attributes:
        to: Names of blocks, in order of preference.
        origin: Kind of the convolutions that are replaced.
        only: Regular expression that the name of a replaced layer must match; None for any name.
        skip: Regular expression that the name of a replaced layer must not match; None for no such rule.
        min_kernel: Smallest kernel, on its longer side, that is replaced.
        min_saving: Smallest share of the layer's MACs that a block must save; None if it may even add some.
        between: Whether normalisation and activation stand between the stages of a block too.
        parameters: Values for parameters that only some blocks have.
        keep: How ranks are chosen where weights are factorised; None for new weights.

    Raises:
        ConvcostError: An unknown block, kind or parameter, a pattern that is no regular expression, or a number that is
            out of range; or a block without an algebra, or a parameter, where weights are factorised.
    """

    to: tuple[str, ...]
    origin: str = "standard"
    only: str | None = None
    skip: str | None = None
    min_kernel: int = MIN_KERNEL
    min_saving: float | None = None
    between: bool = True
    parameters: Mapping[str, Value] = field(default_factory=dict)
    keep: RankChoice | None = None

    def __post_init__(self) -> None:
        """Refuse what no replacement could follow."""
        if not self.to:
            raise ConvcostError("to must name a block of the catalogue, such as depthwise-separable.")
        for name in self.to:
            find_block(str(name))
        if self.origin not in ORIGINS:
            hint = did_you_mean(str(self.origin), ORIGINS)
            origin = f"origin (={as_text(self.origin)}), from which layers are replaced,"
            raise ConvcostError(f"{origin} must be a kind of convolution; {hint}")
        for name in ("only", "skip"):
            _require_pattern(name, getattr(self, name))
        require_at_least(1, min_kernel=self.min_kernel)
        if self.min_saving is not None and not (is_number(self.min_saving) and 0 <= self.min_saving < 1):
            saving = as_text(self.min_saving)
            raise ConvcostError(f"min_saving (={saving}) must be a share of at least 0 and below 1; give 0.2 for 20 %.")
        for name in self.parameters:
            if name not in PARAMETERS:
                raise ConvcostError(f"parameter {name} must be one of a block; {did_you_mean(name, PARAMETERS)}")
        if self.keep is not None:
            self._require_algebras()

    def _require_algebras(self) -> None:
        if self.origin not in {"standard", "pointwise"}:
            msg = f"origin (={self.origin}) must be standard or pointwise to keep weights: factors are not grouped."
            raise ConvcostError(msg)
        for name in self.to:
            require_algebra(name)
        for name, value in self.parameters.items():
            msg = (
                f"{name} (={value}) must follow from the kept weights; leave it out: rank, energy and max_error set it."
            )
            raise ConvcostError(msg)

    @property
    def notes(self) -> tuple[str, ...]:
        """The parameters that none of the blocks has."""
        own = {name for block in self.to for name in find_block(block).defaults}
        return tuple(
            f"{name} has no effect here: it sets {PARAMETERS[name].help} of "
            f"{', '.join(block.name for block in PARAMETERS[name].owners)}."
            for name in self.parameters
            if name not in own
        )

    def between_stages(self, following: Style) -> Style:
        """The operations between the stages of a block: those that follow the layer, none where weights are kept."""
        return following if self.between and self.keep is None else PLAIN

    def reason_for_name(self, name: str) -> str | None:
        """The reason why a layer of this name stays as it is; None if none of the patterns excludes it."""
        if self.only is not None and not re.search(self.only, name):
            return f"only (={as_text(self.only)}) does not match it"
        if self.skip is not None and re.search(self.skip, name):
            return f"skip (={as_text(self.skip)}) matches it"
        return None

    def reason_for_kind(self, conv: Conv | None) -> str | None:
        """The reason why a convolution of this kind stays as it is; None if it may be replaced."""
        if conv is None:
            return "it does more than convolve"
        kind = kind_of(conv)
        if kind != self.origin:
            return f"{kind}, not {self.origin}"
        largest = max(conv.kernel_size)
        if largest < self.min_kernel and self.origin != "pointwise":
            return f"its kernel (={largest}) is below min_kernel (={self.min_kernel})"
        return None


def _require_pattern(name: str, pattern: str | None) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what a later Python might read otherwise
            re.compile(pattern or "")
    except (re.error, RecursionError, OverflowError, TypeError) as error:
        msg = f"{name} (={as_text(pattern)}) must be a regular expression, and {error}; write one such as layer[34]."
        raise ConvcostError(msg) from error


@dataclass(frozen=True, slots=True)
class Replacement:
    """A block in the place of a convolution.

    Attributes:
        name: Name of the layer.
        calls: Calls of the layer in one forward pass, all on inputs of one shape.
        placed: Block on the layer's input, with the operations between its stages.
        style: Operations between the stages.
        norm: Options `eps` and `momentum` of the batch normalisations between the stages; empty without any.
        weight_error: Relative error of the factorised weights; None for new weights.
    """

    name: str
    calls: tuple[Call, ...]
    placed: Placed
    style: Style = PLAIN
    norm: Mapping[str, float | None] = field(default_factory=dict)
    weight_error: float | None = None

    @property
    def text(self) -> str:
        """The block, with its own parameters where they are not at a fixed default: `low-rank, rank 16`."""
        block, given = self.placed.block, self.placed.parameters.items()
        own = (f"{name.replace('_', ' ')} {value}" for name, value in given if value != block.defaults[name])
        return ", ".join((block.name, *own))

    @property
    def before(self) -> Cost:
        """The cost of the layer, all calls together."""
        return cost_of(self.calls)

    @property
    def after(self) -> Cost:
        """The cost of the block, all calls together, its parameters once."""
        one, times = self.placed.cost, len(self.calls)
        return Cost(one.macs * times, one.params, one.traffic_bytes * times)


def cost_of(calls: Sequence[Call]) -> Cost:
    """The cost of calls together."""
    return Cost(
        sum(call.macs for call in calls), sum(call.params for call in calls), sum(call.traffic_bytes for call in calls)
    )


def kind_of(conv: Conv) -> Origin:
    """The kind of a convolution."""
    if conv.groups == 1:
        return "pointwise" if set(conv.kernel_size) == {1} else "standard"
    return "depthwise" if conv.groups == conv.in_channels else "grouped"


def reads_image(call: Call, report: ModelReport) -> bool:
    """Whether a layer reads an image that is an input of the model, and has a small share of its MACs."""
    has_few_channels = call.conv is not None and call.conv.in_channels <= MAX_IMAGE_CHANNELS
    if not has_few_channels or (call.macs_share or 0) >= MIN_IMAGE_SHARE:
        return False
    inputs = {text.rpartition("=")[2] for text in report.inputs}
    earlier = takewhile(lambda one: one.name != call.name, report.layers)
    return all(not inputs.isdisjoint(one.inputs) for one in (*earlier, call) if one.macs)


def choose_block(
    name: str,
    calls: Sequence[Call],
    style: Style,
    rules: Rules,
    factorise: Callable[[str], Mapping[str, int]] | None = None,
) -> Replacement | str:
    """The first block of the rules that may stand in the place of a layer; the reason why there is none.

    Args:
        name: Name of the layer.
        calls: Its calls in one forward pass.
        style: Normalisation and activation that follow it.
        rules: Blocks and their parameters.
        factorise: Function that factorises the layer's weight for a block, and returns the block's parameters; None for
            new weights.
    """
    layers = [call.layer for call in calls]
    layer = layers[0]
    if layer is None and 0 in calls[0].input_shape:
        return "its input is empty"
    if layer is None:
        return "its output is not that of one convolution of its input"
    if any(other is None or other.input != layer.input for other in layers):
        shapes = " and ".join(dict.fromkeys("x".join(map(str, call.input_shape)) for call in calls))
        return f"called with inputs of different sizes: {shapes}"
    reasons, between = {}, rules.between_stages(style)
    for block in rules.to:
        try:
            parameters = rules.parameters if factorise is None else factorise(block)
            placed = block_in_place(block, layer, between, parameters)
            _require_saving(layer, placed, rules)
        except ShapeError as error:
            reasons[block] = str(error).rstrip(".")
        else:
            return Replacement(name, tuple(calls), placed, between)
    return "; ".join(f"{block}: {reason}" for block, reason in reasons.items())


def block_in_place(name: str, layer: Layer, style: Style, parameters: Mapping[str, Value]) -> Placed:
    """A block of the catalogue in the place of a convolution.

    Args:
        name: Name of the block.
        layer: The convolution on its input.
        style: Operations between the stages of the block.
        parameters: Values for parameters that only some blocks have.

    Raises:
        ShapeError: The block does not allow the shape, gives another output shape, or is the layer itself.
    """
    placed = place_block(name, spec_of(layer), parameters)
    if placed.output != layer.output:
        before, after = ("x".join(map(str, shape.sizes)) for shape in (layer.output, placed.output))
        raise ShapeError(f"its output is {after}, that of the layer {before}.")
    if [stage.op for stage in placed.layers] == [layer.op]:
        raise ShapeError("the layer is this block already.")
    tree = _open_ended(dress(placed.tree, style, linear=True))
    layers, _ = place(tree, layer.input)
    return replace(placed, tree=tree, layers=layers, cost=cost(layers))


def spec_of(layer: Layer) -> Spec:
    """The spec for which `standard` is this 2-D convolution.

    Raises:
        ShapeError: It has another number of axes, is transposed, or pads its sides unlike SAME.
    """
    conv, shape = layer.op, layer.input
    if not isinstance(conv, Conv) or conv.transposed:
        raise ShapeError("a transposed convolution: the blocks of the catalogue are not transposed.")
    if len(shape.spatial) != 2:  # noqa: PLR2004 - the axes of an image
        raise ShapeError(f"a {len(shape.spatial)}-D convolution: the blocks of the catalogue are 2-D.")
    pads = conv.explicit_padding(shape.spatial)
    height, width = shape.spatial
    padding: tuple[int, int] | Literal["same"] = "same"
    if all(before == after for before, after in pads):
        padding = (pads[0][0], pads[1][0])
    elif replace(conv, padding="same").explicit_padding(shape.spatial) != pads:
        raise ShapeError("its padding differs between the sides, and is not that of TensorFlow's SAME.")
    kernel, stride, dilation = ((one[0], one[1]) for one in (conv.kernel_size, conv.stride, conv.dilation))
    return Spec(
        conv.in_channels, conv.out_channels, kernel, height, width, shape.batch, stride, dilation, padding, conv.bias
    )


def _open_ended(node: Node) -> Node:
    """A tree without the operations that follow its last stage, which the network has itself."""
    match node:
        case Chain(parts):
            while parts and isinstance(parts[-1], Step):
                parts = parts[:-1]
            return Chain((*parts[:-1], *map(_open_ended, parts[-1:])))
        case Concat(parts=parts) | Split(parts=parts):
            return replace(node, parts=tuple(map(_open_ended, parts)))
        case Residual(body=body) | Scope(body=body):
            return replace(node, body=_open_ended(body))
    return node


def _require_saving(layer: Layer, placed: Placed, rules: Rules) -> None:
    """Refuse a block that saves too few MACs; at ranks that a limit takes, one that saves none."""
    keep, least = rules.keep, rules.min_saving
    if keep is not None and keep.rank is None and placed.cost.macs >= cost([layer]).macs:
        own = " and ".join(f"{name} {value}" for name, value in placed.parameters.items())
        raise ShapeError(f"{keep} takes {own.replace('_', ' ')}, which saves no MACs.")
    if least is not None and placed.cost.macs > (1 - least) * cost([layer]).macs:
        raise ShapeError(f"saves fewer MACs than min_saving (={human_percent(least)}).")


def require_layers(rules: Rules, outcomes: Mapping[str, Replacement | str]) -> None:
    """Refuse rules that leave no layer to replace.

    Args:
        rules: The rules.
        outcomes: The block in the place of each convolution, or the reason why the layer stays as it is; by name.

    Raises:
        ConvcostError: Every layer stays as it is.
    """
    if not outcomes:
        raise ConvcostError("model must have a module that is a convolution, to replace it; there is none.")
    if rules.only is not None and not any(re.search(rules.only, name) for name in outcomes):
        plain = re.sub(r"[^\w.]", "", rules.only)
        words = dict.fromkeys(part for name in outcomes for part in (name, *_parents(name)))
        some = ", ".join([*outcomes][:MAX_REASONS])
        hint = did_you_mean(plain, words, f"the model has {some}{', ...' if len(outcomes) > MAX_REASONS else '.'}")
        raise ConvcostError(f"only (={as_text(rules.only)}) must match a convolution; {hint}")
    reasons: dict[str, list[str]] = {}
    for name, outcome in outcomes.items():
        if not isinstance(outcome, str):
            return
        reasons.setdefault(outcome, []).append(name)
    ordered = sorted(reasons.items(), key=lambda one: len(one[1]), reverse=True)[:MAX_REASONS]
    shown = "; ".join(f"{few(names)}: {why}" for why, names in ordered)
    raise ConvcostError(f"no convolution may be replaced ({shown}); change the rules.")


def few(names: Sequence[str]) -> str:
    """The first of several names, and the number of the others: `conv1 and 3 more`."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _parents(path: str) -> list[str]:
    """The paths of the modules that a module is in, and the name of each."""
    names = path.split(".")
    return [text for i in range(1, len(names)) for text in (".".join(names[:i]), names[i])]
