"""`convcost replace --keep-weights` and `convcost.replace(keep_weights=True)`: whole networks with factorised weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import convcost
from convcost.changes.rank_choice import FACTORISED
from convcost.cli import main
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = torch.randn(2, 6, 12, 11, generator=torch.Generator().manual_seed(3))


def network(rank: int = 2) -> nn.Sequential:
    """Two convolutions of a rank as low-rank and one pointwise, with norms and activations between them."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(6, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 9, (3, 5), padding="same"),
        nn.ReLU(), nn.Conv2d(9, 4, 1),
    )  # fmt: skip
    for index in (0, 3):
        weight = model[index].get_parameter("weight")
        factors = torch.randn(rank, *weight.shape[1:]), torch.randn(len(weight), rank)
        weight.data = torch.einsum("rcij,or->ocij", *factors)
    return model.eval().requires_grad_(requires_grad=False)


def test_a_network_of_that_rank_computes_the_same_with_low_rank_blocks() -> None:
    model = network()
    new, result = convcost.replace(model, IMAGE, to="low-rank", keep_weights=True)
    assert [row.after for row in result.layers] == ["low-rank, rank 2", "low-rank, rank 2", None]
    assert torch.allclose(new(IMAGE), model(IMAGE), rtol=1e-4, atol=1e-4)
    assert result.output_error == pytest.approx(0, abs=1e-6)
    assert all(0 <= (row.weight_error or 0) < 1e-6 and 0 <= (row.output_error or 0) < 1e-6 for row in result.replaced)
    assert [row.params_after for row in result.replaced] == [2 * (6 * 9 + 8), 2 * (8 * 15 + 9) + 2 + 9]  # with biases
    assert result.agrees


@pytest.mark.parametrize("block", FACTORISED)
def test_the_reported_errors_are_those_of_the_returned_module(block: str) -> None:
    model = network(rank=6)
    new, result = convcost.replace(model, IMAGE, to=block, keep_weights=True, rank=1)
    expected = model(IMAGE)
    assert result.output_error == pytest.approx(float((new(IMAGE) - expected).norm() / expected.norm()), rel=1e-4)
    assert [row.weight_error is None for row in result.layers] == [False, False, True]
    assert [row.output_error is None for row in result.layers] == [False, False, True]
    for index in (0, 3):  # each alone
        both = nn.Sequential(*model)
        both[index] = new.get_submodule(str(index))
        error = float((both(IMAGE) - expected).norm() / expected.norm())
        row = next(row for row in result.layers if row.name == str(index))
        assert row.output_error == pytest.approx(error, rel=1e-4)
    assert "weights kept, rank 1, the given input: the output is off by " in str(result)
    assert result.to_dict()["output_error"] == result.output_error


def test_the_module_and_the_random_state_stay_as_they_are() -> None:
    model = network().train()
    values = [value.clone() for value in model.state_dict().values()]
    state = torch.get_rng_state()
    new, _ = convcost.replace(model, IMAGE, to="tucker-2", keep_weights=True, rank=2)
    assert all(torch.equal(a, b) for a, b in zip(values, model.state_dict().values(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training for part in (*model.modules(), *new.modules()))
    assert not any(
        isinstance(part, nn.BatchNorm2d) for part in new.get_submodule("0").modules()
    )  # nothing stands between the stages


def test_a_layer_stays_where_its_rank_saves_nothing_and_takes_the_next_block_where_one_does() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(8, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False))
    model[1].get_parameter("weight").data = torch.einsum("rij,ocr->ocij", torch.randn(2, 3, 3), torch.randn(8, 8, 2))
    new, result = convcost.replace(
        model, torch.randn(1, 8, 9, 9), to=["low-rank", "shared-kernel-separable"], keep_weights=True, max_error=1e-3
    )
    first, second = result.layers
    assert first.skipped == (
        "low-rank: at most 0.1 % error takes rank 8, which saves no MACs; "
        "shared-kernel-separable: at most 0.1 % error takes depth multiplier 9, which saves no MACs"
    )
    assert second.after == "shared-kernel-separable, depth multiplier 2"
    assert torch.equal(new.get_parameter("0.weight"), model.get_parameter("0.weight"))


def test_layers_that_have_no_weight_to_keep_stay_with_their_reason() -> None:
    torch.manual_seed(4)

    class Scale(nn.Module):
        weight = 2.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight * x

    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3))
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3), Scale(), normed, nn.Conv2d(4, 4, 3, groups=2), nn.ConvTranspose2d(4, 4, 3)
    )
    _, result = convcost.replace(model, torch.randn(1, 4, 9, 9), to="low-rank", keep_weights=True, rank=1)
    assert [row.name for row in result.replaced] == ["0"]
    assert [row.weight_error is None for row in result.layers] == [False, True, True, True]


def test_a_model_that_is_one_convolution_is_named_so() -> None:
    conv = nn.Conv2d(4, 4, 3)
    new, result = convcost.replace(conv, torch.randn(1, 4, 9, 9), to="low-rank", keep_weights=True, rank=9)
    assert result.output_error == pytest.approx(0, abs=1e-6)
    assert "rank 9 is above the full rank of the model: the block has the full rank there." in result.notes
    assert isinstance(new, nn.Sequential)


def test_a_rank_above_that_of_a_layer_has_a_note() -> None:
    _, result = convcost.replace(network(), IMAGE, to="low-rank", keep_weights=True, rank=9)
    assert [row.after for row in result.replaced] == ["low-rank, rank 8", "low-rank, rank 9"]
    assert "rank 9 is above the full rank of 0: the block has the full rank there." in result.notes


@pytest.mark.parametrize("limit", [{"max_error": 0.001}, {"energy": 1 - 1e-6}], ids=str)
def test_a_limit_that_rounding_exceeds_has_a_note(limit: dict[str, Any]) -> None:
    model, image = network().bfloat16(), IMAGE.bfloat16()
    _, result = convcost.replace(model, image, to="low-rank", keep_weights=True, only="^0$", **limit)
    (row,) = result.replaced
    assert row.weight_error is not None
    assert 0.001 < row.weight_error < 0.01
    (note,) = [note for note in result.notes if "its dtype rounds the factors" in note]
    assert note.startswith(
        f"at {'most 0.1 % error' if 'max_error' in limit else 'least 99.9999 % of the energy'} is not met by 0: "
    )


def test_a_model_that_the_random_input_does_not_suit_keeps_its_weights_without_errors_of_outputs() -> None:
    class Lookup(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.table = network()[0], nn.Parameter(torch.rand(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.conv(x) * self.table[x[0, 0, 0, :1].long()]
            return output

    shape = torch.empty(IMAGE.shape, device="meta")
    model = Lookup()
    model.table.data = torch.rand(0)
    _, result = convcost.replace(model, shape, to="low-rank", keep_weights=True, rank=1)
    (row,) = result.replaced
    assert (row.output_error, result.output_error) == (None, None)
    assert "weights kept, rank 1, random input (seed 0): the output could not be compared: IndexError: " in str(result)
    assert row.weight_error is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"to": "ghost"},
            "block (=ghost) must be one whose weights follow from a convolution's to keep them: low-rank, ",
        ),
        ({"mid_channels": 3}, "mid_channels (=3) must follow from the kept weights; leave it out: "),
        ({"origin": "grouped"}, "origin (=grouped) must be standard or pointwise to keep weights: "),
        ({"keep_weights": False, "energy": 0.9}, "energy (=0.9) must have weights to keep; turn keep_weights on."),
        ({"rank": 2, "max_error": 0.1}, "rank and max_error exclude each other; "),
    ],
)
def test_rules_that_no_kept_weight_could_follow_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvcostError) as caught:
        convcost.replace(network(), IMAGE, **{"to": "low-rank", "keep_weights": True, **given})
    assert str(caught.value).startswith(message)


def test_weights_that_are_not_finite_or_have_no_values_are_refused_by_name() -> None:
    model = network()
    model.get_parameter("3.weight")[0, 0, 0, 0] = float("nan")
    with pytest.raises(ConvcostError, match=r"^layer \(=3\) must have finite weights; it holds NaN or inf: "):
        convcost.replace(model, IMAGE, to="low-rank", keep_weights=True)
    convcost.replace(model, IMAGE, to="low-rank", keep_weights=True, only="^0$", rank=1)  # it is not looked at
    with pytest.raises(ConvcostError, match=r"^layer \(=3\) must have weights, not the meta device's; load them, "):
        convcost.replace(network().to("meta"), IMAGE.to("meta"), to="low-rank", keep_weights=True)


TARGET = """
import torch
from torch import nn

def kept():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3))

def without_values():
    with torch.device("meta"):
        return kept()
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "models.py"
    path.write_text(TARGET, encoding="utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["replace", *words, "--input", "1x6x9x9", "--keep-weights", "--no-cross-check"])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def test_the_command_reports_both_errors_of_each_layer(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, f"{file}:kept", "--to", "low-rank", "--rank", "2", "--format", "json")
    result = json.loads(out)
    assert code == 0
    assert 0 < result["output_error"] < 1.5
    for row in result["layers"]:
        assert 0 < row["weight_error"] < 1
        assert 0 < row["output_error"] < 1.5
    code, out, _ = run(capsys, f"{file}:kept", "--to", "low-rank", "--rank", "2")
    assert "weight error  output error" in out
    assert "weights kept, rank 2, random input (seed 0): the output is off by " in out
    assert run(capsys, f"{file}:kept", "--to", "low-rank", "--rank", "2")[1] == out  # the same numbers each time


@pytest.mark.parametrize("words", [("--energy", "0.6"), ("--energy", "60%"), ("--max-error", "63.2%")])
def test_limits_are_shares_or_percentages(
    words: tuple[str, str], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, f"{file}:kept", "--to", "low-rank", *words, "--format", "json")
    assert code == 0
    assert all(row["weight_error"] < 0.4**0.5 for row in json.loads(out)["layers"])


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("kept", ("--to", "low-rank", "--energy", "much"), "energy (=much) must be a share; write it as 0.05 or 5%."),
        ("kept", ("--to", "bottleneck"), "block (=bottleneck) must be one whose weights follow from a convolution's "),
        ("without_values", ("--to", "low-rank"), "must have weights to keep, and is made on the meta device"),
    ],
)
def test_what_cannot_be_kept_is_one_line(
    name: str, words: tuple[str, ...], message: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, f"{file}:{name}", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_weights_that_a_target_draws_are_the_same_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["replace", "network:resnet18", "--arg", "alpha=0.25", "--input", "1x3x32x32", "--to", "low-rank"]
    command += ["--keep-weights", "--rank", "2", "--only", r"^layer1\.0", "--format", "json", "--no-cross-check"]
    errors = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        assert main(command) == 0
        out, err = capsys.readouterr()
        errors.append(json.loads(out)["output_error"])
        assert "no trained weights: those that are kept are made with seed 0." in err
    assert errors[0] == errors[1] > 0


@pytest.mark.timing
def test_the_kept_weights_are_those_that_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "once.py"
    path.write_text(
        "from torch import nn\nloads = []\ndef net():\n    assert not loads\n    loads.append(1)\n"
        "    return nn.Sequential(nn.Conv2d(6, 8, 3))\n",
        encoding="utf-8",
    )
    command = ["replace", f"{path}:net", "--input", "1x6x9x9", "--to", "low-rank", "--keep-weights", "--rank", "1"]
    assert main([*command, "--time", "--time-budget", "0.2", "--no-cross-check"]) == 0
    assert "low-rank, rank 1" in capsys.readouterr().out


def test_the_table_fits_a_terminal_of_80_characters() -> None:
    block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1))
    for name in ("body", "stage_2"):
        outer = nn.Sequential()
        outer.add_module(name, block)
        block = outer
    _, result = convcost.replace(block, IMAGE, to="spatially-separable", keep_weights=True, rank=3)
    for width, is_shown in ((80, False), (100, True)):
        lines = result.text(width).splitlines()
        first = next(index for index, line in enumerate(lines) if line.startswith("layer"))
        table = lines[first : first + 3]
        assert max(map(len, table)) <= width
        assert ("weight error" in table[0]) is is_shown
        assert "output error" in table[0]
