"""The command in this process: random words, and a counter that lies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import convcost
import convcost.nn.count.counters
from convcost.cli import main
from convcost.convolution.blocks import BLOCKS

pytestmark = pytest.mark.torch

SIZES = st.one_of(
    st.integers(-3, 40).map(str), st.sampled_from(["3x5", "3x", "x", "1e3", "", "∞", "99999999999999999999", "-0"])
)
OPTIONS = {
    "--c": SIZES,
    "--o": SIZES,
    "--k": SIZES,
    "--h": SIZES,
    "--w": SIZES,
    "--bs": SIZES,
    "--stride": SIZES,
    "--dilation": SIZES,
    "--padding": st.one_of(SIZES, st.sampled_from(["same", "valid", "SAME"])),
    "--m": SIZES,
    "--groups": SIZES,
    "--mid": SIZES,
    "--rank": SIZES,
    "--expansion": SIZES,
    "--ghost-ratio": SIZES,
    "--partial": st.sampled_from(["1/4", "1/0", "2", "0.5", "-1", "nan"]),
    "--block": st.sampled_from([*BLOCKS, "all", "conv2d"]),
    "--baseline": st.sampled_from([*BLOCKS, ""]),
    "--format": st.sampled_from(["table", "csv", "json", "markdown", "latex", "xml"]),
    "--dtype": st.sampled_from(["float32", "float16", "int8"]),
    "--threads": st.sampled_from(["1", "all", "0", "x"]),
    "--columns": st.sampled_from(["block", "macs,params", "nope", ","]),
}


@st.composite
def words(draw: st.DrawFn) -> list[str]:
    chosen = draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=8))
    legal = ["--c", "8", "--o", "16", "--k", "3"] if draw(st.booleans()) else []
    flags = draw(
        st.lists(st.sampled_from(["--bias", "--explain", "--list-blocks", "--reuse", "--nope", "--", "x"]), max_size=2)
    )
    command = draw(st.sampled_from(["compare", "compare", "compare", "explain", "nothing", ""]))
    options = [word for name in chosen for word in (name, draw(OPTIONS[name]))]
    fast = ["--no-count", "--no-time"] if command == "compare" else []
    return [command, *fast, *legal, *options, *flags]


@pytest.mark.slow
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words())
def test_random_words_never_crash_the_command(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    code = main(argv)
    streams = capsys.readouterr()
    assert code in {0, 1, 2}
    assert "Traceback" not in streams.err
    assert "crashed" not in streams.err
    if code == 2 and argv != ["explain"]:  # a command without its words shows its help
        assert sum(line.startswith("error: ") for line in streams.err.splitlines()) == 1


def test_a_counter_that_lies_is_named_and_fails_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lying(module: Any, inputs: Any) -> convcost.nn.count.counters.Tally:
        honest = convcost.nn.count.counters.count_with_fvcore(module, inputs)
        macs = {path: count + 5 * (path == "pointwise") for path, count in honest.macs.items()}
        return convcost.nn.count.counters.Tally(macs, honest.params, honest.total + 5)

    monkeypatch.setitem(convcost.nn.count.counters.COUNTERS, "fvcore", lying)
    words = ["compare", "--c", "3", "--o", "64", "--k", "3", "--no-time", "--block", "depthwise-separable"]
    assert main([*words, "--format", "json"]) == 1
    streams = capsys.readouterr()
    row = json.loads(streams.out)["rows"][0]
    assert row["counts_agree"] is False
    assert row["warning"] == "fvcore counts 9633797 MACs in pointwise, the formula 9633792 (5 more)"
    assert "warning: depthwise-separable: fvcore counts 9633797 MACs in pointwise" in streams.err
    assert main(words) == 1
    assert "11.0 M ✗" in capsys.readouterr().out


def test_too_large_a_layer_is_counted_smaller_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "--c", "64", "--o", "64", "--k", "3", "--h", "40000", "--no-time", "--block", "standard"]
    assert main([*words, "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert row["counts_agree"] is True
    assert row["fvcore_macs"] is None
    assert row["torch_flops"] is None
    assert row["warning"].startswith("counted at 1x64x")


def test_a_layer_that_no_machine_holds_is_unavailable(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "--c", "3000000", "--o", "3000000", "--k", "3", "--no-time", "--block", "standard"]
    assert main([*words, "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert row["counts_agree"] is None
    assert row["warning"].startswith("unavailable: ")
