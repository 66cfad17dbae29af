"""`convcost explain`: the derivation of a block's cost, of one block or several, in each format."""

from __future__ import annotations

import json

import pytest

import convcost
from convcost.cli import main
from convcost.programs.dialect import WRITTEN

SHAPE = ["--c", "12", "--o", "24", "--k", "3", "--h", "16"]


def explain(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    assert main(["explain", *words, *SHAPE]) == 0
    done = capsys.readouterr()
    return done.out, done.err


def test_one_block_is_one_object_and_several_are_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    one = json.loads(explain(capsys, "depthwise", "--format", "json")[0])
    assert (one["schema"], one["block"], one["macs"]) == ("convcost.explain/1", "depthwise", 16 * 16 * 12 * 3 * 3)
    assert one["baseline_total"]["macs"] == 16 * 16 * 12 * 24 * 3 * 3
    several = json.loads(explain(capsys, "standard", "depthwise", "--format", "json")[0])
    assert several["schema"] == "convcost.explain/1"
    assert several["blocks"][1] == {name: value for name, value in one.items() if name != "schema"}


def test_all_is_the_whole_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = json.loads(explain(capsys, "all", "--format", "json")[0])["blocks"]
    assert [block["block"] for block in blocks] == list(convcost.BLOCKS)


@pytest.mark.parametrize("block", ["depthwise-separable", "shared-kernel-separable"])
def test_the_total_is_printed_beside_the_baseline(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = explain(capsys, block)
    lines = [line.strip() for line in out.splitlines()]
    total = lines.index("total MACs = N·H·W·C·m·(K² + O) = 1·16·16·12·1·(3² + 24) = 101,376")
    assert lines[total + 1] == "against standard = N·H·W·C·O·K² = 1·16·16·12·24·3² = 663,552"
    assert err == ""


def test_under_the_table_of_compare_the_total_is_printed_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *SHAPE, "--no-count", "--no-time", "--explain"]) == 0
    out = capsys.readouterr().out
    assert out.count("total MACs = ") == 6
    assert out.count("against standard = ") == 3 * 5  # MACs, parameters and FLOPs of every block but standard


def test_markdown_and_latex_are_those_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    python = convcost.explain(["standard", "ghost"], 12, 24, 3, height=16)
    assert explain(capsys, "standard", "ghost", "--format", "markdown")[0] == python.markdown()
    assert explain(capsys, "standard", "ghost", "--format", "latex")[0] == python.latex()
    assert python.latex().startswith("% standard (LeCun et al. 1989, ")


def test_a_block_that_does_not_fit_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = explain(capsys, "standard", "partial", "--stride", "2", "--format", "json")
    assert [block["block"] for block in json.loads(out)["blocks"]] == ["standard"]
    assert err.startswith("note: partial is left out: stride (=2x2) must be 1 for partial")


@pytest.mark.parametrize(
    ("file", "words", "dialect"),
    [
        ("block.py", [], "torch"),
        ("block.PY", ["--emit-as", "torch"], "torch"),
        ("block.py", ["--emit-as", "keras"], "keras"),
        ("block.txt", [], "onednn"),
        ("block.txt", ["--emit-as", "onednn"], "onednn"),
    ],
)
def test_a_program_is_written_beside_the_derivation(file, words, dialect, tmp_path, capsys) -> None:
    path = tmp_path / file
    out, err = explain(capsys, "standard", "ghost", "--emit", str(path), *words)
    python = convcost.explain(["standard", "ghost"], 12, 24, 3, height=16)
    assert path.read_text(encoding="utf-8") == python.program(dialect)
    assert (out, err) == (python.text(), f"note: {path}: written\n")


@pytest.mark.parametrize(
    ("file", "words", "rule"),
    [
        ("block.c", [], "emit (={path}) must end in .py, .txt; the suffix chooses the kind of file."),
        ("block.txt", ["--emit-as", "keras"], "emit (={path}) must end in .py; the suffix chooses the kind of file."),
        ("block.py", ["--emit-as", "onednn"], "emit (={path}) must end in .txt; the suffix chooses the kind of file."),
        ("folder.py", [], "emit (={path}) must be a file and is a folder; give it another name."),
        ("none/block.py", [], "emit (={path}) must be in a folder that can be written (No such file or directory);"),
    ],
)
def test_a_program_that_could_not_be_written_is_refused_first(file, words, rule, tmp_path, capsys) -> None:
    (tmp_path / "folder.py").mkdir()
    path = tmp_path / file
    assert main(["explain", "nothing", *SHAPE, "--emit", str(path), *words]) == 2
    done = capsys.readouterr()
    assert done.out == ""
    assert done.err.startswith(f"error: {rule.format(path=path)}")


def test_a_block_without_words_writes_nothing(tmp_path, capsys) -> None:
    path = tmp_path / "block.py"
    before = f"{WRITTEN}\nmine"
    path.write_text(before, encoding="utf-8")
    assert main(["explain", "all", *SHAPE, "--emit", str(path), "--emit-as", "keras"]) == 2
    done = capsys.readouterr()
    assert (done.out, path.read_text(encoding="utf-8")) == ("", before)
    assert done.err == (
        "error: shared-kernel cannot be written for Keras: its stage depthwise shares one filter bank among its groups, "
        "and no layer of Keras does; write it for torch.\n"
    )


def test_a_dialect_without_a_file_is_noted(capsys) -> None:
    _, err = explain(capsys, "standard", "--emit-as", "keras")
    assert err == "note: --emit-as has no effect here: no program is to be written.\n"


def test_an_unknown_dialect_of_python_is_refused() -> None:
    with pytest.raises(
        convcost.ConvcostError, match=r"^dialect \(=tensorflow\) must be a way to write programs; known: "
    ):
        convcost.explain("standard", 3, 4, 3).program("tensorflow")


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "json", "csv"])
def test_compare_gives_the_derivations_in_its_own_format(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    shape = ("--c", "3", "--o", "64", "--k", "3")
    words = ("--no-count", "--no-time", "--block", "depthwise", "--explain", "--format", form)
    assert main(["compare", *shape, *words]) == 0
    out, err = capsys.readouterr()
    one = convcost.explain("depthwise", 3, 64, 3)
    if form == "json":
        (derived,) = json.loads(out)["explanations"]
        assert derived == json.loads(json.dumps(one.to_dict()))
    else:
        shown = {"table": one.text(), "csv": one.text(), "markdown": one.markdown(), "latex": one.latex()}[form]
        assert shown in (err if form == "csv" else out)
