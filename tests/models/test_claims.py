"""Published numbers of operations are traced to the convention that they are counted by."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from convcost.convolution.conv import Conv
from convcost.models.call import Call
from convcost.models.claim import claim_lines, parse_claim
from convcost.models.conventions import OTHER_SIZES, answer, image_of, plausible_sizes
from convcost.models.report import ModelReport, Totals
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable


def call(name: str, torch_name: str, sizes: tuple[int, ...], macs: int = 0, **fields: Any) -> Call:
    return Call(name, torch_name, sizes, sizes, 0, macs, 0, torch_name=torch_name, **fields)


ROWS = (
    call("a", "Conv2d", (1, 10, 10, 10), 9 * 10 * 1000, conv=Conv(10, 10, (3, 3), 1, 1, bias=True), has_bias=True),
    call("b", "BatchNorm2d", (1, 5, 10, 10), weights=("float32",)),
    call("c", "ReLU", (1, 3, 10, 10)),
    call("d", "MaxPool2d", (1, 2, 10, 10)),
    call("e", "Linear", (1, 10), 100),
)
MACS = 9 * 10 * 1000 + 100


def report(rows: tuple[Call, ...] = ROWS, size: int = 10, **kinds: int) -> ModelReport:
    macs = sum(row.macs for row in rows)
    totals = Totals(0, 0, macs, 0, 0, 0)
    by_operator = {"convolution": 9 * 10 * 1000, "linear": 100} | kinds
    return ModelReport("m", (f"1x3x{size}x{size}",), {"device": "meta"}, totals, rows, by_operator)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("4.5G", "4.5e9", "1e8"),
        ("4.50 G", "4.5e9", "1e7"),
        ("300M", "3e8", "1e6"),
        ("569 M MACs", "569e6", "1e6"),
        ("8.2 GFLOPs", "8.2e9", "1e8"),
        ("0.39B", "0.39e9", "1e7"),
        ("1.43 B FLOPs", "1.43e9", "1e7"),
        ("569 M mult-adds", "569e6", "1e6"),
        ("569000000", "569e6", "1e6"),
        ("568_740_352", "568740352", "1"),
        ("4.1e9", "4.1e9", "1e8"),
        ("4e9", "4e9", "1e9"),
    ],
)
def test_a_claim_has_the_digits_that_are_written(text: str, value: str, unit: str) -> None:
    number = parse_claim(text)
    assert number.value == Decimal(value)
    assert number.unit == Decimal(unit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4.5X", 'claim (=4.5X) must be a number of operations, and X is no unit of it; write it as "4.5 G".'),
        ("4.5 GB", "and GB is no unit of it"),
        ("many", "claim (=many) must be a number of operations of at least 0"),
        ("-4G", "claim (=-4G) must be"),
        ("0G", "claim (=0G) must be above 0; write it as 4.5G."),
    ],
)
def test_what_is_no_number_of_operations_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConvcostError) as error:
        parse_claim(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("convention", "value"),
    [
        ("MACs", MACS),
        ("FLOPs", 2 * MACS),
        ("MACs + bias", MACS + 1000),
        ("MACs + normalisation", MACS + 500),
        ("MACs + activations", MACS + 300),
        ("MACs + pooling", MACS + 200),
        ("FLOPs + bias", 2 * MACS + 1000),
        ("FLOPs + activations", 2 * MACS + 300),
        ("MACs + bias + normalisation", MACS + 1000 + 500),
        ("MACs + normalisation + activations", MACS + 500 + 300),
        ("MACs + bias + normalisation + activations + pooling", MACS + 1000 + 500 + 300 + 200),
        ("FLOPs + bias + normalisation + activations + pooling", 2 * MACS + 1000 + 2 * 500 + 300 + 200),
        ("MACs without the classifier", MACS - 100),
        ("FLOPs without the classifier", 2 * MACS - 2 * 100),
        ("FLOPs, 2K - 1 for a sum of K products", 2 * MACS - 1000 - 10),
        ("total of ptflops", MACS + 1000 + 2 * 500 + 2 * 300 + 2 * 200),
    ],
)
def test_each_convention_is_its_arithmetic(convention: str, value: int) -> None:
    (best,) = answer([f"{value}.0"], report())
    assert (best.convention, best.value, best.relative_error, best.matches) == (convention, value, 0.0, True)


def test_the_counters_that_print_a_figure_are_named_with_it() -> None:
    (best,) = answer([str(MACS + 2 * 500)], report())  # two for each element of a batch normalisation
    assert (best.convention, best.counters) == ("MACs + bias", ("fvcore",))
    (line,) = claim_lines([best])
    assert line == "claim 91100: MACs + bias at 10x10, exactly (91,100, as fvcore prints it)"


def test_the_simplest_convention_comes_first_and_the_input_of_the_count_before_others() -> None:
    other = report((replace(ROWS[0], macs=MACS),), 20)
    claims = answer([str(MACS)], report(), [other])
    assert [(one.convention, one.resolution) for one in claims] == [("MACs", (10, 10)), ("MACs", (20, 20))]
    assert claims[0].record == {
        "claim": str(MACS), "convention": "MACs", "resolution": [10, 10], "value": MACS, "relative_error": 0.0,
        "matches": True, "counters": [],
    }  # fmt: skip


def test_macs_that_a_claim_calls_flops_are_pointed_out() -> None:
    (line,) = claim_lines(answer(["90.1 kFLOPs"], report())[:1])
    assert line == "claim 90.1 kFLOPs: MACs at 10x10 called FLOPs, exactly (90,100)"
    assert "called" not in claim_lines(answer(["180.2 kFLOPs"], report()))[0]


def test_a_figure_that_is_cut_matches_after_those_that_are_rounded() -> None:
    rows = (replace(ROWS[0], macs=390_700, conv=None, has_bias=False),)
    (cut, *_) = answer(["390k"], report(rows))
    assert (cut.convention, cut.cut, cut.matches) == ("MACs", True, True)
    (rounded, *_) = answer(["391k"], report(rows))
    assert (rounded.convention, rounded.cut, rounded.matches) == ("MACs", False, True)


def test_a_cut_of_more_than_three_percent_is_no_match() -> None:
    rows = (replace(ROWS[0], macs=1_900_000, conv=None, has_bias=False),)
    assert not answer(["1M"], report(rows))[0].matches  # 1.9 cut to one digit is 1


def test_without_a_match_the_nearest_are_listed_and_their_errors() -> None:
    claims = answer([str(10 * MACS)], report())
    assert not any(one.matches for one in claims)
    errors = [abs(one.relative_error) for one in claims]
    assert errors == sorted(errors)
    (line,) = claim_lines(claims)
    assert line.startswith(f"claim {10 * MACS}: no convention gives it; the nearest are ")


def test_what_is_far_from_a_claim_is_no_percentage() -> None:
    (line,) = claim_lines(answer(["1"], report())[:1])
    assert (
        line
        == "claim 1: no convention gives it; the nearest are MACs without the classifier at 10x10 (90,000, 90.0 k times)"
    )
    (line,) = claim_lines(answer(["1E"], report())[:1])
    assert line.endswith(f"({2 * MACS + 1000 + 2 * 500 + 300 + 200:,}, 1/5.47 T of it)")  # 10^18 / 182,700


def test_one_digit_is_no_match_for_what_is_far_from_it() -> None:
    rows = (replace(ROWS[0], macs=589_824, conv=None, has_bias=False),)
    assert not answer(["1M"], report(rows))[0].matches  # it rounds to 1 M, and is 41 % less
    assert answer(["0.6M"], report(rows))[0].matches


@pytest.mark.parametrize("claim", ["25.6M", "25557032", "25.56 M"])
def test_the_number_of_parameters_is_named_as_such(claim: str) -> None:
    counted = replace(report(), totals=Totals(25_557_032, 0, MACS, 0, 0, 0))
    (line,) = claim_lines(answer([claim], counted))
    assert line.startswith(f"claim {claim}: parameters, not operations, ")
    assert all("parameters" not in one.convention for one in answer(["1G"], counted))


@pytest.mark.parametrize(
    ("claim", "meant"),
    [("90.1", "90.1k? That is MACs (90,100)"), ("0.09010 FLOPs", "0.09010M FLOPs? That is MACs (90,100)")],
)
def test_a_forgotten_prefix_is_proposed(claim: str, meant: str) -> None:
    (line,) = claim_lines(answer([claim], report()))
    assert line == f"claim {claim}: no convention gives it; did you mean {meant}"
    assert "did you mean" not in claim_lines(answer(["3.3"], report()))[0]


def test_a_match_at_another_size_may_be_chance() -> None:
    other = report((replace(ROWS[0], macs=4 * MACS),), 20)
    (line,) = claim_lines(answer([str(4 * MACS)], report(), [other]))
    assert line.endswith("; another input size than that of the count, so it may be chance")
    assert "chance" not in claim_lines(answer([str(MACS)], report(), [other]))[0]


def test_other_sizes_are_plausible_ones() -> None:
    assert plausible_sizes(224) == (112, 128, 160, 192, 256, 288, 299, 320, 331, 336, 384)
    assert plausible_sizes(32) == ()
    assert {320, 416, 608} <= set(plausible_sizes(640))


def test_attention_products_can_be_left_out() -> None:
    (best,) = answer([str(MACS - 40)], report(attention=40))
    assert best.convention == "MACs without attention products"
    (best,) = answer([str(2 * (MACS - 40))], report(matmul=40))
    assert best.convention == "FLOPs without matrix products"


def test_of_a_batch_one_sample_may_be_meant() -> None:
    batch = replace(report(), inputs=("10x3x10x10",))
    assert [one.convention for one in answer([f"{MACS // 10}.0"], batch)] == ["MACs of one sample"]
    assert all("sample" not in one.convention for one in answer([str(MACS)], report()))


def test_an_input_that_is_no_image_has_no_resolution() -> None:
    tokens = replace(report(), inputs=("1x16:int64",))
    assert image_of(tokens) is None
    assert answer([str(MACS)], tokens)[0].resolution is None
    assert "at" not in claim_lines(answer([str(MACS)], tokens))[0].split(",")[0].split()


def test_each_claim_is_answered_once() -> None:
    assert len({one.claim for one in answer(["91k", "182k", "91k"], report())}) == 2
    assert len(claim_lines(answer(["91k", "182k", "91k"], report()))) == 2


def test_the_usual_input_sizes_are_in_order() -> None:
    assert list(OTHER_SIZES) == sorted(set(OTHER_SIZES))
    assert {192, 224, 256, 299, 320, 384, 448, 512, 640} <= set(OTHER_SIZES)


def _packaged(name: str, **arguments: Any) -> Callable[[], Any]:
    def make() -> Any:
        from convcost.nn.load.target import load_target

        return load_target(f"network:{name}", arguments).module

    return make


def _own(name: str) -> Callable[[], Any]:
    def make() -> Any:
        import published_networks

        return getattr(published_networks, name)()

    return make


MACS_AT_224 = ("MACs", (224, 224), False)
PUBLISHED = {
    # MobileNets, Howard et al. 2017: tables 4 and 7
    "569M": (_packaged("mobilenet_v1"), *MACS_AT_224),
    "4866M": (_packaged("mobilenet_v1_full"), "MACs without the classifier", (224, 224), False),
    "418M": (_packaged("mobilenet_v1"), "MACs", (192, 192), False),
    "290M": (_packaged("mobilenet_v1"), "MACs", (160, 160), True),
    "186M": (_packaged("mobilenet_v1"), "MACs", (128, 128), False),
    # MobileNetV2, Sandler et al. 2018: table 4
    "300M": (_packaged("mobilenet_v2"), "MACs", (224, 224), True),
    # Deep residual learning, He et al. 2016: table 1
    "1.8G": (_own("resnet18"), *MACS_AT_224),
    "3.8G": (_own("resnet50_of_the_paper"), "MACs", (224, 224), True),
    # torchvision's documentation, "GFLOPS"
    "4.09G": (_packaged("resnet50"), *MACS_AT_224),
    "0.71G": (_own("alexnet"), *MACS_AT_224),
    "15.47G": (_own("vgg16"), *MACS_AT_224),
    "0.35G": (_own("squeezenet"), *MACS_AT_224),
    "2.83G": (_own("densenet121"), *MACS_AT_224),
    "17.56G": (_own("VisionTransformer"), *MACS_AT_224),
    # ConvNeXt, Liu et al. 2022: table 9
    "4.5G": (_own("convnext_tiny"), *MACS_AT_224),
    # NVIDIA's and others' "GFLOPs" of ResNet-50 are 2 x MACs
    "8.2 GFLOPs": (_own("resnet50"), "FLOPs", (224, 224), False),
    # timm's table of results, "macs" of vit_base_patch16_224: fvcore, which sees no fused attention
    "16.87 GMACs": (_own("VisionTransformer"), "total of fvcore", (224, 224), False),
    # ptflops' "GMac" of ResNet-50 before 0.7
    "4.12G": (_own("resnet50"), "total of ptflops before 0.7", (224, 224), False),
}


@pytest.mark.torch
@pytest.mark.parametrize("claim", PUBLISHED)
def test_a_published_number_comes_from_its_known_convention(claim: str) -> None:
    import torch

    import convcost

    make, convention, resolution, is_cut = PUBLISHED[claim]
    at_other_sizes = claim if resolution != (224, 224) else ()  # they cost 17 counts
    counted = convcost.count(make(), torch.zeros(1, 3, 224, 224), claims=at_other_sizes)
    best, *_ = counted.claims or answer([claim], counted)
    assert (best.convention, best.resolution, best.matches, best.cut) == (convention, resolution, True, is_cut)


@pytest.mark.torch
def test_a_model_of_fixed_size_is_answered_from_its_own_input() -> None:
    import torch
    from torch import nn

    import convcost

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 62 * 62, 10))
    counted = convcost.count(model, torch.zeros(1, 3, 64, 64), claims=["568.9k", "10G"])
    assert counted.claims[0].convention == "MACs"  # 62·62·4·27 + 4·62·62·10 = 568,912
    assert {one.resolution for one in counted.claims} == {(64, 64)}


@pytest.mark.torch
def test_what_a_model_prints_is_not_printed_again_for_each_size(capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from torch import nn

    import convcost

    class Talking(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            print("called")  # noqa: T201 - what is tested
            return super().forward(x)

    counted = convcost.count(Talking(3, 4, 1), torch.zeros(1, 3, 64, 64), claims="1")
    assert {one.resolution for one in counted.claims} == {(64, 64)}
    assert "called" * 2 not in "".join(capsys.readouterr()).replace("\n", "")


@pytest.mark.torch
def test_the_result_has_the_claims_in_its_json_its_text_and_a_caption() -> None:
    import torch
    from torch import nn

    import convcost

    counted = convcost.count(nn.Linear(10, 20), torch.zeros(3, 10), claims="600")
    assert counted.to_dict()["claims"] == [
        {
            "claim": "600", "convention": "MACs", "resolution": None, "value": 3 * 10 * 20, "relative_error": 0.0,
            "matches": True, "counters": ["fvcore", "thop", "torchprofile"],
        }
    ]  # fmt: skip
    assert "claim 600: MACs, exactly (600, as fvcore, thop and torchprofile print it)" in str(counted)
    assert counted.caption in str(counted)
    assert "600 MACs (multiply-accumulates; 1 MAC = 2 FLOPs) of linear layers" in counted.caption
    assert "3x10" in counted.caption
    assert convcost.count(nn.Linear(10, 20), torch.zeros(3, 10)).to_dict()["claims"] == []
