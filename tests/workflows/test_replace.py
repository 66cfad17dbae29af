"""Whole networks with blocks in the place of their convolutions: rows, totals and another count agree."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import nn
from zoo import ZOO, Dense, Lambda, Residual, Squeeze, UNet, conv, image

import convcost
from convcost.changes.replacement import Rules
from convcost.workflows.model import count_target
from convcost.workflows.replace import replace_in_target


def of_target(target: str, to: str = "depthwise-separable", *, cross_check: bool = False, **rules: Any) -> Any:
    steps = replace_in_target(target, (), {}, Rules((to,), **rules), cross_check=cross_check, device="auto")
    *_, report = steps
    return report


def test_mobilenet_with_full_convolutions_becomes_mobilenet() -> None:
    """Howard et al. 2017, table 4: 569 M MACs and 4.2 M parameters in place of 4866 M and 29.3 M."""
    report = of_target("network:mobilenet_v1_full", cross_check=True)
    assert (report.after.totals.params, report.after.totals.macs) == (4_231_976, 568_740_352)
    *_, mobilenet = count_target("network:mobilenet_v1", (), {}, cross_check=False, device="meta")
    assert report.after.totals == mobilenet.totals
    assert [check.status for check in report.after.cross_check.values()] == ["agrees", "agrees"]
    assert report.agrees


@pytest.mark.parametrize("target", ["resnet18", "resnet50", "mobilenet_v2"])
@pytest.mark.parametrize("block", ["depthwise-separable", "ghost", "inverted-residual"])
def test_rows_add_up_to_the_difference_of_the_totals(target: str, block: str) -> None:
    report = of_target(f"network:{target}", block)
    before, after = report.before.totals, report.after.totals
    assert sum(row.params_after - row.params_before for row in report.layers) == after.params - before.params
    assert sum(row.macs_after - row.macs_before for row in report.layers) == after.macs - before.macs
    assert report.agrees
    assert report.replaced


def test_the_diff_of_the_result_adds_up_too() -> None:
    report = of_target("network:mobilenet_v1_full", only="block[23]")
    assert report.diff.b.target == "network:mobilenet_v1_full with depthwise-separable"
    assert report.diff.delta["macs"] == sum(row.macs_after - row.macs_before for row in report.layers)
    removed = [row.name for row in report.diff.layers if row.change == "removed"]
    assert removed == ["block2.conv", "block3.conv"]


def random_net(seed: int) -> nn.Module:
    """A small network of parts of many kinds."""
    choose = random.Random(seed).choice
    parts: list[nn.Module] = []
    channels = 3
    for _ in range(4):
        wider = choose([4, 8, 12])
        make: Any = choose([
            conv, lambda c, o: conv(c, o, stride=2), Residual,
            lambda c, o: nn.Conv2d(c, o, (1, 3), padding="same"), lambda c, o: nn.Conv2d(c, o, 3, dilation=2, padding=2),
        ])  # fmt: skip
        parts += [make(channels, wider), choose([nn.ReLU(), nn.Identity(), Squeeze(wider, 2)])]
        channels = wider
    return nn.Sequential(*parts, Dense(channels, 4, 2))


@pytest.mark.parametrize("seed", range(8))
def test_the_report_says_what_another_count_of_the_altered_model_says(seed: int) -> None:
    model = random_net(seed)
    block = random.Random(seed).choice(["depthwise-separable", "low-rank", "spatially-separable", "blueprint"])
    new, report = convcost.replace(model, image(), to=[block, "depthwise-separable"], cross_check=True)
    assert convcost.count(new, image()).totals == report.after.totals
    assert convcost.count(model, image()).totals == report.before.totals
    assert report.agrees, report
    assert new.eval()(image()).shape == model.eval()(image()).shape


@pytest.mark.parametrize("kind", ["lenet", "vgg", "resnext", "densenet", "inception", "mobilenet", "vit", "unet"])
def test_networks_of_many_kinds_are_altered_and_counted_alike(kind: str) -> None:
    model, inputs = ZOO[kind]()
    before = [(name, one.data_ptr(), one.sum()) for name, one in model.state_dict().items()]
    new, report = convcost.replace(model, inputs, to="depthwise-separable", cross_check=True)
    assert convcost.count(new, inputs).totals == report.after.totals
    assert report.agrees
    assert [(name, one.data_ptr(), one.sum()) for name, one in model.state_dict().items()] == before


def test_a_u_net_keeps_its_transposed_convolutions() -> None:
    _, report = convcost.replace(UNet(), image(), to="depthwise-separable")
    assert {row.name: row.skipped for row in report.layers}["up"] == "transposed: the blocks of the catalogue are not"
    assert report.adds_up


def test_the_image_layer_stays_unless_it_is_named() -> None:
    model = nn.Sequential(conv(3, 4), *(conv(4 if i == 0 else 64, 64) for i in range(3)))
    reason = "reads the image, whose few channels leave little to save; name it with only to replace it"
    _, report = convcost.replace(model, image(), to="depthwise-separable")
    assert [row.skipped for row in report.layers] == [reason, None, None, None]
    _, report = convcost.replace(model, image(), to="depthwise-separable", only=r"^0\.")
    assert report.layers[0].skipped is None
    assert len(report.replaced) == 1


def test_what_is_doubtful_in_the_counts_is_noted() -> None:
    model = Lambda(lambda m, x: m.a(x) if x.sum() > -1 else x, a=nn.Conv2d(8, 8, 3, padding=1))
    _, report = convcost.replace(model, torch.zeros(1, 8, 9, 9), to="ghost")
    assert any("needs the values of a tensor" in note for note in report.notes), report.notes
    assert report.to_dict()["notes"] == list(report.notes)


def test_the_result_is_json_a_frame_and_text() -> None:
    model = nn.Sequential(conv(8, 16), nn.Conv2d(16, 16, 1))
    _, report = convcost.replace(model, torch.zeros(1, 8, 9, 9), to="depthwise-separable")
    record = report.to_dict()
    assert record["schema"] == "convcost.replace/1"
    assert record["before"]["macs"] == 81 * 16 * (8 * 9 + 16)
    assert record["after"]["params"] == 9 * 8 + 2 * 8 + 8 * 16 + 2 * 16 + 16 * 16 + 16
    assert [row["after"] for row in record["layers"]] == ["depthwise-separable", None]
    assert [row["skipped"] for row in record["layers"]] == [None, "pointwise, not standard"]
    assert list(report.to_frame()["name"]) == ["0.0"]
    assert list(report.arranged(every=True).to_frame()["name"]) == ["0.0", "1"]
    assert "1 convolution of 2 replaced\n" in str(report)
    assert "<table" in report._repr_html_()


def test_totals_with_uncounted_operations_are_at_least() -> None:
    class Spectral(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.rfft2(super().forward(x)).real

    inner = nn.Sequential(nn.Conv2d(8, 8, 3), Spectral(8, 8, 1))
    _, result = convcost.replace(inner, torch.zeros(1, 8, 8, 8), to="depthwise-separable")
    (macs,) = (line for line in result.verdicts if line.startswith("MACs: "))
    assert macs.count("at least ") == 2
    assert macs.endswith("fewer of those counted")
    assert result.totals_row is not None
    assert result.totals_row.name == "total (MACs: at least)"


@pytest.mark.parametrize("name", ["why", "pareto"])
def test_what_needs_times_is_refused_without_them(name: str) -> None:
    options: dict[str, Any] = {name: True}
    with pytest.raises(convcost.ConvcostError, match=f"{name} must have times to work with; turn time on."):
        convcost.replace(nn.Conv2d(8, 8, 3), torch.zeros(1, 8, 9, 9), to="ghost", **options)
