"""`convcost kernel` as its users have it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import openpyxl
import pytest
import torch
import typer.main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import convcost.nn.measure.kernels
from convcost.cli import full_app, main
from convcost.kernels.named import KERNELS, named_kernel
from convcost.nn.load import spectrum
from convcost.text.table import plain_table
from convcost.workflows.kernel import separate_kernels, separate_model

if TYPE_CHECKING:
    from pathlib import Path

PROMISED = {
    *("name", "height", "width", "rank", "separable", "column", "row", "singular_values", "rank1_error"),
    *("products_before", "products_after"),
}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["kernel", *words])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def kernels(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    code, out, _ = run(capsys, *words, "--no-time", "--format", "json")
    payload = json.loads(out)
    assert code == 0
    assert payload["schema"] == "convcost.kernel/1"
    return payload["kernels"]


@pytest.mark.parametrize("text", ["-1 0 1; -2 0 2; -1 0 1", "-1,0,1;-2,0,2;-1,0,1", "-1 0 1\n-2 0 2\n-1 0 1"])
def test_a_leading_minus_is_no_option(capsys: pytest.CaptureFixture[str], text: str) -> None:
    for words in ((text,), ("--c", "2", text), (text, "--h", "20")):
        (found,) = kernels(capsys, *words)
        assert found.keys() >= PROMISED
        assert (found["name"], found["height"], found["width"]) == ("-1 0 1; -2 0 2; -1 0 1", 3, 3)
        assert (found["rank"], found["separable"]) == (1, True)
        assert (found["column"], found["row"]) == ([1, 2, 1], [-1, 0, 1])
        assert (found["products_before"], found["products_after"]) == (9, 6)
        assert found["difference"] == 0


def test_a_leading_minus_is_no_option_after_any_flag(capsys: pytest.CaptureFixture[str]) -> None:
    command = vars(typer.main.get_command(full_app()))["commands"]["kernel"]
    flags = {
        word for each in command.params if getattr(each, "is_flag", False) for word in each.opts + each.secondary_opts
    }
    assert {"--no-time", "--store"} <= flags
    for flag in flags - {"--list-kernels", "--time"}:
        (found,) = kernels(capsys, flag, "-1 0 1; -2 0 2; -1 0 1")
        assert found["row"] == [-1, 0, 1], flag


def test_a_kernel_of_zeros_needs_no_products_and_its_layers_are_said_to_be_of_rank_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (found,) = kernels(capsys, "0 0 0; 0 0 0")
    assert (found["rank"], found["products_after"], found["column"], found["row"]) == (0, 0, [0, 0], [0, 0, 0])
    note = "note: 0 0 0; 0 0 0 is all zeros and needs no products; the layers are still built, as of rank 1."
    assert note in run(capsys, "0 0 0; 0 0 0", "--no-time")[2]


def test_negative_options_stay_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert kernels(capsys, "gabor", "--theta", "-30")[0]["rank"] == 2
    code, _, err = run(capsys, "gaussian", "--sigma", "-1", "--no-time")
    assert (code, err.startswith("error: sigma (=-1.0) must be")) == (2, True)
    code, _, err = run(capsys, "sobel", "--no-tme")
    assert code == 2
    assert "No such option: --no-tme" in err


def test_a_kernel_that_is_not_separable_has_no_column_and_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = kernels(capsys, "laplacian")
    assert (found["rank"], found["separable"], found["column"], found["row"]) == (2, False, None, None)
    assert (found["products_before"], found["products_after"], found["pays_up_to_rank"]) == (9, 12, 1)
    assert len(found["singular_values"]) == len(found["errors"]) == 3
    assert found["macs_ratio"] == 9 / 12
    assert found["macs_before"] == 3 * 224 * 224 * 9


def test_the_table_says_everything_about_each_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "sobel", "laplacian", "--no-time", "--c", "5", "--h", "20", "--w", "30")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "each channel of 1x5x20x30 alone; 1 MAC = 2 FLOPs"
    assert lines[2].split()[:4] == ["sobel", "3x3", "1", "yes"]
    start = lines.index("sobel, 3x3:")
    assert lines[start + 1 : start + 4] == ["  -1  0  1", "  -2  0  2", "  -1  0  1"]
    assert lines[start + 4] == "sobel: rank 1 (exact), spatially separable"
    assert "  = [1 2 1]ᵀ · [-1 0 1]" in lines
    assert "  rank 1: error 0, products per pixel 9 → 6 (1.5x fewer)" in lines
    assert "  rank 2: error 0, products per pixel 9 → 12 (1.3x as many)" in lines
    assert "  factors of rank 2 or more do not pay: 12 products against 9 per pixel" in lines
    assert "on an image of 20x30 kernel and factors differ by at most 0 (outputs reach" in out
    assert "\x1b" not in out


def test_every_named_kernel_is_listed_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--list-kernels")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:] if line[0] != " "] == list(KERNELS)
    shown = " ".join(out.split())
    assert all(kernel.source in shown for kernel in KERNELS.values())


def test_a_kernel_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.outer([0.3, 0.5], [0.1, 0.7, 0.9]))
    (tmp_path / "k.csv").write_text("1,2\n2,4\n", encoding="utf-8")
    first, second = kernels(capsys, str(tmp_path / "k.npy"), str(tmp_path / "k.csv"))
    assert (first["name"], first["height"], first["width"], first["separable"]) == ("k.npy", 2, 3, True)
    np.testing.assert_allclose(np.outer(first["column"], first["row"]), np.outer([0.3, 0.5], [0.1, 0.7, 0.9]))
    assert first["tolerance"] == 16 * 3 * 2.0**-52
    assert (second["column"], second["row"]) == ([1, 2], [1, 2])


def test_the_tolerance_is_an_option_that_integers_ignore(capsys: pytest.CaptureFixture[str]) -> None:
    nearly = ("1.5 3; 3 6.001", "--tolerance", "0.001")
    assert kernels(capsys, *nearly)[0]["rank"] == 1
    code, out, err = run(
        capsys, "1 2; 2 5", "--tolerance", "0.5", "--no-time", "--columns", "name,rank", "--format", "csv"
    )
    assert (code, out) == (0, "name,rank\n1 2; 2 5,2\n")
    assert "note: 1 2; 2 5 holds integers: its rank is exact, whatever the tolerance." in err


@pytest.mark.timing
def test_both_are_timed_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("sobel", "--time-budget", "1", "--c", "4", "--h", "40")
    code, out, _ = run(capsys, *words, "--format", "json")
    (found,) = json.loads(out)["kernels"]
    assert code == 0
    assert found["kernel_time_s"] > 0
    assert found["time_s"] > 0
    if found["speedup_low"] is not None:  # a busy machine may leave one round, which has no interval
        assert found["speedup_low"] < found["speedup"] < found["speedup_high"]
    assert found["macs_ratio"] == 1.5
    assert (found["device"], found["threads"], found["memory_format"]) == ("cpu", 1, "contiguous")
    assert found["timed_difference"] < 1e-3
    code, out, _ = run(capsys, *words)
    assert "; 1.5x fewer MACs, " in out
    assert "speed-up" in out


def test_what_was_known_before_an_interrupt_is_delivered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(convcost.nn.measure.kernels, "measure_kernel", interrupted)
    code, out, err = run(capsys, "sobel", "--format", "json", "--export", str(tmp_path / "rows.csv"))
    (found,) = json.loads(out)["kernels"]
    assert code == 130
    assert (found["rank"], found["time_s"]) == (1, None)
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8").count("\n") == 2
    assert "interrupted" in err


def test_an_interrupt_while_torch_is_imported_delivers_what_numpy_knew(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convcost.nn.measure.device.resolve_device", interrupted)
    code, out, _ = run(capsys, "sobel", "--format", "json")
    assert (code, json.loads(out)["kernels"][0]["rank"]) == (130, 1)


def test_an_interrupted_network_has_all_its_rows_with_nulls_for_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: str
) -> None:
    calls = iter([spectrum.layer_row])

    def once(*args: Any) -> object:
        real = next(calls, None)
        if real is None:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(spectrum, "layer_row", once)
    path = tmp_path / "rows.csv"
    code, out, err = run(capsys, "--model", weights, "--format", "json", "--export", str(path))
    first, second = json.loads(out)["layers"]
    assert code == 130
    assert (first["rank1_kernels"], second["rank1_kernels"]) == (6, None)
    assert (second["name"], second["kernel_size"], second["params_before"]) == ("1", [3, 5], 180)
    assert second["params_after"] is None
    assert path.read_text(encoding="utf-8").count("\n") == 3
    assert "interrupted: what was not done yet is left empty." in err
    assert "6 of 6 kernels (100.0 %) have rank 1" in err


def test_a_large_kernel_is_shown_in_few_lines_and_written_whole(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    np.save(tmp_path / "k.npy", np.random.default_rng(0).normal(size=(60, 60)))
    words = (str(tmp_path / "k.npy"), "--no-time", "--h", "64")
    code, out, err = run(capsys, *words, "--export", str(tmp_path / "k.xlsx"))
    assert (code, err) == (0, "")
    assert len(out) < 3000
    assert "= 60 columns times rows, of 60 and 60 numbers" in out
    assert "(60 of them)" in out
    assert "rank 60: error 0" in out
    book = openpyxl.load_workbook(tmp_path / "k.xlsx").active
    cells = dict(zip(*([cell.value for cell in row] for row in book.iter_rows()), strict=True))
    assert cells["factors"].endswith("characters, more than a cell holds: see the CSV or the JSON)")
    _, out, _ = run(capsys, *words, "--format", "json")
    (found,) = json.loads(out)["kernels"]
    assert found["factors"].count("ᵀ") == 60


def test_numbers_in_a_csv_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("gaussian", "--no-time", "--h", "16", "--format", "csv", "--columns", "column,row,singular_values")
    _, out, _ = run(capsys, *words)
    column, row, values = next(csv.reader(out.splitlines()[1:]))
    sides = [np.array([float(word) for word in text.strip("[]").split()]) for text in (column, row)]
    np.testing.assert_allclose(np.outer(*sides), named_kernel("gaussian").array(), rtol=1e-14)
    assert float(values.strip("[]").split()[0]) == float(np.linalg.svd(named_kernel("gaussian").array())[1][0])


def test_a_value_that_begins_with_a_minus_stays_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, _ = run(capsys, "sobel", "--no-time", "--h", "8", "--export", "-1 0.csv")
    assert (code, [path.name for path in tmp_path.iterdir()]) == (0, ["-1 0.csv"])
    code, out, _ = run(capsys, "--no-time", "-1 0 1; -2 0 2; -1 0 1", "--h", "8", "--format", "json")
    assert (code, json.loads(out)["kernels"][0]["rank"]) == (0, 1)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_row_of_a_table_is_wider_than_the_terminal(width: int, weights: str) -> None:
    nothing = dict.fromkeys(("size", "sigma", "theta", "wavelength", "gamma"))
    matrices = separate_kernels(["sobel", "laplacian", "gaussian"], nothing, None, (64, 224, 224))
    *_, network = separate_model(weights, (), None, lambda _: None)
    reports: tuple[Any, ...] = (matrices, network)
    for report in reports:
        lines = plain_table(report.columns, report.rows, width).splitlines()
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("suffix", ["csv", "json", "md", "tex", "parquet", "xlsx"])
def test_every_kind_of_export_of_kernels_and_of_networks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str
) -> None:
    torch.save(nn.Conv2d(2, 3, 3).state_dict(), tmp_path / "w.pt")
    for words in (("sobel", "-1 2; 2 5", "--no-time"), ("--model", str(tmp_path / "w.pt"))):
        path = tmp_path / f"rows.{suffix}"
        code, _, _ = run(capsys, *words, "--export", str(path))
        assert code == 0
        assert path.stat().st_size > 100
        path.unlink()


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "latex"])
def test_a_machines_format_holds_nothing_but_data(capsys: pytest.CaptureFixture[str], form: str) -> None:
    code, out, err = run(capsys, "sobel", "--no-time", "--format", form)
    starts = {"csv": "name,height,width,", "json": "{\n", "markdown": "| name", "latex": "\\begin{tabular}"}
    assert code == 0
    assert out.startswith(starts[form])
    assert "spatially separable" not in out
    assert "note: sobel: rank 1 (exact), spatially separable" in err


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A network with one convolution of rank 1 kernels, one of zeros, and one 1×1."""
    first, second = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, (3, 5))
    with torch.no_grad():
        first.weight.copy_(torch.randn(3, 2, 3, 1) * torch.randn(3, 2, 1, 3))
        second.weight.zero_()
    network = nn.Sequential(first, second, nn.Conv2d(4, 5, 1))
    torch.save(network.state_dict(), tmp_path / "w.pt")
    return str(tmp_path / "w.pt")


def test_a_networks_weights_have_one_row_a_convolution(capsys: pytest.CaptureFixture[str], weights: str) -> None:
    code, out, err = run(capsys, "--model", weights, "--format", "json")
    payload = json.loads(out)
    first, second = payload["layers"]
    assert (code, payload["schema"], payload["kernels"]) == (0, "convcost.kernel/1", [])
    assert (first["name"], first["kernel_size"], first["kernels"], first["rank1_kernels"]) == ("0", [3, 3], 6, 6)
    assert first["energy_median"] == pytest.approx([1, 1, 1])
    assert first["energy_histogram"] == [0] * 9 + [6]
    assert first["params_before"] == 3 * 2 * 9
    assert first["params_after"] == first["pair_rank"] * (2 * 3 + 3 * 3)
    assert (second["zero_kernels"], second["energy_median"], second["pair_rank"]) == (12, None, 0)
    assert "note: weights alone tell neither groups nor stride" in err
    _, out, _ = run(capsys, "--model", weights)
    assert "6 of 18 kernels (33.3 %) have rank 1, 12 are zeros" in out
    assert "100.0 % (100.0–100.0) ▁▁▁▁▁▁▁▁▁█" in out


def test_a_target_with_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "network:mobilenet_v1", "--arg", "alpha=0.25", "--format", "csv", "--columns", "name,kernels")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert out.splitlines()[1:3] == ["block1.conv,24", "block2.depthwise,8"]  # 3·8, and 8 depthwise kernels


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["1 2; 3"], "row 2 (=1 numbers)"),
        ([""], "the matrix (=empty)"),
        (["1 b; 2 3"], "entry (=b, row 1)"),
        (["nan 1; 2 3"], "entry (=nan, row 1)"),
        (["-inf 1; 2 3"], "entry (=-inf, row 1)"),
        (["5"], "the matrix (=5, 1x1)"),
        (["-5"], "the matrix (=-5, 1x1)"),
        (["k.pkl"], "must be no pickle"),
        (["sobell"], "did you mean sobel?"),
        (["--size", "3"], "KERNEL (=nothing) must be given, or --model TARGET; "),
        (["sobel", "--model", "network:resnet18"], "sobel must not stand beside --model"),
        (["--model", "network:resnet18", "--size", "3"], "--size must not stand beside --model"),
        (["sobel", "--arg", "a=1"], "arg (=a=1) must go with --model"),
        (["sobel", "--tolerance", "1"], "tolerance (=1.0) must be a share"),
        (["--model", "network:resnet18", "--tolerance", "nan"], "tolerance (=nan) must be a share"),
        (["--model", "torch.nn:ReLU"], "must have a convolution over two axes"),
        (["sobel", "--c", "0"], "in_channels (=0) must be at least 1"),
        (["sobel", "--h", "0"], "must be at least 1"),
        (["sobel", "--device", "tpu"], "device (=tpu)"),
        (["sobel", "--memory-format", "nhwc"], "memory_format (=nhwc) must be one of contiguous, channels_last."),
        (["sobel", "--threads", "0"], "threads (=0)"),
        (["sobel", "--time-budget", "0"], "time_budget (=0.0)"),
        (["sobel", "--columns", "nothing"], "columns (=nothing)"),
        (["sobel", "--export", "a.foo"], "export (=a.foo) must end in"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


WORDS = st.one_of(
    st.text("-+.,;/e0123456789 \nx", max_size=12),
    st.sampled_from([*KERNELS, "nan", "1 1; 1 1", "--size", "--sigma", "--theta", "3", "-2", "0.5", "--tolerance"]),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, max_size=4))
def test_random_words_never_crash_the_command(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, out, err = run(capsys, *words, "--no-time", "--h", "8", "--format", "json")
    assert code in {0, 2}
    assert "crashed" not in err
    if code == 0:
        for found in json.loads(out)["kernels"]:
            assert found["difference"] <= 1e-9 * max(1.0, found["largest_output"])
    else:
        assert (out, err.count("\n")) == ("", 1)


def test_a_matrix_without_timing_needs_numpy_alone() -> None:
    code = (
        "import sys\nfrom convcost.cli import main\n"
        "main(['kernel', '-1 0 1; -2 0 2; -1 0 1', '--no-time'])\n"
        "import convcost\nconvcost.separate([[1, 2], [2, 4]])\n"
        "print('loaded', *({'torch', 'fvcore', 'pandas', 'rich', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONUTF8": "1"}
    )
    assert done.stdout.splitlines()[-1] == "loaded numpy"
