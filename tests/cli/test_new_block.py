"""A block with a parameter of its own is declared once: commands, public functions and documentation follow."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

import convcost
from convcost.cli import main
from convcost.convolution.blocks import BLOCKS, PARAMETERS
from convcost.convolution.spec import Parameter, block
from convcost.convolution.tree import chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convcost.convolution.spec import Spec
    from convcost.convolution.tree import Node

SHAPE = ["--c", "8", "--o", "12", "--k", "3"]
PREDICTED = ["--no-count", "--no-time"]
MACS = 224 * 224 * (8 * 4 + 4 * 12)
"""Of the block below for C = 8, O = 12 and q = 3, so that 4 channels lie between its stages."""


@pytest.fixture(autouse=True)
def _new_block(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Exactly what a contributor writes in `blocks.py`."""
    fan_out = Parameter("fan_out", "q", "outputs per hidden channel", short="fan", least=2, sets_mid=True)
    monkeypatch.setitem(PARAMETERS, "fan_out", fan_out)

    @block("squeezed", "Nobody 2026, A Paper", fan_out=2)
    def squeezed(s: Spec, fan_out: int) -> Node:
        """1×1 to O/q channels, 1×1 to O."""
        hidden = s.out_channels // fan_out
        return chain(s.pointwise("reduce", s.in_channels, hidden), s.pointwise("expand", hidden, s.out_channels))

    yield
    del BLOCKS["squeezed"]


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def test_compare_takes_the_parameter_and_names_it_in_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", *SHAPE, "--block", "squeezed", *PREDICTED, "--format", "json"]
    result = json.loads(output(capsys, *words, "--fan-out", "3"))
    assert [(row["macs"], row["mid_channels"]) for row in result["rows"]] == [(MACS, 4)]
    assert json.loads(output(capsys, *words, "--fan", "3")) == result
    assert "--fan 3" in result["command"]
    assert json.loads(output(capsys, *shlex.split(result["command"])[1:], "--format", "json")) == result


def test_explain_writes_the_symbol_of_the_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "explain", "squeezed", *SHAPE, "--fan-out", "3")
    assert "reduce: MACs = N × H × W × O/q × C" in text
    assert "q = 3" in text
    assert text == f"{convcost.explain('squeezed', 8, 12, 3, fan_out=3)}\n"


def test_the_public_functions_take_the_parameter() -> None:
    options: dict[str, Any] = {"blocks": ["squeezed"], "count": False, "time": False}
    rows = convcost.compare(8, 12, 3, **options, fan_out=3).rows
    assert [row.placed.cost.macs for row in rows] == [MACS]
    assert convcost.compare(8, 12, 3, **options, fan=3).rows == rows
    with pytest.raises(convcost.ConvcostError, match=r"^fan_out \(=1\) must be at least 2; give a larger number\.$"):
        convcost.compare(8, 12, 3, **options, fan_out=1)
    with pytest.raises(TypeError, match=r"^compare has no argument fan_uot; did you mean fan_out\?$"):
        convcost.compare(8, 12, 3, **options, fan_uot=3)


@pytest.mark.parametrize("command", ["compare", "explain"])
def test_the_help_describes_the_parameter(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(output(capsys, command, "--help").split())
    kind = "(<int>|INTEGER)"  # typer before 0.27
    assert re.search(rf"--fan, --fan-out {kind} q: outputs per hidden channel; by default 2 for squeezed\.", text)


def test_a_parameter_that_no_block_of_the_request_has_is_a_note() -> None:
    result = convcost.compare(8, 12, 3, blocks=["standard"], count=False, time=False, fan_out=3)
    assert result.notes == ("fan_out has no effect here: it sets outputs per hidden channel of squeezed.",)


def test_the_catalogue_and_the_documentation_list_the_block(capsys: pytest.CaptureFixture[str]) -> None:
    assert "squeezed" in output(capsys, "compare", "--list-blocks")
    page = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "generate.py"))["blocks"]()
    assert "| `squeezed` | 1×1 to O/q channels, 1×1 to O. |" in page
    assert "| `fan_out`, `fan` | q | outputs per hidden channel | 2 for squeezed |" in page


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: convcost.compare(8, 12, 3, hieght=7), "compare has no argument hieght; did you mean height?"),
        (
            lambda: convcost.explain("ghost", 8, 12, 3, ghost_ration=7),
            "explain has no argument ghost_ration; did you mean ghost_ratio?",
        ),
        (lambda: cast("Any", convcost).history(blok="ghost"), "history has no argument blok; did you mean block?"),
        (lambda: convcost.compare(8, 12, 3, x=1), "compare has no argument x; see help(convcost.compare)."),
    ],
    ids=["compare", "explain", "history", "nothing near"],
)
def test_an_argument_that_does_not_exist_is_refused_with_the_nearest(call: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == message
