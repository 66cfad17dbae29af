"""Blocks as torch modules: a class for each, with its formulas, and a script that runs them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain as flattened
from typing import TYPE_CHECKING, Final, TypeAlias

from convcost.convolution.conv import Conv
from convcost.convolution.layer import Activation, GlobalPool, MaxPool, Norm
from convcost.programs.forward_pass import ForwardPass
from convcost.programs.python_text import class_name, code, docstring, unique

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.convolution.layer import Layer
    from convcost.convolution.tree import Stage, Step
    from convcost.programs.documented_block import DocumentedBlock

Argument: TypeAlias = "int | bool | tuple[int, ...]"
"""A value of an argument of a module."""

_DEFAULTS: Final[Mapping[str, Argument]] = {
    "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "bias": True,
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
_SHARED: Final = '''class SharedConv2d(nn.Conv2d):
    """A convolution in groups that all share one bank of filters."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        **options: Any,
    ) -> None:
        super().__init__(
            in_channels // groups, out_channels // groups, **options
        )
        self.copies = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight.repeat(self.copies, 1, 1, 1)
        bias = None if self.bias is None else self.bias.repeat(self.copies)
        return F.conv2d(
            x,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.copies,
        )
'''
_CLASS: Final = """class {name}(nn.Module):
{documentation}

    def __init__(self) -> None:
        super().__init__()
{members}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
{forward}
"""
_SCRIPT: Final = """if __name__ == "__main__":
{input}
{loop}
        with torch.no_grad():
            y = block.eval()(x)
        parameters = sum(one.numel() for one in block.parameters())
        print(
            f"{{type(block).__name__}}: {{tuple(x.shape)}} -> {{tuple(y.shape)}}, "
            f"{{parameters:,}} parameters"
        )
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A module that a class makes for itself.

    Attributes:
        name: Name of the attribute.
        constructor: Name of the module's class.
        arguments: Arguments of the class by name, defaults included.
    """

    name: str
    constructor: str
    arguments: Mapping[str, Argument]


class TorchForward(ForwardPass):
    """The forward pass of a block in torch, and the modules that it calls.

    Attributes:
        members: Modules in the order they run.
    """

    FRAMEWORK = "torch"

    def __init__(self, block: DocumentedBlock) -> None:
        self.members: list[Member] = []
        super().__init__(block, taken=_MODULE_ATTRIBUTES)

    def calls(self, name: str, part: Stage | Step, layer: Layer) -> Sequence[str]:  # noqa: ARG002 - Keras reads it
        """The padding that torch's module cannot do, if any, and the module."""
        before: list[str] = []
        match layer.op:
            case Conv() as conv:
                if conv.tied and conv.transposed:
                    raise self.refusal(name, "is transposed, with one filter bank for all groups", "leave it out")
                pairs = conv.explicit_padding(layer.input.spatial)
                padding = tuple(start for start, _ in pairs)
                if any(start != end for start, end in pairs):  # torch's pad takes the last axis first
                    before = [f"F.pad({{x}}, {tuple(flattened.from_iterable(reversed(pairs)))})"]
                    padding = (0,) * len(pairs)
                member = Member(name, *_convolution(conv, padding))
            case Norm(channels):
                member = Member(name, "nn.BatchNorm2d", {"channels": channels})
            case Activation(kind):
                member = Member(name, _ACTIVATIONS[kind], {})
            case MaxPool(kernel_size, stride, padding):
                sizes = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
                member = Member(name, "nn.MaxPool2d", sizes)
            case GlobalPool():
                member = Member(name, "nn.AdaptiveAvgPool2d", {"output_size": 1})
        self.members.append(member)
        return [*before, f"self.{name}({{x}})"]

    def concat(self, values: Sequence[str]) -> str:
        """torch.cat."""
        return f"torch.cat([{', '.join(values)}], dim=1)"

    def split(self, x: str, sizes: Sequence[int]) -> str:
        """torch.split."""
        return f"torch.split({x}, {list(sizes)}, dim=1)"


def torch_program(blocks: Sequence[DocumentedBlock]) -> str:
    """A file with a class for each block, which runs each of them when it is started as a script.

    All blocks have the input of the first.
    """
    taken = {"F", "Any", "SharedConv2d"}
    names = [unique(class_name(block.name), taken) for block in blocks]
    classes = [block_class(name, block) for name, block in zip(names, blocks, strict=True)]
    sizes = ", ".join(map(str, blocks[0].input.sizes))
    made = ", ".join(f"{name}()" for name in names)
    title = "Convolution blocks" if len(blocks) > 1 else f"The block {blocks[0].name}"
    return module_text(
        f"{title} in torch.",
        [*classes, _SCRIPT.format(input=code(f"x = torch.randn({sizes})", 1), loop=code(f"for block in [{made}]:", 1))],
    )


def module_text(title: str, parts: Sequence[str]) -> str:
    """A file of classes and functions, after the imports and the class that they use."""
    text = "\n\n".join(parts)
    shared = [_SHARED] if "SharedConv2d(" in text else []
    imports = [
        "from typing import Any\n\n" if shared else "",
        "import torch\n",
        "import torch.nn.functional as F\n" if shared or "F.pad(" in text else "",
        "from torch import nn\n",
    ]
    return "\n\n".join(["\n".join([docstring([[title]]), "", "".join(imports)]), *shared, *parts])


def block_class(name: str, block: DocumentedBlock) -> str:
    """The class of a block."""
    forward = TorchForward(block)
    made = [code(f"self.{one.name} = {_call(one)}", 2) for one in forward.members]
    return _CLASS.format(
        name=name,
        documentation=docstring(block.paragraphs, 1),
        members="\n".join(made),
        forward="\n".join(code(line, 2) for line in (*forward.lines, f"return {forward.output}")),
    )


def _call(member: Member) -> str:
    """The expression that makes a module."""
    arguments = [
        str(value) if name in _POSITIONAL else f"{name}={value}"
        for name, value in member.arguments.items()
        if value != _DEFAULTS.get(name)
    ]
    return f"{member.constructor}({', '.join(arguments)})"


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
