"""The latency table, read as the estimators of ProxylessNAS and once-for-all read it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from convcost.grids.configuration_file import read_configuration
from convcost.grids.grid import Grid
from convcost.grids.latency import LatencyTable, latency_table
from convcost.grids.measured import INDEX, Timed
from convcost.timing.conditions import Conditions

CONDITIONS = Conditions("cpu", "float32", 2, "contiguous", False, "pinned", "2.13.0", "a CPU")
AXES: dict[str, Any] = {"c": [16, 24], "o": [24], "k": [3, 5], "h": [56], "stride": [1, 2]}
BLOCKS = ["standard", "pointwise", "inverted-residual", "grouped"]


def table(axes: dict[str, Any], blocks: list[str], **changed: Any) -> LatencyTable:
    """The table in which the row of each number takes as many milliseconds, with quartiles 10 % around them."""
    configuration = read_configuration({"axes": axes, "blocks": blocks})
    size = Grid(configuration).size
    rows = [
        {INDEX: index, "time_s": index * 1e-3, "time_q25_s": index * 0.9e-3, "time_q75_s": index * 1.1e-3}
        | {"time_runs": 10 * index, **changed}
        for index in range(size)
    ]
    return latency_table(configuration, rows[1:], Timed(CONDITIONS, {"ok": size - 1}, 0, size, size, is_whole=False))


def looked_up(text: str, kind: str, shapes: tuple[str, str], **more: int) -> float:
    """The mean of a layer, as both estimators find it."""
    infos = [kind, f"input:{shapes[0]}", f"output:{shapes[1]}", *(f"{name}:{value}" for name, value in more.items())]
    return yaml.safe_load(text)["-".join(infos)]["mean"]


def row_of(axes: dict[str, Any], blocks: list[str], block: str, **sizes: Any) -> int:
    grid = Grid(read_configuration({"axes": axes, "blocks": blocks}))
    for index in range(grid.size):
        name, spec, *_ = grid.layer(index)
        if name == block and all(getattr(spec, size) == value for size, value in sizes.items()):
            return index
    raise AssertionError


@pytest.mark.parametrize(("kernel", "stride", "out"), [(3, 1, 56), (3, 2, 28), (5, 1, 56), (5, 2, 28)])
@pytest.mark.parametrize("channels", [16, 24])
def test_an_inverted_residual_has_the_key_of_both_projects(channels: int, kernel: int, stride: int, out: int) -> None:
    text = table(AXES, BLOCKS).text
    shapes = (f"56x56x{channels}", f"{out}x{out}x24")
    wanted = {"in_channels": channels, "kernel_size": (kernel, kernel), "stride": (stride, stride)}
    row = row_of(AXES, BLOCKS, "inverted-residual", **wanted)
    skip = int(channels == 24 and stride == 1)  # the input is added where the shapes are equal
    proxyless = {"expand": 6, "kernel": kernel, "stride": stride, "idskip": skip}
    assert looked_up(text, "expanded_conv", shapes, **proxyless) == row
    mobilenet_v3 = {**proxyless, "expand": 6 * channels, "se": 0, "hs": 0}
    assert looked_up(text, "expanded_conv", shapes, **mobilenet_v3) == row


def test_the_first_convolution_and_the_last_pointwise_have_their_keys() -> None:
    text = table(AXES, BLOCKS).text
    first = row_of(AXES, BLOCKS, "standard", in_channels=16, kernel_size=(3, 3), stride=(2, 2))
    assert looked_up(text, "Conv", ("56x56x16", "28x28x24")) == first
    mix = row_of(AXES, BLOCKS, "pointwise", in_channels=24, stride=(1, 1))
    assert looked_up(text, "Conv_1", ("56x56x24", "56x56x24")) == mix  # the first of those that differ in K, unused
    tiny = table({"c": [960], "o": [1280], "k": [1], "h": [1]}, ["standard", "pointwise"]).text
    assert looked_up(tiny, "Conv_2", ("1x1x960", "1x1x1280")) == 1


def test_other_layers_have_keys_in_the_same_style_and_a_note() -> None:
    made = table(AXES, BLOCKS)
    keys = set(yaml.safe_load(made.text))
    assert "standard-input:56x56x16-output:56x56x24-kernel:5-stride:1" in keys
    assert "grouped-input:56x56x16-output:28x28x24-kernel:3-stride:2-groups:4" in keys
    assert any("no keys for" in note and "standard, pointwise and grouped" in note for note in made.notes)
    assert "grouped" in made.text.partition("\nConv")[0]


def test_sizes_that_the_keys_lack_are_in_the_head_or_in_a_key_of_its_own() -> None:
    one = table({**AXES, "batch": [8]}, ["inverted-residual"]).text
    assert "batch 8" in one
    assert "expanded_conv-input:56x56x24-output:28x28x24-expand:6-kernel:5-stride:2-idskip:0" in yaml.safe_load(one)
    both = set(yaml.safe_load(table({**AXES, "batch": [1, 8], "dtype": ["float32", "bfloat16"]}, BLOCKS).text))
    prefix = "inverted-residual-input:56x56x24-output:28x28x24-kernel:5-stride:2-expansion:6-depth_multiplier:1"
    assert {key for key in both if key.startswith(prefix)} == {
        f"{prefix}-batch:8", f"{prefix}-dtype:bfloat16", f"{prefix}-batch:8-dtype:bfloat16",
    }  # fmt: skip


def test_an_entry_has_count_mean_and_variance_as_numbers() -> None:
    text = table({**AXES, "k": [3]}, ["standard"]).text
    entry = yaml.safe_load(text)["Conv-input:56x56x24-output:28x28x24"]
    # row 3: 3 ms, and the interquartile range of 0.6 ms is 1.349 standard deviations
    assert entry == {"count": 30, "mean": 3.0, "var": pytest.approx((0.6 / 1.349) ** 2)}
    quick = table(AXES, ["standard"], time_s=2e-9, time_q25_s=1.9e-9, time_q75_s=2.1e-9).text
    assert all(isinstance(one["var"], float) for one in yaml.safe_load(quick).values())


def test_a_spread_that_is_not_known_is_null_and_no_zero() -> None:
    text = table({**AXES, "k": [3]}, ["standard"], time_q25_s=None, time_q75_s=None).text
    assert [entry["var"] for entry in yaml.safe_load(text).values()] == [None] * 3
    assert "# 3 layers of a single block of calls, whose spread is not known: var is null." in text.splitlines()
    assert "Spread:" not in text
    assert "null" not in table(AXES, BLOCKS).text


def test_the_head_has_the_conditions_the_share_and_the_spread() -> None:
    head = table(AXES, BLOCKS).text.partition("\nConv")[0]
    for text in ("contiguous, a CPU, 2 threads", "torch 2.13.0", "dtype float32", "31 of 32 combinations", "20.0 %"):
        assert text in head
    assert "without a time left out" not in head


def test_rows_without_a_time_are_left_out_and_counted() -> None:
    configuration = read_configuration({"axes": AXES, "blocks": ["standard"]})
    rows = [{INDEX: index, "time_s": None} for index in range(3)]
    made = latency_table(configuration, rows, replace(Timed(CONDITIONS, {"too-slow": 3}, 0, 8, 8, is_whole=False)))
    assert yaml.safe_load(made.text) is None
    assert made.notes == ("the latency table: 3 rows without a time left out.",)
