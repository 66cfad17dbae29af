"""The cross-check of a model: torch's FlopCounterMode operator by operator, fvcore in total, known reasons by name."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.utils.flop_counter
from torch.utils._pytree import tree_leaves, tree_map

from convcost.models.report import CrossCheck, Discrepancy
from convcost.nn.count.counters import fvcore_operators, torch_operators
from convcost.nn.count.size_limit import MAX_BYTES, MAX_EFFORT
from convcost.text.units import human_bytes, human_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import nn

    from convcost.models.report import Totals
    from convcost.nn.count.trace import Row

__all__ = ["check_with_fvcore", "check_with_torch"]

FVCORE_PRODUCTS: Final = frozenset({"conv", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum"})
"""fvcore's operators that are multiply-accumulates; its others (norms, pooling, upsampling) are elementwise work."""


WITHOUT_HANDLE: Final = (
    *("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
    "bilinear",
)
"""Operators with products that fvcore lists as unsupported."""


def check_with_torch(model: nn.Module, placed: tuple[Any, Any], rows: Iterable[Row]) -> CrossCheck:
    """Run FlopCounterMode on the same tensors and compare each operator."""
    try:
        with _quiet():
            theirs = torch_operators(model, *placed)
    except Exception as error:  # noqa: BLE001 - another's counter: whatever it raises is reported
        return CrossCheck("unavailable", None, str(error).strip().partition("\n")[0])
    ours: Counter[str] = Counter()
    for row in rows:
        for event in row.events:
            ours[event.op] += event.macs
    known = {str(op).rpartition(".")[2] for op in torch.utils.flop_counter.flop_registry}
    differences = tuple(
        Discrepancy(op, ours[op], theirs.get(op, 0), None if op in known else "torch has no formula for it")
        for op in sorted(ours.keys() | theirs.keys())
        if ours[op] != theirs.get(op, 0)
    )
    return _verdict(sum(theirs.values()), differences)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the model's own warnings: they come when it is run, not when it is counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _verdict(macs: int, differences: tuple[Discrepancy, ...]) -> CrossCheck:
    unexplained = [difference for difference in differences if difference.reason is None]
    reason = f"{len(unexplained)} operators differ without a known reason" if unexplained else None
    return CrossCheck("disagrees" if unexplained else "agrees", macs, reason, differences)


def check_with_fvcore(model: nn.Module, inputs: tuple[Any, Any], rows: Iterable[Row], totals: Totals) -> CrossCheck:
    """Run fvcore on small real tensors; explain what it leaves out by the operators that it says it does not know."""
    held = totals.weight_bytes + totals.peak_activation_bytes
    if totals.macs > MAX_EFFORT or held > MAX_BYTES:
        need = f"{human_count(totals.macs, 'MACs')} and {human_bytes(held)}"
        return CrossCheck("unavailable", None, f"it computes for real, and {need} are too much")
    if inputs[1]:
        return CrossCheck("unavailable", None, "it takes no keyword arguments")
    try:
        twin = copy.deepcopy(model)
        if any(p.device.type == "meta" for p in tree_leaves([*twin.parameters(), *twin.buffers()])):
            twin = twin.to_empty(device="cpu")
        real = tree_map(_real, inputs[0])
        operators, skipped = fvcore_operators(twin.eval(), real)
    except Exception as error:  # noqa: BLE001 - another's counter: whatever it raises is reported
        return CrossCheck("unavailable", None, str(error).strip().partition("\n")[0] or type(error).__name__)
    theirs = sum(count for op, count in operators.items() if op in FVCORE_PRODUCTS)
    causes = _causes(rows, skipped)
    gap = totals.macs - theirs
    explained = sum(difference.ours for difference in causes)
    if gap == explained:
        return CrossCheck("agrees", theirs, None, tuple(causes))
    left = Discrepancy("all products", totals.macs - explained, theirs, None)
    return CrossCheck("disagrees", theirs, f"{gap - explained} MACs are left over", (*causes, left))


def _real(value: Any) -> Any:
    return torch.zeros(value.shape, dtype=value.dtype) if isinstance(value, torch.Tensor) else value


def _causes(rows: Iterable[Row], skipped: Mapping[str, int]) -> list[Discrepancy]:
    """What fvcore leaves out for a known reason, with our count of it."""
    amounts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for event in row.events:
            cause = _cause(row, event.op, event.kind, skipped)
            if cause is not None:
                amounts[cause] += event.macs
    return [Discrepancy(op, macs, 0, reason) for (op, reason), macs in amounts.items() if macs]


def _cause(row: Row, op: str, kind: str, skipped: Mapping[str, int]) -> tuple[str, str] | None:
    says = "fvcore counts it 0 and lists {} as unsupported"
    if kind == "convolution" and "aten::_convolution_mode" in skipped:
        mode = getattr(row.owner, "padding", None)
        if isinstance(mode, str) or row.text_padding:
            return "convolution with padding as text", says.format("aten::_convolution_mode")
    if kind == "attention" and "aten::scaled_dot_product_attention" in skipped:
        return "attention", says.format("aten::scaled_dot_product_attention")
    fused = {"aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd"} & skipped.keys()
    if fused and row.op in {"MultiheadAttention", "multi_head_attention_forward"}:
        return "attention", says.format(min(fused))
    if f"aten::{op}" in skipped:
        return op, says.format(f"aten::{op}")
    for name in WITHOUT_HANDLE:
        if f"aten::{name}" in skipped and _is(row, op, kind, name):
            return name, says.format(f"aten::{name}")
    return None


def _is(row: Row, op: str, kind: str, name: str) -> bool:
    if kind == "recurrent":
        owner = type(row.owner).__name__.lower() if row.owner is not None else row.op
        return owner.replace("_", "").startswith(name.partition("_")[0])
    return name in {kind, op}
