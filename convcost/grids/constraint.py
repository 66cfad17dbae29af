"""The conditions of a sweep: expressions such as `c % groups == 0`, parsed into a list of allowed nodes, never run."""

from __future__ import annotations

import ast
import operator
import re
import warnings
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.convolution.blocks import BLOCKS, PARAMETERS
from convcost.convolution.formula import INT64_SAFE
from convcost.convolution.spec import short_names
from convcost.grids.axis import PAIRS, SIZES
from convcost.text.errors import ConvcostError, as_text, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
    """Whole numbers as int64; floats where they are no whole numbers, or beyond int64. NaN is no number."""

MAX_LENGTH: Final = 1000
"""Characters of the longest condition."""
MAX_DEPTH: Final = 40
"""Levels of the deepest condition."""
MAX_NUMBER: Final = 1e300
"""Largest number in a condition."""
_COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_OPERATORS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_DIVISIONS: Final = (ast.Div, ast.FloorDiv, ast.Mod)
_TEXTS: Final = frozenset({"block", "padding", "dtype", "refused"})
"""Columns and axes that are no numbers."""
_BLANK: Final = re.compile(r"\s")
_RULE: Final = "must be made of comparisons, and, or, not, + - * / // % **, numbers and names"
_STEP: Final = 'write it as "c % groups == 0".'


class ConstraintError(ConvcostError):
    """A mistake in a condition.

    Args:
        text: The condition or its part, the rule and the next step.
        offset: Characters of the condition before the mistake.
    """

    def __init__(self, text: str, offset: int = 0) -> None:
        self.offset = offset
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition that the rows of a sweep must meet.

    An axis' name means the value on the axis, another parameter's that of the block; a column's the predicted value.
    What cannot be computed in a row (a division by zero, k of a kernel that is not square, a ratio without a baseline)
    is no number there: it is not equal to anything, neither smaller nor larger. Whole numbers are exact below 2**63.

    Attributes:
        text: Condition as the user wrote it.

    Raises:
        ConstraintError: Anything else than comparisons of numbers, axes, parameters and numeric columns.

    >>> import numpy as np
    >>> Constraint("8 <= c < 4 * o").mask({"in_channels": np.array([4, 8, 99]), "out_channels": np.array([8, 8, 8])})
    array([False,  True, False])
    """

    text: str

    def __post_init__(self) -> None:
        """Refuse a condition that cannot be computed."""
        _parse(self.text)

    @property
    def names(self) -> tuple[str, ...]:
        """The full names of the axes, parameters and columns that `mask` needs."""
        return tuple(dict.fromkeys(_full(node.id)[0] for node in _names(_parse(self.text))))

    def applies_to(self, block: str) -> bool:
        """Whether the block has all parameters that the condition names."""
        return all(name in BLOCKS[block].defaults for name in self.names if name in PARAMETERS)

    def mask(self, values: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Whether the condition holds, element by element.

        Args:
            values: Value of each of `names`: a number or an array; for kernel_size, stride and dilation a tuple
                (vertical, horizontal) of them. All arrays broadcast together.
        """
        import numpy as np

        with np.errstate(all="ignore"):
            return np.asarray(_truth(_parse(self.text), values), dtype=bool)


def _full(name: str) -> tuple[str, int | None]:
    """The full name of an axis or a column, and the axis of an ending _h or _w: 0 or 1."""
    full = {short: long for long, short in short_names().items()}
    for axis, ending in enumerate(("_h", "_w")):
        base = full.get(name.removesuffix(ending), name.removesuffix(ending))
        if name.endswith(ending) and base in PAIRS:
            return base, axis
    return full.get(name, name), None


@cache
def _known() -> tuple[str, ...]:
    """The names that a condition may have, in their long form."""
    columns = [column.name for column in COMPARE_COLUMNS]
    predicted = columns[: columns.index("macs_ratio") + 1]
    return tuple(name for name in dict.fromkeys((*SIZES, *PARAMETERS, *predicted)) if name not in _TEXTS)


@cache
def _parse(text: str) -> ast.expr:
    """The tree of a condition, every node of it allowed."""
    if len(text) > MAX_LENGTH:
        raise ConstraintError(
            f"(={as_text(text)}) must have at most {MAX_LENGTH} characters; write several conditions."
        )
    if "#" in text:  # where a comment would hide the rest
        raise ConstraintError(f"(={as_text(text)}) {_RULE}; {_STEP}", text.index("#"))
    line = _BLANK.sub(" ", text)
    start = len(line) - len(line.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(line[start:], mode="eval").body
    except SyntaxError as error:
        offset = min(start + max((error.offset or 1) - 1, 0), len(text))
        raise ConstraintError(f"(={as_text(text)}) {_RULE} ({error.msg}); {_STEP}", offset) from None
    except (ValueError, MemoryError, RecursionError):  # a null character; too many brackets
        raise ConstraintError(f"(={as_text(text)}) {_RULE}; {_STEP}") from None
    return _Check(line, start).checked(tree)


class _Check:
    """The check of a tree: names, numbers and operators, each where it belongs.

    Args:
        line: Condition, on one line.
        start: Number of blanks before it.
    """

    def __init__(self, line: str, start: int) -> None:
        self._line = line
        self._start = start

    def checked(self, tree: ast.expr) -> ast.expr:
        """The tree.

        Raises:
            ConstraintError: It has anything else, or no name.
        """
        self._condition(tree, 0)
        if next(_names(tree), None) is None:
            self._refuse(tree, "must name an axis or a column; leave it out, or write a name such as c")
        return tree

    def _refuse(self, node: ast.expr, rule: str) -> NoReturn:
        words = self._line[self._start :].encode()
        part = words[node.col_offset : node.end_col_offset].decode()
        offset = self._start + len(words[: node.col_offset].decode())
        raise ConstraintError(f"(={as_text(part)}) {rule.rstrip('.')}{'' if rule.endswith('?') else '.'}", offset)

    def _deeper(self, node: ast.expr, depth: int) -> int:
        if depth == MAX_DEPTH:
            self._refuse(node, f"must be at most {MAX_DEPTH} levels deep; write several conditions")
        return depth + 1

    def _condition(self, node: ast.expr, depth: int) -> None:
        """Refuse a node that is neither true nor false."""
        depth = self._deeper(node, depth)
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                self._condition(value, depth)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self._condition(node.operand, depth)
        elif isinstance(node, ast.Compare):
            if not all(type(one) in _COMPARISONS for one in node.ops):
                self._refuse(node, "must compare with < <= > >= == or !=; write k == 1 or k == 3 for a list")
            for value in (node.left, *node.comparators):
                self._number(value, depth)
        elif isinstance(node, (ast.Name, ast.Constant, ast.BinOp, ast.UnaryOp)):
            self._number(node, depth)
            self._refuse(node, f"must be a comparison; {_STEP}")
        else:
            self._refuse(node, f"{_RULE}; {_STEP}")

    def _number(self, node: ast.expr, depth: int) -> None:
        """Refuse a node that is no number."""
        depth = self._deeper(node, depth)
        if isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            self._number(node.left, depth)
            self._number(node.right, depth)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            self._number(node.operand, depth)
        elif isinstance(node, ast.Constant):
            number: Any = node.value
            if type(number) not in {int, float}:
                step = "1 or 0" if isinstance(number, bool) else "one such as 5e8"
                self._refuse(node, f"must be a number; write {step}")
            if not abs(number) <= MAX_NUMBER:
                self._refuse(node, f"must be a number of at most {MAX_NUMBER:g}; write one such as 5e8")
        else:
            self._refuse(node, f"{_RULE}; {_STEP}")

    def _name(self, node: ast.Name) -> None:
        name, _ = _full(node.id)
        if name in _TEXTS:
            self._refuse(node, "must be a number, and is a text; choose blocks, dtype and padding in their own lists")
        if name not in _known():
            hint = did_you_mean(node.id, (*_known(), *short_names().values()))
            self._refuse(node, f"must be an axis, a parameter of a block or a predicted column; {hint}")


def _names(tree: ast.expr) -> Iterator[ast.Name]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Name))


def _truth(node: ast.expr, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a NumPy array or a bool
    if isinstance(node, ast.BoolOp):
        join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
        result = _truth(node.values[0], values)
        for one in node.values[1:]:
            result = join(result, _truth(one, values))
        return result
    if isinstance(node, ast.UnaryOp):
        return ~_truth(node.operand, values)
    comparison: Any = node
    sides = [_value(one, values) for one in (comparison.left, *comparison.comparators)]
    result = True
    for compare, left, right in zip(comparison.ops, sides, sides[1:], strict=False):
        result = result & _COMPARISONS[type(compare)](left, right)
    return result


def _value(node: ast.expr, values: Mapping[str, Any]) -> Array:
    """The numbers of a node."""
    import numpy as np

    if isinstance(node, ast.Name):
        return _named(node.id, values)
    if isinstance(node, ast.Constant):
        number: Any = node.value
        return np.asarray(number if abs(number) < INT64_SAFE else float(number))
    if isinstance(node, ast.UnaryOp):
        operand = _value(node.operand, values)
        return -operand if isinstance(node.op, ast.USub) else operand
    operation: Any = node
    return _combined(operation.op, _value(operation.left, values), _value(operation.right, values))


def _named(name: str, values: Mapping[str, Any]) -> Array:
    import numpy as np

    full, axis = _full(name)
    value = values[full]
    if axis is not None:
        return np.asarray(value[axis])
    if full in PAIRS:
        vertical, horizontal = map(np.asarray, value)
        is_square = vertical == horizontal
        return vertical if is_square.all() else np.where(is_square, vertical, np.nan)
    numbers = np.asarray(value)
    return numbers.astype("int64") if numbers.dtype.kind == "b" else numbers


def _combined(kind: ast.operator, left: Array, right: Array) -> Array:
    """The result of an operator: exact for whole numbers where it fits into int64, else a float."""
    import numpy as np

    work = _OPERATORS[type(kind)]
    floats = np.asarray(work(left.astype("float64"), right.astype("float64")))
    if isinstance(kind, _DIVISIONS):
        floats = np.where(right == 0, np.nan, floats)
    is_whole = left.dtype.kind == right.dtype.kind == "i" and not isinstance(kind, ast.Div)
    if isinstance(kind, ast.Pow):
        is_whole = is_whole and bool((right >= 0).all())
    if not is_whole or not (np.abs(floats) < INT64_SAFE).all():
        return floats
    return np.asarray(work(left, right))
