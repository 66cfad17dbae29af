"""`convcost model` as its users have it."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest

from convcost.cli import main
from convcost.models.report import CrossCheck
from convcost.system.terminal import ERASE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch

NETWORK = """
import torch
from torch import nn

def small(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 36, 10))

def broken():
    raise KeyError("weights")

def loud():
    class Model(nn.Conv2d):
        def forward(self, x):
            if x.device.type != "meta":
                raise RuntimeError("out of order")
            return super().forward(x)
    return Model(3, 4, 3)

def fft():
    class Model(nn.Module):
        def forward(self, x):
            return torch.fft.fft2(x).real
    return Model()

def svd():
    class Model(nn.Module):
        def forward(self, x):
            return torch.linalg.svdvals(x)
    return Model()
"""
SMALL = 36 * 4 * 27 + 4 * 36 * 10


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "models.py"
    path.write_text(NETWORK, encoding="utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["model", *words])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        ("mobilenet_v1", 568_740_352, 4_231_976),
        ("mobilenet_v1_full", 4_867_293_184, 29_294_088),
        ("mobilenet_v2", 300_774_272, 3_504_872),
        ("resnet18", 1_814_073_344, 11_689_512),
    ],
)
def test_the_published_networks_come_out_exactly(
    capsys: pytest.CaptureFixture[str], name: str, macs: int, params: int
) -> None:
    code, out, _ = run(capsys, f"network:{name}", "--format", "json")
    payload = json.loads(out)
    assert code == 0
    assert payload["totals"]["macs"] == macs
    assert payload["totals"]["flops"] == 2 * macs
    assert payload["totals"]["params"] == params
    assert sum(layer["macs"] for layer in payload["layers"]) == macs
    assert sum(layer["params"] for layer in payload["layers"]) == params
    assert payload["cross_check"]["torch"]["macs"] == macs
    assert {check["status"] for check in payload["cross_check"].values()} == {"agrees"}


def test_a_width_multiplier_and_a_resolution_are_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "network:mobilenet_v1", "--arg", "alpha=0.5", "--format", "json", "--no-cross-check")
    assert json.loads(out)["totals"]["macs"] == 149_497_088  # the paper rounds it to 149 M


def test_a_callable_of_a_file_with_arguments(capsys: pytest.CaptureFixture[str], file: str) -> None:
    code, out, _ = run(capsys, f"{file}:small", "--input", "1x3x8x8", "--format", "json")
    assert code == 0
    assert json.loads(out)["totals"]["macs"] == SMALL
    _, out, _ = run(capsys, f"{file}:small", "--arg", "width=8", "--input", "1x3x8x8", "--format", "json")
    assert json.loads(out)["totals"]["macs"] == 2 * SMALL


def test_the_table_ends_with_totals_and_the_word_of_the_other_counters(
    capsys: pytest.CaptureFixture[str], file: str
) -> None:
    _, out, _ = run(capsys, f"{file}:small", "--input", "1x3x8x8")
    assert out.splitlines()[0] == f"{file}:small, input 1x3x8x8; 1 MAC = 2 FLOPs"
    assert f"MACs ({SMALL:,})" in out
    assert "fvcore: agrees\ntorch: agrees\n" in out


def test_rows_can_be_added_up_sorted_and_cut(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("network:mobilenet_v1", "--no-cross-check", "--columns", "name,macs")
    _, out, _ = run(capsys, *words, "--sort", "macs", "--top", "2")
    largest = [line.split() for line in out.splitlines()[2:4]]
    assert [cells[1:] for cells in largest] == [["51.4", "M"]] * 2  # 128·128·56·56 and its equals
    assert all(cells[0].endswith(".pointwise") for cells in largest)
    _, out, _ = run(capsys, *words, "--depth", "1", "--format", "csv")
    rows = dict(line.split(",") for line in out.splitlines()[1:])
    assert sum(map(int, rows.values())) == 568_740_352
    assert len(rows) < 20


def test_what_was_not_counted_is_said_and_totals_are_at_least(capsys: pytest.CaptureFixture[str], file: str) -> None:
    code, out, _ = run(capsys, f"{file}:fft", "--input", "1x3x8x8")
    assert code == 0
    assert "at least 0 MACs" in out
    assert "not counted: aten._fft" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{file}:small", "--input", "1x5x8x8"], "0 (Conv2d) expects in_channels 3, got input 1x5x8x8: "),
        (["{file}:small"], "must be given an input; write one such as 1x3x224x224."),
        (["{file}:nothing", "--input", "1x3x8x8"], "nothing"),
        (["{file}:broken", "--input", "1x3x8x8"], "models.py:9"),
        (["network:mobilenet_v9"], "mobilenet_v9"),
        (["network:mobilenet_v1", "--sort", "name"], "sort (=name) must be one of macs, params, traffic, time."),
        (["network:mobilenet_v1", "--top", "0"], "top (=0) must be at least 1; give a larger number."),
        (["network:mobilenet_v1", "--device", "tpu"], "device (=tpu) must be auto, meta or cpu for counting; "),
        (["no_such_package:model", "--input", "1x3"], "no_such_package"),
        (["{file}:small", "--input", "1x3x"], "input (=1x3x) must be sizes with x between them"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], file: str, words: list[str], message: str
) -> None:
    code, out, err = run(capsys, *(word.replace("{file}", file) for word in words))
    assert code == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_terminal_shows_what_is_being_done(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.system.terminal.is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "400")
    _, out, err = run(capsys, f"{file}:small", "--input", "1x3x8x8")
    shown = [part.strip() for part in err.split(ERASE)]
    counters = ["counting with torch's FlopCounterMode ...", "counting with fvcore ..."]
    target = f"{file}:small"
    assert [line for line in shown if line] == [
        "importing torch ...", f"loading {target} ...", f"tracing {target} ...", *counters,
    ]  # fmt: skip
    assert err.endswith(ERASE)
    assert "..." not in out


def test_a_terminal_shows_the_table_before_the_cross_check_and_then_what_that_adds(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"{file}:small", "--input", "1x3x8x8", "--sort", "macs", "--top", "2")
    _, whole, _ = run(capsys, *words)
    monkeypatch.setattr("convcost.cli.model_command.is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "400")
    before = []

    def check(*_: Any) -> CrossCheck:
        before.append(capsys.readouterr().out)
        return CrossCheck("unavailable", None, "a test")

    monkeypatch.setattr("convcost.nn.count.cross_check.check_with_torch", check)
    _, after, _ = run(capsys, *words)
    assert "Conv2d" in before[0]
    assert before[0].splitlines()[-2:] == whole.splitlines()[-4:-2]  # the totals
    assert after.splitlines()[-1] == "torch: unavailable, a test"
    assert "total:" not in after


def test_debug_names_each_operator_without_a_shape_rule_once(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = (f"{file}:svd", "--input", "1x3x8x8", "--no-cross-check")
    _, _, err = run(capsys, *words, "--debug")
    assert err.splitlines().count("no shape rule: aten._linalg_svd.default") == 1
    assert "shape rule" not in run(capsys, *words)[2]


MODELS = ("network:resnet18", "network:mobilenet_v1", "network:mobilenet_v2")


def test_several_targets_are_one_row_each_with_ratios_to_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *MODELS, "--no-cross-check")
    assert code == 0
    head, names, *rows = out.splitlines()[:5]
    assert head == "3 models, input 1x3x224x224; 1 MAC = 2 FLOPs"
    assert names.split()[:4] == ["model", "input", "params", "MACs"]
    assert [row.split()[0] for row in rows] == list(MODELS)
    assert rows[1].endswith("2.8x        3.2x")  # 11,689,512 / 4,231,976 and 1,814,073,344 / 568,740,352


def test_the_json_of_several_targets_has_the_object_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, *MODELS[:2], "--no-cross-check", "--format", "json")
    payload = json.loads(out)
    assert (payload["schema"], payload["failures"]) == ("convcost.models/1", {})
    for target, model in zip(MODELS, payload["models"], strict=False):
        _, out, _ = run(capsys, target, "--no-cross-check", "--format", "json")
        assert json.loads(out) == model


def test_exports_of_several_targets_have_their_totals(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "models.csv"
    run(capsys, *MODELS, "--no-cross-check", "--sort", "params", "--top", "2", "--export", str(path))
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [(row["target"], row["params"], row["macs"]) for row in rows] == [
        ("network:resnet18", "11689512", "1814073344"), ("network:mobilenet_v1", "4231976", "568740352"),
    ]  # fmt: skip
    assert [row["macs_ratio"] for row in rows] == ["1.0", repr(1_814_073_344 / 568_740_352)]
    assert rows[0]["time_s"] == ""


def test_a_target_that_fails_costs_its_own_row_alone(capsys: pytest.CaptureFixture[str], file: str) -> None:
    code, out, err = run(capsys, f"{file}:small", f"{file}:broken", "--input", "1x3x8x8", "--no-cross-check")
    assert code == 2
    assert f"{file}:small" in out
    assert f"{file}:broken" not in out
    assert f"error: {file}:broken: " in err
    code, out, err = run(capsys, f"{file}:broken", f"{file}:nothing", "--input", "1x3x8x8")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_what_several_targets_do_not_count_is_listed_with_its_target(
    capsys: pytest.CaptureFixture[str], file: str
) -> None:
    _, out, _ = run(capsys, f"{file}:small", f"{file}:fft", "--input", "1x3x8x8", "--no-cross-check")
    assert f"{file}:fft: not counted: aten._fft" in out


@pytest.mark.timing
def test_several_targets_are_timed_next_to_each_other(capsys: pytest.CaptureFixture[str], file: str) -> None:
    words = ("--input", "1x3x8x8", "--no-cross-check", "--no-store", "--time", "--time-budget", "0.5")
    code, out, _ = run(capsys, f"{file}:small", f"{file}:fft", *words, "--time-device", "cpu", "--format", "json")
    assert code == 0
    first, second = (model["timing"] for model in json.loads(out)["models"])
    assert (first["speedup"], first["speedup_low"]) == (1.0, None)
    if second["speedup_low"] is not None:  # a busy machine may leave one round, which has no interval
        assert second["speedup_low"] <= second["speedup"] <= second["speedup_high"]
    assert {one["device"] for one in (first, second)} == {"cpu"}


@pytest.mark.timing
def test_a_model_that_does_not_run_costs_the_times_and_not_the_counts(
    capsys: pytest.CaptureFixture[str], file: str
) -> None:
    words = ("--input", "1x3x8x8", "--no-cross-check", "--no-store", "--time", "--time-budget", "0.1", "--sort", "time")
    code, out, err = run(capsys, f"{file}:small", f"{file}:loud", *words, "--time-device", "cpu")
    assert code == 2
    assert [line.split()[0] for line in out.splitlines()[2:4]] == [f"{file}:small", f"{file}:loud"]
    assert "error: timing: the model could not run: " in err
    assert "out of order" in err


def test_a_claim_is_answered_under_the_table_and_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("network:mobilenet_v1", "--no-cross-check", "--claim", "418M", "--claim", "7G")
    code, out, _ = run(capsys, *words, "--depth", "1")
    assert code == 0
    assert "claim 418M: MACs at 192x192, rounded (418,121,728)" in out
    assert "claim 7G: no convention gives it; the nearest are " in out
    assert "\ncaption: One forward pass of network:mobilenet_v1 on an input of 1x3x224x224: " in out
    _, out, _ = run(capsys, *words, "--format", "json")
    claims = json.loads(out)["claims"]
    assert claims[0].keys() >= {"claim", "convention", "resolution", "value", "relative_error", "matches"}
    assert [one["matches"] for one in claims if one["claim"] == "7G"] == [False] * 5


def test_the_csv_of_several_targets_has_the_answers_to_claims(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("network:mobilenet_v1", "network:mobilenet_v1_full", "--no-cross-check", "--claim", "569M")
    _, out, _ = run(capsys, *words, "--format", "csv", "--columns", "target,claims")
    first = out.splitlines()[1]
    assert first.startswith('network:mobilenet_v1,"claim 569M: MACs at 224x224, rounded (568,740,352')


def test_latex_fits_a_page_with_totals_and_csv_keeps_raw_values(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("network:mobilenet_v1", "--no-cross-check", "--depth", "1", "--format")
    _, out, _ = run(capsys, *words, "latex", "--caption", "auto", "--label", "tab:v1")
    lines = out.splitlines()
    assert lines[0] == r"\begin{table}"
    assert lines[2].startswith(r"\caption{One forward pass of network:mobilenet\_v1 on an input of 1$\times$3")
    assert lines[3] == r"\label{tab:v1}"
    assert lines[6] == r"layer & out & {params (M)} & {MACs (M)} & {share (\%)} \\"
    assert r"total &  & 4.23 & 569 & 100 \\" in lines
    _, out, _ = run(capsys, *words, "csv")
    assert out.startswith("name,op,input_shape")


@pytest.mark.parametrize("form", ["table", "markdown", "csv"])
def test_a_caption_is_made_outside_latex_too(capsys: pytest.CaptureFixture[str], form: str) -> None:
    words = ("network:mobilenet_v1", "--arg", "alpha=0.5", "--no-cross-check", "--format", form, "--caption")
    _, _, err = run(capsys, *words, "auto")
    assert "note: caption: One forward pass of network:mobilenet_v1 (alpha=0.5) on an input of 1x3x224x224: " in err
    assert "no effect" not in err
    _, _, err = run(capsys, *words, "Costs.")
    assert "note: --caption has no effect here: only LaTeX has them; add --format latex." in err


def test_the_caption_of_several_targets_names_their_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    models = ("network:mobilenet_v1", "network:mobilenet_v1_full")
    words = (*models, "--arg", "alpha=0.5", "--no-cross-check", "--format", "latex", "--caption", "auto")
    _, out, err = run(capsys, *words)
    assert r"\caption{One forward pass of each model (alpha=0.5) on an input of " in out, err


def test_a_label_needs_a_number_and_so_a_caption(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("network:mobilenet_v1", "--no-cross-check", "--depth", "1", "--format", "latex")
    _, out, _ = run(capsys, *words, "--label", "tab:v1", "--caption", "")
    assert r"\caption{One forward pass of network:mobilenet\_v1" in out
    assert r"\label{tab:v1}" in out
    _, out, _ = run(capsys, *words, "--caption", "")
    assert out.startswith(r"\begin{tabular}")


def test_latex_of_all_layers_is_a_longtable_in_a_file_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "layers.tex"
    _, out, _ = run(capsys, "network:resnet18", "--no-cross-check", "--format", "latex", "--export", str(path))
    assert out.startswith(r"\begin{longtable}")
    assert path.read_text(encoding="utf-8") == out


def test_chosen_columns_are_those_of_the_latex_table(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, *MODELS, "--no-cross-check", "--format", "latex", "--columns", "target,macs,params_ratio")
    assert r"model & {MACs (G)} & {params fewer} \\" in out.splitlines()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*MODELS, "--why", "--time"), "--why must have the layers of one model to account for; give one TARGET."),
        ((*MODELS, "--columns", "name"), "columns (=name) must be fields of a row"),
        ((*MODELS, "--sort", "time"), "sort (=time) must have times to sort by"),
        ((MODELS[0], "--claim", "much"), "claim (=much) must be a number of operations"),
    ],
)
def test_options_that_cannot_be_are_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize(
    ("words", "name"), [((MODELS[0], "--label", "tab:a"), "--label"), ((*MODELS, "--depth", "2"), "--depth")]
)
def test_options_without_effect_are_noted(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], name: str
) -> None:
    code, _, err = run(capsys, *words, "--no-cross-check")
    assert code == 0
    assert f"note: {name} has no effect here: " in err
