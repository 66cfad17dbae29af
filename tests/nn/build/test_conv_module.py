import re
from typing import Any

import pytest
import torch
from torch import nn

from convcost.convolution.conv import Conv
from convcost.nn.build.conv_module import Pad, TiedConv, build_conv, conv_of
from convcost.text.errors import ConvcostError

CONVS = {
    "plain": Conv(4, 6, 3),
    "one axis": Conv(4, 6, (5,), 2, 1, 2, 2, True),
    "three axes": Conv(4, 6, (1, 2, 3), (1, 2, 1), (0, 1, 2)),
    "depthwise with two kernels": Conv(4, 8, (3, 2), groups=4, bias=True),
    "two-sided padding": Conv(4, 6, (4, 3), padding=((1, 2), (0, 1)), bias=True),
    "tied": Conv(4, 8, 3, 1, 1, groups=4, bias=True, tied=True),
    "tied, two-sided padding": Conv(4, 4, 2, 1, ((0, 1), (0, 1)), groups=2, tied=True),
    "transposed": Conv(4, 6, (4, 3), 2, 1, output_padding=1, transposed=True, bias=True),
    "tied, transposed": Conv(4, 6, (3,), 2, groups=2, transposed=True, tied=True, bias=True),
}


@pytest.mark.parametrize("conv", CONVS.values(), ids=CONVS)
def test_reading_back_what_was_built_gives_the_same_convolution(conv):
    assert conv_of(build_conv(conv)) == conv


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv2d(4, 6, 3, padding="valid"), Conv(4, 6, 3, bias=True)),
        (nn.Conv2d(4, 6, (4, 5), padding="same"), Conv(4, 6, (4, 5), padding=((1, 2), (2, 2)), bias=True)),
        (nn.Conv1d(4, 6, 2, padding="same", dilation=3), Conv(4, 6, (2,), padding=((1, 2),), dilation=3, bias=True)),
        (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), Conv(4, 6, 3, padding=1, bias=True)),
        (nn.Sequential(Pad(((0, 1),)), nn.Conv1d(1, 1, 3, padding=2)), Conv(1, 1, (3,), padding=((2, 3),), bias=True)),
        (nn.Sequential(Pad(((0, 1),)), nn.Conv1d(1, 1, 3, padding="same")), Conv(1, 1, (3,), 1, ((1, 2),), bias=True)),
    ],
    ids=["valid", "same, even kernel", "same, dilated", "reflecting", "pad and padding", "pad and same"],
)
def test_every_padding_that_torch_can_write_is_read_as_sizes(module, expected):
    assert conv_of(module) == expected


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch says that it copies; so do we
@pytest.mark.parametrize(("kernel", "dilation"), [((4, 5), 1), ((2, 3), 3)])
def test_torchs_same_padding_gives_the_output_of_the_convolution_that_is_read(kernel, dilation):
    module = nn.Conv2d(2, 3, kernel, padding="same", dilation=dilation)
    twin: Any = build_conv(conv_of(module))
    twin[1].load_state_dict(module.state_dict())
    x = torch.randn(2, 2, 9, 8)
    assert torch.allclose(module(x), twin(x), atol=1e-6)


def test_a_subclass_is_the_convolution_that_it_extends():
    class Own(nn.Conv2d):
        pass

    assert conv_of(Own(4, 6, 3, bias=False)) == Conv(4, 6, 3)


@pytest.mark.parametrize("module", [nn.Linear(3, 4), nn.Sequential(nn.Conv1d(1, 1, 1), nn.ReLU()), nn.Sequential()])
def test_what_is_no_convolution_is_refused_by_name(module):
    text = f"module (={type(module).__name__}) must be a convolution of torch.nn; give nn.Conv1d to nn.ConvTranspose3d."
    with pytest.raises(ConvcostError, match=f"^{re.escape(text)}$"):
        conv_of(module)


def test_same_padding_cannot_be_built_without_an_input_size():
    text = "padding (=same) must be worked out for an input size first; place the convolution in a Layer."
    with pytest.raises(ConvcostError, match=f"^{re.escape(text)}$"):
        build_conv(Conv(4, 4, 3, padding="same"))


@pytest.mark.parametrize(("transposed", "groups"), [(False, 2), (False, 4), (True, 2)])
def test_a_tied_bank_does_what_equal_groups_do(transposed, groups):
    conv = Conv(4, 8, (3, 2), 2, 1, groups=groups, bias=True, transposed=transposed, tied=True)
    tied = TiedConv(conv)
    plain: Any = build_conv(Conv(4, 8, (3, 2), 2, 1, groups=groups, bias=True, transposed=transposed))
    with torch.no_grad():
        for g in range(groups):  # copy the bank into every group
            rows = tied.weight.shape[0]
            plain.weight[g * rows : (g + 1) * rows] = tied.weight
            plain.bias[g * 8 // groups : (g + 1) * 8 // groups] = tied.bias
    x = torch.randn(2, 4, 7, 6)
    assert torch.allclose(tied(x), plain(x), atol=1e-6)


def test_a_pad_adds_zeros_before_and_after_each_axis():
    padded = Pad(((1, 0), (0, 2)))(torch.ones(1, 1, 1, 1))
    assert padded[0, 0].tolist() == [[0, 0, 0], [1, 0, 0]]


def test_device_and_dtype_reach_the_parameters():
    for conv in CONVS.values():
        parameters = list(build_conv(conv, device="cpu", dtype=torch.bfloat16).parameters())
        assert parameters
        assert {p.dtype for p in parameters} == {torch.bfloat16}
