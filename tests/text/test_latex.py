"""LaTeX tables for papers: units in the heads, plain numbers, a page's width and length."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from convcost.text.columns import Column
from convcost.text.latex import MAX_ROWS, Paper, escaped, paper_table
from convcost.text.units import human_bytes, human_count, human_ratio, human_share, human_time

if TYPE_CHECKING:
    from pathlib import Path


class Row(NamedTuple):
    name: str = "a"
    macs: int | None = 0
    size: int = 0
    seconds: float = 0.0
    share: float = 0.0
    ratio: float = 1.0
    shape: tuple[int, ...] = (3, 3)


COLUMNS: tuple[Column[Row], ...] = (
    Column("name", lambda row: row.name, "", "layer"),
    Column("macs", lambda row: row.macs, "", "MACs", human_count),
    Column("size", lambda row: row.size, "", "traffic", human_bytes),
    Column("seconds", lambda row: row.seconds, "", "time", human_time),
    Column("share", lambda row: row.share, "", "share", human_share),
    Column("ratio", lambda row: row.ratio, "", "fewer", human_ratio),
    Column("shape", lambda row: row.shape, "", "kernel"),
    Column("hidden", lambda row: row.name, ""),
    Column("wide", lambda row: row.name, "", "wide", width=500),
)
ROWS = (
    Row("stem", 118_013_952, 3_850_000, 0.0251, 0.0651, 7.89),
    Row("a_b", 9_408, 999, 0.000_61, 0.0, 0.5, (1, 7)),
    Row("free", 0, 0, 0.0, 1.0, 100.0),
)


def cells(text: str) -> list[list[str]]:
    return [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if line.endswith(r"\\")]


def test_heads_have_the_units_and_cells_are_plain_numbers_of_three_digits() -> None:
    head, *rows = cells(paper_table(COLUMNS, ROWS))
    assert head == ["layer", "{MACs (M)}", "{traffic (MB)}", "{time (ms)}", r"{share (\%)}", "{fewer}", "kernel"]
    assert rows == [
        ["stem", "118", "3.85", "25.1", "6.51", "7.89", r"3$\times$3"],
        [r"a\_b", "0.009", "0.001", "0.610", "0", "0.500", r"1$\times$7"],
        ["free", "0", "0", "0", "100", "100", r"3$\times$3"],
    ]


def test_what_is_less_than_the_last_digit_is_not_shown_as_0() -> None:
    rows = cells(paper_table(COLUMNS, [Row("a", 10**9), Row("b", 1)]))
    assert [row[1] for row in rows] == ["{MACs (G)}", "1.00", r"{$<$\,0.001}"]


def test_counts_below_a_thousand_are_exact_and_missing_values_are_blank() -> None:
    rows = cells(paper_table(COLUMNS, [Row("a", 999), Row("b", None), Row("c", 7)]))
    assert [row[1] for row in rows] == ["{MACs}", "999", "", "7"]


def test_a_mark_of_doubt_stays_beside_the_number() -> None:
    timed: Column[Row] = Column(
        "time_s", lambda row: row.seconds, "", "time", human_time, lambda row: f"{human_time(row.seconds)} !"
    )
    assert cells(paper_table((COLUMNS[0], timed), [Row("a", seconds=0.0025)])) == [
        ["layer", "{time (ms)}"],
        ["a", r"{2.50\,!}"],
    ]


def test_the_totals_stand_under_a_rule_in_the_unit_of_the_rows() -> None:
    lines = paper_table(COLUMNS[:2], [Row("a", 600_000_000)], Row("total", 1_814_073_344)).splitlines()
    assert lines[-5:] == [r"a & 600 \\", r"\midrule", r"total & 1814 \\", r"\bottomrule", r"\end{tabular}"]


def test_a_caption_or_a_label_makes_the_table_float() -> None:
    text = paper_table(COLUMNS[:2], ROWS, paper=Paper("50 % of a_b at 1x3x8", "tab:cost"))
    lines = text.splitlines()
    assert lines[:4] == [
        r"\begin{table}", r"\centering", r"\caption{50 \% of a\_b at 1$\times$3$\times$8}", r"\label{tab:cost}",
    ]  # fmt: skip
    assert lines[-1] == r"\end{table}"
    assert paper_table(COLUMNS[:2], ROWS).startswith(r"\begin{tabular}{lr}")


@pytest.mark.parametrize("paper", [Paper(), Paper("caption"), Paper("caption", "tab:a"), Paper(None, "tab:a")])
def test_a_table_of_more_than_a_page_is_a_longtable_that_repeats_its_head(paper: Paper) -> None:
    rows = [Row(f"layer {number}", number) for number in range(MAX_ROWS + 1)]
    text = paper_table(COLUMNS[:2], rows, Row("total", 5), paper)
    assert text.startswith("\\begin{longtable}{lr}\n")
    assert text.endswith("\\end{longtable}\n")
    assert text.count(r"layer & {MACs} \\") == 2
    legend = text[: text.index(r"\toprule")]
    assert legend.count(r"\\") == (paper != Paper())
    assert paper_table(COLUMNS[:2], rows[:-1]).startswith(r"\begin{tabular}")


SIGNS = "αβγδεζηθικλνξπρστφχψωΓΔΘΛΞΠΣΦΨΩ⁰²⁹ᵀ₀₂√‖÷−×→≥·✓✗⌊⌋…–µμ<>|▁█"


@pytest.mark.parametrize("sign", SIGNS)
def test_signs_that_pdflatex_has_no_letter_for_become_formulas(sign: str) -> None:
    assert escaped(f"a{sign}b").isascii()
    assert escaped(sign) not in {"<", ">", "|"}


def test_a_minus_is_a_minus_and_a_hyphen_a_hyphen() -> None:
    assert escaped("[1 2 1]ᵀ · [-1 0 1]") == r"[1 2 1]$^\top$ $\cdot$ [$-$1 0 1]"
    assert escaped("depthwise-separable, 2026-07-01") == "depthwise-separable, 2026-07-01"


@pytest.mark.parametrize("sign", "&%$#_{}~^\\")
def test_every_special_character_is_escaped(sign: str) -> None:
    assert escaped(sign) in {rf"\{sign}", r"\textasciitilde{}", r"\textasciicircum{}", r"\textbackslash{}"}


def test_a_text_with_line_breaks_stays_one_line() -> None:
    assert len(paper_table(COLUMNS[:2], [Row("a\nb\r\nc")]).splitlines()) == 7
    assert "\n" not in escaped("a\nb")


def test_the_tables_compile(tmp_path: Path) -> None:
    compiler = shutil.which("pdflatex") or shutil.which("tectonic")
    if compiler is None:
        pytest.skip("neither pdflatex nor tectonic is installed; the structure is checked above")
    long = [Row(f"layer_{number}", number * 10**6) for number in range(3 * MAX_ROWS)]
    short = paper_table(COLUMNS, ROWS, Row("total"), Paper("50 % → 2.5x", "tab:a"))
    numbers = re.sub(r"\{lr\}", "{lS}", paper_table(COLUMNS[:2], [Row("a", 10**9), Row("b", 1), Row("c", None)]))
    signs = paper_table(COLUMNS[:1], [Row(f"a{sign}b") for sign in SIGNS])
    body = "\n".join(
        (short, numbers, signs, paper_table(COLUMNS, long, paper=Paper("long", "tab:b")), paper_table(COLUMNS, long))
    )
    packages = r"\usepackage{booktabs,longtable,siunitx}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "main.tex").write_text(document, encoding="utf-8")
    command = [compiler, "-interaction=nonstopmode", "main.tex"] if "pdflatex" in compiler else [compiler, "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
