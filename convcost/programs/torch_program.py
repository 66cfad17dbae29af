"""Blocks as torch modules in one file, which runs each of them as a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.programs.python_text import class_name, code, docstring, unique
from convcost.programs.torch_class import TorchClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convcost.programs.documented_block import DocumentedBlock

IMPORTED: Final = ("Any", "F", "SharedConv2d")
"""Names in a file that no class of a block may have."""
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

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = self.weight.repeat(self.copies, 1, 1, 1)
        bias = None if self.bias is None else self.bias.repeat(self.copies)
        return F.conv2d(
            input,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.copies,
        )
'''
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


def torch_program(blocks: Sequence[DocumentedBlock]) -> str:
    """A file with a class for each block, which runs each of them when it is started as a script.

    All blocks have the input of the first.
    """
    taken = set(IMPORTED)
    names = [unique(class_name(block.name), taken) for block in blocks]
    classes = [TorchClass(name, [block]).text for name, block in zip(names, blocks, strict=True)]
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
        "from typing import Any\n\n" if shared or ": Any" in text else "",
        "import torch\n",
        "import torch.nn.functional as F\n" if shared else "",
        "from torch import nn\n",
    ]
    return "\n\n".join(["\n".join([docstring([[title]]), "", "".join(imports)]), *shared, *parts])
