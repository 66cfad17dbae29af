"""What an optimised script runs in torch's own interpreter, where no operator is seen."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import torch
from torch._C import _last_executed_optimized_graph

from convcost.nn.count.operators import Verdict, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONVOLUTION: Final = "prim::mkldnn_convolution"
"""What `torch.jit.optimize_for_inference` makes of a convolution."""
_GROUP: Final = "Group"
"""End of the kinds of nodes that are compiled from several operators, such as `prim::oneDNNFusionGroup`."""


def unseen_products() -> Counter[str]:
    """The nodes with products that no dispatch mode sees, in the script that ran last in this thread."""
    nodes = _nodes(_last_executed_optimized_graph())
    return Counter(node.kind().replace("::", ".") for node in nodes if _is_unseen_product(node))


def _is_unseen_product(node: Any) -> bool:
    if node.kind() == _CONVOLUTION:
        return True
    is_group = node.kind().endswith(_GROUP) and node.hasAttribute("Subgraph")
    return is_group and not all(map(_is_free, _nodes(node.g("Subgraph"))))


def _is_free(node: Any) -> bool:
    library, _, name = node.kind().partition("::")
    if library != "aten":
        return True
    packet = getattr(torch.ops.aten, name, None)
    return packet is not None and verdict(getattr(packet, packet.overloads()[0])) is Verdict.FREE


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph or block, with those of branches and loops."""
    for node in graph.nodes():
        yield node
        for block in node.blocks():
            yield from _nodes(block)
