"""A block in symbols: its stages placed on symbolic sizes, and the formulas that come from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Final

from convcost.convolution.algebra import Monomial, Symbol, factored, factored_text, in_paper_order, monomial
from convcost.convolution.blocks import PARAMETERS
from convcost.convolution.conv import Conv
from convcost.convolution.cost import FLOPS_PER_MAC, macs, params
from convcost.convolution.formula import Factor, Product, Sum
from convcost.convolution.tree import place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from convcost.comparison.rows import Placed
    from convcost.convolution.layer import Layer

MINUS: Final = "\N{MINUS SIGN}"
_OUTPUT_SIZES: Final = {"H_out": "OH", "W_out": "OW"}
"""The symbols of output sizes that differ from the input's, by the names of their factors."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A count or a size, read in three ways; a total has the form of the papers, its common factors taken out.

    Attributes:
        symbols: Formula in symbols, such as `N·H·W·C·m·(K² + O)`.
        numbers: The same formula in numbers.
        value: Value of the formula.
    """

    symbols: str
    numbers: str
    value: int


@dataclass(frozen=True, slots=True)
class Total:
    """The MACs and parameters of a whole block.

    Attributes:
        macs: Multiply-accumulates of the whole batch.
        params: Weights and biases.
    """

    macs: Formula
    params: Formula

    @property
    def flops(self) -> Formula:
        """Floating-point operations, 2 per MAC."""
        one = self.macs
        return Formula(f"{FLOPS_PER_MAC}·{one.symbols}", f"{FLOPS_PER_MAC}·{one.numbers}", FLOPS_PER_MAC * one.value)

    def to_dict(self) -> dict[str, str | int]:
        """The counts and their formulas as fields of a JSON object."""
        named = {"macs": self.macs, "params": self.params, "flops": self.flops}
        values: dict[str, str | int] = {name: one.value for name, one in named.items()}
        for name, one in named.items():
            values |= {f"{name}_symbols": one.symbols, f"{name}_numbers": one.numbers}
        return values


@dataclass(frozen=True, slots=True)
class StageText:
    """The output sizes, MACs and parameters of one stage, as text and number.

    Attributes:
        name: Name of the stage.
        symbols: MACs as a product of symbols.
        numbers: MACs as a product of numbers.
        macs: Multiply-accumulates.
        params: Weights and biases.
        params_symbols: Parameters as a sum of products of symbols.
        params_numbers: Parameters as a sum of products of numbers.
        sizes: Formulas of the output sizes by symbol, on each axis with a kernel, a stride or padding.
    """

    name: str
    symbols: str
    numbers: str
    macs: int
    params: int
    params_symbols: str
    params_numbers: str
    sizes: Mapping[str, Formula]


class Names:
    """The symbols of the blocks of one derivation.

    A letter that stands for several values, such as output sizes or channels of a block and of its baseline, has a
    number from the second value on: OH and OH_2.

    Attributes:
        values: Value of each symbol.
    """

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def symbol(self, letter: str, value: int) -> Symbol:
        """The value with its symbol; a value that has one already keeps it."""
        if not isinstance(value, Symbol):
            known = [name for name in self.values if name == letter or name.startswith(f"{letter}_")]
            new = letter if not known else f"{letter}_{len(known) + 1}"
            value = Symbol(value, next((name for name in known if self.values[name] == value), new))
        self.values[value.symbol] = int(value)
        return value

    def product(self, product: Product) -> Product:
        """The product with a symbol for each output size; other sizes without a symbol are written as numbers."""
        return Product(tuple(Factor(one.name, self._factor(one)) for one in product.factors))

    def _factor(self, factor: Factor) -> Symbol:
        if factor.name in _OUTPUT_SIZES:
            return self.symbol(_OUTPUT_SIZES[factor.name], factor.value)
        value = factor.value
        return value if isinstance(value, Symbol) else Symbol(value, Monomial(Fraction(value)))


class SymbolicBlock:
    """A placed block made again from symbolic sizes.

    Args:
        placed: Block with its numbers.
        names: Symbols that the blocks of one derivation share.
    """

    def __init__(self, placed: Placed, names: Names) -> None:
        self._layers = _symbolic_layers(placed, names)
        self._names = names
        self.sizes = {name: size for layer in self._layers for name, size in _output_sizes(layer, names)}
        self.macs = [monomial(names.product(macs(layer))) for layer in self._layers]
        self.params = [monomial(names.product(one)) for layer in self._layers for one in params(layer.op).terms]

    @property
    def values(self) -> dict[str, int]:
        """The value of each symbol that occurs."""
        return dict(pair for term in (*self.macs, *self.params) for pair in term.values)

    @property
    def total(self) -> Total:
        """The sums over all stages, in the form of the papers."""
        return Total(_paper_formula(self.macs), _paper_formula(self.params))

    @property
    def stages(self) -> tuple[StageText, ...]:
        """Each stage as text."""
        return tuple(_stage_text(layer, self._names) for layer in self._layers)


def _paper_formula(terms: Sequence[Monomial]) -> Formula:
    symbols = factored_text(terms, lambda term: str(in_paper_order(term)))
    numbers = factored_text(terms, lambda term: _in_numbers(in_paper_order(term)))
    return Formula(symbols, numbers, int(sum(term.value for term in terms)))


def _stage_text(layer: Layer, names: Names) -> StageText:
    product, weights = macs(layer), params(layer.op)
    return StageText(
        name=layer.name,
        symbols=str(names.product(product)),
        numbers=product.numbers,
        macs=product.value,
        params=weights.value,
        params_symbols=str(Sum(tuple(map(names.product, weights.terms)))),
        params_numbers=weights.numbers,
        sizes=dict(_output_sizes(layer, names)),
    )


def _output_sizes(layer: Layer, names: Names) -> Iterator[tuple[str, Formula]]:
    """The symbol and the formula of each output size that a kernel, a stride or padding decides."""
    conv = layer.op
    if not isinstance(conv, Conv):
        return
    spatial = zip(_OUTPUT_SIZES.values(), layer.input.spatial, layer.output.spatial, strict=True)
    pads = conv.explicit_padding(layer.input.spatial)
    for (letter, before, after), kernel, stride, dilation, pad in zip(
        spatial, conv.kernel_size, conv.stride, conv.dilation, pads, strict=True
    ):
        if (kernel, stride, *pad) != (1, 1, 0, 0):
            n, out, k = names.symbol(letter, before), names.symbol(letter, after), str(Factor("1", kernel))
            exact = (n + sum(pad) - dilation * (kernel - 1) - 1) % stride == 0
            write = partial(_size_text, is_dilated=dilation > 1, is_exact=exact)
            symbols = write(n.symbol, k, "padding", "stride", "dilation")
            yield out.symbol, Formula(symbols, write(n, kernel, sum(pad), stride, dilation), int(out))


def _size_text(  # noqa: PLR0913 - the sizes of an axis
    n: object, kernel: object, padding: object, stride: object, dilation: object, *, is_dilated: bool, is_exact: bool
) -> str:
    """The output size of one axis; a quotient that is not exact is rounded down."""
    reach = f"{dilation}·({kernel} {MINUS} 1) {MINUS} 1" if is_dilated else kernel
    steps = f"({n} {MINUS} {reach} + {padding})/{stride}"
    return f"{steps} + 1" if is_exact else f"⌊{steps}⌋ + 1"


def _symbolic_layers(placed: Placed, names: Names) -> tuple[Layer, ...]:
    spec, block = placed.spec, placed.block
    square = spec.kernel_size[0] == spec.kernel_size[1]
    symbolic = replace(
        spec,
        in_channels=Symbol(spec.in_channels, "C"),
        out_channels=Symbol(spec.out_channels, "O"),
        kernel_size=(
            Symbol(spec.kernel_size[0], "K" if square else "K_h"),
            Symbol(spec.kernel_size[1], "K" if square else "K_w"),
        ),
        height=Symbol(spec.height, "H"),
        width=Symbol(spec.width, "W"),
        batch=Symbol(spec.batch, "N"),
    )
    parameters = {
        name: names.symbol(PARAMETERS[name].symbol, value) if isinstance(value, int) else value
        for name, value in placed.parameters.items()
    }
    tree = block.make(symbolic, **parameters)
    return tuple(layer for layer in place(tree, symbolic.input)[0] if macs(layer).value)


def quotient(above: Sequence[Monomial], below: Sequence[Monomial]) -> tuple[str, str]:
    """One sum of monomials over another, in symbols and in numbers."""
    if len(below) == 1:
        terms = [term / below[0] for term in above]
        return factored_text(terms), factored_text(terms, _in_numbers)
    common, _ = factored([*above, *below])
    above, below = ([term / common for term in terms] for terms in (above, below))
    top, bottom = _paper_formula(above), _paper_formula(below)
    is_sum = len(above) > 1 and not factored(above)[0].powers
    over = "({}) / ({})" if is_sum else "{} / ({})"
    return over.format(top.symbols, bottom.symbols), over.format(top.numbers, bottom.numbers)


def _in_numbers(term: Monomial) -> str:
    return term.numbers
