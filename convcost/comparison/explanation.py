"""The derivation of a block's cost: its formula in symbols, with the numbers put in, and the ratio to a baseline.

The block is made once more from symbolic sizes; what its stages then multiply is the text. No formula is written here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from convcost.convolution.algebra import Symbol, factored, monomial
from convcost.convolution.blocks import PARAMETERS
from convcost.convolution.cost import FLOPS_PER_MAC, macs, params
from convcost.convolution.tree import place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convcost.comparison.rows import Placed, Row
    from convcost.convolution.algebra import Monomial
    from convcost.convolution.formula import Product
    from convcost.convolution.layer import Layer


__all__ = ["Explanation", "StageText", "explain_block", "explain_row"]


def explain_row(row: Row) -> Explanation:
    """The derivation behind a row of a comparison."""
    return explain_block(row.placed, row.baseline)


@dataclass(frozen=True, slots=True)
class StageText:
    """The MACs of one stage as text and number.

    Attributes:
        name: of the stage.
        symbols: the product in symbols.
        numbers: the product with the numbers put in.
        macs: the product.
        params: of the stage.
        params_symbols: its parameters in symbols.
    """

    name: str
    symbols: str
    numbers: str
    macs: int
    params: int
    params_symbols: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The derivation of one block on one layer shape.

    Attributes:
        block: name in the catalogue.
        summary: what it is.
        paper: where it comes from.
        values: each symbol that occurs, with its value.
        stages: in the order they run.
        macs: of the block.
        params: of the block.
        baseline: the block that the ratio is relative to; None where the shape does not allow it.
        ratio_symbols: MACs of this block ÷ of the baseline, in symbols.
        ratio_numbers: the same with the numbers put in.
        ratio: the same as a number.
    """

    block: str
    summary: str
    paper: str
    values: Mapping[str, int]
    stages: tuple[StageText, ...]
    macs: int
    params: int
    baseline: str | None
    ratio_symbols: str | None
    ratio_numbers: str | None
    ratio: float | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `convcost explain`."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        stages = [{name: getattr(stage, name) for name in stage.__slots__} for stage in self.stages]
        return {
            "schema": "convcost.explain/1",
            **fields,
            "values": dict(self.values),
            "stages": stages,
            "flops": FLOPS_PER_MAC * self.macs,
        }

    def __str__(self) -> str:
        """The derivation as lines of text."""
        known = ", ".join(f"{name} = {value}" for name, value in self.values.items())
        lines = [f"{self.block}: {self.summary}", f"  paper: {self.paper}", f"  with {known}"]
        for stage in self.stages:
            indent = " " * (len(stage.name) + 4)
            lines.append(f"  {stage.name}: MACs = {stage.symbols}")
            lines.append(f"{indent}     = {stage.numbers} = {stage.macs:,}")
            lines.append(f"{indent}parameters = {stage.params_symbols} = {stage.params:,}")
        lines.append(f"  total: {self.macs:,} MACs = {FLOPS_PER_MAC * self.macs:,} FLOPs, {self.params:,} parameters")
        if self.ratio is not None:
            fewer = f"{1 / self.ratio:.2f} times fewer" if self.ratio <= 1 else f"{self.ratio:.2f} times more"
            lines.append(f"  MACs / MACs of {self.baseline} = {self.ratio_symbols}")
            lines.append(f"    = {self.ratio_numbers} = {self.ratio:.4g}: {fewer} MACs")
        return "\n".join(lines)


def explain_block(placed: Placed, baseline: Placed | None) -> Explanation:
    """The derivation of a placed block.

    Args:
        placed: the block on its layer shape.
        baseline: what the ratio is relative to, on the same layer shape; None for no ratio.
    """
    layers = _symbolic_layers(placed)
    terms = [monomial(macs(layer)) for layer in layers]
    below = [] if baseline is None else [monomial(macs(layer)) for layer in _symbolic_layers(baseline)]
    values: dict[str, int] = {}
    for term in (*terms, *below):
        values |= dict(term.values)
    symbols, numbers = _quotient(terms, below) if below else (None, None)
    return Explanation(
        block=placed.block.name,
        summary=placed.block.summary,
        paper=placed.block.paper,
        values={name: int(value) for name, value in values.items()},
        stages=tuple(_stage_text(layer) for layer in layers),
        macs=int(placed.cost.macs),
        params=int(placed.cost.params),
        baseline=None if baseline is None else baseline.block.name,
        ratio_symbols=symbols,
        ratio_numbers=numbers,
        ratio=None if baseline is None else placed.cost.macs / baseline.cost.macs,
    )


def _stage_text(layer: Layer) -> StageText:
    product, weights = macs(layer), params(layer.op)
    weight_symbols = " + ".join(map(_symbols, weights.terms))
    return StageText(layer.name, _symbols(product), product.numbers, product.value, weights.value, weight_symbols)


def _symbols(product: Product) -> str:
    """The product in symbols, factor by factor as in its numbers; a size that is 1 by nature is written 1."""
    return " × ".join("1" if f.value == 1 and not isinstance(f.value, Symbol) else str(f) for f in product.factors)


def _symbolic_layers(placed: Placed) -> tuple[Layer, ...]:
    spec, block = placed.spec, placed.block
    height = "H" if spec.height == placed.out_height else "H_in"
    width = "W" if spec.width == placed.out_width else "W_in"
    square = spec.kernel_size[0] == spec.kernel_size[1]
    symbolic = replace(
        spec,
        in_channels=Symbol(spec.in_channels, "C"),
        out_channels=Symbol(spec.out_channels, "O"),
        kernel_size=(
            Symbol(spec.kernel_size[0], "K" if square else "K_h"),
            Symbol(spec.kernel_size[1], "K" if square else "K_w"),
        ),
        height=Symbol(spec.height, height),
        width=Symbol(spec.width, width),
        batch=Symbol(spec.batch, "N"),
    )
    parameters = {
        name: Symbol(value, PARAMETERS[name].symbol) if isinstance(value, int) else value
        for name, value in placed.parameters.items()
    }
    tree = block.make(symbolic, **parameters)
    return tuple(layer for layer in place(tree, symbolic.input)[0] if macs(layer).value)


def _quotient(above: list[Monomial], below: list[Monomial]) -> tuple[str, str]:
    """The sum of monomials over another sum: in symbols, and with the numbers put in."""
    if len(below) > 1:
        texts = [f"({' + '.join(map(write, above))}) / ({' + '.join(map(write, below))})" for write in (str, _numbers)]
        return texts[0], texts[1]
    common, rest = factored(term / below[0] for term in above)
    if len(rest) == 1:
        whole = common * rest[0]
        return str(whole), whole.numbers
    sums = [" + ".join(map(write, rest)) for write in (str, _numbers)]
    if not common.powers:
        return sums[0], sums[1]
    return f"{common}·({sums[0]})", f"{common.numbers}·({sums[1]})"


def _numbers(term: Monomial) -> str:
    return term.numbers
