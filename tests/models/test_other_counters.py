"""What other counters print for a network is worked out from its count, to the last operation.

The totals are those that the tools printed on torch 2.13.0: fvcore 0.1.5.post20221221, thop 0.1.1, ptflops 0.7.5
(pytorch backend; without its patched functions as before 0.7), torchinfo 1.8.0, torchprofile 0.1.0, calflops 0.3.2 (whose
FLOPs are those of DeepSpeed) and torch's FlopCounterMode. None: calflops and, on the CPU, torch's miss fused attention.
"""

from __future__ import annotations

from dataclasses import replace

import published_networks
import pytest
import torch
from torch import nn
from torch.nn import functional
from zoo import ZOO

import convcost
from convcost.models.other_counters import totals_of_others
from convcost.nn.count.counters import fvcore_analysis

pytestmark = pytest.mark.torch

COUNTERS = (
    *("torch's FlopCounterMode", "fvcore", "thop", "ptflops", "ptflops before 0.7", "torchinfo", "torchprofile"),
    "DeepSpeed",
)
PRINTED = {
    "resnet18": (
        3_628_146_688,
        1_819_065_856,
        1_824_033_792,
        1_825_313_768,
        1_822_177_768,
        1_814_083_944,
        1_816_557_568,
        3_636_250_112,
    ),
    "resnet50_of_the_paper": (
        7_715_946_496,
        3_879_247_872,
        3_900_424_192,
        3_899_118_568,
        3_889_133_544,
        3_858_027_368,
        3_868_562_432,
        7_747_105_792,
    ),
    "alexnet": (
        1_428_376_960,
        714_197_696,
        714_206_912,
        716_441_128,
        715_561_896,
        714_682_664,
        714_197_696,
        1_429_741_184,
    ),
    "squeezenet": (
        698_303_872,
        349_320_936,
        349_321_936,
        359_982_728,
        355_862_008,
        351_741_288,
        349_152_936,
        705_013_944,
    ),
    "densenet121": (
        5_668_323_328,
        2_865_546_752,
        2_897_058_304,
        2_899_943_400,
        2_882_720_488,
        2_834_246_312,
        2_850_005_760,
        5_716_881_152,
    ),
    "Decoder": (3_653_632, 1_867_776, 2_301_952, 1_916_928, 1_888_256, 2_220_096, 2_240_512, 3_723_264),
    "Elementwise": (389_520, 243_720, 205_848, 259_677, 238_077, 201_678, 205_704, 467_280),
    "Activations": (194_784, 97_648, 97_904, 121_051, 112_951, 101_131, 97_520, 206_740),
    "Functions": (446_400, 237_600, 223_200, 234_900, 216_000, 201_616, 231_304, 487_800),
    "VisionTransformer": (
        None,
        16_867_412_736,
        16_863_630_336,
        16_883_299_048,
        16_876_036_840,
        201_581_032,
        17_567_610_624,
        None,
    ),
    "convnext_tiny": (183_363_072, 91_989_504, 91_861_248, 92_353_000, 92_177_128, 32_731_144, 91_743_744, 183_901_440),
}


class Decoder(nn.Module):
    """A transposed convolution, which some count by its output, and a functional pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = published_networks.conv(3, 8, 3), published_networks.conv(8, 16, 3)
        self.up, self.c = nn.ConvTranspose2d(16, 8, 2, stride=2, bias=False), published_networks.conv(16, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.a(x)
        return self.c(torch.cat([a, self.up(self.b(functional.max_pool2d(a, 2)))], 1))


class Elementwise(nn.Module):
    """Normalisations, activations and poolings of many kinds, as modules and as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.GELU(), nn.AvgPool2d(2), nn.LeakyReLU(), nn.InstanceNorm2d(8)),
            *(nn.SiLU(), nn.Hardswish(), nn.PReLU()),
        )
        self.plain = nn.BatchNorm2d(8, affine=False)
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.plain(self.parts(x))
        y = functional.relu(functional.batch_norm(y, self.plain.running_mean, self.plain.running_var))
        return self.linear(self.norm(functional.adaptive_avg_pool2d(y, 3).flatten(2).transpose(1, 2)))


class Activations(nn.Sequential):
    """Activations and poolings as modules."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.ELU(), nn.Hardsigmoid(), nn.Sigmoid(), nn.Tanh(), nn.MaxPool2d(2)),
            *(nn.AdaptiveMaxPool2d(4), nn.Dropout(), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(64)),
            nn.Linear(64, 3),
        )


class Functions(nn.Module):
    """Convolutions, activations and poolings as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.weight = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Parameter(torch.zeros(4, 8, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.conv2d(functional.relu(self.norm(self.conv(x))), self.weight)
        y = functional.leaky_relu(functional.max_pool2d(functional.relu6(functional.gelu(y)), 2), 0.1)
        return functional.silu(functional.hardswish(y)).mean((2, 3))


NETWORKS = {
    "resnet18": (published_networks.resnet18, 224),
    "resnet50_of_the_paper": (published_networks.resnet50_of_the_paper, 224),
    "alexnet": (published_networks.alexnet, 224),
    "squeezenet": (published_networks.squeezenet, 224),
    "densenet121": (published_networks.densenet121, 224),
    "Decoder": (Decoder, 32),
    "Elementwise": (Elementwise, 32),
    "Activations": (Activations, 32),
    "Functions": (Functions, 32),
    "VisionTransformer": (published_networks.VisionTransformer, 224),
    "convnext_tiny": (published_networks.convnext_tiny, 32),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_totals_of_other_counters_are_theirs(name: str) -> None:
    make, size = NETWORKS[name]
    counted = convcost.count(make(), torch.zeros(1, 3, size, size))
    totals = totals_of_others(counted.layers, 1)
    printed = {counter: total for counter, total in zip(COUNTERS, PRINTED[name], strict=True) if total is not None}
    assert {counter: totals.get(counter) for counter in printed} == printed


def test_two_counters_of_today_print_the_totals_that_are_worked_out() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, x = Elementwise().eval(), torch.zeros(2, 3, 32, 32)
    ours = totals_of_others(convcost.count(model, x).layers, 2)
    assert ours["fvcore"] == fvcore_analysis(model, (x,)).total()
    with FlopCounterMode(display=False) as counter:
        model(x)
    assert ours["torch's FlopCounterMode"] == counter.get_total_flops()


def test_ptflops_has_no_figure_for_a_batch_since_it_divides_a_part_of_its_total() -> None:
    counted = convcost.count(Elementwise(), torch.zeros(2, 3, 32, 32))
    assert {name for name in totals_of_others(counted.layers, 2) if name.startswith("ptflops")} == set()


@pytest.mark.parametrize("name", ["lstm tagger", "bilinear scorer"])
def test_a_counter_without_a_rule_for_a_layer_has_no_figure(name: str) -> None:
    model, inputs = ZOO[name]()
    totals = totals_of_others(convcost.count(model, inputs).layers, 1)
    assert not totals.keys() & {"fvcore", "torchprofile", "torch's FlopCounterMode"}


def test_a_subclass_of_a_layer_is_seen_by_the_counters_that_look_at_operators_alone() -> None:
    class Norm(nn.BatchNorm2d):
        pass

    class Conv(nn.Conv2d):
        pass

    counted = convcost.count(nn.Sequential(Conv(3, 4, 1, bias=False), Norm(4)), torch.zeros(1, 3, 8, 8))
    totals = totals_of_others(counted.layers, 1)
    assert totals["fvcore"] == 8 * 8 * 3 * 4 + 2 * 8 * 8 * 4
    assert totals["thop"] == totals["ptflops"] == 0
    renamed = [replace(row, op=row.torch_name) for row in counted.layers]
    assert totals_of_others(renamed, 1)["thop"] == 8 * 8 * 3 * 4 + 4 * 8 * 8 * 4
