from __future__ import annotations

import re
import shlex
from fractions import Fraction
from typing import Any

import pytest

import convcost
from convcost.cli import main
from convcost.comparison.request import Request, predict
from convcost.comparison.result import Comparison
from convcost.convolution.blocks import BLOCKS, DEFAULT_BLOCKS
from convcost.convolution.spec import Spec
from convcost.timing.conditions import TimingOptions

SMALLER = "take a smaller kernel or more padding."


def predicted(*, blocks: tuple[str, ...] = DEFAULT_BLOCKS, **options: Any) -> Comparison:
    return convcost.compare(
        **{"in_channels": 3, "out_channels": 64, "kernel_size": 3, **options}, blocks=blocks, count=False, time=False
    )


def test_the_default_rows_are_the_six_usual_blocks_in_order() -> None:
    assert [row.placed.block.name for row in predicted().rows] == [
        "standard",
        "depthwise",
        "pointwise",
        "depthwise-separable",
        "shared-kernel-separable",
        "spatially-separable",
    ]


def test_all_is_the_whole_catalogue_once() -> None:
    rows = predicted(blocks=("ghost", "all"), in_channels=8).rows
    assert [row.placed.block.name for row in rows] == ["ghost", *(name for name in BLOCKS if name != "ghost")]


def test_a_block_that_the_shape_does_not_allow_is_left_out_with_the_reason() -> None:
    comparison = predicted(blocks=("standard", "partial"), stride=2)
    assert [row.placed.block.name for row in comparison.rows] == ["standard"]
    assert comparison.notes == (
        "partial is left out: stride (=2x2) must be 1 for partial: the untouched channels keep their size.",
    )


def test_the_short_names_of_the_command_line_work_in_python() -> None:
    compare: Any = convcost.compare  # their types are those of the long names alone
    explain: Any = convcost.explain
    short = compare(c=3, o=64, k=3, h=10, w=12, bs=2, m=2, count=False, time=False)
    options = {"height": 10, "width": 12, "batch": 2, "depth_multiplier": 2}
    assert short == compare(3, 64, 3, **options, count=False, time=False)
    assert explain("depthwise", c=3, o=64, k=3) == convcost.explain("depthwise", 3, 64, 3)
    with pytest.raises(TypeError, match="each argument is given once"):
        compare(c=3, in_channels=3, o=64, k=3)


def test_a_name_in_place_of_a_list_of_blocks_is_one_block() -> None:
    one = convcost.compare(3, 64, 3, blocks="depthwise", count=False, time=False)
    assert one == convcost.compare(3, 64, 3, blocks=["depthwise"], count=False, time=False)
    every = convcost.compare(4, 64, 3, blocks="all", count=False, time=False)
    assert [row.placed.block.name for row in every.rows] == list(convcost.BLOCKS)


def test_no_block_left_is_an_error_with_the_reason() -> None:
    with pytest.raises(convcost.ConvcostError, match=r"^in_channels \(=6\) must be divisible by groups \(=4\)\.$"):
        predicted(blocks=("grouped",), in_channels=6, groups=4)


def test_a_baseline_that_does_not_fit_leaves_the_ratios_empty_and_says_so() -> None:
    comparison = predicted(blocks=("standard",), baseline="partial", stride=2)
    assert comparison.rows[0].macs_ratio is None
    assert comparison.notes[0].startswith("no ratios: the baseline partial does not fit this shape: stride (=2x2)")


def test_a_baseline_that_is_not_named_is_not_shown() -> None:
    comparison = predicted(blocks=("depthwise-separable",))
    assert [row.placed.block.name for row in comparison.rows] == ["depthwise-separable"]
    assert comparison.rows[0].macs_ratio == (64 * 9) / (64 + 9)


def test_an_option_without_effect_is_said() -> None:
    assert predicted(groups=2, out_channels=64, in_channels=4).notes == (
        "groups has no effect here: it sets groups of the grouped convolution of grouped.",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 0}, "in_channels (=0) must be at least 1; give a larger number."),
        ({"out_channels": -4}, "out_channels (=-4) must be at least 1; give a larger number."),
        ({"kernel_size": 0}, "kernel_size (=0) must be at least 1; give a larger number."),
        ({"height": 0}, "height (=0) must be at least 1; give a larger number."),
        ({"batch": 0}, "batch (=0) must be at least 1; give a larger number."),
        ({"stride": 0}, "stride (=0) must be at least 1; give a larger number."),
        ({"dilation": 0}, "dilation (=0) must be at least 1; give a larger number."),
        ({"depth_multiplier": 0}, "depth_multiplier (=0) must be at least 1; give a larger number."),
        (
            {"kernel_size": 9, "height": 8, "padding": "valid"},
            f"kernel_size (=9, over 9 with dilation 1) must be at most the padded input height (=8); {SMALLER}",
        ),
        ({"dtype": "int8"}, "dtype (=int8) must be one of float32, float64, bfloat16, float16."),
        ({"memory_format": "nhwc"}, "memory_format (=nhwc) must be one of contiguous, channels_last."),
        ({"allocator": "jemalloc"}, "allocator (=jemalloc) must be one of pinned, default."),
        ({"threads": 0}, "threads (=0) must be 1 or more, or all."),
        ({"time_budget": 0}, "time_budget (=0) must be a number of seconds above 0; leave it out for the default."),
        ({"baseline": "standart"}, "block (=standart) must be a name of the catalogue; did you mean standard?"),
    ],
)
def test_each_illegal_value_is_one_line_with_the_value_and_the_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(convcost.ConvcostError) as caught:
        predicted(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("block", "options", "message"),
    [
        (
            "partial",
            {"partial": Fraction(3, 2)},
            "partial (=3/2) must be above 0 and at most 1; give a share such as 1/4.",
        ),
        ("ghost", {"ghost_ratio": 1}, "ghost_ratio (=1) must be at least 2; give a larger number."),
        ("ghost", {"ghost_ratio": 3}, "out_channels (=64) must be divisible by ghost_ratio (=3)."),
        ("blueprint", {"depth_multiplier": 3}, "out_channels (=64) must be divisible by depth_multiplier (=3)."),
    ],
)
def test_each_illegal_parameter_of_a_block_is_one_line(block: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(convcost.ConvcostError) as caught:
        predicted(blocks=(block,), **options)
    assert str(caught.value) == message


def test_the_command_that_a_result_names_has_one_order_of_parameters() -> None:
    there, back = predicted(rank=2, groups=1), predicted(groups=1, rank=2)
    assert there.command == back.command
    assert there.command.endswith("--groups 1 --rank 2 --no-count --no-time")


def test_the_command_that_a_result_names_gives_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    request = Request(
        Spec(8, 16, (3, 5), 20, 24, 2, (2, 1), (1, 2), (2, 4), bias=True),
        {"depth_multiplier": 2, "partial": Fraction(1, 2), "mid_channels": 5, "ghost_ratio": 4},
        ("ghost", "spatially-separable", "depthwise-separable"),
        baseline="depthwise",
        timings=(TimingOptions(dtype="float64"),),
        count=False,
        time=False,
    )
    comparison = Comparison(predict(request).rows, request.command, request.settings)
    words = shlex.split(request.command)[1:]
    assert main([*words, "--format", "csv"]) == 0
    from convcost.text.export import TEXT_FORMATS

    assert capsys.readouterr().out == TEXT_FORMATS["csv"](comparison.to_frame())


def test_what_a_row_reports_is_what_the_block_uses() -> None:
    rows = {
        row.placed.block.name: row.placed for row in predicted(blocks=("all",), in_channels=8, kernel_size=(3, 5)).rows
    }
    assert rows["pointwise"].kernel_size == (1, 1)
    assert rows["spatially-separable"].kernel_size == (3, 5)
    assert rows["depthwise"].output.channels == 8
    assert rows["depthwise-separable"].groups == 8
    assert rows["grouped"].groups == 4
    assert rows["bottleneck"].mid_channels == 16
    assert rows["spatially-separable"].mid_channels == 8
    assert rows["inverted-residual"].expansion == 6
    assert rows["inverted-residual"].mid_channels == 48
    assert rows["partial"].mid_channels == 2
    assert rows["ghost"].mid_channels == 32
    assert rows["standard"].depth_multiplier is None
    assert rows["blueprint"].depth_multiplier == 1


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"in_channels": [3, 16]}, "in_channels (=[3, 16]) must be a whole number"),
        ({"height": [1, 2]}, "height (=[1, 2]) must be a whole number"),
        ({"kernel_size": "3x5"}, "sizes (=3x5) must be one number or (height, width)."),
    ],
)
def test_sizes_of_another_type_are_refused_in_words(sizes: dict[str, Any], message: str) -> None:
    layer: dict[str, Any] = {"in_channels": 3, "out_channels": 4, "kernel_size": 3}
    with pytest.raises(convcost.ConvcostError, match=re.escape(message)):
        convcost.compare(**layer | sizes, count=False, time=False)
