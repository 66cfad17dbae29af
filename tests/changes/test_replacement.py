"""Which block may stand in the place of a convolution, worked out from plain values."""

from __future__ import annotations

import re
from typing import Any

import pytest

from convcost.changes.replacement import Replacement, Rules, block_in_place, choose_block, kind_of, reads_image, spec_of
from convcost.convolution.conv import Conv
from convcost.convolution.cost import cost
from convcost.convolution.layer import Layer
from convcost.convolution.shape import Shape
from convcost.models.call import Call
from convcost.models.network_layers import Style
from convcost.models.report import ModelReport, Totals
from convcost.text.errors import ConvcostError

STYLE = Style(norm=True, activation="relu")
PLAIN = Style(norm=False, activation=None)


def call(conv: Conv, image: tuple[int, ...] = (1, 8, 9, 9), name: str = "a", **values: Any) -> Call:
    layer = Layer(name, conv, Shape(image[0], image[1], image[2:]))
    own = cost([layer])
    return Call(
        name, "Conv2d", image, layer.output.sizes, own.params, own.macs, own.traffic_bytes, conv=conv,
        inputs=("x".join(map(str, image)),), **values,
    )  # fmt: skip


SAME = Conv(8, 8, 3, padding=1)


def chosen(*to: str, conv: Conv = SAME, style: Style = PLAIN, **rules: Any) -> Replacement | str:
    return choose_block("a", [call(conv)], style, Rules(to, **rules))


def test_the_first_block_that_keeps_the_shape_is_chosen() -> None:
    wider = Conv(8, 16, 3, padding=1)
    one = chosen("partial", "depthwise", "depthwise-separable", conv=Conv(8, 16, 3, stride=2))
    assert isinstance(one, Replacement)
    assert one.placed.block.name == "depthwise-separable"
    assert isinstance(chosen("depthwise"), Replacement)
    assert chosen("depthwise", conv=wider) == "depthwise: its output is 1x8x9x9, that of the layer 1x16x9x9"
    doubled = chosen("depthwise", conv=wider, parameters={"depth_multiplier": 2})
    assert isinstance(doubled, Replacement)
    assert doubled.after.params == 16 * 9


def test_a_layer_is_not_replaced_by_itself() -> None:
    assert chosen("standard") == "standard: the layer is this block already"
    grouped = Conv(8, 8, 3, padding=1, groups=4)
    assert chosen("grouped", conv=grouped) == "grouped: the layer is this block already"
    assert isinstance(chosen("standard", conv=grouped), Replacement)


def test_a_block_must_save_as_much_as_is_wanted() -> None:
    saving = 1 - (9 + 8) / (9 * 8)  # depthwise-separable ÷ standard
    assert isinstance(chosen("depthwise-separable", min_saving=saving - 1e-9), Replacement)
    refused = chosen("depthwise-separable", min_saving=saving + 1e-9)
    assert refused == "depthwise-separable: saves fewer MACs than min_saving (=76.4 %)"
    assert isinstance(chosen("inverted-residual"), Replacement)  # which has more MACs
    assert "saves fewer" in str(chosen("inverted-residual", min_saving=0.0))


def test_costs_count_every_call_and_parameters_once() -> None:
    one = choose_block("a", [call(SAME), call(SAME)], PLAIN, Rules(("depthwise",)))
    assert isinstance(one, Replacement)
    assert (one.after.params, one.after.macs) == (8 * 9, 2 * 81 * 8 * 9)
    assert one.before.macs == 2 * 81 * 8 * 8 * 9


def test_between_the_stages_stands_the_style_and_not_after_the_last() -> None:
    layer = Layer("a", SAME, Shape(1, 8, (9, 9)))
    placed = block_in_place("depthwise-separable", layer, STYLE, {})
    assert [one.name for one in placed.layers] == ["depthwise", "depthwise_norm", "depthwise_activation", "pointwise"]
    assert placed.cost.params == 8 * 9 + 2 * 8 + 8 * 8
    branches = block_in_place("ghost", layer, STYLE, {})
    assert [one.name for one in branches.layers] == ["primary", "primary_norm", "primary_activation", "cheap"]
    summed = block_in_place("bottleneck", layer, STYLE, {})
    assert [one.name for one in summed.layers][-2:] == ["expand", "add"]


@pytest.mark.parametrize(
    ("conv", "padding"),
    [
        (Conv(8, 8, 3, padding=1), (1, 1)),
        (Conv(8, 8, (1, 7), padding=(0, 3)), (0, 3)),
        (Conv(8, 8, 3, padding="valid"), (0, 0)),
        (Conv(8, 8, (2, 4), padding="same"), "same"),
        (Conv(8, 8, 3, 2, padding="same"), (1, 1)),
        (Conv(8, 8, 2, 2, padding="same"), "same"),
    ],
)
def test_a_spec_is_that_of_the_layer(conv: Conv, padding: object) -> None:
    layer = Layer("a", conv, Shape(2, 8, (9, 9)))
    spec = spec_of(layer)
    assert spec.padding == padding
    assert block_in_place("low-rank", layer, PLAIN, {}).output == layer.output


@pytest.mark.parametrize(
    ("conv", "shape", "reason"),
    [
        (Conv(8, 8, 3, padding=((2, 0), (1, 1))), (9, 9), "its padding differs between the sides"),
        (Conv(8, 8, (3,), padding=1), (9,), "a 1-D convolution"),
        (Conv(8, 8, 3, transposed=True), (9, 9), "a transposed convolution"),
    ],
)
def test_a_layer_without_a_spec_says_why(conv: Conv, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(ConvcostError, match=re.escape(reason)):
        spec_of(Layer("a", conv, Shape(1, 8, shape)))


@pytest.mark.parametrize(
    ("conv", "kind"),
    [
        (Conv(8, 8, 3), "standard"),
        (Conv(1, 8, 3), "standard"),
        (Conv(8, 8, (1, 3)), "standard"),
        (Conv(8, 8, 1), "pointwise"),
        (Conv(8, 8, 3, groups=2), "grouped"),
        (Conv(8, 8, 1, groups=2), "grouped"),
        (Conv(8, 16, 3, groups=8), "depthwise"),
    ],
)
def test_kinds_of_convolutions(conv: Conv, kind: str) -> None:
    assert kind_of(conv) == kind


def test_the_rules_of_kind_and_kernel() -> None:
    rules = Rules(("depthwise",), min_kernel=5)
    assert rules.reason_for_kind(Conv(8, 8, 3)) == "its kernel (=3) is below min_kernel (=5)"
    assert rules.reason_for_kind(Conv(8, 8, (1, 5))) is None
    assert rules.reason_for_kind(Conv(8, 8, 1)) == "pointwise, not standard"
    assert Rules(("ghost",), "pointwise").reason_for_kind(Conv(8, 8, 1)) is None


def test_the_rules_of_names() -> None:
    rules = Rules(("ghost",), only=r"layer[34]\.", skip="conv1$")
    assert rules.reason_for_name("layer3.conv2") is None
    assert rules.reason_for_name("layer2.conv2") == r"only (=layer[34]\.) does not match it"
    assert rules.reason_for_name("layer3.conv1") == "skip (=conv1$) matches it"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"to": ()}, "to must name a block of the catalogue, such as depthwise-separable."),
        ({"to": ("depthwise-seperable",)}, "block (=depthwise-seperable) must be a name of the catalogue; did you mean depthwise-separable?"),
        ({"origin": "standart"}, "origin (=standart), from which layers are replaced, must be a kind of convolution; did you mean standard?"),
        ({"origin": None}, "origin (=missing), from which layers are replaced, must be a kind of convolution; known: standard, grouped, depthwise, pointwise."),
        ({"to": (None,)}, "block (=None) must be a name of the catalogue; see convcost compare --list-blocks."),
        ({"only": 3}, "only (=3) must be a regular expression, and first argument must be string or compiled pattern; write one such as layer[34]."),
        ({"min_saving": "20%"}, "min_saving (=20%) must be a share of at least 0 and below 1; give 0.2 for 20 %."),
        ({"only": "("}, "only (=() must be a regular expression, and missing ), unterminated subpattern at position 0; write one such as layer[34]."),
        ({"skip": "*a"}, "skip (=*a) must be a regular expression, and nothing to repeat at position 0; write one such as layer[34]."),
        ({"min_kernel": 0}, "min_kernel (=0) must be at least 1; give a larger number."),
        ({"min_saving": 1.0}, "min_saving (=1.0) must be a share of at least 0 and below 1; give 0.2 for 20 %."),
        ({"min_saving": float("nan")}, "min_saving (=nan) must be a share of at least 0 and below 1; give 0.2 for 20 %."),
        ({"parameters": {"rnk": 3}}, "parameter rnk must be one of a block; did you mean rank?"),
    ],
)  # fmt: skip
def test_rules_that_no_replacement_could_follow_are_refused(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvcostError) as caught:
        Rules(**{"to": ("ghost",)} | rules)
    assert str(caught.value) == message


def test_a_pattern_that_a_later_python_may_read_otherwise_is_taken() -> None:
    assert Rules(("ghost",), only="[[a]").reason_for_name("a") is None


def test_a_parameter_that_no_block_has_is_noted() -> None:
    assert Rules(("ghost", "low-rank"), parameters={"rank": 3}).notes == ()
    (note,) = Rules(("ghost",), parameters={"rank": 3}).notes
    assert note.startswith("rank has no effect here: it sets channels between")


@pytest.mark.parametrize(
    ("channels", "share", "image", "expected"),
    [
        (3, 0.009, (1, 3, 9, 9), True),
        (4, 0.009, (1, 4, 9, 9), True),
        (5, 0.009, (1, 5, 9, 9), False),
        (3, 0.01, (1, 3, 9, 9), False),
        (3, 0.009, (1, 3, 5, 5), False),  # not the model's input
    ],
)
def test_a_small_layer_that_reads_the_image_is_known(
    channels: int, share: float, image: tuple[int, ...], *, expected: bool
) -> None:
    one = call(Conv(channels, 8, 3), image, macs_share=share)
    inputs = (f"image=1x{channels}x9x9",)
    report = ModelReport("net", inputs, {}, Totals(1, 1, 1, 1, 1, 1), (one,), {})
    assert reads_image(one, report) is expected
