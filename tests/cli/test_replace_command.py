"""`convcost replace` as its users have it."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest
from budgeted_project import MODEL, commit, edit, git

from convcost.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

NETWORK = """
import torch
from torch import nn

def small(width=8):
    return nn.Sequential(
        nn.Conv2d(8, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 4, 1), nn.Conv2d(4, 4, 5)
    )

class Steps(nn.Sequential):
    def forward(self, x):
        return super().forward(x) if x.sum() > -1 else x

def by_values():
    return Steps(*small())
"""
TO = ("--input", "1x8x9x9", "--to", "depthwise-separable")
FIRST = (81 * 8 * 9 * 8, 81 * 8 * (9 + 8))  # MACs before, after
LAST = (25 * 4 * 25 * 4, 25 * 4 * (25 + 4))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "models.py"
    path.write_text(NETWORK, encoding="utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["replace", *words])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, _ = run(capsys, *words, "--format", "json")
    assert code == 0
    return dict(json.loads(out))


def test_layers_are_replaced_and_the_altered_model_is_counted_by_all(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = as_json(capsys, f"{file}:small", *TO)
    rows = {row["name"]: (row["macs_before"], row["macs_after"], row["skipped"]) for row in result["layers"]}
    head = 81 * 8 * 4
    assert rows == {"0": (*FIRST, None), "3": (head, head, "pointwise, not standard"), "4": (*LAST, None)}
    assert result["target"] == f"{file}:small"
    assert result["before"]["macs"] == FIRST[0] + head + LAST[0]
    assert result["after"]["macs"] == FIRST[1] + head + LAST[1]
    assert result["time"] is None
    assert {who: check["status"] for who, check in result["cross_check"].items()} == {
        "fvcore": "agrees",
        "torch": "agrees",
    }


@pytest.mark.parametrize(
    ("words", "replaced"),
    [
        ((), ["0", "4"]),
        (("--only", "^4$"), ["4"]),
        (("--skip", "^4$"), ["0"]),
        (("--min-kernel", "4"), ["4"]),
        (("--min-saving", "72 %"), ["0"]),  # 1 - (9 + 8) / (9 · 8) = 76.4 %, 1 - (25 + 4) / (25 · 4) = 71 %
        (("--min-saving", "70%"), ["0", "4"]),
        (("--from", "pointwise"), ["3"]),
        (("--arg", "width=16", "--to", "ghost"), ["0", "4"]),
    ],
)
def test_rules_choose_the_layers(
    words: tuple[str, ...], replaced: list[str], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = as_json(capsys, f"{file}:small", *TO, "--no-cross-check", *words)
    assert [row["name"] for row in result["layers"] if row["skipped"] is None] == replaced


def test_blocks_have_their_own_parameters_and_an_order(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--input", "1x8x9x9", "--to", "depthwise", "--to", "low-rank", "--rank", "3", "--no-between")
    first, _, last = as_json(capsys, f"{file}:small", *words, "--arg", "width=16")["layers"]
    assert first["after"] == "low-rank, rank 3"
    assert first["params_after"] == 8 * 9 * 3 + 3 + 3 * 16 + 16
    assert last["after"] == "depthwise"


def test_the_table_has_the_replaced_layers_and_one_line_for_the_others(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, f"{file}:small", *TO, "--no-cross-check")
    assert code == 0
    lines = [line.split()[0] for line in out.splitlines()[2:4]]
    assert lines == ["0", "4"]
    assert "2 convolutions of 3 replaced" in out
    assert "as before, 3: pointwise, not standard" in out
    _, out, _ = run(capsys, f"{file}:small", *TO, "--no-cross-check", "--all", "--sort", "macs", "--top", "2")
    assert [line.split()[0] for line in out.splitlines()[2:4]] == ["0", "4"]
    _, out, _ = run(capsys, f"{file}:small", *TO, "--no-cross-check", "--all")
    assert [line.split()[0] for line in out.splitlines()[2:5]] == ["0", "3", "4"]


def test_csv_and_files_have_base_units(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.csv"
    code, text, _ = run(
        capsys, f"{file}:small", *TO, "--no-cross-check", "--all", "--format", "csv", "--export", str(out)
    )
    assert code == 0
    rows = list(csv.DictReader(text.splitlines()))
    assert (rows[0]["name"], rows[0]["macs_before"], rows[0]["after"]) == (
        "0",
        str(FIRST[0]),
        "depthwise-separable",
    )
    assert (rows[1]["after"], rows[1]["weight_error"]) == ("", "")
    assert out.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "to must name a block of the catalogue, such as depthwise-separable."),
        (("--to", "ghost", "--emit="), "emit must name a file, not the current folder; give it a name."),
        (("--to", "ghots"), "block (=ghots) must be a name of the catalogue; did you mean ghost?"),
        (("--to", "ghost", "--only", "*"), "only (=*) must be a regular expression, and nothing to repeat at position 0; write one such as layer[34]."),
        (("--to", "ghost", "--only", "nothing"), "only (=nothing) must match a convolution; the model has 0, 3, 4."),
        (("--to", "ghost", "--min-saving", "20"), 'min_saving (=20) must be a percentage of at least 0; write it as "20 %".'),
        (("--to", "ghost", "--min-saving", "100 %"), "min_saving (=1.0) must be a share of at least 0 and below 1; give 0.2 for 20 %."),
        (("--to", "ghost", "--from", "standart"), "origin (=standart), from which layers are replaced, must be a kind of convolution; did you mean standard?"),
        (("--to", "ghost", "--min-kernel", "7"), "no convolution may be replaced (0: its kernel (=3) is below min_kernel (=7); 3: pointwise, not standard; 4: its kernel (=5) is below min_kernel (=7)); change the rules."),
        (("--to", "ghost", "--device", "cuda"), "device (=cuda) must be auto, meta or cpu for counting; time_device says where to time."),
        (("--to", "ghost", "--sort", "name"), "sort (=name) must be one of macs, params, time."),
        (("--to", "ghost", "--ghost-ratio", "5"), "no convolution may be replaced (0: ghost: out_channels (=8) must be divisible by ghost_ratio (=5); 3: pointwise, not standard; 4: ghost: out_channels (=4) must be divisible by ghost_ratio (=5)); change the rules."),
        (("--to", "depthwise", "--depth-multiplier", "3"), "no convolution may be replaced (0: depthwise: its output is 1x24x9x9, that of the layer 1x8x9x9; 3: pointwise, not standard; 4: depthwise: its output is 1x12x5x5, that of the layer 1x4x5x5); change the rules."),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_and_2(
    words: tuple[str, ...], message: str, file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "result.json"
    code, text, err = run(capsys, f"{file}:small", "--input", "1x8x9x9", *words, "--export", str(out))
    assert (code, text, err) == (2, "", f"error: {message}\n")
    assert not out.exists()


def test_a_model_that_needs_values_is_altered_on_the_cpu(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = as_json(capsys, f"{file}:by_values", *TO)
    assert result["conditions"]["device"] == "cpu"
    assert result["after"]["macs"] == FIRST[1] + 81 * 8 * 4 + LAST[1]
    assert result["cross_check"]["torch"]["status"] == "agrees"


def test_an_option_of_another_block_is_noted(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(capsys, f"{file}:small", *TO, "--no-cross-check", "--rank", "3")
    assert "note: rank has no effect here: it sets channels between" in err


def test_a_target_at_a_revision_is_that_of_the_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q")
    (tmp_path / "models.py").write_text(MODEL, encoding="utf-8")
    revision = commit(tmp_path)
    edit(tmp_path / "models.py", "width, 16", "width, 32")
    words = ("--input", "1x3x8x8", "--to", "depthwise-separable", "--no-cross-check", "--export", "out.csv")
    before, after = (as_json(capsys, target, *words) for target in (f"models.py:Net@{revision}", "models.py:Net"))
    assert before["target"] == f"models.py:Net@{revision}"
    assert before["before"]["macs"] == 64 * 9 * (3 * 8 + 8 * 16)
    assert after["before"]["macs"] == 64 * 9 * (3 * 8 + 8 * 32)
    assert (tmp_path / "out.csv").exists()
    code, _, err = run(capsys, "models.py:Gone@HEAD", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: target (=models.py:Gone) must name something that is there: no Gone")
