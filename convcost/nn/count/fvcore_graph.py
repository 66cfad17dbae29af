"""A model's products in the graph that fvcore counts, each with fvcore's count and the faults that it is known to have.

fvcore traces a model with torch.jit and counts the nodes of the graph by their shapes.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, Final

from convcost.nn.count.counters import fvcore_analysis

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

EINSUM_ERROR: Final = 0.5e-3
"""Largest relative error of NumPy's text of an einsum's FLOPs, which has four digits and which fvcore reads."""
_AXES: Final = 32
"""More axes than an ellipsis stands for."""


@dataclass(frozen=True, slots=True)
class Product:
    """One node of fvcore's graph that multiplies and adds.

    Attributes:
        path: Path of the module that runs it.
        op: fvcore's name of the operator, such as `einsum`.
        counted: fvcore's count.
        macs: MACs that torch's operator does for these shapes, where a fault of fvcore is known; else fvcore's count.
        fault: Why fvcore's count is another one; empty if it is the same.
    """

    path: str
    op: str
    counted: int
    macs: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class FvcoreGraph:
    """What fvcore sees of a model.

    Attributes:
        products: The nodes that multiply and add.
        skipped: Operators that fvcore does not know, such as `aten::dot`, by the module that runs them.
        skipped_within: The same, with those of submodules.
    """

    products: tuple[Product, ...]
    skipped: Mapping[str, frozenset[str]]
    skipped_within: Mapping[str, frozenset[str]]


def fvcore_graph(module: nn.Module, inputs: tuple[Any, ...]) -> FvcoreGraph:
    """The graph of a model, traced with real tensors, without the norms, pooling and upsampling that fvcore counts."""
    from fvcore.nn import jit_handles

    handlers = {
        "aten::_convolution": ("conv", jit_handles.conv_flop_jit),
        "aten::linear": ("linear", jit_handles.linear_flop_jit),
        "aten::addmm": ("addmm", jit_handles.addmm_flop_jit),
        "aten::mm": ("mm", jit_handles.matmul_flop_jit),
        "aten::bmm": ("bmm", jit_handles.bmm_flop_jit),
        "aten::matmul": ("matmul", jit_handles.matmul_flop_jit),
        "aten::einsum": ("einsum", jit_handles.einsum_flop_jit),
    }
    products: list[Product] = []
    with warnings.catch_warnings():  # tracing warns of every shape that becomes a constant
        warnings.simplefilter("ignore")
        analysis = fvcore_analysis(module, inputs)
        for node, (op, handler) in handlers.items():
            analysis.set_op_handle(node, partial(_record, products, op, handler))
        paths = analysis.by_module().keys()
    within = {path: Counter(analysis.unsupported_ops(path)) for path in paths}
    own = {path: Counter(operators) for path, operators in within.items()}
    for path, operators in within.items():
        parent = path.rpartition(".")[0]
        if path and parent in own:
            own[parent] -= operators
    return FvcoreGraph(tuple(products), _names(own), _names(within))


def _names(operators: Mapping[str, Counter[str]]) -> dict[str, frozenset[str]]:
    return {path: frozenset(names) for path, names in operators.items() if names}


def _record(
    products: list[Product], op: str, handler: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]
) -> int:
    """Keep a node with fvcore's own count, as one of fvcore's handlers."""
    node = outputs[0].node()
    macs = _FORMULAS[op](inputs) if op in _FORMULAS else None
    try:
        counted = handler(inputs, outputs)
        counted = int(sum(counted.values()) if isinstance(counted, Counter) else counted)
    except (IndexError, AssertionError):  # matmul with a vector, mm and bmm with `out`
        if macs is None:
            raise
        counted = 0
    fault = "" if macs is None or macs == counted else _fault(op, counted, macs)
    path = node.scopeName().rpartition("/")[2]
    products.append(Product(path, op, counted, counted if macs is None else macs, fault))
    return counted


def _fault(op: str, counted: int, macs: int) -> str:
    """Why fvcore counts a product otherwise than by what torch does."""
    if op == "linear":
        return "fvcore takes a vector of weights for a matrix"
    if op in {"mm", "bmm"}:
        return "fvcore refuses an argument out"
    if op == "matmul":
        return "fvcore's formula ignores the batch of the second factor" if counted else "fvcore refuses a vector"
    if abs(counted - macs) <= EINSUM_ERROR * macs + 1:
        return "fvcore rounds an einsum to four digits"
    return "fvcore counts sums and plain products of an einsum, or another order of its contractions"


def _shape(value: Any) -> list[int]:
    return list(value.type().sizes())


def _matmul_macs(inputs: Sequence[Any]) -> int:
    """MACs of a product for shapes of any dimension, which are broadcast."""
    first, second = map(_shape, inputs[:2])
    rows = first[-2] if len(first) > 1 else 1
    columns = second[-1] if len(second) > 1 else 1
    return prod(_broadcast(first[:-2], second[:-2])) * rows * columns * first[-1]


def _linear_macs(inputs: Sequence[Any]) -> int:
    """MACs of a linear layer, whose weights may be a vector."""
    data, weights = map(_shape, inputs[:2])
    return prod(data) * (weights[0] if len(weights) > 1 else 1)


def _broadcast(first: list[int], second: list[int]) -> list[int]:
    length = max(len(first), len(second))
    pairs = zip(*([1] * (length - len(shape)) + shape for shape in (first, second)), strict=True)
    return [second if first == 1 else first for first, second in pairs]


def _einsum_macs(inputs: Sequence[Any]) -> int:
    """MACs of torch.einsum, which contracts two operands at a time.

    An index that a single operand has is summed before, an index that is nowhere else is summed in the product, and a
    product without such an index is elementwise: 0 MACs.
    """
    equation = inputs[0].toIValue().replace(" ", "")
    shapes = [_shape(value) for value in inputs[1].node().inputs()]
    terms, arrow, output = equation.partition("->")
    named = [_letters(term, len(shape)) for term, shape in zip(terms.split(","), shapes, strict=True)]
    letters = [letter for term in named for letter in term]
    kept_always = {letter for letter in letters if letter in _letters(output, len(output) + _AXES)}
    if not arrow:
        kept_always = {letter for letter in letters if letters.count(letter) == 1 or not letter.isascii()}
    operands = [
        {letter: size for letter, size in zip(term, shape, strict=True) if size != 1}
        for term, shape in zip(named, shapes, strict=True)
    ]
    path = inputs[-1].toIValue()  # of opt_einsum; None if it is not installed
    operands = [{letter: size for letter, size in one.items() if size != 1} for one in operands]
    total, steps = 0, list(path or ())
    while len(operands) > 1:
        i, j = sorted(steps[:2]) if steps else (0, 1)
        steps = steps[2:]
        second, first = operands.pop(j), operands.pop(i)
        kept = kept_always.union(*operands)
        pair = first | second
        contracted = (first.keys() & second.keys()) - kept
        alone = (first.keys() ^ second.keys()) - kept
        if contracted:
            total += prod(size for letter, size in pair.items() if letter not in alone)
        result = {letter: size for letter, size in pair.items() if letter in kept}
        operands.insert(len(operands) if path else 0, result)
    return total


def _letters(term: str, dims: int) -> str:
    """The indices of an operand, with the axes of its ellipsis as letters that no equation has, from the right."""
    before, dots, after = term.partition("...")
    hidden = dims - len(before) - len(after) if dots else 0
    return before + "".join(chr(0x100 + hidden - axis) for axis in range(hidden)) + after


_FORMULAS: Final[Mapping[str, Callable[[Sequence[Any]], int]]] = {
    "linear": _linear_macs,
    "matmul": _matmul_macs,
    "mm": _matmul_macs,
    "bmm": _matmul_macs,
    "einsum": _einsum_macs,
}
"""MACs of the operators that fvcore is known to count wrongly for some shapes."""
