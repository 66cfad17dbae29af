"""The cross-check of a model: torch's FlopCounterMode by operator, fvcore in total, with the known differences."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils.flop_counter import flop_registry

from convcost.models.report import CrossCheck, Discrepancy
from convcost.nn.count.counted_call import leaves_of, mapped
from convcost.nn.count.counters import CounterError, counter_errors, load_fvcore, torch_operators
from convcost.nn.count.cpu_trial import with_values
from convcost.nn.count.fvcore_graph import fvcore_graph
from convcost.nn.count.isolation import can_isolate, run_isolated
from convcost.nn.count.operators import REGISTERED
from convcost.nn.count.recount import too_large
from convcost.nn.count.unused_results import unused_macs
from convcost.nn.load.meta_device import any_device_allowed, parts_of, tensors_of
from convcost.system.child_process import ProcessEndedError
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from torch import nn

    from convcost.models.report import Totals
    from convcost.nn.count.fvcore_graph import FvcoreGraph
    from convcost.nn.count.operators import Event
    from convcost.nn.count.row import Row
    from convcost.nn.count.unused_results import Operation

FVCORE_UNSUPPORTED: Final = (
    *("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
    *("bilinear", "cdist", "pdist"),
)
"""Operators with products that fvcore lists as unsupported."""


FVCORE_HIDDEN: Final = (
    *("prim::PythonOp", "prim::CallFunction", "prim::CallMethod", "prim::fork", "aten::wait"),
    "aten::_scaled_dot_product_flash_attention",
)
"""Nodes of fvcore's graph that hide products: autograd.Function, scripted functions, jit.fork, fused attention."""
FVCORE_TANGENTS: Final = frozenset({"aten::_make_dual", "aten::_unpack_dual"})
"""Nodes of forward-mode differentiation, where autograd computes tangents by products that are not in the graph."""
OTHER_NAMES: Final = {
    "matrix_power": "linalg_matrix_power",
    "multi_dot": "linalg_multi_dot",
    "sparse_mm": "_sparse_mm",
}
"""Functions whose node in fvcore's graph has another name."""
FVCORE_SECONDS: Final = 60
"""Seconds that fvcore may take; it computes for real, on one core."""
COMPLEX: Final = "a complex product, which is four real ones, as fewer"
UNSEEN: Final = "it does not see what other threads run"
PARTS: Final = "counts the parts of an operator that has a registered formula"
OTHER_WAY: Final = "torch runs the same products by other operators there"
SPARSE: Final = "the zeros of a sparse tensor too"


class Observed:
    """The operators of the model by torch's counter, observed in a run of their own when they are first needed.

    Args:
        observe: Runs the model; see `operations_of`.
    """

    def __init__(self, observe: Callable[[], tuple[list[Operation], frozenset[int]]]) -> None:
        self._observe = observe

    @cached_property
    def _operations(self) -> tuple[list[Operation], frozenset[int]]:
        try:
            with counter_errors():
                return self._observe()
        except CounterError:  # then nothing is known, and nothing is explained by it
            return [], frozenset()

    @property
    def unused_macs(self) -> int:
        """MACs whose results nobody uses."""
        return unused_macs(*self._operations)


def check_with_torch(model: nn.Module, inputs: tuple[Any, Any], rows: Collection[Row], device: str) -> CrossCheck:
    """Compare each operator with FlopCounterMode, run on the same tensors.

    Args:
        model: The model, on the device.
        inputs: Positional and keyword arguments.
        rows: Our rows.
        device: Device of tensors that the model makes without naming one.
    """
    show_progress("counting with torch's FlopCounterMode ...")
    try:
        with counter_errors(), any_device_allowed(), torch.device(device), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the model's own warnings belong to its runs, not to its counts
            theirs = torch_operators(model, *inputs)
    except CounterError as error:
        return CrossCheck("unavailable", None, str(error))
    ours, not_plain, unseen, parts = _by_operator(rows)
    known = {str(op).rpartition(".")[2] for op in flop_registry}
    skipped = {op.rpartition(".")[2] for row in rows for op in row.uncounted}

    def reason_for(op: str) -> str | None:
        if op in skipped:
            return "not counted here"
        missing = ours[op] - theirs.get(op, 0)
        if unseen[op] and missing == unseen[op] + not_plain[op]:
            return UNSEEN
        if parts[op] and missing == not_plain[op] - parts[op]:
            return f"torch {PARTS}"
        return _torch_reason(op, known, missing, not_plain[op])

    differences = tuple(
        Discrepancy(op, ours[op], theirs.get(op, 0), reason_for(op))
        for op in sorted(ours.keys() | theirs.keys())
        if ours[op] != theirs.get(op, 0)
    )
    unknown = [difference for difference in differences if difference.reason is None]
    if sum(one.ours for one in unknown) == sum(one.theirs for one in unknown):
        differences, unknown = tuple(replace(one, reason=one.reason or OTHER_WAY) for one in differences), []
    unexplained = len(unknown)
    reason = f"{unexplained} operators differ without a known reason" if unexplained else None
    return CrossCheck("disagrees" if unexplained else "agrees", sum(theirs.values()), reason, differences)


def _by_operator(rows: Iterable[Row]) -> tuple[Counter[str], Counter[str], Counter[str], Counter[str]]:
    """MACs by operator: all, those more than plain ones, those of other threads, and those of parts of operators."""
    ours: Counter[str] = Counter()
    not_plain: Counter[str] = Counter()
    unseen: Counter[str] = Counter()
    parts: Counter[str] = Counter()
    for row in rows:
        for event in row.events:
            ours[event.op] += event.macs
            if row.in_thread:
                unseen[event.op] += event.macs
            else:
                not_plain[event.op] += event.macs - event.plain_macs
        for event in row.parts:
            parts[event.op] += event.plain_macs
    return ours, not_plain, unseen, parts


def _torch_reason(op: str, known: Collection[str], missing: int, not_plain: int) -> str | None:
    """Why torch's counter differs in an operator by so many MACs, if it is known.

    Args:
        op: The operator's name.
        known: Operators for which torch has a formula.
        missing: Our count less that of torch.
        not_plain: As much less as torch must count, since it takes numbers for real and tensors for dense.
    """
    if op not in known:
        return "torch has no formula for it"
    return f"torch counts {COMPLEX if missing > 0 else SPARSE}" if missing == not_plain else None


def check_with_fvcore(
    model: nn.Module, inputs: tuple[Any, Any], rows: Sequence[Row], totals: Totals, observed: Observed
) -> CrossCheck:
    """Compare the total with fvcore, run on real tensors, and explain each difference that has a known reason."""
    large = too_large(totals)
    if large is not None or inputs[1]:
        reason = "it takes no keyword arguments" if large is None else f"it computes for real, and {large}"
        return CrossCheck("unavailable", None, reason)
    show_progress("counting with fvcore ...")

    def trace() -> FvcoreGraph:
        twin = model if can_isolate() else copy.deepcopy(model)  # a forked process has its own copy of the memory
        return fvcore_graph(with_values(twin).eval(), mapped(_real, inputs[0]))

    try:
        with counter_errors():
            load_fvcore()
            graph = run_isolated(trace, FVCORE_SECONDS)
    except ProcessEndedError as error:
        return CrossCheck("unavailable", None, f"fvcore's tracing {error}")
    except ConvcostError as error:
        return CrossCheck("unavailable", None, f"fvcore's tracing fails: {error}")
    theirs = sum(product.counted for product in graph.products)
    differences = _explained(rows, graph, totals.macs - theirs, observed)
    unexplained = totals.macs - theirs - sum(difference.ours - difference.theirs for difference in differences)
    if not unexplained:
        return CrossCheck("agrees", theirs, None, tuple(differences))
    if _has_one_twice(model, inputs):
        return CrossCheck("unavailable", None, "torch.jit copies each input, and one tensor given twice becomes two")
    counted = theirs - sum(difference.theirs for difference in differences)
    rest = Discrepancy("all other products", counted + unexplained, counted, None)
    return CrossCheck("disagrees", theirs, f"{unexplained} MACs are left over", (*differences, rest))


def _has_one_twice(model: nn.Module, inputs: Any) -> bool:
    """Whether an input occurs twice, or is a tensor of the model."""
    given = [id(leaf) for leaf in leaves_of(inputs) if isinstance(leaf, torch.Tensor)]
    return len(set(given)) < len(given) or not {*map(id, tensors_of(parts_of(model).values()))}.isdisjoint(given)


def _real(value: Any) -> Any:
    """A tensor of zeros for a meta tensor, else a copy, whose values a model may look at or change."""
    if isinstance(value, PackedSequence):
        return value._replace(data=_real(value.data))
    if not isinstance(value, torch.Tensor):
        return value
    return torch.zeros(value.shape, dtype=value.dtype) if value.device.type == "meta" else value.detach().clone()


def _explained(rows: Sequence[Row], graph: FvcoreGraph, missing: int, observed: Observed) -> list[Discrepancy]:
    """The differences with a known reason; each is looked for only while some are `missing` from fvcore's count."""
    seen = [row for row in rows if not row.in_thread]
    unseen = sum(event.macs for row in rows if row.in_thread for event in row.events)
    differences = [*_faults(graph), *_causes(seen, graph)]
    if unseen:
        differences.append(Discrepancy("products in other threads", unseen, 0, UNSEEN))

    def left() -> int:
        return missing - sum(difference.ours - difference.theirs for difference in differences)

    parts = _in_parts(seen)
    if parts.theirs and left():
        unused = parts.ours - parts.theirs != left() and observed.unused_macs  # which torch.jit drops from its trace
        if left() == parts.ours - parts.theirs + unused:
            differences.append(replace(parts, theirs=parts.theirs - unused))
    if left() > 0 and left() != observed.unused_macs:
        differences += _hidden(seen, graph)
    if 0 < left() == observed.unused_macs:
        differences.append(Discrepancy("results that nobody uses", left(), 0, "torch.jit drops them from its trace"))
    return differences


def _in_parts(rows: Iterable[Row]) -> Discrepancy:
    """The operators with a registered formula that torch takes apart, as `jvp` does before fvcore sees them."""
    names = {str(packet).rpartition(".")[2] for packet in REGISTERED}
    whole = [row for row in rows if row.parts]
    events = [event for row in whole for event in row.events if event.op in names]
    theirs = sum(event.plain_macs for row in whole for event in row.parts)
    ours = sum(event.macs for event in events)
    return Discrepancy(", ".join(sorted({event.op for event in events})), ours, theirs, f"fvcore {PARTS}")


def _faults(graph: FvcoreGraph) -> list[Discrepancy]:
    """The products that fvcore counts wrongly, added up by operator and fault."""
    amounts: dict[tuple[str, str], tuple[int, int]] = {}
    for product in graph.products:
        if product.fault:
            ours, theirs = amounts.get((product.op, product.fault), (0, 0))
            amounts[product.op, product.fault] = (ours + product.macs, theirs + product.counted)
    return [Discrepancy(op, *pair, fault) for (op, fault), pair in amounts.items()]


def _hidden(rows: Iterable[Row], graph: FvcoreGraph) -> list[Discrepancy]:
    """What fvcore misses in modules that run a function whose inside is hidden from its graph, by that function."""
    owners = {row.path for row in rows if row.owner is not None}

    def row_path(path: str) -> str:
        """The module in whose row a module's operators are."""
        parts = path.split(".")
        prefixes = (".".join(parts[:length]) for length in range(1, len(parts)))
        return next((prefix for prefix in prefixes if prefix in owners), path)

    missing: Counter[str] = Counter()
    for row in rows:
        skipped = _skipped(row, graph)
        missing[row.path] += sum(event.plain_macs for event in row.events if _cause(row, event, skipped) is None)
    seen = set()
    for product in graph.products:
        missing[row_path(product.path)] -= product.macs
        seen.add(row_path(product.path))
    amounts: Counter[str] = Counter()
    tangents = FVCORE_TANGENTS & graph.skipped_within.get("", frozenset())
    for path, macs in missing.items():
        places = [path] if path in seen else [path, *_ancestors(path)]
        names = tangents | {op for place in places for op in graph.skipped.get(place, ()) if _hides(op)}
        if names and macs > 0:
            amounts[", ".join(sorted(names))] += macs
    return [
        Discrepancy(names, macs, 0, "fvcore counts it 0: its graph does not show what it runs")
        for names, macs in amounts.items()
    ]


def _hides(op: str) -> bool:
    """Whether an unsupported node may run products of torch: one of `FVCORE_HIDDEN`, or of another library."""
    return op.startswith(FVCORE_HIDDEN) or not op.startswith(("aten::", "prim::", "prims::"))


def _ancestors(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition(".")[0]
        yield path


def _causes(rows: Iterable[Row], graph: FvcoreGraph) -> list[Discrepancy]:
    """What fvcore leaves out for a known reason, with our count."""
    amounts: Counter[tuple[str, str]] = Counter()
    not_plain: dict[str, tuple[int, int]] = {}
    for row in rows:
        skipped = _skipped(row, graph)
        for event in row.events:
            cause = _cause(row, event, skipped)
            if cause is not None:
                amounts[cause] += event.macs
            elif event.macs != event.plain_macs:
                ours, theirs = not_plain.get(event.op, (0, 0))
                not_plain[event.op] = ours + event.macs, theirs + event.plain_macs
    known = [
        Discrepancy(op, ours, theirs, f"fvcore counts {COMPLEX if ours > theirs else SPARSE}")
        for op, (ours, theirs) in not_plain.items()
    ]
    return known + [
        Discrepancy(name, macs, 0, f"fvcore counts it 0 and lists {operator} as unsupported")
        for (name, operator), macs in amounts.items()
        if macs
    ]


def _skipped(row: Row, graph: FvcoreGraph) -> AbstractSet[str]:
    """The operators that fvcore does not know where a row runs; the row of a module has those of its submodules too."""
    operators = graph.skipped if row.owner is None else graph.skipped_within
    return operators.get(row.path, frozenset())


def _cause(row: Row, event: Event, skipped: AbstractSet[str]) -> tuple[str, str] | None:
    """What fvcore leaves out with an event, and the unsupported operator; None if fvcore counts it."""
    text_padding = row.text_padding or isinstance(getattr(row.owner, "padding", None), str)
    if event.kind == "convolution" and text_padding and "aten::_convolution_mode" in skipped:
        return "convolution with padding as text", "aten::_convolution_mode"
    if event.kind == "attention" and "aten::scaled_dot_product_attention" in skipped:
        return "attention", "aten::scaled_dot_product_attention"
    fused = {"aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd"} & skipped
    if fused and row.op in {"MultiheadAttention", "multi_head_attention_forward"}:
        return "attention", min(fused)
    function = OTHER_NAMES.get(row.function, row.function)
    for op in skipped:  # a function that is made of products, or an operator, that of a library of the user's too
        is_part = event.op == "linalg_vecdot" and op == "aten::sum"  # all that torch.func.jvp leaves
        if is_part or op == f"aten::{function}" or op.partition("::")[2] == event.op:
            return row.function or event.op, op
    for name in FVCORE_UNSUPPORTED:
        if f"aten::{name}" in skipped and _is_part_of(row, event, name):
            return name, f"aten::{name}"
    return None


def _is_part_of(row: Row, event: Event, name: str) -> bool:
    """Whether an event comes from the operator of this name, of which torch runs the parts."""
    if event.kind == "recurrent":
        owner = row.op if row.owner is None else type(row.owner).__name__.lower()
        return owner.replace("_", "").startswith(name.partition("_")[0])
    return name in {event.kind, event.op, row.op}
