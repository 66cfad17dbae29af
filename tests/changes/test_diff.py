"""Two models side by side: rows that add up, what changed in words, and where a removed layer stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from calls import Calls
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import convcost
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from convcost.changes.diff import DiffReport

IMAGE = torch.zeros(1, 4, 12, 12)
STEPS = (
    "conv3",
    "conv5",
    "pointwise",
    "depthwise",
    "norm",
    "relu",
    "hardswish",
    "function",
    "product",
    "again",
    "tied",
)


class Drawn(nn.Module):
    """A network of drawn steps on 4 channels, with repeated calls, tied weights and unused parameters."""

    def __init__(self, steps: list[str], unused: int) -> None:
        super().__init__()
        self.steps = steps
        self.parts = nn.ModuleDict()
        made = {
            "conv3": lambda: nn.Conv2d(4, 4, 3, padding=1),
            "conv5": lambda: nn.Conv2d(4, 4, 5, padding=2, bias=False),
            "pointwise": lambda: nn.Conv2d(4, 4, 1),
            "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
            "norm": lambda: nn.BatchNorm2d(4),
            "relu": nn.ReLU,
            "hardswish": nn.Hardswish,
            "again": lambda: next(iter(self.parts.values()), nn.Tanh()),
            "tied": self._tied,
        }
        for index, step in enumerate(steps):
            if step in made:
                self.parts[str(index)] = made[step]()
        self.unused = nn.Parameter(torch.zeros(unused))

    def _tied(self) -> nn.Module:
        conv = nn.Conv2d(4, 4, 3, padding=1)
        conv.weight = next((p for p in self.parameters() if p.shape == conv.weight.shape), conv.weight)
        return conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index, step in enumerate(self.steps):
            if step == "function":
                x = functional.avg_pool2d(x, 3, 1, 1)
            elif step == "product":
                x = x @ x.transpose(-1, -2)
            else:
                x = self.parts[str(index)](x)
        return x


drawn = st.builds(Drawn, st.lists(st.sampled_from(STEPS), max_size=8), st.integers(0, 3))


def sums(result: DiffReport) -> dict[str, int]:
    return {
        amount: sum(row.delta(amount) or 0 for row in result.layers) for amount in ("params", "macs", "traffic_bytes")
    }


@settings(max_examples=40, deadline=None)
@given(drawn, drawn)
def test_the_rows_of_any_two_networks_add_up_to_the_difference_of_the_totals(a: nn.Module, b: nn.Module) -> None:
    result = convcost.diff(a, b, IMAGE)
    assert sums(result) == {name: result.delta[name] for name in sums(result)}
    assert sorted(row.before.name for row in result.layers if row.before) == sorted(c.name for c in result.a.layers)
    assert result.b is not None
    assert [row.after.name for row in result.layers if row.after] == [call.name for call in result.b.layers]


@settings(max_examples=20, deadline=None)
@given(drawn)
def test_a_network_is_the_same_as_itself(model: nn.Module) -> None:
    result = convcost.diff(model, model, IMAGE)
    assert {row.change for row in result.layers} <= {"same"}
    assert set(result.delta.values()) == {0}
    assert result.rows == ()
    assert "no layer differs" in str(result)


def chain(**parts: nn.Module) -> nn.Module:
    """Modules called one after the other under their names."""

    def forward(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for name in parts:
            x = model.get_submodule(name)(x)
        return x

    return Calls(forward, **parts)


def conv(channels: int = 4, out: int = 4, kernel: int = 3, groups: int = 1) -> nn.Module:
    return nn.Conv2d(channels, out, kernel, padding=kernel // 2, groups=groups, bias=False)


def told(a: nn.Module, b: nn.Module) -> list[tuple[str | None, str, str]]:
    return [(row.change, row.name, row.what) for row in convcost.diff(a, b, IMAGE).rows]


def test_what_changed_is_said_in_words() -> None:
    before = chain(stem=conv(), act=nn.ReLU(), head=conv())
    after = chain(stem=conv(out=6, kernel=5), act=nn.Hardswish(), head=conv(6))
    assert told(before, after) == [
        ("changed", "stem", "out_channels 4 → 6, kernel 3x3 → 5x5, padding 1x1 → 2x2"),
        ("changed", "act", "ReLU → Hardswish, input 1x4x12x12 → 1x6x12x12"),
        ("changed", "head", "in_channels 4 → 6"),
    ]


def test_a_layer_that_several_replace_stands_before_them_and_names_them() -> None:
    split = nn.Sequential()
    split.depthwise, split.pointwise = conv(groups=4), conv(kernel=1)
    before = chain(stem=conv(), block=conv(), head=conv(kernel=5))
    after = chain(stem=conv(), block=split, head=conv(kernel=5))
    expected = [
        ("removed", "block", "replaced by block.depthwise and block.pointwise; Conv2d 4→4, 3×3, on 1x4x12x12"),
        ("added", "block.depthwise", "in place of block; Conv2d 4→4, 3×3, groups 4, on 1x4x12x12"),
        ("added", "block.pointwise", "in place of block; Conv2d 4→4, 1×1, on 1x4x12x12"),
    ]
    assert told(before, after) == expected
    assert [row[1] for row in told(after, before)] == ["block.depthwise", "block.pointwise", "block"]
    assert told(after, before)[2][2].startswith("in place of block.depthwise and block.pointwise; ")
    assert sums(convcost.diff(before, after, IMAGE)) == {  # 4 bytes an element, each stage reads and writes 4x12x12
        "params": 4 * 9 + 4 * 4 - 4 * 4 * 9,
        "macs": 144 * (4 * 9 + 4 * 4 - 4 * 4 * 9),
        "traffic_bytes": 4 * (2 * 4 * 144 + 4 * 9 + 4 * 4 - 4 * 4 * 9),
    }


def test_a_removed_layer_stands_where_it_was() -> None:
    before = chain(a=conv(), norm=nn.BatchNorm2d(4), act=nn.ReLU(), z=conv(kernel=5), end=nn.Sigmoid())
    after = chain(a=conv(), act=nn.ReLU(), z=conv(kernel=5), end=nn.Sigmoid())
    rows = convcost.diff(before, after, IMAGE, every=True).rows
    assert [(row.change, row.name) for row in rows] == [
        ("same", "a"),
        ("removed", "norm"),
        ("same", "act"),
        ("same", "z"),
        ("same", "end"),
    ]


def test_renamed_layers_are_the_same_on_one_line() -> None:
    before, after = chain(a=conv(), b=nn.ReLU()), chain(x=conv(), y=nn.ReLU())
    result = convcost.diff(before, after, IMAGE)
    assert result.rows == ()
    assert "2 layers the same; 2 layers renamed: a → x, b → y" in result.verdicts
    every = convcost.diff(before, after, IMAGE, every=True)
    assert [row.what for row in every.rows] == ["renamed from a", "renamed from b"]


def test_parameters_that_change_their_owner_or_have_no_call_are_said() -> None:
    first, second = conv(), conv()
    second.weight = first.weight
    tied, free = chain(a=first, b=second), chain(a=conv(), b=conv())
    assert told(tied, free) == [("changed", "b", "params 0 → 144")]
    free.register_parameter("spare", nn.Parameter(torch.zeros(7)))
    assert told(tied, free)[1] == ("added", "(parameters outside any call)", "parameters")


def test_outputs_of_other_shapes_are_a_note() -> None:
    result = convcost.diff(chain(a=conv()), chain(a=conv(out=5)), IMAGE)
    note = "the outputs differ in shape: the last layer puts out 1x4x12x12 in A and 1x5x12x12 in B."
    assert ("note", note) in result.remarks
    spare = chain(a=conv())
    spare.register_parameter("spare", nn.Parameter(torch.zeros(7)))  # its row is the last, and no layer
    assert convcost.diff(chain(a=conv()), spare, IMAGE).notes == ()


def test_rows_are_sorted_by_the_size_of_their_difference() -> None:
    before = chain(a=conv(), b=conv(kernel=1), c=conv(kernel=5))
    after = chain(a=conv(kernel=9), b=conv(kernel=7), c=conv(kernel=11))  # 9 → 81, 1 → 49, 25 → 121
    result = convcost.diff(before, after, IMAGE, sort="macs")
    assert [row.name for row in result.rows] == ["c", "a", "b"]
    short = convcost.diff(before, after, IMAGE, sort="macs", top=1)
    assert [row.name for row in short.rows] == ["c"]
    assert short.verdicts[0] == "2 more layers that differ"
    assert len(short.to_dict()["layers"]) == 3


def test_an_unknown_order_and_a_count_that_fails_name_what_is_wrong() -> None:
    with pytest.raises(ConvcostError, match=r"sort \(=size\) must be one of"):
        convcost.diff(conv(), conv(), IMAGE, sort="size")
    with pytest.raises(ConvcostError, match=r"^b: .*in_channels 3, got input 1x4x12x12"):
        convcost.diff(conv(), conv(3), IMAGE)
    with pytest.raises(ConvcostError, match="why must have times"):
        convcost.diff(conv(), conv(), IMAGE, why=True)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_text_fits_the_terminal(width: int) -> None:
    before, after = chain(a_layer_with_a_name=conv()), chain(a_layer_with_a_name=conv(out=6, kernel=5))
    text = convcost.diff(before, after, IMAGE).text(width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "out_channels 4 → 6, kernel 3x3 → 5x5" in " ".join(text.split())


def test_off_a_terminal_a_row_is_a_line() -> None:
    before, after = chain(a=conv(), b=conv()), chain(a=conv(out=6, kernel=5), b=conv(6))
    lines = convcost.diff(before, after, IMAGE).text().splitlines()
    assert lines[0] == "A: Calls; B: Calls; input 1x4x12x12; 1 MAC = 2 FLOPs"
    assert [line.split()[:2] for line in lines[2:4]] == [["~", "a"], ["~", "b"]]
    assert lines[4] == ""


def test_columns_are_chosen_for_the_table_the_frame_and_a_notebook() -> None:
    result = convcost.diff(chain(a=conv()), chain(a=conv(kernel=5)), IMAGE, columns="name_b,macs_delta")
    assert list(result.to_frame().columns) == ["name_b", "macs_delta"]
    assert result.text().splitlines()[1].split() == ["name_b", "Δ", "MACs"]
    assert "<th>name_b</th>" in result._repr_html_()


def test_the_columns_that_fit_are_shown() -> None:
    before, after = (nn.Sequential(nn.Conv2d(4, width, 3)) for width in (8, 16))
    shown = {width: convcost.diff(before, after, IMAGE).text(width).splitlines()[1] for width in (80, 120)}
    assert all(f"Δ {name}" in shown[80] for name in ("params", "MACs", "traffic"))
    assert all(f"{name} {side}" in shown[120] for name in ("params", "MACs") for side in "AB")
