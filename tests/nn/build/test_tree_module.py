from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name the whole field uses
from torch import nn

from convcost.convolution.blocks import BLOCKS
from convcost.convolution.conv import Conv
from convcost.convolution.shape import Shape
from convcost.convolution.spec import Spec
from convcost.convolution.tree import Concat, Residual, Split, Stage, chain, place
from convcost.nn.build.conv_module import conv_of
from convcost.nn.build.tree_module import build, stage_paths
from convcost.text.errors import ConvcostError

INPUT = Shape(2, 4, (6, 5))
A, B = Stage("a", Conv(4, 4, 3, padding="same")), Stage("b", Conv(4, 4, (2, 3), padding="same", bias=True))


def built(node, shape=INPUT):
    """The module and its stages by name."""
    module = build(node, shape)
    return module, {name: module.get_submodule(path) for name, path in stage_paths(node).items()}


def test_one_stage_is_a_plain_torch_layer():
    module = build(A, INPUT)
    assert type(module) is nn.Conv2d
    assert module.padding == (1, 1)  # "same" as a string would be counted 0 by fvcore
    assert stage_paths(A) == {"a": ""}


def test_an_even_same_kernel_gets_a_pad_in_front():
    module: Any = build(B, INPUT)
    assert module[0].pairs == ((0, 1), (1, 1))
    assert module(torch.zeros(*INPUT.sizes)).shape == INPUT.sizes


def test_same_padding_with_a_stride_fits_the_size_that_was_placed():
    strided = Stage("a", Conv(4, 4, 3, 2, "same"))
    assert conv_of(build(strided, Shape(1, 4, (7, 6)))).padding == ((1, 1), (0, 1))


def test_a_chain_runs_one_after_the_other():
    module, parts = built(chain(A, B))
    x = torch.randn(*INPUT.sizes)
    assert torch.equal(module(x), parts["b"](parts["a"](x)))


def test_an_empty_chain_changes_nothing():
    x = torch.randn(*INPUT.sizes)
    assert build(chain(), INPUT)(x) is x


def test_concat_joins_along_the_channels():
    module, parts = built(Concat((chain(), A, B)))
    x = torch.randn(*INPUT.sizes)
    assert torch.equal(module(x), torch.cat([x, parts["a"](x), parts["b"](x)], dim=1))


def test_split_cuts_the_channels():
    small = Stage("a", Conv(1, 2, 1))
    module, parts = built(Split((1, 3), (small, chain())))
    x = torch.randn(*INPUT.sizes)
    assert torch.equal(module(x), torch.cat([parts["a"](x[:, :1]), x[:, 1:]], dim=1))


def test_a_residual_adds_the_shortcut():
    module, parts = built(Residual("add", A, B))
    x = torch.randn(*INPUT.sizes)
    assert torch.equal(module(x), parts["a"](x) + parts["b"](x))


def test_layers_after_a_residual_keep_their_own_padding():
    last = Stage("last", Conv(4, 2, 5, 3, "same"))
    _, parts = built(chain(Residual("add", A), last))
    assert conv_of(parts["last"]).padding == ((1, 1), (1, 2))  # (6 → 2: 3 + 5 − 6 = 2), (5 → 2: 3 + 5 − 5 = 3)


def test_a_separable_block_is_the_functional_form_of_the_textbook():
    spec = Spec(4, 6, (3, 3), 8, 8)
    block = BLOCKS["depthwise-separable"]
    node = block.make(spec, **block.parameters(spec, {"depth_multiplier": 2}))
    module, parts = built(node, spec.input)
    x = torch.randn(1, 4, 8, 8)
    depthwise = F.conv2d(x, parts["depthwise"].weight, padding=3 // 2, groups=4)
    assert parts["depthwise"].weight.shape == (2 * 4, 1, 3, 3)
    assert torch.allclose(module(x), F.conv2d(depthwise, parts["pointwise"].weight), atol=1e-6)


@pytest.mark.parametrize("name", BLOCKS)
def test_every_stage_of_a_block_is_found_and_is_the_convolution_that_was_placed(name):
    spec = Spec(8, 16, (4, 3), 9, 7, bias=True)
    block = BLOCKS[name]
    node = block.make(spec, **block.parameters(spec, {"depth_multiplier": 2}))
    _, parts = built(node, spec.input)
    convs = {layer.name: layer.op for layer in place(node, spec.input)[0] if isinstance(layer.op, Conv)}
    assert {stage: conv_of(part) for stage, part in parts.items()} == convs


def test_the_module_is_in_eval_mode_on_the_device_and_in_the_dtype_that_was_asked_for():
    module = build(chain(A, B), INPUT, device="cpu", dtype=torch.float64)
    assert not any(part.training for part in module.modules())
    assert {p.dtype for p in module.parameters()} == {torch.float64}


def test_two_stages_of_one_name_are_refused():
    with pytest.raises(
        ConvcostError, match=r"^stage name \(=a\) must be unique in its block; rename one of the two\.$"
    ):
        stage_paths(Concat((chain(A), chain(A))))
