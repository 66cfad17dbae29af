"""A torch module as the text of a class: one for a block, or for several that differ in numbers alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain as flattened
from typing import TYPE_CHECKING, Final, TypeAlias

from convcost.convolution.conv import Conv
from convcost.convolution.layer import Activation, GlobalPool, MaxPool, Norm
from convcost.programs.forward_pass import ForwardPass
from convcost.programs.python_text import code, docstring, identifier, unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from convcost.convolution.layer import Layer
    from convcost.convolution.tree import Stage, Step
    from convcost.programs.documented_block import DocumentedBlock

Argument: TypeAlias = "int | float | bool | tuple[int, ...] | None"
"""A value of an argument of a module."""
_DEFAULTS: Final[Mapping[str, Argument]] = {
    "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "bias": True,
    "eps": 1e-5, "momentum": 0.1,
}  # fmt: skip
"""Arguments of a module that are left out where they have these values."""
_POSITIONAL: Final = ("in_channels", "out_channels", "channels", "output_size")
_ACTIVATIONS: Final = {
    "relu": "nn.ReLU", "relu6": "nn.ReLU6", "silu": "nn.SiLU", "hardswish": "nn.Hardswish", "gelu": "nn.GELU",
}  # fmt: skip
_MODULE_ATTRIBUTES: Final = frozenset({
    "apply", "bfloat16", "buffers", "children", "compile", "cpu", "cuda", "double", "eval", "float", "forward", "half",
    "ipu", "modules", "mtia", "parameters", "to", "train", "training", "type", "xpu",
})  # fmt: skip
"""The attributes of nn.Module in one word, which a stage must not replace."""
_NORM: Final = "nn.BatchNorm2d"
_CLASS: Final = """class {name}(nn.Module):
{documentation}

{signature}
        super().__init__()
{members}

    def forward(self, input: torch.Tensor) -> torch.Tensor:
{forward}
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A module that a class makes for itself.

    Attributes:
        name: Name of the attribute.
        constructor: Name of the module's class.
        arguments: Arguments of the class by name, defaults included.
        before: Expression of the module that pads its input; empty without one.
    """

    name: str
    constructor: str
    arguments: Mapping[str, Argument]
    before: str = ""


def stage_names(layers: Iterable[Layer]) -> list[str]:
    """The names of stages as attributes of a module, in the order they run."""
    taken = set(_MODULE_ATTRIBUTES)
    return [unique(identifier(layer.name), taken) for layer in layers]


class TorchForward(ForwardPass):
    """The forward pass of a block in torch, and the modules that it calls.

    Attributes:
        members: Modules in the order they run.
    """

    FRAMEWORK = "torch"
    SHORT = re.compile(r"\w+|self\.\w+\(\w+\)")

    def __init__(self, block: DocumentedBlock) -> None:
        self.members: list[Member] = []
        self._norm = block.norm
        super().__init__(block, "input", taken=_MODULE_ATTRIBUTES)

    @property
    def structure(self) -> tuple[object, ...]:
        """All that two blocks of one class have in common: everything but the values of arguments."""
        members = ((one.name, one.constructor, one.before, *one.arguments) for one in self.members)
        return (*members, *self.lines, self.output)

    def calls(self, name: str, part: Stage | Step, layer: Layer) -> Sequence[str]:  # noqa: ARG002 - Keras reads it
        """The module."""
        match layer.op:
            case Conv() as conv:
                if conv.tied and conv.transposed:
                    raise self.refusal(name, "is transposed, with one filter bank for all groups", "leave it out")
                pairs = conv.explicit_padding(layer.input.spatial)
                padding = tuple(start for start, _ in pairs)
                before = ""
                if any(start != end for start, end in pairs):  # torch's pad takes the last axis first
                    before = f"nn.ZeroPad2d({tuple(flattened.from_iterable(reversed(pairs)))})"
                    padding = (0,) * len(pairs)
                member = Member(name, *_convolution(conv, padding), before)
            case Norm(channels):
                member = Member(name, _NORM, {"channels": channels, **self._norm})
            case Activation(kind):
                member = Member(name, _ACTIVATIONS[kind], {})
            case MaxPool(kernel_size, stride, padding):
                sizes = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
                member = Member(name, "nn.MaxPool2d", sizes)
            case GlobalPool():
                member = Member(name, "nn.AdaptiveAvgPool2d", {"output_size": 1})
        self.members.append(member)
        return [f"self.{name}({{x}})"]

    def concat(self, values: Sequence[str]) -> str:
        """torch.cat."""
        return f"torch.cat([{', '.join(values)}], dim=1)"

    def split(self, x: str, sizes: Sequence[int]) -> str:
        """torch.split."""
        return f"torch.split({x}, {list(sizes)}, dim=1)"


@dataclass(frozen=True, slots=True)
class ClassParameter:
    """A parameter of a class that several blocks share.

    Attributes:
        name: Name of the parameter.
        values: Its value for each block.
    """

    name: str
    values: tuple[Argument, ...]

    @property
    def annotation(self) -> str:
        """Its type."""
        kinds = {"tuple[int, int]" if isinstance(one, tuple) else type(one).__name__ for one in self.values}
        return " | ".join(sorted("None" if kind == "NoneType" else kind for kind in kinds))


class TorchClass:
    """The class of blocks whose modules and statements are the same; numbers that differ are its parameters.

    Args:
        name: Name of the class.
        blocks: Blocks on their inputs.
    """

    def __init__(self, name: str, blocks: Sequence[DocumentedBlock]) -> None:
        self._name = name
        self._blocks = blocks
        self._forwards = [TorchForward(block) for block in blocks]
        self._parameters = dict(self._named())

    @property
    def text(self) -> str:
        """The class as text."""
        forward = self._forwards[0]
        taken = ", ".join(f"{one.name}: {one.annotation}" for one in self._parameters.values())
        return _CLASS.format(
            name=self._name,
            documentation=docstring(self._documentation, 1),
            signature=code(f"def __init__(self{', ' * bool(taken)}{taken}) -> None:", 1),
            members="\n".join(code(f"self.{one.name} = {self._made(i)}", 2) for i, one in enumerate(forward.members)),
            forward="\n".join(code(line, 2) for line in (*forward.lines, f"return {forward.output}")),
        )

    @property
    def calls(self) -> list[str]:
        """The expression that makes the module of each block."""
        return [
            f"{self._name}({', '.join(_argument(one.name, one.values[i]) for one in self._parameters.values())})"
            for i in range(len(self._blocks))
        ]

    @property
    def _documentation(self) -> list[list[str]]:
        """The paragraphs of its docstring: formulas with numbers for one block, else every form in symbols."""
        first = self._blocks[0]
        has_norm = any(one.constructor == _NORM for one in self._forwards[0].members)
        remark = [["Batch normalisation adds 2 parameters for each of its channels."]] if has_norm else []
        if len(self._blocks) == 1:
            return [*first.paragraphs, *remark]
        legends = dict.fromkeys(one for block in self._blocks for one in block.legend.split("; "))
        forms: dict[str, dict[str, None]] = {}
        for count in (one for block in self._blocks for one in block.counts):
            forms.setdefault(count.quantity, {})[count.symbols] = None
        formulas = [[f"{quantity} = {', or '.join(symbols)}"] for quantity, symbols in forms.items()]
        return [*first.introduction, [f"{'; '.join(legends)}."], *formulas, *remark]

    def _named(self) -> Iterator[tuple[str, ClassParameter]]:
        """The arguments that differ between the blocks, by their values; input and output channels come first."""
        convs = [i for i, one in enumerate(self._forwards[0].members) if "in_channels" in one.arguments]
        ends = [(convs[0], "in_channels"), (convs[-1], "out_channels")] if convs else []
        every = [(i, name) for i, one in enumerate(self._forwards[0].members) for name in one.arguments]
        taken, seen = {"self"}, set()
        for i, name in (*ends, *every):
            values = self._values(i, name)
            if len(set(map(repr, values))) > 1 and repr(values) not in seen:
                seen.add(repr(values))
                own = name if name not in taken else f"{self._forwards[0].members[i].name}_{name}"
                yield repr(values), ClassParameter(unique(own, taken), values)

    def _values(self, member: int, name: str) -> tuple[Argument, ...]:
        return tuple(one.members[member].arguments[name] for one in self._forwards)

    def _made(self, member: int) -> str:
        """The expression that makes a member."""
        one = self._forwards[0].members[member]
        texts = []
        for name, value in one.arguments.items():
            parameter = self._parameters.get(repr(self._values(member, name)))
            if parameter is not None:
                texts.append(_argument(name, parameter.name))
            elif value != _DEFAULTS.get(name, ...):
                texts.append(_argument(name, value))
        made = f"{one.constructor}({', '.join(texts)})"
        return f"nn.Sequential({one.before}, {made})" if one.before else made


def _argument(name: str, value: object) -> str:
    return str(value) if name in _POSITIONAL else f"{name}={value}"


def _convolution(conv: Conv, padding: tuple[int, ...]) -> tuple[str, dict[str, Argument]]:
    """The class of a convolution and its arguments."""
    arguments: dict[str, Argument] = {
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel_size": _short(conv.kernel_size),
        "stride": _short(conv.stride),
        "padding": _short(padding),
        "output_padding": _short(conv.output_padding),
        "dilation": _short(conv.dilation),
        "groups": conv.groups,
        "bias": conv.bias,
    }
    is_shared = conv.tied and conv.groups > 1
    return "SharedConv2d" if is_shared else f"nn.Conv{'Transpose' * conv.transposed}2d", arguments


def _short(sizes: tuple[int, ...]) -> Argument:
    """One size for equal ones."""
    return sizes[0] if len(set(sizes)) == 1 else sizes
