"""A network's altered self as a torch file: the classes of its blocks, and a function that alters the user's model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convcost.programs.dialect import WRITTEN
from convcost.programs.python_text import class_name, code, docstring, unique
from convcost.programs.torch_class import TorchClass, TorchForward
from convcost.programs.torch_program import IMPORTED, module_text
from convcost.text.units import number_of, thousands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.programs.documented_block import DocumentedBlock

_BLOCKS: Final = '''def blocks() -> dict[str, nn.Module]:
    """The new blocks, by the path of the layer that each replaces."""
    return {{
{entries}
    }}
'''
_ALTER: Final = '''def alter(model: nn.Module) -> nn.Module:
{documentation}
    for path, block in blocks().items():
        layer = model.get_submodule(path)
        weight = layer.weight
        block.to(weight.device, weight.dtype)
        if not weight.is_contiguous():  # channels last
            block.to(memory_format=torch.channels_last)
        block.train(layer.training)
        block.requires_grad_(weight.requires_grad)
        for part in [*model.modules()]:
            exchange(vars(part), layer, block)
    return {result}


def exchange(value: Any, layer: nn.Module, block: nn.Module) -> Any:
    """Put the block in the layer's place, in lists and dicts too."""
    if isinstance(value, dict):
        for key, one in value.items():
            value[key] = exchange(one, layer, block)
    elif isinstance(value, list):
        value[:] = [exchange(one, layer, block) for one in value]
    elif type(value) is tuple:
        return tuple(exchange(one, layer, block) for one in value)
    return block if value is layer else value
'''
_SCRIPT: Final = """if __name__ == "__main__":
    for path, block in blocks().items():
        parameters = sum(one.numel() for one in block.parameters())
        print(f"{path}: {type(block).__name__}, {parameters:,} parameters")
"""


@dataclass(frozen=True, slots=True)
class ReplacedPath:
    """A layer of a network and the block in its place.

    Attributes:
        path: Path of the layer's module.
        block: Block on the layer's input, with what stands between its stages.
        params: Parameters before and after.
        macs: Multiply-accumulates before and after, all calls together.
    """

    path: str
    block: DocumentedBlock
    params: tuple[int, int]
    macs: tuple[int, int]


def network_program(target: str, layers: Sequence[ReplacedPath], totals: Mapping[str, tuple[int, int]]) -> str:
    """A file whose function `alter` puts blocks in the place of a model's layers.

    Args:
        target: Name of the model.
        layers: Layers that are replaced.
        totals: Counts of the whole model before and after, by name.
    """
    classes, calls = _classes([layer.block for layer in layers])
    entries = "\n".join(code(f"{_quoted(layer.path)}: {call},", 2) for layer, call in zip(layers, calls, strict=True))
    documentation = [
        [f"Replace {number_of('convolution', len(layers))} of a model in place, and return it."],
        [f"{target}:", *(_change(what, pair) for what, pair in totals.items())],
        ["The blocks have new weights, and device, dtype and mode of the layers in whose place they stand."],
        [f"{layer.path}: {_change('parameters', layer.params)}, {_change('MACs', layer.macs)}" for layer in layers],
    ]
    result = "model" if all(layer.path for layer in layers) else "block"  # the model is itself the layer
    alter = _ALTER.format(documentation=docstring(documentation, 1), result=result)
    parts = [*classes, _BLOCKS.format(entries=entries), alter, _SCRIPT]
    return f"{WRITTEN}\n{module_text(f'Blocks in the place of convolutions of {target}.', parts)}"


def _classes(blocks: Sequence[DocumentedBlock]) -> tuple[list[str], list[str]]:
    """The classes of blocks, and the expression that makes each block."""
    alike: dict[object, list[int]] = {}
    for index, block in enumerate(blocks):
        alike.setdefault((block.name, TorchForward(block).structure), []).append(index)
    taken = {*IMPORTED, "blocks", "alter", "exchange"}
    calls = [""] * len(blocks)
    texts = []
    for indices in alike.values():
        one = TorchClass(unique(class_name(blocks[indices[0]].name), taken), [blocks[i] for i in indices])
        texts.append(one.text)
        for index, call in zip(indices, one.calls, strict=True):
            calls[index] = call
    return texts, calls


def _quoted(path: str) -> str:
    """A path as a string of Python, in double quotes; half a character, which no file can hold, is escaped."""
    return json.dumps(path, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8")


def _change(what: str, pair: tuple[int, int]) -> str:
    return f"{thousands(pair[0])} -> {thousands(pair[1])} {what}"
