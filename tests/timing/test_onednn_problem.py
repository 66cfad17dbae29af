"""oneDNN's problem text against our layers: the sizes it names, and where it differs."""

from __future__ import annotations

import pytest

from convcost.convolution.conv import Conv
from convcost.convolution.layer import Add, Layer
from convcost.convolution.shape import Shape
from convcost.timing.onednn import Agreement, Problem, agreement, parse_problem, problem_of

STANDARD = Layer("conv", Conv(64, 64, 3, padding=1), Shape(1, 64, (56, 56)))
STANDARD_TEXT = "mb1_ic64oc64_ih56oh56kh3sh1dh0ph1_iw56ow56kw3sw1dw0pw1"


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (STANDARD, STANDARD_TEXT),
        (
            Layer("conv", Conv(64, 64, 3, padding=1, groups=64), Shape(1, 64, (56, 56))),
            "g64mb1_ic64oc64_ih56oh56kh3sh1dh0ph1_iw56ow56kw3sw1dw0pw1",
        ),
        (
            Layer("conv", Conv(32, 64, (3, 5), (2, 1), (2, 2), (2, 1), 4), Shape(2, 32, (56, 40))),
            "g4mb2_ic32oc64_ih56oh28kh3sh2dh1ph2_iw40ow40kw5sw1dw0pw2",
        ),
        (
            Layer("conv", Conv(32, 64, (3,), padding=1), Shape(2, 32, (20,))),
            "mb2_ic32oc64_ih1oh1kh1sh1dh0ph0_iw20ow20kw3sw1dw0pw1",
        ),
        (
            Layer("conv", Conv(32, 64, (3, 3, 3), padding=1), Shape(2, 32, (8, 9, 10))),
            "mb2_ic32oc64_id8od8kd3sd1dd0pd1_ih9oh9kh3sh1dh0ph1_iw10ow10kw3sw1dw0pw1",
        ),
        (
            Layer(
                "conv",
                Conv(32, 64, 3, stride=2, padding=1, groups=4, transposed=True, output_padding=1),
                Shape(2, 32, (20, 21)),
            ),
            "g4mb2_ic32oc64_ih20oh40kh3sh2dh0ph1_iw21ow42kw3sw2dw0pw1",
        ),
        (  # padding (0, 1) on both axes is put around the input before the convolution: 56 + 1
            Layer("conv", Conv(8, 8, 3, stride=2, padding="same"), Shape(1, 8, (56, 56))),
            "mb1_ic8oc8_ih57oh28kh3sh2dh0ph0_iw57ow28kw3sw2dw0pw0",
        ),
    ],
    ids=["standard", "depthwise", "grouped", "1-D", "3-D", "transposed", "asymmetric padding"],
)
def test_a_layer_and_its_text_are_one_problem(layer: Layer, text: str) -> None:
    assert problem_of(layer) == parse_problem(text)


@pytest.mark.parametrize("text", ["", "1x64x56x56", "mb1_ic64oc64", "64x64:64x64", "mb1ic3_ih5oh5kh3sh1dh0ph1"])
def test_what_is_no_convolution_is_no_problem(text: str) -> None:
    assert parse_problem(text) is None


def test_a_difference_is_named_with_both_sides() -> None:
    ours, theirs = problem_of(STANDARD), parse_problem(STANDARD_TEXT.replace("mb1", "g64mb1").replace("oh56", "oh55"))
    assert isinstance(theirs, Problem)
    assert ours.differences(theirs) == (
        "groups 1 here, 64 for oneDNN",
        "out_size 1x56x56 here, 1x55x56 for oneDNN",
    )


def test_every_stage_that_ran_in_order_agrees() -> None:
    second = Layer("pointwise", Conv(64, 8, 1), Shape(1, 64, (56, 56)))
    add = Layer("add", Add(), Shape(1, 8, (56, 56)))
    texts = [STANDARD_TEXT, "mb1_ic64oc8_ih56oh56kh1sh1dh0ph0_iw56ow56kw1sw1dw0pw0"]
    assert agreement([STANDARD, second, add], texts) == Agreement(agrees=True, ran=2, stages=2)
    assert agreement([STANDARD, second, add], texts[1:]) == Agreement(agrees=True, ran=1, stages=2)


def test_without_a_convolution_of_onednn_there_is_no_witness() -> None:
    assert agreement([STANDARD], []).agrees is None


def test_a_text_of_another_layer_disagrees_and_says_in_which_stage() -> None:
    found = agreement([STANDARD], [STANDARD_TEXT.replace("oc64", "oc32")])
    assert found == Agreement(False, ("conv: out_channels 64 here, 32 for oneDNN",), ran=1, stages=1)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Agreement(None, stages=1), ""),
        (
            Agreement(agrees=True, ran=2, stages=2),
            "oneDNN's problem text has the groups, channels and sizes of this layer",
        ),
        (
            Agreement(agrees=True, ran=1, stages=2),
            "oneDNN's problem text has the groups, channels and sizes of this layer for the 1 of 2 stages that it ran",
        ),
        (
            Agreement(False, ("conv: groups 1 here, 2 for oneDNN",), 1, 1),
            "oneDNN convolved another layer: conv: groups 1 here, 2 for oneDNN",
        ),
    ],
)
def test_the_witness_says_what_it_saw(found: Agreement, text: str) -> None:
    assert str(found) == text


def test_a_text_that_is_one_too_many_disagrees() -> None:
    other = Layer("pointwise", Conv(64, 8, 1), Shape(1, 64, (56, 56)))
    assert agreement([STANDARD], [STANDARD_TEXT, STANDARD_TEXT]).agrees is False
    found = agreement([STANDARD, other], [STANDARD_TEXT.replace("mb1", "mb2")])
    assert found.differences == ("conv: batch 1 here, 2 for oneDNN",)


def test_a_text_that_cannot_be_read_disagrees() -> None:
    assert agreement([STANDARD], ["??"]).differences == ("oneDNN's problem ?? cannot be read",)


def test_only_convolutions_have_a_problem() -> None:
    with pytest.raises(TypeError, match=r"layer \(=add\) must be a convolution"):
        problem_of(Layer("add", Add(), Shape(1, 8, (4, 4))))
