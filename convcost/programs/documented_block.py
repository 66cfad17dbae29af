"""A block with its documentation: what is handed to a writer of programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from convcost.convolution.tree import place
from convcost.text.sizes import format_sizes
from convcost.text.units import thousands

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.convolution.layer import Layer
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node


@dataclass(frozen=True, slots=True)
class Count:
    """A count of a block with its formula.

    Attributes:
        quantity: Name of what is counted, such as "MACs".
        symbols: Formula in symbols.
        numbers: The same formula in numbers.
        value: Value of the formula.
    """

    quantity: str
    symbols: str
    numbers: str
    value: int

    @property
    def lines(self) -> list[str]:
        """The formula in symbols, in numbers and as a value, one below the other."""
        start = " " * len(self.quantity)
        return [f"{self.quantity} = {self.symbols}", f"{start} = {self.numbers}", f"{start} = {thousands(self.value)}"]


@dataclass(frozen=True, slots=True)
class DocumentedBlock:
    """A block on its input, with its formulas.

    Attributes:
        name: Name of the block.
        summary: Description of the block in one line.
        paper: Paper that introduced the block.
        known: Values of the symbols.
        legend: Meanings of the symbols.
        counts: MACs, parameters and FLOPs of the block.
        tree: Stages of the block.
        input: Shape of the input.
        norm: Options `eps` and `momentum` of its batch normalisations; empty for torch's defaults.
    """

    name: str
    summary: str
    paper: str
    known: str
    legend: str
    counts: tuple[Count, ...]
    tree: Node
    input: Shape
    norm: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The stages placed on their inputs."""
        return place(self.tree, self.input)[0]

    @property
    def introduction(self) -> list[list[str]]:
        """Name, description and paper: lines of each paragraph."""
        return [[f"The block {self.name}."], [self.summary], [f"{self.paper}."]]

    @property
    def paragraphs(self) -> list[list[str]]:
        """The documentation: lines of each paragraph."""
        output = place(self.tree, self.input)[1]
        sizes = f"Input {format_sizes(self.input.sizes)}, output {format_sizes(output.sizes)} (N x C x H x W)."
        legend = [[f"With {self.known}."], [f"{self.legend}."]]
        return [*self.introduction, [sizes], *legend, *(count.lines for count in self.counts)]
