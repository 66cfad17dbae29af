"""Why a model grew: what changed is spelled out, and a layer is recognised under a new name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from locks import conv, entry, relu

from convcost.changes.change import recounted, renamed_summary, what_changed
from convcost.changes.layer_cost import Entry, LayerCost
from convcost.changes.replaced_layer import layer_of
from convcost.convolution.conv import Conv


def told(before: Entry, after: Entry) -> list[tuple[str, str, str]]:
    return [(change.kind, change.layer, change.text) for change in what_changed(before, after)]


def test_nothing_changed_is_told_as_nothing() -> None:
    same = entry(conv("a", "3>8"), relu("b"))
    assert what_changed(same, replace(same, torch="2.14.0", counter=2)) == ()


def test_a_change_is_spelled_out_with_its_cost() -> None:
    before = entry(conv("a", "3>8"), conv("layer3.0.conv1", "64>128", size=28))
    after = entry(conv("a", "3>8"), conv("layer3.0.conv1", "64>256", "5x5", size=28))
    (change,) = what_changed(before, after)
    assert (change.kind, change.layer, change.text) == (
        "changed",
        "layer3.0.conv1",
        "out_channels 128 → 256, kernel 3x3 → 5x5, padding 1x1 → 2x2",
    )
    assert change.params_delta == 64 * 256 * 25 - 64 * 128 * 9
    assert change.macs_delta == 28 * 28 * change.params_delta
    assert change.cost_text == "+336 k params (+456 %), +263 M MACs (+456 %)"  # 409,600 - 73,728 = 335,872


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (conv("c", "8>16"), conv("c", "8>32"), "out_channels 16 → 32"),
        (conv("c", "8>16"), conv("c", "4>16"), "in_channels 8 → 4"),
        (conv("c", "8>16"), conv("c", "4>32"), "in_channels 8 → 4, out_channels 16 → 32"),
        (conv("c", "8>8"), conv("c", "8>8", groups=8), "groups 1 → 8"),
        (conv("c", "8>8"), conv("c", "8>8", size=16), "input 1x8x8x8 → 1x8x16x16"),
        (conv("c", "8>8"), replace(conv("c", "8>8"), stride="2x2", output="1x8x4x4"), "stride 1x1 → 2x2"),
        (replace(conv("c", "8>8"), dtype="float16"), conv("c", "8>8"), "float16 → float32"),
        (relu("c"), replace(relu("c"), input="1x8x8x8, 1x8x1x1"), "input 1x8x8x8 → 1x8x8x8, 1x8x1x1"),
        (relu("c"), replace(relu("c"), input="1x8x8x8:float16"), "input 1x8x8x8 → 1x8x8x8:float16"),
    ],
)
def test_each_field_that_differs_is_named(old: LayerCost, new: LayerCost, text: str) -> None:
    assert told(entry(old), entry(new)) == [("changed", "c", text)]


@pytest.mark.parametrize(
    ("stride", "dilation", "words"),
    [("1x1", "1x1", ""), ("2x2", "1x1", ", stride 2"), ("2x1", "3x3", ", stride 2×1, dilation 3")],
)
def test_an_added_layer_is_described_as_by_replace(stride: str, dilation: str, words: str) -> None:
    new = replace(conv("new", "8>16", groups=8), stride=stride, dilation=dilation)
    (change,) = what_changed(entry(relu("a")), entry(relu("a"), new))
    assert change.what == f"Conv2d 8→16, 3×3{words}, groups 8, on 1x8x8x8"
    sizes = [tuple(map(int, text.split("x"))) for text in (stride, dilation)]
    row = layer_of("new", "Conv2d", Conv(8, 16, 3, sizes[0], 1, sizes[1], 8), (), "it stays")
    assert f"{row.before}, on 1x8x8x8" == change.what


def test_a_layer_that_grew_many_times_is_said_without_an_exponent() -> None:
    (change,) = what_changed(entry(conv("c", "8>8", "1x1")), entry(conv("c", "8>127", "1x1")))
    assert change.cost_text == "+952 params (+1488 %), +60.9 k MACs (+1488 %)"  # 119 / 8 = 14.875


def test_weights_of_another_type_are_said_to_take_other_bytes() -> None:
    (change,) = what_changed(entry(replace(conv("c", "8>8"), dtype="float16")), entry(conv("c", "8>8")))
    assert change.cost_text == "other bytes a parameter"


def test_what_is_not_counted_is_not_said_to_cost_nothing() -> None:
    fft = replace(relu("fft"), op="fft_fft2", uncounted=1)
    (added,) = what_changed(entry(conv("a", "3>8")), entry(conv("a", "3>8"), fft, uncounted=1))
    assert added.cost_text == "MACs not counted"
    (removed,) = what_changed(entry(conv("a", "3>8"), replace(fft, params=8)), entry(conv("a", "3>8")))
    assert removed.cost_text == "-8 params (-100 %), MACs not counted"


def test_what_was_added_and_removed_says_what_it_is() -> None:
    before, after = entry(conv("a", "3>8"), conv("old", "8>8", "5x5")), entry(conv("a", "3>8"), conv("new", "8>16"))
    assert told(before, after) == [
        ("removed", "old", "removed: Conv2d 8→8, 5×5, on 1x8x8x8"),
        ("added", "new", "added: Conv2d 8→16, 3×3, on 1x8x8x8"),
    ]


def test_the_largest_change_comes_first() -> None:
    before = entry(conv("a", "3>8"), conv("b", "8>8"), conv("c", "8>8", "1x1"))
    after = entry(conv("a", "3>9"), conv("b", "8>80"), conv("c", "8>12", "1x1"))
    assert [change.layer for change in what_changed(before, after)] == ["b", "c", "a"]


def test_a_renamed_layer_is_recognised() -> None:
    before = entry(conv("features.0", "3>8"), relu("features.1"), conv("features.2", "8>16"))
    after = entry(conv("body.0", "3>8"), relu("body.1"), conv("body.2", "8>16"))
    changes = what_changed(before, after)
    assert {change.kind for change in changes} == {"renamed"}
    assert sum(abs(change.params_delta) for change in changes) == 0
    assert renamed_summary(changes) == "3 layers renamed: features.0 → body.0, features.1 → body.1 and 1 more"


def test_a_layer_that_was_renamed_and_changed_is_found_by_its_neighbours() -> None:
    before = entry(conv("features.a", "3>8"), conv("features.b", "8>16"))
    after = entry(conv("body.a", "3>8"), conv("body.b", "8>32"))
    assert told(before, after) == [
        ("changed", "body.b", "renamed from features.b; out_channels 16 → 32"),
        ("renamed", "body.a", "renamed from features.a"),
    ]


def test_an_inserted_layer_does_not_make_those_behind_it_differ() -> None:
    before = entry(conv("net.0", "3>8"), conv("net.1", "8>16"), conv("net.2", "16>32"))
    after = entry(conv("net.0", "3>8"), conv("net.1", "8>8", "7x7"), conv("net.2", "8>16"), conv("net.3", "16>32"))
    kinds = {change.layer: change.kind for change in what_changed(before, after)}
    assert kinds == {"net.1": "added", "net.2": "renamed", "net.3": "renamed"}


def other(name: str, op: str, before: str, after: str, params: int = 0) -> LayerCost:
    """A layer that is no convolution, from one shape to another."""
    return LayerCost(name, op, "", "", "", "", "", 0, before, after, params, params)


def test_layers_behind_an_inserted_pool_are_recognised_under_shifted_numbers_and_other_shapes() -> None:
    """8·8·8 = 512 inputs of the linear layer become 8·4·4 = 128."""
    start = conv("0", "3>8"), relu("1")
    before = entry(
        *start, conv("2", "8>8"), other("3", "Flatten", "1x8x8x8", "1x512"), other("4", "Linear", "1x512", "1x10", 5130)
    )
    after = entry(
        *start,
        other("2", "MaxPool2d", "1x8x8x8", "1x8x4x4"),
        conv("3", "8>8", size=4),
        other("4", "Flatten", "1x8x4x4", "1x128"),
        other("5", "Linear", "1x128", "1x10", 1290),
    )
    assert sorted(told(before, after), key=lambda one: one[1]) == [
        ("added", "2", "added: MaxPool2d, on 1x8x8x8"),
        ("changed", "3", "renamed from 2; input 1x8x8x8 → 1x8x4x4"),
        ("changed", "4", "renamed from 3; input 1x8x8x8 → 1x8x4x4"),
        ("changed", "5", "renamed from 4; input 1x512 → 1x128"),
    ]


def test_another_resolution_renames_no_layer() -> None:
    """The first layer on 8x8 is now what the second was on 16x16: it is the first all the same."""
    before = entry(conv("a", "8>8", size=16), conv("b", "8>8", size=8))
    after = entry(conv("a", "8>8", size=32), conv("b", "8>8", size=16))
    assert told(before, after) == [
        ("changed", "a", "input 1x8x16x16 → 1x8x32x32"),
        ("changed", "b", "input 1x8x8x8 → 1x8x16x16"),
    ]


def test_functions_are_recognised_under_shifted_numbers() -> None:
    before = entry(conv("a", "3>8"), other("relu#1", "relu", "1x8x8x8", "1x8x8x8"))
    after = entry(
        conv("a", "3>8"), other("relu#1", "relu", "1x3x8x8", "1x3x8x8"), other("relu#2", "relu", "1x8x8x8", "1x8x8x8")
    )
    assert {one[:2] for one in told(before, after)} == {("added", "relu#1"), ("renamed", "relu#2")}


def test_a_module_is_recognised_as_a_function_in_the_same_place() -> None:
    before = entry(conv("0", "8>16"), relu("1"), conv("2", "16>16"))
    after = entry(
        replace(conv("conv2d.default#1", "8>16"), op="conv2d.default", input="1x8x8x8, 16x8x3x3"),
        replace(relu("relu.default#1"), op="relu.default"),
        replace(conv("conv2d.default#2", "16>16"), op="conv2d.default"),
    )
    changes = what_changed(before, after)
    names = [(change.before and change.before.name, change.layer) for change in changes]
    assert {change.text.partition("; ")[2] for change in changes} == {"Conv2d → conv2d.default", "ReLU → relu.default"}
    assert sorted(names) == [("0", "conv2d.default#1"), ("1", "relu.default#1"), ("2", "conv2d.default#2")]


def test_the_same_layer_counted_by_another_version_is_no_growth() -> None:
    old = conv("a", "3>8")
    new = replace(old, macs=old.macs + 100)
    (change,) = what_changed(entry(old), entry(new, torch="2.14.0"))
    assert (change.kind, change.text) == ("recounted", "counted differently, the layer is the same")
    assert recounted([change]) == 100
    (change,) = what_changed(entry(old), entry(new))  # the same versions: it must be the model
    assert (change.kind, change.text) == ("changed", "the same sizes, another cost")
    assert recounted([change]) == 0


@pytest.mark.parametrize("field", [{"input": "1x3x8x8, 1x3x9x9"}, {"dtype": "float16"}, {"output": "1x8x4x4"}])
def test_another_version_excuses_no_layer_that_is_another(field: dict[str, Any]) -> None:
    old = conv("a", "3>8")
    new = replace(old, macs=2 * old.macs, **field)
    (change,) = what_changed(entry(old), entry(new, torch="2.14.0"))
    assert change.kind == "changed"


def test_a_formula_for_what_had_none_is_the_counter() -> None:
    old = replace(relu("fft"), uncounted=1)
    (change,) = what_changed(entry(old, uncounted=1), entry(replace(old, uncounted=0, macs=100), torch="2.14.0"))
    assert (change.kind, change.macs_delta) == ("recounted", 100)
