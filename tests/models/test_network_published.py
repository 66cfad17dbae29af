"""Published tables, predicted without torch from the networks as data."""

from __future__ import annotations

import pytest

from convcost.models.network import read_packaged_network


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        ("mobilenet_v1", 568_740_352, 4_231_976),
        ("mobilenet_v1_full", 4_867_293_184, 29_294_088),
        ("mobilenet_v2", 300_774_272, 3_504_872),
        ("resnet18", 1_814_073_344, 11_689_512),
        ("resnet50", 4_089_184_256, 25_557_032),
    ],
)
def test_each_network_has_its_exact_cost(name: str, macs: int, params: int) -> None:
    cost = read_packaged_network(name).cost
    assert (cost.macs, cost.params) == (macs, params)


@pytest.mark.parametrize(
    ("arguments", "millions"),
    [
        ({}, 569),
        ({"alpha": 0.75}, 325),
        ({"alpha": 0.5}, 149),
        ({"alpha": 0.25}, 41),
        ({"resolution": 192}, 418),
        ({"resolution": 128}, 186),
    ],
)
def test_the_papers_rows_are_our_figures_rounded(arguments: dict[str, object], millions: int) -> None:
    assert round(read_packaged_network("mobilenet_v1", arguments).cost.macs / 10**6) == millions


def test_two_rows_of_the_papers_are_cut_and_not_rounded() -> None:
    assert read_packaged_network("mobilenet_v1", {"resolution": 160}).cost.macs // 10**6 == 290
    assert read_packaged_network("mobilenet_v2").cost.macs // 10**6 == 300


@pytest.mark.parametrize(("alpha", "tenths"), [(1.0, 42), (0.75, 26), (0.5, 13), (0.25, 5)])
def test_the_papers_parameters_are_ours_rounded(alpha: float, tenths: int) -> None:
    assert round(read_packaged_network("mobilenet_v1", {"alpha": alpha}).cost.params / 10**5) == tenths
