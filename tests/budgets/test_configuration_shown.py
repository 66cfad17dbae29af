"""What a configuration means is one too, and means the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from convcost.budgets.configuration import effective, read_budgets
from convcost.text.toml import parse_toml

TEXT = """\
[budget.net]
target = "models.py:net"
args = { width = 1.5, layers = [1, 2] }
input = ["1x3x224x224", "ids=1x16:int64"]
params = "4.3 M"
macs = { max = "580 M", min = 7, grow = "1.1 %", floor = "0.5", level = "warn" }
weight_bytes = "45 MiB"
latency = { max = "60.25 ms", grow = "0.000001 %", floor = "3 ns", device = "cuda:1", threads = "all", machine = "EPYC" }
message = "ask"
[budget.small]
target = "net.pt2"
latency = "1e-3 s"
"""


def read(text: str) -> Any:
    return read_budgets(parse_toml(text.encode(), "convcost.toml"), Path())


def meaning(text: str) -> list[Any]:
    """The budgets, without the lines that they stand on."""
    return [
        replace(budget, source="", limits=tuple(replace(one, source="", sources={}) for one in budget.limits))
        for budget in read(text).budgets
    ]


def test_every_default_is_written_out_and_quantities_are_in_base_units() -> None:
    shown = effective(read(TEXT))
    assert shown["budget"]["net"]["macs"] == {
        "max": 580_000_000,
        "min": 7,
        "floor": "0.5 macs",
        "grow": "1.1 %",
        "level": "warn",
    }
    assert shown["budget"]["net"]["weight_bytes"] == {"max": 45 * 2**20, "level": "error"}
    assert shown["budget"]["small"]["latency"] == {"max": "1 ms", "level": "error", "device": "cpu", "threads": 1}
    assert shown["sources"]["net.macs"] == "convcost.toml:6"


def test_what_is_shown_can_be_fed_back_and_means_the_same() -> None:
    shown = json.loads(json.dumps(effective(read(TEXT))["budget"]))
    assert meaning(tomli_w.dumps({"budget": shown})) == meaning(TEXT)


@pytest.mark.parametrize("grow", ["0.3 %", "1.1 %", "12.345678901234 %", "7 %", "999999999 %"])
def test_no_digit_of_a_percentage_is_lost(grow: str) -> None:
    text = f'[budget.a]\ntarget = "m:n"\nmacs = {{ grow = "{grow}" }}\n'
    assert meaning(tomli_w.dumps({"budget": effective(read(text))["budget"]})) == meaning(text)


def test_an_argument_that_python_does_not_write_in_decimal_is_shown_as_toml_may_have_it() -> None:
    text = f'[budget.a]\ntarget = "m:n"\nmacs = 1\nargs = {{ x = 0x{"f" * 5000} }}\n'
    assert effective(read(text))["budget"]["a"]["args"] == {"x": f"0x{'f' * 5000}"}


def test_arguments_that_json_has_no_form_for_are_shown_as_text() -> None:
    text = '[budget.a]\ntarget = "m:n"\nmacs = 1\nargs = { day = 1979-05-27, all = [inf, { x = -inf }], ok = 0.5 }\n'
    shown = effective(read(text))["budget"]["a"]["args"]
    assert shown == {"day": "1979-05-27", "all": ["inf", {"x": "-inf"}], "ok": 0.5}
