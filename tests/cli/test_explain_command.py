"""`convcost explain`: the derivation of a block's cost, of one block or several, in each format."""

from __future__ import annotations

import json

import pytest

import convcost
from convcost.cli import main

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
