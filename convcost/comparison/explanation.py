"""The derivation of a block's cost: its formula in symbols and in numbers, beside that of a baseline.

The block is made again from symbolic sizes, and its stages give the formula. No formula is written here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from convcost.comparison.explanation_text import OUTPUT_SIZE, DerivationText, Equation
from convcost.comparison.request import predict
from convcost.comparison.symbolic_block import Formula, Names, StageText, SymbolicBlock, Total, quotient
from convcost.convolution.algebra import paper_order
from convcost.convolution.blocks import PARAMETERS
from convcost.convolution.cost import FLOPS_PER_MAC
from convcost.programs.documented_block import Count, DocumentedBlock
from convcost.text.columns import Column
from convcost.text.errors import ConvcostError
from convcost.text.result import Result
from convcost.text.units import thousands

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from convcost.comparison.request import Request
    from convcost.comparison.rows import Row
    from convcost.convolution.shape import Shape
    from convcost.convolution.tree import Node

_MEANINGS: Final = {
    "N": "samples",
    **dict.fromkeys(("H", "W"), "input size"),
    **dict.fromkeys(("OH", "OW"), "output size"),
    "C": "input channels",
    "O": "output channels",
    "K": "kernel size",
}
EXPLAIN_COLUMNS: Final[tuple[Column[Equation], ...]] = (
    Column("block", lambda one: one.block, "block that is derived", "block"),
    Column("part", lambda one: one.part, "stage; total, or the baseline's name, for the whole block", "part"),
    Column("quantity", lambda one: one.quantity, "output size, MACs, parameters or FLOPs", "quantity"),
    Column("symbols", lambda one: one.symbols, "formula in symbols", "in symbols"),
    Column("numbers", lambda one: one.numbers, "formula in numbers", "in numbers"),
    Column("value", lambda one: one.value, "value of the formula", "value", thousands),
)


class Derivation(Result[Equation]):
    """The derivations of one block or several: the methods that `Explanation` and `Explanations` share."""

    __slots__ = ()
    SCHEMA: ClassVar = "convcost.explain/1"

    if TYPE_CHECKING:

        @property
        def blocks(self) -> tuple[Explanation, ...]:
            """The derivation of each block."""

    def __iter__(self) -> Iterator[Explanation]:
        """The derivation of each block."""
        return iter(self.blocks)

    def __len__(self) -> int:
        """The number of blocks."""
        return len(self.blocks)

    def __getitem__(self, index: int) -> Explanation:
        """The derivation of one block."""
        return self.blocks[index]

    @property
    def columns(self) -> Sequence[Column[Equation]]:
        """The columns of the frame."""
        return EXPLAIN_COLUMNS

    @property
    def rows(self) -> tuple[Equation, ...]:
        """The lines of the derivations."""
        return tuple(line for block in self.blocks for line in (*block.written.stages, *block.written.totals))

    @property
    def head(self) -> str:
        """Each block with the values of its symbols, on one line."""
        blocks = "; ".join(f"{block.block}: {block.written.known}" for block in self.blocks)
        return f"{blocks}; 1 MAC = {FLOPS_PER_MAC} FLOPs"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The ratio of each block to the baseline, on one line."""
        return tuple(f"{block.block}: {' = '.join(one)}" for block in self.blocks if (one := block.written.verdict))

    def program(self, dialect: str = "torch") -> str:
        """The text of a file of programs: each block as a person would write it, with its formulas.

        Args:
            dialect: "torch" or "keras", whose files run as scripts, or "onednn", whose file benchdnn takes.

        Raises:
            ConvcostError: There is no such dialect, or it has no words for one of the blocks.
        """
        from convcost.programs.dialect import write_blocks

        return write_blocks([block.documented for block in self.blocks], dialect)

    def text(self, width: int | None = None) -> str:
        """The derivations as lines of text.

        Args:
            width: Width of the terminal in characters; None for no terminal, so that no line is broken.
        """
        return "\n".join(block.written.text(width) for block in self.blocks)

    def markdown(self) -> str:
        """The derivations as Markdown: a heading and a table for each block."""
        return "\n".join(block.written.markdown() for block in self.blocks)

    def latex(self) -> str:
        """The derivations as LaTeX, which needs the package amsmath; a page may end between any two lines."""
        return "\n".join(
            f"% {block.block} ({block.paper}); needs \\usepackage{{amsmath}}\n"
            f"\\begingroup\\allowdisplaybreaks\n{block.written.latex()}\\endgroup\n"
            for block in self.blocks
        )

    def to_latex(self, caption: str | None = None, label: str | None = None) -> str:
        """The derivations as `latex` gives them; equations have no caption and no label."""
        if caption or label:
            raise ConvcostError(
                f"caption (={caption}) and label (={label}) must be None: a derivation is no table; leave them out."
            )
        return self.latex()

    def _repr_latex_(self) -> str:
        """The derivations as LaTeX, for notebooks."""
        return "\n".join(block.written.latex() for block in self.blocks)


@dataclass(frozen=True, slots=True, repr=False)
class Explanation(Derivation):
    """The derivation of one block on one layer shape.

    Attributes:
        block: Name of the block in the catalogue.
        summary: Description of the block in one line.
        paper: Paper that introduced the block.
        values: Value of each symbol that occurs.
        stages: Stages in the order they run.
        macs: Multiply-accumulates of the block.
        params: Weights and biases of the block.
        total: Formulas of the block.
        baseline: Name of the block that the ratio refers to; None if the shape does not allow it.
        baseline_total: Formulas of the baseline; None without one.
        baseline_sizes: Formulas of the baseline's output sizes that differ from the block's, by symbol.
        ratio_symbols: MACs of this block ÷ MACs of the baseline, in symbols.
        ratio_numbers: The same ratio in numbers.
        ratio: The same ratio as one number.
        tree: Stages of the block.
        input: Shape of the input.
        notes: Remarks, such as the reason why there is no baseline.
    """

    block: str
    summary: str
    paper: str
    values: Mapping[str, int]
    stages: tuple[StageText, ...]
    macs: int
    params: int
    total: Total
    baseline: str | None
    baseline_total: Total | None
    baseline_sizes: Mapping[str, Formula]
    ratio_symbols: str | None
    ratio_numbers: str | None
    ratio: float | None
    tree: Node
    input: Shape
    notes: tuple[str, ...] = ()

    @property
    def blocks(self) -> tuple[Explanation, ...]:
        """This derivation alone."""
        return (self,)

    @property
    def written(self) -> DerivationText:
        """The derivation in the order in which it is written."""
        known = ", ".join(f"{name} = {value}" for name, value in self.values.items())
        verdict = None
        if self.ratio is not None and self.baseline != self.block:
            fewer = f"{1 / self.ratio:.2f} times fewer" if self.ratio < 1 else f"{self.ratio:.2f} times as many"
            fewer = "as many" if self.ratio == 1 else fewer
            what, value = f"MACs / MACs of {self.baseline}", f"{self.ratio:.4g}: {fewer} MACs"
            verdict = what, str(self.ratio_symbols), str(self.ratio_numbers), value
        return DerivationText(
            self.block, self.summary, self.paper, known, self._meanings, self._stage_lines(),
            self._total_lines(), verdict,
        )  # fmt: skip

    @property
    def documented(self) -> DocumentedBlock:
        """The block with its formulas, for a program."""
        text, total = self.written, self.total
        named = {"MACs": total.macs, "parameters": total.params, "FLOPs": total.flops}
        counts = tuple(Count(what, one.symbols, one.numbers, one.value) for what, one in named.items())
        return DocumentedBlock(
            self.block, self.summary, self.paper, text.known, _legend(self.values), counts, self.tree, self.input
        )

    @property
    def _meanings(self) -> str:
        """What the symbols and words of the formulas stand for."""
        sizes = any("padding" in size.symbols for stage in self.stages for size in stage.sizes.values())
        return _legend(self.values) + ("; padding: both sides together" if sizes else "")

    def _stage_lines(self) -> tuple[Equation, ...]:
        lines = []
        for stage in self.stages:
            lines += [(stage.name, f"{OUTPUT_SIZE} {name}", size) for name, size in stage.sizes.items()]
            lines.append((stage.name, "MACs", Formula(stage.symbols, stage.numbers, stage.macs)))
            weights = Formula(stage.params_symbols, stage.params_numbers, stage.params)
            lines.append((stage.name, "parameters", weights))
        return self._equations(lines)

    def _total_lines(self) -> tuple[Equation, ...]:
        """Each total of the block with that of the baseline, whose own output sizes come first."""
        totals, lines = [("total", self.total)], []
        if self.baseline is not None and self.baseline_total is not None and self.baseline != self.block:
            totals.append((self.baseline, self.baseline_total))
            lines += [(self.baseline, f"{OUTPUT_SIZE} {name}", size) for name, size in self.baseline_sizes.items()]
        fields = {"MACs": "macs", "parameters": "params", "FLOPs": "flops"}
        lines += [(part, what, getattr(total, name)) for what, name in fields.items() for part, total in totals]
        return self._equations(lines)

    def _equations(self, lines: Iterable[tuple[str, str, Formula]]) -> tuple[Equation, ...]:
        return tuple(Equation(self.block, part, what, one.symbols, one.numbers, one.value) for part, what, one in lines)

    def _fields(self) -> dict[str, Any]:
        whole = self.baseline_total
        totals = {"total": self.total.to_dict(), "baseline_total": None if whole is None else whole.to_dict()}
        values = {name: value for name, value in asdict(self).items() if name not in {"tree", "input"}}
        return {**values, **totals, "flops": FLOPS_PER_MAC * self.macs} | {
            name: list(values[name]) for name in ("stages", "notes")
        }


@dataclass(frozen=True, slots=True, repr=False)
class Explanations(Derivation):
    """The derivations of several blocks on one layer shape.

    Attributes:
        blocks: Derivation of each block.
        notes: Remarks, such as the blocks that the shape does not allow.
    """

    blocks: tuple[Explanation, ...]
    notes: tuple[str, ...] = ()

    def _fields(self) -> dict[str, Any]:
        return {"blocks": [block._fields() for block in self.blocks], "notes": list(self.notes)}


def _legend(names: Iterable[str]) -> str:
    """What each symbol stands for."""
    meanings = _MEANINGS | {one.symbol: one.name.replace("_", " ") for one in PARAMETERS.values()}
    letters: dict[str, list[str]] = {}
    for name in names:
        letter = name if name in meanings else name.rpartition("_")[0]
        letters.setdefault(meanings[letter], []).append(name)
    return "; ".join(f"{', '.join(symbols)}: {meaning}" for meaning, symbols in letters.items())


def explain_blocks(request: Request) -> Explanations:
    """The derivations of the blocks of a request.

    Raises:
        ShapeError: The shape allows none of the blocks.
    """
    prediction = predict(request)
    return Explanations(tuple(map(explain_row, prediction.rows)), prediction.notes)


def explain_row(row: Row) -> Explanation:
    """The derivation behind a row of a comparison."""
    placed, baseline = row.placed, row.baseline
    names = Names()
    own = SymbolicBlock(placed, names)
    stages, total = own.stages, own.total
    other = None if baseline is None else SymbolicBlock(baseline, names)
    symbols, numbers = (None, None) if other is None else quotient(own.macs, other.macs)
    other_sizes = {} if other is None else {name: one for name, one in other.sizes.items() if name not in own.sizes}
    values = names.values | own.values | (other.values if other is not None else {})
    return Explanation(
        block=placed.block.name,
        summary=placed.block.summary,
        paper=placed.block.paper,
        values={name: values[name] for name in sorted(values, key=paper_order)},
        stages=stages,
        macs=int(placed.cost.macs),
        params=int(placed.cost.params),
        total=total,
        baseline=None if baseline is None else baseline.block.name,
        baseline_total=None if other is None else other.total,
        baseline_sizes=other_sizes,
        ratio_symbols=symbols,
        ratio_numbers=numbers,
        ratio=None if baseline is None else placed.cost.macs / baseline.cost.macs,
        tree=placed.tree,
        input=placed.spec.input,
    )
