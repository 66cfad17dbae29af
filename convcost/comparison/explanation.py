"""The derivation of a block's cost: its formula in symbols and in numbers, and its ratio to a baseline.

The block is made again from symbolic sizes, and its stages give the formula. No formula is written here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from convcost.convolution.algebra import Symbol, factored, monomial
from convcost.convolution.blocks import PARAMETERS
from convcost.convolution.cost import FLOPS_PER_MAC, macs, params
from convcost.convolution.tree import place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convcost.comparison.rows import Placed, Row
    from convcost.convolution.algebra import Monomial
    from convcost.convolution.formula import Product
    from convcost.convolution.layer import Layer


@dataclass(frozen=True, slots=True)
class StageText:
    """The MACs and parameters of one stage, as text and number.

    Attributes:
        name: Name of the stage.
        symbols: MACs as a product of symbols.
        numbers: MACs as a product of numbers.
        macs: Multiply-accumulates.
        params: Weights and biases.
        params_symbols: Parameters as a sum of products of symbols.
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
        block: Name of the block in the catalogue.
        summary: Description of the block in one line.
        paper: Paper that introduced the block.
        values: Value of each symbol that occurs.
        stages: Stages in the order they run.
        macs: Multiply-accumulates of the block.
        params: Weights and biases of the block.
        baseline: Name of the block that the ratio refers to; None if the shape does not allow it.
        ratio_symbols: MACs of this block ÷ MACs of the baseline, in symbols.
        ratio_numbers: The same ratio in numbers.
        ratio: The same ratio as one number.
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
        stages = [asdict(stage) for stage in self.stages]
        return {"schema": "convcost.explain/1", **asdict(self), "stages": stages, "flops": FLOPS_PER_MAC * self.macs}

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


def explain_row(row: Row) -> Explanation:
    """The derivation behind a row of a comparison."""
    placed, baseline = row.placed, row.baseline
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
    """The product with a symbol for each factor; a size that is always 1 is written 1."""
    return " × ".join("1" if f.value == 1 and not isinstance(f.value, Symbol) else str(f) for f in product.factors)


def _symbolic_layers(placed: Placed) -> tuple[Layer, ...]:
    spec, block = placed.spec, placed.block
    height = "H" if spec.height == placed.output.spatial[0] else "H_in"
    width = "W" if spec.width == placed.output.spatial[1] else "W_in"
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
    """One sum of monomials over another, in symbols and in numbers."""
    if len(below) > 1:
        (above_symbols, above_numbers), (below_symbols, below_numbers) = _sum(above), _sum(below)
        return f"({above_symbols}) / ({below_symbols})", f"({above_numbers}) / ({below_numbers})"
    common, rest = factored(term / below[0] for term in above)
    if len(rest) == 1:
        return _sum([common * rest[0]])
    symbols, numbers = _sum(rest)
    return (f"{common}·({symbols})", f"{common.numbers}·({numbers})") if common.powers else (symbols, numbers)


def _sum(terms: Sequence[Monomial]) -> tuple[str, str]:
    return " + ".join(map(str, terms)), " + ".join(term.numbers for term in terms)
