"""Blocks as Keras models: a function for each, with its formulas, and a script that shows them."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from convcost.convolution.conv import Conv
from convcost.convolution.layer import Activation, GlobalPool, MaxPool, Norm
from convcost.convolution.tree import Chain, Stage
from convcost.programs.forward_pass import ForwardPass
from convcost.programs.python_text import code, docstring, identifier, unique

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.convolution.layer import Layer
    from convcost.convolution.tree import Node, Step
    from convcost.programs.documented_block import DocumentedBlock

_LAST: Final = 'data_format="channels_last"'
_ACTIVATIONS: Final = {"hardswish": "hard_swish"}
"""Keras' names of activations that differ from ours."""
_FUNCTION: Final = """def {name}() -> keras.Model:
{documentation}
    inputs = keras.Input(({sizes}), batch_size={batch})
{body}
    return keras.Model(inputs, outputs, name="{name}")
"""
_SCRIPT: Final = """if __name__ == "__main__":
{loop}
        model.summary()
        print(
            f"{{model.name}}: {{model.input_shape}} -> {{model.output_shape}}, "
            f"{{model.count_params():,}} parameters"
        )
"""


def keras_program(blocks: Sequence[DocumentedBlock]) -> str:
    """A file with a function for each block that makes its model, channels last.

    Raises:
        ConvcostError: Keras has no layer for a stage of a block.
    """
    taken = {"keras", "layers"}
    names = [unique(identifier(block.name), taken) for block in blocks]
    functions = [_function(name, block) for name, block in zip(names, blocks, strict=True)]
    title = "Convolution blocks" if len(blocks) > 1 else f"The block {blocks[0].name}"
    loop = code(f"for model in [{', '.join(f'{name}()' for name in names)}]:", 1)
    imports = "import keras\nfrom keras import layers\n"
    head = "\n\n".join([docstring([[f"{title} in Keras, channels last."]]), imports])
    return "\n\n".join([head, *functions, _SCRIPT.format(loop=loop)])


def _function(name: str, block: DocumentedBlock) -> str:
    forward = KerasForward(block)
    lines = [*forward.lines, f"outputs = {forward.output}"]
    return _FUNCTION.format(
        name=name,
        documentation=docstring(block.paragraphs, 1),
        sizes=", ".join(map(str, (*block.input.spatial, block.input.channels))),
        batch=block.input.batch,
        body="\n".join(code(line, 1) for line in lines),
    )


class KerasForward(ForwardPass):
    """The forward pass of a block in Keras' layers."""

    FRAMEWORK = "Keras"
    SHORT = re.compile(r"\w+")

    def __init__(self, block: DocumentedBlock) -> None:
        self._pointwise = _pointwise_of(block.tree)
        super().__init__(block, "inputs")

    def calls(self, name: str, part: Stage | Step, layer: Layer) -> Sequence[str]:
        """The padding that Keras' layer cannot do, if any, and the layer."""
        match layer.op:
            case Conv() as conv:
                return self._convolution(name, conv, part)
            case Norm():
                made = "BatchNormalization(axis=-1, momentum=0.9, epsilon=1e-5"
            case Activation(kind):
                made = f'Activation("{_ACTIVATIONS.get(kind, kind)}"'
            case GlobalPool():
                made = f"GlobalAveragePooling2D(keepdims=True, {_LAST}"
            case MaxPool(kernel_size, stride, 0):
                made = f"MaxPooling2D({kernel_size}, strides={stride}, {_LAST}"
            case _:
                raise self.refusal(
                    name, "pads before it takes the maximum, and no layer of Keras does", "write it for torch"
                )
        return [f'layers.{made}, name="{name}")({{x}})']

    def concat(self, values: Sequence[str]) -> str:
        """Concatenate."""
        return f"layers.Concatenate(axis=-1)([{', '.join(values)}])"

    def split(self, x: str, sizes: Sequence[int]) -> str:
        """keras.ops.split, which takes the positions of the cuts."""
        return f"keras.ops.split({x}, {list(accumulate(sizes[:-1]))}, axis=-1)"

    def add(self, value: str, other: str) -> str:
        """Add."""
        return f"layers.Add()([{value}, {other}])"

    def _value(self, node: Node, x: str, prefix: str = "") -> tuple[str, str]:
        """As in `ForwardPass`; the two stages of a separable block are one layer."""
        match node:
            case Chain((Stage() as depthwise, Stage())) if self._pointwise is not None:
                return super()._value(depthwise, x, prefix)
        return super()._value(node, x, prefix)

    def _convolution(self, name: str, conv: Conv, part: Stage | Step) -> Sequence[str]:
        """The layer of a convolution, after its padding if that is given in sizes."""
        self._require_words(name, conv)
        padding = part.conv.padding if isinstance(part, Stage) else conv.padding
        options = {
            "strides": _short(conv.stride),
            "padding": '"same"' if padding == "same" and set(conv.kernel_size) != {1} else None,
            "dilation_rate": _short(conv.dilation),
            "depth_multiplier": conv.out_channels // conv.groups if _is_depthwise(conv) else None,
            "groups": None if _is_depthwise(conv) else conv.groups,
        }
        words = [f"{option}={value}" for option, value in options.items() if value not in {None, 1}]
        name = name if self._pointwise is None else "separable"
        words += [*([] if conv.bias else ["use_bias=False"]), _LAST, f'name="{name}"']
        kernel = _short(conv.kernel_size)
        if self._pointwise is not None:
            made = f"SeparableConv2D({self._pointwise.out_channels}, {kernel}"
        elif _is_depthwise(conv):
            made = f"DepthwiseConv2D({kernel}"
        else:
            made = f"Conv2D({conv.out_channels}, {kernel}"
        layer = f"layers.{made}, {', '.join(words)})({{x}})"
        if padding == "same" or not any(map(any, padding)):
            return [layer]
        even = all(before == after for before, after in padding)
        sizes = _short([before for before, _ in padding]) if even else padding
        return [f"layers.ZeroPadding2D({sizes}, {_LAST})({{x}})", layer]

    def _require_words(self, name: str, conv: Conv) -> None:
        """Refuse a convolution that Keras cannot say on every backend."""
        if conv.tied and conv.groups > 1:
            raise self.refusal(
                name, "shares one filter bank among its groups, and no layer of Keras does", "write it for torch"
            )
        if conv.transposed:
            raise self.refusal(name, "is transposed, and Keras pads it by other rules", "write it for torch")
        if max(conv.stride) > 1 and max(conv.dilation) > 1:
            raise self.refusal(
                name, "has a stride and a dilation, and Keras takes one of the two", "write it for torch"
            )


def _is_depthwise(conv: Conv) -> bool:
    """Whether it is a depthwise layer in Keras, which has one stride for both axes."""
    return conv.groups == conv.in_channels > 1 and len(set(conv.stride)) == 1


def _short(sizes: Sequence[int]) -> int | tuple[int, ...]:
    """One size for equal ones."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def _pointwise_of(tree: Node) -> Conv | None:
    """The second stage of a block that is SeparableConv2D: depthwise without a bias, then a plain 1x1 convolution."""
    match tree:
        case Chain((Stage(conv=first), Stage(conv=second))) if (
            _is_depthwise(first)
            and not (first.tied or first.bias or second.bias)
            and second.kernel_size == second.stride == (1, 1)
            and second.groups == 1
            and second.padding == ((0, 0), (0, 0))
        ):
            return second
    return None
