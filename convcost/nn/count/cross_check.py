"""The cross-check of a model: torch's FlopCounterMode by operator, fvcore in total, with the known differences."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

from convcost.models.report import CrossCheck, Discrepancy
from convcost.nn.count.counters import CounterError, counter_errors, fvcore_operators, torch_operators
from convcost.nn.count.size_limit import MAX_BYTES, MAX_EFFORT
from convcost.system.terminal import show_progress
from convcost.text.units import human_bytes, human_count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from torch import nn

    from convcost.models.report import Totals
    from convcost.nn.count.row import Event, Row

FVCORE_PRODUCTS: Final = frozenset({"conv", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum"})
"""fvcore's operators that are multiply-accumulates; its others (norms, pooling, upsampling) are elementwise."""
COMPLEX: Final = "a complex product, which is four real ones, as fewer"
SPARSE: Final = "the zeros of a sparse tensor too"
FVCORE_UNSUPPORTED: Final = (
    *("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
    *("bilinear", "cdist", "pdist"),
)
"""Operators with products that fvcore lists as unsupported."""


def check_with_torch(model: nn.Module, inputs: tuple[Any, Any], rows: Collection[Row]) -> CrossCheck:
    """Compare each operator with FlopCounterMode, run on the same tensors."""
    show_progress("counting with torch's FlopCounterMode ...")
    try:
        with counter_errors(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the model's own warnings belong to its runs, not to its counts
            theirs = torch_operators(model, *inputs)
    except CounterError as error:
        return CrossCheck("unavailable", None, str(error))
    ours: Counter[str] = Counter()
    not_plain: Counter[str] = Counter()
    for row in rows:
        for event in row.events:
            ours[event.op] += event.macs
            not_plain[event.op] += event.macs - event.plain_macs
    known = {str(op).rpartition(".")[2] for op in flop_registry}
    skipped = {op.rpartition(".")[2] for row in rows for op in row.uncounted}

    def reason_for(op: str) -> str | None:
        if op in skipped:
            return "not counted here"
        return _torch_reason(op, known, ours[op] - theirs.get(op, 0), not_plain[op])

    differences = tuple(
        Discrepancy(op, ours[op], theirs.get(op, 0), reason_for(op))
        for op in sorted(ours.keys() | theirs.keys())
        if ours[op] != theirs.get(op, 0)
    )
    unexplained = sum(difference.reason is None for difference in differences)
    reason = f"{unexplained} operators differ without a known reason" if unexplained else None
    return CrossCheck("disagrees" if unexplained else "agrees", sum(theirs.values()), reason, differences)


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


def check_with_fvcore(model: nn.Module, inputs: tuple[Any, Any], rows: Iterable[Row], totals: Totals) -> CrossCheck:
    """Compare the total with fvcore, run on real tensors; the operators it does not support explain a difference."""
    memory = totals.weight_bytes + totals.peak_activation_bytes
    if totals.macs > MAX_EFFORT or memory > MAX_BYTES:
        need = f"{human_count(totals.macs, 'MACs')} and {human_bytes(memory)}"
        return CrossCheck("unavailable", None, f"it computes for real, and {need} are too much")
    if inputs[1]:
        return CrossCheck("unavailable", None, "it takes no keyword arguments")
    show_progress("counting with fvcore ...")
    try:
        with counter_errors():
            twin = copy.deepcopy(model)
            if any(tensor.device.type == "meta" for tensor in tree_leaves([*twin.parameters(), *twin.buffers()])):
                twin = twin.to_empty(device="cpu")
            operators, skipped = fvcore_operators(twin.eval(), tree_map(_real, inputs[0]))
    except CounterError as error:
        return CrossCheck("unavailable", None, str(error))
    theirs = sum(count for op, count in operators.items() if op in FVCORE_PRODUCTS)
    causes = _causes(rows, skipped)
    explained = sum(difference.ours - difference.theirs for difference in causes)
    unexplained = totals.macs - theirs - explained
    if not unexplained:
        return CrossCheck("agrees", theirs, None, tuple(causes))
    rest = Discrepancy("all products", totals.macs - explained, theirs, None)
    return CrossCheck("disagrees", theirs, f"{unexplained} MACs are left over", (*causes, rest))


def _real(value: Any) -> Any:
    return torch.zeros(value.shape, dtype=value.dtype) if isinstance(value, torch.Tensor) else value


def _causes(rows: Iterable[Row], skipped: Mapping[str, int]) -> list[Discrepancy]:
    """What fvcore leaves out for a known reason, with our count."""
    amounts: Counter[tuple[str, str]] = Counter()
    not_plain: dict[str, tuple[int, int]] = {}
    for row in rows:
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


def _cause(row: Row, event: Event, skipped: Mapping[str, int]) -> tuple[str, str] | None:
    """What fvcore leaves out with an event, and the unsupported operator; None if fvcore counts it."""
    text_padding = row.text_padding or isinstance(getattr(row.owner, "padding", None), str)
    if event.kind == "convolution" and text_padding and "aten::_convolution_mode" in skipped:
        return "convolution with padding as text", "aten::_convolution_mode"
    if event.kind == "attention" and "aten::scaled_dot_product_attention" in skipped:
        return "attention", "aten::scaled_dot_product_attention"
    fused = {"aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd"} & skipped.keys()
    if fused and row.op in {"MultiheadAttention", "multi_head_attention_forward"}:
        return "attention", min(fused)
    if f"aten::{event.op}" in skipped:
        return event.op, f"aten::{event.op}"
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
