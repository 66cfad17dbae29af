"""The forward pass of a block as statements, one for each stage, for any framework with functions of tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import chain as flattened
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from convcost.convolution.tree import Chain, Concat, Residual, Scope, Split, Stage, Step
from convcost.programs.python_text import identifier, unique
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Sequence

    from convcost.convolution.layer import Layer
    from convcost.convolution.tree import Node
    from convcost.programs.documented_block import DocumentedBlock


class ForwardPass(ABC):
    """The statements of a block's forward pass, written from its stages.

    Args:
        block: Block on its input.
        x: Variable of the input; one that is not `x` is left as it is.
        taken: Names that no stage may have.

    Attributes:
        lines: Statements, without indentation.
        output: Expression of the output.
    """

    FRAMEWORK: ClassVar[str]
    """Name of the framework in error messages."""
    SHORT: ClassVar[re.Pattern[str]]
    """Expressions of branches that are added or joined as they stand; others are variables first."""

    def __init__(self, block: DocumentedBlock, x: str = "x", taken: Iterable[str] = ()) -> None:
        self.lines: list[str] = []
        self._block = block.name
        self._taken = set(taken)
        self._kept = set() if x == "x" else {x}
        self._layers = iter(block.layers)
        self._variables = flattened("yz" if x == "x" else "xyz", (f"y{number}" for number in count(2)))
        self.output = self._value(block.tree, x)[0]

    @abstractmethod
    def calls(self, name: str, part: Stage | Step, layer: Layer) -> Sequence[str]:
        """The expressions of a stage, each with `{x}` for the output of the one before.

        Args:
            name: Name of the stage that is unique in the block and an identifier.
            part: Stage as the block has it.
            layer: Stage on its input, its padding worked out.
        """

    @abstractmethod
    def concat(self, values: Sequence[str]) -> str:
        """The expression that joins tensors along the channels."""

    @abstractmethod
    def split(self, x: str, sizes: Sequence[int]) -> str:
        """The expression that splits a tensor along the channels."""

    def add(self, value: str, other: str) -> str:
        """The expression that adds two tensors."""
        return f"{value} + {other}"

    def refusal(self, name: str, reason: str, step: str) -> ConvcostError:
        """The error of a stage that the framework has no words for."""
        return ConvcostError(
            f"{self._block} cannot be written for {self.FRAMEWORK}: its stage {name} {reason}; {step}."
        )

    def _value(self, node: Node, x: str, prefix: str = "") -> tuple[str, str]:
        """The expression of a node's output, and the variable that it reads; statements before it are written.

        Args:
            node: Part of the block.
            x: Variable of the input.
            prefix: Names of the scopes around the part.
        """
        match node:
            case Scope(name, body):
                return self._value(body, x, f"{prefix}{name}_")
            case Stage() | Step():
                name = unique(identifier(prefix + node.name), self._taken)
                *before, last = self.calls(name, node, next(self._layers))
                for call in before:
                    x = self.assign(call.format(x=x), x)
                return last.format(x=x), x
            case Chain(parts):
                value = x
                for part in parts:
                    x = self.assign(value, x)
                    value, x = self._value(part, x, prefix)
                return value, x
            case Residual(_, body, shortcut):
                value, other = self._branches((body, shortcut), (x, x), prefix)
                next(self._layers)  # the addition
                return self.add(other, value), x
            case Concat(parts):
                return self.concat(self._branches(parts, [x] * len(parts), prefix)), x
            case Split(sizes, parts):
                pieces = [next(self._variables) for _ in parts]
                self.lines.append(f"{', '.join(pieces)} = {self.split(x, sizes)}")
                return self.concat(self._branches(parts, pieces, prefix)), x

    def _branches(self, parts: Sequence[Node], inputs: Sequence[str], prefix: str) -> list[str]:
        """The expressions of branches, whose inputs are kept until all of them are written."""
        kept, self._kept = self._kept, self._kept.union(inputs)
        values = []
        for part, x in zip(parts, inputs, strict=True):
            value, read = self._value(part, x, prefix)
            values.append(value if self.SHORT.fullmatch(value) else self.assign(value, read))
        self._kept = kept
        return values

    def assign(self, value: str, x: str) -> str:
        """Write a statement, and return its variable: the one that the value reads, unless it is read again later."""
        if value == x:
            return x
        variable = next(self._variables) if x in self._kept else x
        self.lines.append(f"{variable} = {value}")
        return variable
