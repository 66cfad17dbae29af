"""Names of calls: each once, and such as a lock and every other file can hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import convcost
from convcost.budgets.config_files import load_lock, save_lock
from convcost.changes.layer_cost import entry_of

pytestmark = pytest.mark.torch


class Parts(nn.Module):
    """Calls each of its parts twice; one more is never called."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self._modules = {name: nn.Conv2d(1, 1, 1) for name in names}  # `add_module` refuses some names
        self.unused = nn.Linear(2, 3)
        self.twice = [part for part in self._modules.values() if isinstance(part, nn.Conv2d)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in (*self.twice, *self.twice):
            x = part(x)
        return x.matmul(x)


NAMES = [
    "a",
    "a#2",
    "a#3",
    "",
    ".",
    "a.b",
    "a\nb",
    'a"b',
    "matmul#1",
    "(parameters outside any call)",
    "é\u2028",
    "\x7f",
]
SURROGATES = ["\ud800", "a\udfff", "\\ud800"]


@settings(max_examples=30)
@given(
    st.lists(
        st.one_of(st.sampled_from(NAMES + SURROGATES), st.text(st.characters(exclude_categories=()))),
        min_size=1,
        max_size=5,
        unique=True,
    ).filter(lambda names: "unused" not in names)
)
@example(["a#2", "a"])
@example(["a", "a#2", "a#2#2"])
@example(["(parameters outside any call)", "(parameters outside any call)#2"])
@example(SURROGATES)
@example(["matmul#1", ""])
def test_the_lock_reads_what_it_writes_whatever_the_layers_are_called(names: list[str]) -> None:
    report = convcost.count(Parts(names), torch.zeros(1, 1, 4, 4))
    calls = [row.name for row in report.layers]
    assert len(set(calls)) == len(calls) == 2 * len(names) + 1 + 1  # the product, and the unused parameters
    assert report.totals.params == 2 * len(names) + (2 * 3 + 3)
    entry = entry_of(report)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "convcost.lock"
        save_lock(path, {"net": entry})
        assert load_lock(path, ["net"]).entries == {"net": entry}


def test_a_module_with_the_name_of_a_second_call_keeps_its_own_where_it_is_first() -> None:
    for names, expected in (["a", "a#2"], ["a", "a#2", "a#3", "a#2#2"]), (["a#2", "a"], ["a#2", "a", "a#2#2", "a#3"]):
        report = convcost.count(Parts(names), torch.zeros(1, 1, 4, 4))
        assert [row.name for row in report.layers if row.op == "Conv2d"] == expected
