"""Exports are read back by other libraries, and compared with the rows."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import openpyxl
import pyarrow.parquet
import pytest

import convcost
from convcost.cli import main
from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.text.columns import Column, choose_columns
from convcost.text.export import DRAWN, SUFFIXES, TEXT_FORMATS, frame, json_text, write
from convcost.text.latex import paper_table

NAMES = [column.name for column in COMPARE_COLUMNS]
PREDICTED = ["compare", "--c", "3", "--o", "64", "--k", "3x5", "--no-count", "--no-time"]
HUGE = [
    "compare",
    "--c",
    "100000000000",
    "--o",
    "1000000000",
    "--k",
    "3",
    "--no-count",
    "--no-time",
    "--block",
    "standard",
]
HUGE_MACS = 224 * 224 * 10**11 * 10**9 * 9


class Cell:
    """A row of one text field."""

    def __init__(self, text: str | int | None) -> None:
        self.text = text


TEXT_COLUMNS: tuple[Column[Cell], ...] = (Column("cell_name", lambda cell: cell.text, "a text"),)


def export(tmp_path: Path, suffix: str, words: list[str] = PREDICTED) -> Path:
    path = tmp_path / f"rows{suffix}"
    assert main([*words, "--export", str(path)]) == 0
    return path


def test_every_promised_suffix_is_written() -> None:
    assert list(SUFFIXES) == [".csv", ".json", ".md", ".tex", ".parquet", ".xlsx", ".html", ".svg", ".png"]


def test_csv_has_raw_units_texts_for_sizes_and_empty_cells(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(export(tmp_path, ".csv").read_text(encoding="utf-8"))))
    assert list(rows[0]) == NAMES
    assert rows[0]["macs"] == str(224 * 224 * 3 * 64 * 15)
    assert rows[0]["kernel_size"] == "3x5"
    assert rows[0]["padding"] == "same"
    assert rows[0]["time_s"] == ""
    assert rows[0]["counts_agree"] == ""
    assert rows[3]["macs_ratio"] == repr(64 * 15 / (64 + 15))


def test_json_is_one_object_with_lists_and_nulls(tmp_path: Path) -> None:
    payload = json.loads(export(tmp_path, ".json").read_text(encoding="utf-8"))
    assert payload["schema"] == "convcost.compare/1"
    assert payload["command"] == "convcost compare --c 3 --o 64 --k 3x5 --h 224 --w 224 --no-count --no-time"
    assert payload["conditions"]["dtype"] == "float32"
    assert [list(row) for row in payload["rows"]] == [NAMES] * 6
    assert payload["rows"][0]["kernel_size"] == [3, 5]
    assert payload["rows"][0]["time_s"] is None


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "latex"])
def test_stdout_and_file_hold_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    suffix = next(suffix for suffix, kind in SUFFIXES.items() if kind == form)
    path = tmp_path / f"rows{suffix}"
    assert main([*PREDICTED, "--format", form, "--export", str(path)]) == 0
    assert capsys.readouterr().out == path.read_text(encoding="utf-8")


def test_markdown_is_one_table_with_field_names(tmp_path: Path) -> None:
    lines = export(tmp_path, ".md").read_text(encoding="utf-8").splitlines()
    heads = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert heads == NAMES
    assert len(lines) == 2 + 6


def test_parquet_keeps_types_and_integers_beyond_int64(tmp_path: Path) -> None:
    table = pyarrow.parquet.read_table(export(tmp_path, ".parquet")).to_pylist()
    assert table[0]["macs"] == 224 * 224 * 3 * 64 * 15
    assert table[0]["time_s"] is None
    huge = pyarrow.parquet.read_table(export(tmp_path, ".parquet", HUGE)).to_pylist()
    assert huge[0]["macs"] == Decimal(HUGE_MACS)


def test_xlsx_keeps_numbers_and_writes_integers_beyond_2_53_as_text(tmp_path: Path) -> None:
    sheet = openpyxl.load_workbook(export(tmp_path, ".xlsx")).active
    assert [cell.value for cell in sheet[1]] == NAMES
    assert sheet.cell(2, 1 + NAMES.index("macs")).value == 224 * 224 * 3 * 64 * 15
    huge = openpyxl.load_workbook(export(tmp_path, ".xlsx", HUGE)).active
    assert huge.cell(2, 1 + NAMES.index("macs")).value == str(HUGE_MACS)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".md"])
def test_an_integer_of_any_size_is_written_exactly(tmp_path: Path, suffix: str) -> None:
    assert str(HUGE_MACS) in export(tmp_path, suffix, HUGE).read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx"])
def test_a_text_that_a_spreadsheet_would_run_is_neutralised(tmp_path: Path, text: str) -> None:
    table = frame(TEXT_COLUMNS, [Cell(text)])
    assert next(csv.reader(io.StringIO(TEXT_FORMATS["csv"](table).split("\n", 1)[1], newline="")))[0] == f"'{text}"
    write("xlsx", table, {}, tmp_path / "rows.xlsx")
    cell = openpyxl.load_workbook(tmp_path / "rows.xlsx").active["A2"]
    assert cell.data_type == "s"
    assert cell.value.replace("_x000D_", "\r") == f"'{text}"


def test_latex_escapes_heads_and_cells_and_uses_booktabs() -> None:
    text = paper_table(choose_columns(TEXT_COLUMNS, "cell_name"), [Cell("50 % of a_b & #1"), Cell(None)])
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{l}"
    assert lines[1] == r"\toprule % needs \usepackage{booktabs}"
    assert lines[2] == r"cell\_name \\"
    assert lines[4] == r"50 \% of a\_b \& \#1 \\"
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert "None" not in text


def test_latex_compiles(tmp_path: Path) -> None:
    compiler = shutil.which("pdflatex") or shutil.which("tectonic")
    if compiler is None:
        pytest.skip("neither pdflatex nor tectonic is installed; the structure is checked above")
    body = export(tmp_path, ".tex").read_text(encoding="utf-8")
    document = r"\documentclass[a0paper,landscape]{article}\usepackage{booktabs}\begin{document}\tiny " + body
    (tmp_path / "main.tex").write_text(document + r"\end{document}", encoding="utf-8")
    done = subprocess.run([compiler, "main.tex"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_frame_holds_python_values() -> None:
    table = convcost.compare(3, 64, 3, count=False, time=False).to_frame()
    assert list(table.columns) == NAMES
    assert table["macs"].tolist()[0] == 224 * 224 * 3 * 64 * 9
    assert table["time_s"].tolist()[0] is None


def test_a_notebook_shows_a_table_with_the_verdicts() -> None:
    html = convcost.compare(3, 64, 3, count=False, time=False)._repr_html_()
    assert html.startswith("<table")
    assert "depthwise-separable: 7.9x fewer MACs, against standard." in html


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rows.pdf", "must end in .csv, .json, .md, .tex, .parquet, .xlsx"),
        ("nowhere/rows.csv", "must be in a folder that can be written (No such file or directory)"),
        ("folder.csv", "must be a file and is a folder"),
        ("pipe.csv", "must be a file, and is a device or a pipe"),
    ],
)
def test_an_export_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    assert main([*PREDICTED, "--export", str(tmp_path / name)]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert message in streams.err
    assert streams.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.csv", "pipe.csv"]


def test_of_a_link_the_file_that_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere/rows.csv", tmp_path / "rows.csv"
    link.symlink_to(real)
    assert main([*PREDICTED, "--export", str(link)]) == 0
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8").startswith("block,")


def test_a_file_that_cannot_be_written_costs_neither_the_table_nor_the_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace = Path.replace

    def full_disk(self: Path, target: Path) -> Path:
        if target.name.startswith("full"):
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full_disk)
    paths = [str(tmp_path / name) for name in ("full1.csv", "rows.csv", "full2.csv")]
    assert main([*PREDICTED, *(word for path in paths for word in ("--export", path))]) == 2
    streams = capsys.readouterr()
    assert "standard" in streams.out
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    refusals = [line for line in streams.err.splitlines() if line.startswith("error: ")]
    assert len(refusals) == 2
    assert all("could not be written (No space left on device)" in line for line in refusals)


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old", encoding="utf-8")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    assert main([*PREDICTED, "--export", str(path)]) == 2
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits of this kind")
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o640)
    assert main([*PREDICTED, "--export", str(path)]) == 0
    assert path.stat().st_mode & 0o777 == 0o640


def test_columns_can_be_chosen_for_a_table_that_fits_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PREDICTED, "--format", "latex", "--columns", "block,macs,macs_ratio"]) == 0
    assert capsys.readouterr().out.splitlines()[2] == r"block & {MACs (M)} & {fewer} \\"
    assert main([*PREDICTED, "--columns", "block,groups"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["block", "groups"]
    assert main([*PREDICTED, "--columns", "mac"]) == 2
    assert capsys.readouterr().err == "error: columns (=mac) must be fields of a row; did you mean macs?\n"


@pytest.mark.parametrize("form", TEXT_FORMATS)
def test_an_integer_beside_a_missing_value_stays_an_exact_integer(form: str) -> None:
    column: Column[Cell] = Column("macs", lambda cell: cell.text, "a number")
    text = TEXT_FORMATS[form](frame((column,), [Cell(2**60 + 1), Cell(None)]))
    assert str(2**60 + 1) in text
    assert ".0" not in text


HARMFUL = ("a\nb", "c\r\n\nd", "x\u202ey", "s\udcffs", "\x1b[31m", "\x9b31m", "##[error]z", "p|q<b>&", "~~$x$")


@pytest.mark.parametrize(("kind", "around"), [("markdown", 2), ("latex", 6)])
def test_a_row_of_a_table_is_one_line_whatever_its_texts_hold(kind: str, around: int) -> None:
    rows = [Cell(text) for text in HARMFUL]
    if kind == "latex":
        text = paper_table(choose_columns(TEXT_COLUMNS, "cell_name"), rows)
    else:
        text = TEXT_FORMATS[kind](frame(TEXT_COLUMNS, rows))
    lines = text.splitlines()
    assert len(lines) == around + len(HARMFUL)
    assert all(line.isprintable() for line in lines)


def test_markdown_shows_harmful_texts_as_they_are() -> None:
    _, _, *rows = TEXT_FORMATS["markdown"](frame(TEXT_COLUMNS, [Cell(text) for text in HARMFUL])).splitlines()
    assert rows == [
        "| a b |",
        "| c d |",
        r"| x\\u202ey |",
        r"| s\\udcffs |",
        r"| �\[31m |",
        "| �31m |",
        r"| ##\[error\]z |",
        r"| p\|q&lt;b&gt;&amp; |",
        r"| \~\~\$x\$ |",
    ]


@pytest.mark.parametrize("text", HARMFUL)
def test_json_holds_every_text_exactly_in_harmless_characters(text: str) -> None:
    written = json_text({"name": text})
    assert json.loads(written) == {"name": text}
    assert written.encode("utf-8")
    assert all(line.isprintable() for line in written.splitlines())
    assert "##[" not in written


@pytest.mark.parametrize("suffix", [suffix for suffix, kind in SUFFIXES.items() if kind not in DRAWN | {"latex"}])
def test_a_text_that_is_not_utf_8_is_written_to_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff" + suffix.encode()))
    table = frame(TEXT_COLUMNS, [Cell("s\udcffs")])
    write(SUFFIXES[suffix], table, {"name": "s\udcffs"}, path)
    if suffix == ".parquet":
        read = pyarrow.parquet.read_table(io.BytesIO(path.read_bytes())).to_pylist()
        assert read == [{"cell_name": r"s\udcffs"}]
    elif suffix != ".xlsx":
        assert "udcff" in path.read_text(encoding="utf-8")
