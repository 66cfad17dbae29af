import pytest

from convcost.convolution.conv import Conv
from convcost.convolution.cost import Cost, cost, macs, params, traffic_elements
from convcost.convolution.layer import Add, Layer
from convcost.convolution.shape import Shape


def layer(conv, batch=1, spatial=(12, 10)):
    return Layer("conv", conv, Shape(batch, conv.in_channels, spatial))


def test_a_standard_convolution_costs_w_h_c_o_k_squared():
    conv = layer(Conv(3, 64, 3, padding="same"), batch=2, spatial=(224, 200))
    assert macs(conv).value == 2 * 224 * 200 * 3 * 64 * 3 * 3
    assert str(macs(conv)) == "N × H_out × W_out × C_out × C_in/g × K_h × K_w"
    assert macs(conv).numbers == "2 × 224 × 200 × 64 × 3 × 3 × 3"
    assert params(conv.op).value == 3 * 64 * 3 * 3
    assert str(params(conv.op)) == "C_out × C_in/g × K_h × K_w"


def test_each_group_reads_only_its_own_channels():
    conv = layer(Conv(8, 12, (3, 5), padding="same", groups=4))
    assert macs(conv).value == 12 * 10 * 12 * (8 // 4) * 3 * 5
    assert params(conv.op).value == 12 * (8 // 4) * 3 * 5


def test_a_bias_is_a_parameter_an_output_channel_and_no_multiplication():
    with_bias, without = layer(Conv(4, 6, 3, bias=True)), layer(Conv(4, 6, 3))
    assert macs(with_bias).value == macs(without).value
    assert params(with_bias.op).value == 6 * 4 * 3 * 3 + 6
    assert str(params(with_bias.op)) == "C_out × C_in/g × K_h × K_w + C_out"


def test_a_tied_bank_counts_once():
    tied = Conv(8, 16, 3, groups=8, bias=True, tied=True)
    assert params(tied).value == 2 * 3 * 3 + 2  # m = 2 kernels and 2 biases for all 8 channels
    assert macs(layer(tied)).value == macs(layer(Conv(8, 16, 3, groups=8))).value


def test_the_stride_of_a_transposed_convolution_costs_nothing():
    up = layer(Conv(8, 6, 4, stride=2, padding=1, transposed=True), batch=3, spatial=(7, 9))
    assert macs(up).value == 3 * 7 * 9 * 8 * 6 * 4 * 4  # input positions, not output positions
    assert str(macs(up)) == "N × H_in × W_in × C_in × C_out/g × K_h × K_w"
    assert params(up.op).value == 8 * 6 * 4 * 4


@pytest.mark.parametrize(
    ("kernel", "spatial", "expected", "symbols"),
    [
        ((3,), (10,), 10 * 5 * 4 * 3, "N × W_out × C_out × C_in/g × K"),
        ((3, 5), (10, 9), 10 * 9 * 5 * 4 * 3 * 5, "N × H_out × W_out × C_out × C_in/g × K_h × K_w"),
        (
            (3, 5, 1),
            (10, 9, 8),
            10 * 9 * 8 * 5 * 4 * 3 * 5 * 1,
            "N × D_out × H_out × W_out × C_out × C_in/g × K_d × K_h × K_w",
        ),
    ],
    ids=["1-D", "2-D", "3-D"],
)
def test_one_to_three_axes_are_one_formula(kernel, spatial, expected, symbols):
    count = macs(layer(Conv(4, 5, kernel, padding="same"), spatial=spatial))
    assert count.value == expected
    assert str(count) == symbols


def test_taps_on_padding_count():
    assert macs(layer(Conv(1, 1, 3, padding=1), spatial=(1, 1))).value == 3 * 3  # eight of them meet only zeros


def test_an_addition_has_traffic_and_nothing_else():
    add = Layer("add", Add(), Shape(2, 3, (4, 5)))
    assert macs(add).value == 0
    assert params(add.op).value == 0
    assert traffic_elements(add).value == 3 * (2 * 3 * 4 * 5)  # two read, one written


def test_traffic_is_input_weights_bias_and_output_once():
    conv = layer(Conv(4, 6, 3, bias=True), batch=2)
    assert traffic_elements(conv).value == 2 * 4 * 12 * 10 + (6 * 4 * 9 + 6) + 2 * 6 * 10 * 8


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float64", 8), ("bfloat16", 2), ("float16", 2)])
def test_bytes_follow_the_dtype(dtype, size):
    assert cost([layer(Conv(1, 1, 1), spatial=(1, 1))], dtype).traffic_bytes == 3 * size


def test_the_cost_of_two_layers_is_their_sum():
    first, second = layer(Conv(4, 6, 3, padding=1)), layer(Conv(6, 2, 1))
    both = cost([first, second])
    assert both.macs == 120 * 6 * 4 * 9 + 120 * 2 * 6
    assert both.params == 6 * 4 * 9 + 2 * 6
    assert both.traffic_bytes == 4 * (120 * (4 + 6) + 6 * 4 * 9 + 120 * (6 + 2) + 2 * 6)


def test_two_flops_a_mac_and_intensity_is_flops_a_byte():
    assert Cost(macs=300, params=1, traffic_bytes=200).flops == 600
    assert Cost(macs=300, params=1, traffic_bytes=200).flop_per_byte == 3.0
