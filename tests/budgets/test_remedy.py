"""What would bring a model back: the block's own figures, and only where that is enough."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from locks import conv, entry, relu

from convcost.budgets.remedy import Remedy, command_for, find_remedy
from convcost.changes.change import what_changed
from convcost.changes.layer_cost import entry_of
from convcost.cli import main
from convcost.text.sizes import Input
from convcost.workflows.model import count_target


def test_the_block_with_the_fewest_layers_and_then_most_parameters_is_found() -> None:
    model = entry(conv("a", "3>8"), conv("b", "64>128", size=14), relu("c", 128))
    remedy = find_remedy(model, (), {"macs": model.macs / 2})
    assert remedy is not None
    assert remedy.layers == ("b",)
    assert remedy.after == 14 * 14 * (9 * 64 * 32 + 32 * 128)  # K×K to 32 channels, then the 1×1
    assert remedy.before == 14 * 14 * 64 * 128 * 9
    assert remedy.totals["macs"] == model.macs - remedy.before + remedy.after
    assert remedy.block == "low-rank"
    less = find_remedy(model, (), {"macs": remedy.totals["macs"] - 1})
    assert less is not None
    assert less.totals["params"] < remedy.totals["params"]


def test_a_layer_that_changed_is_replaced_before_a_larger_one_that_did_not() -> None:
    before = entry(conv("big", "64>64", size=32), conv("small", "16>16"))
    after = entry(conv("big", "64>64", size=32), conv("small", "16>32"))
    remedy = find_remedy(after, what_changed(before, after), {"params": before.params or 0})
    assert remedy is not None
    assert remedy.layers == ("small",)


def test_several_layers_are_named_when_one_is_not_enough() -> None:
    model = entry(*(conv(f"c{i}", "32>32") for i in range(4)))
    remedy = find_remedy(model, (), {"macs": model.macs * 0.45})
    assert remedy is not None
    assert len(remedy.layers) == 3
    assert remedy.totals["macs"] <= model.macs * 0.45


@pytest.mark.parametrize("metric", ["params", "macs", "flops", "weight_bytes"])
def test_the_total_is_in_the_metrics_own_units(metric: str) -> None:
    model = entry(conv("a", "64>64"))
    remedy = find_remedy(model, (), {metric: getattr(model, metric) / 2})
    assert remedy is not None
    assert remedy.totals[metric] == getattr(model, metric) - remedy.before + remedy.after


def test_nothing_is_proposed_that_is_not_enough_or_no_replacement() -> None:
    assert find_remedy(entry(conv("a", "64>64")), (), {"macs": 10}) is None
    depthwise = entry(conv("a", "64>64", groups=64))
    assert find_remedy(depthwise, (), {"macs": depthwise.macs / 2}) is None
    assert find_remedy(entry(relu("a")), (), {"macs": -1}) is None


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_layer_that_reads_an_image_stays_as_it_is(channels: int) -> None:
    stem, body = conv("stem", f"{channels}>64", size=32), conv("body", "64>64")
    assert find_remedy(entry(stem), (), {"macs": stem.macs * 0.9}) is None
    remedy = find_remedy(entry(stem, body), (), {"params": stem.params + body.params * 0.9})
    assert remedy is not None
    assert remedy.layers == ("body",)


def test_a_block_with_a_bias_where_the_layer_has_one() -> None:
    plain = conv("a", "64>64")
    biased = replace(plain, params=plain.params + 64)
    without, with_bias = (find_remedy(entry(one), (), {"params": 30_000}) for one in (plain, biased))
    assert without is not None
    assert with_bias is not None
    assert with_bias.block == without.block
    assert with_bias.after > without.after


def test_all_broken_limits_are_mended_together() -> None:
    model = entry(conv("large_image", "8>8", size=64), conv("many_channels", "64>64", size=4))
    limits = {"params": (model.params or 0) / 2, "macs": model.macs / 2}
    alone, both = find_remedy(model, (), {"params": (model.params or 0) / 2}), find_remedy(model, (), limits)
    assert alone is not None
    assert both is not None
    assert alone.layers == ("many_channels",)
    assert set(both.layers) == {"many_channels", "large_image"}
    assert all(both.totals[metric] <= limit for metric, limit in limits.items())


def test_calls_of_one_module_are_replaced_together_its_parameters_once() -> None:
    first = conv("c", "16>16")
    again = [replace(first, name=f"c#{i}", params=0, shares="c") for i in (2, 3)]
    model = entry(first, *again)
    remedy = find_remedy(model, (), {"macs": model.macs / 2})
    assert remedy is not None
    assert (remedy.layers, remedy.before) == (("c",), 3 * 8 * 8 * 16 * 16 * 9)
    assert remedy.totals["macs"] == remedy.after
    assert remedy.after % 3 == 0
    fewer = find_remedy(model, (), {"params": (model.params or 0) / 2, "macs": model.macs / 2})
    assert fewer is not None
    assert fewer.totals["params"] == fewer.after


def test_modules_that_share_their_parameters_stay_as_replace_leaves_them() -> None:
    model = entry(conv("a", "64>64"), replace(conv("b", "64>64"), params=0, shares="a"))
    assert find_remedy(model, (), {"params": 10_000}) is None


def test_a_pointwise_layer_stays_as_replace_leaves_it() -> None:
    assert find_remedy(entry(conv("a", "64>64", "1x1")), (), {"params": 3000}) is None


def test_what_follows_the_layer_stands_between_the_stages_and_costs_parameters() -> None:
    norm = replace(relu("norm", 64), op="BatchNorm2d", params=128)
    alone = find_remedy(entry(conv("a", "64>64")), (), {"params": 4300})
    followed = find_remedy(entry(conv("a", "64>64"), norm), (), {"params": 4300 + 128})
    assert alone is not None
    assert followed is not None
    assert alone.block == followed.block == "shared-kernel-separable"
    assert (alone.after, followed.after) == (9 + 64 * 64, 9 + 2 * 64 + 64 * 64)


def test_the_command_is_one_for_a_shell() -> None:
    remedy = Remedy("ghost", ("layer1.0", "head"), "macs", 2, 1, {})
    inputs = (Input((1, 3, 8, 8)), Input((1,), "int64", "step"))
    assert command_for(remedy, "my nets.py:Net", inputs, {"width": 0.5}) == (
        r"convcost replace 'my nets.py:Net' --input 1x3x8x8 --input step=1:int64 --arg width=0.5 --to ghost "
        r"--only '^(layer1\.0|head)$'"
    )


@pytest.mark.torch
@pytest.mark.parametrize("target", ["network:resnet18", "network:mobilenet_v1_full"])
@pytest.mark.parametrize("share", [0.9, 0.4])
def test_the_command_gives_the_totals_of_the_remedy(
    target: str, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, counted = count_target(target, (), {}, cross_check=False, device="meta")
    limits = {"params": share * (counted.totals.params or 0), "macs": share * counted.totals.macs}
    remedy = find_remedy(entry_of(counted), (), limits)
    assert remedy is not None
    _, *words = shlex.split(command_for(remedy, target, (), {}))
    assert main([*words, "--no-cross-check", "--format", "json"]) == 0
    after = json.loads(capsys.readouterr().out)["after"]
    assert {name: after[name] for name in remedy.totals} == remedy.totals


def test_a_layer_whose_parameters_something_else_uses_is_left_alone() -> None:
    shared = replace(relu("norm"), shares="a")
    assert find_remedy(entry(conv("a", "64>64"), shared), (), {"params": 10_000}) is None
