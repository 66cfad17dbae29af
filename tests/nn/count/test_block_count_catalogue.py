import pytest
import torch

from convcost.comparison.rows import Counts
from convcost.convolution.blocks import BLOCKS
from convcost.convolution.cost import cost
from convcost.convolution.spec import Spec
from convcost.convolution.tree import place
from convcost.nn.build.tree_module import build
from convcost.nn.count.block_count import count_each
from convcost.text.errors import ShapeError


def count(*args):
    return dict(count_each(*args))


SPECS = {
    "plain": Spec(8, 16, (3, 3), 12, 12),
    "batch": Spec(8, 16, (3, 3), 7, 9, batch=3),
    "as many outputs as inputs": Spec(8, 8, (3, 3), 7, 9),
    "bias": Spec(8, 16, (3, 3), 7, 9, bias=True),
    "stride": Spec(8, 16, (3, 3), 9, 8, stride=(2, 3)),
    "even kernel": Spec(8, 16, (4, 2), 9, 8),
    "even kernel with a stride": Spec(8, 16, (2, 4), 9, 8, stride=(2, 2)),
    "long kernel": Spec(8, 16, (1, 7), 9, 8),
    "dilation": Spec(8, 16, (3, 2), 11, 12, dilation=(2, 3)),
    "valid": Spec(8, 16, (3, 2), 9, 8, padding="valid"),
    "explicit padding": Spec(8, 16, (3, 3), 9, 8, padding=(2, 0)),
    "smaller than its kernel": Spec(8, 16, (5, 5), 1, 2),
}


def node_of(name, spec, m=1):
    block = BLOCKS[name]
    return block.make(spec, **block.parameters(spec, {"depth_multiplier": m}))


def legal(name, spec, m):
    """The catalogue's own rules decide; `test_every_block_is_counted` sees to it that enough is left."""
    try:
        place(node_of(name, spec, m), spec.input)
    except ShapeError:
        return False
    return True


CASES = [
    pytest.param(name, spec, m, id=f"{name}, {label}, m={m}")
    for name in BLOCKS
    for label, spec in SPECS.items()
    for m in (1, 2)
    if legal(name, spec, m)
]


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_is_counted_on_most_shapes(name):
    assert sum(case.values[0] == name for case in CASES) >= len(SPECS)  # of twice as many


@pytest.mark.parametrize(("name", "spec", "m"), CASES)
def test_the_formula_fvcore_and_torch_agree_on_every_stage_of_every_block(name, spec, m):
    node = node_of(name, spec, m)
    layers, output = place(node, spec.input)
    predicted = cost(layers)
    module = build(node, spec.input)
    with torch.no_grad():
        assert tuple(module(torch.zeros(*spec.input.sizes)).shape) == output.sizes
    assert sum(p.numel() for p in module.parameters()) == predicted.params
    assert count({name: (node, spec.input)})[name] == Counts(
        predicted.macs, predicted.params, 2 * predicted.macs, agree=True, differences=(), note=None
    )


def test_all_blocks_are_counted_in_one_call_in_their_order():
    spec = SPECS["plain"]
    counted = count({name: (node_of(name, spec), spec.input) for name in BLOCKS})
    assert list(counted) == list(BLOCKS)
    assert {counts.agree for counts in counted.values()} == {True}
