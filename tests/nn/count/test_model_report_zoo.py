"""Our count of many networks against an oracle that shares no code with the package: real tensors, real operators."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from zoo import ZOO

import convcost


class Oracle(TorchDispatchMode):
    """Counts multiply-adds of every product that really runs, by its own arithmetic on the shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self.unknown: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        shapes = [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)]
        if name in {"convolution", "mkldnn_convolution"}:
            transposed = args[6]
            touched = args[0] if transposed else out
            self.macs += touched.numel() * prod(shapes[1][1:])
        elif name in {"mm", "addmm", "mv", "addmv"}:
            a, b = shapes[-2:]
            self.macs += a[0] * prod(b)
        elif name in {"bmm", "baddbmm"}:
            (n, i, _), (_, j, k) = shapes[-2:]
            self.macs += n * i * j * k
        elif name in {"dot", "vdot"}:
            self.macs += shapes[0][0]
        elif name == "_trilinear":
            (n, first), (outputs, _, second), _ = shapes
            self.macs += n * outputs * (first + 1) * second
        elif name == "mkldnn_rnn_layer":
            steps, batch, size = shapes[0]
            gates, hidden = shapes[2]
            self.macs += steps * batch * gates * (size + hidden)
        elif name == "_scaled_dot_product_flash_attention_for_cpu":
            (n, h, length, e), (_, _, source, _), (_, _, _, v) = shapes[:3]
            self.macs += n * h * length * source * (e + v)
        elif "attention" in name or "transformer" in name or "rnn_layer" in name or "einsum" in name:
            self.unknown.add(name)
        return out


def test_the_zoo_is_large_and_varied() -> None:
    assert len(ZOO) >= 40


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # torch's word on its speed
@pytest.mark.parametrize("name", ZOO)
def test_the_count_equals_the_oracles(name: str) -> None:
    model, inputs = ZOO[name]()
    report = convcost.count(model, inputs)
    oracle = Oracle()
    torch.backends.mha.set_fastpath_enabled(False)  # the oracle then sees every product
    try:
        with torch.no_grad(), oracle:
            model.eval()(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert oracle.unknown == set()
    assert report.uncounted == ()
    assert report.totals.macs == oracle.macs
    assert report.totals.params == sum(p.numel() for p in model.parameters())
    assert sum(row.params for row in report.layers) == report.totals.params
    assert sum(row.macs for row in report.layers) == report.totals.macs
    assert sum(report.by_operator.values()) == report.totals.macs


@pytest.mark.parametrize("name", ZOO)
def test_other_counters_agree_or_differ_for_a_known_reason(name: str) -> None:
    model, inputs = ZOO[name]()
    report = convcost.count(model, inputs, cross_check=True)
    assert report.cross_check["torch"].status == "agrees", report.cross_check["torch"]
    assert report.cross_check["fvcore"].status in {"agrees", "unavailable"}, report.cross_check["fvcore"]
