"""The configuration of a sweep: what a file means, and every mistake with its line and column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from convcost.convolution.blocks import BLOCKS, DEFAULT_BLOCKS
from convcost.grids.configuration_file import load_configuration, read_configuration
from convcost.grids.constraint import Constraint
from convcost.text.errors import ConvcostError
from convcost.text.toml import TomlError

if TYPE_CHECKING:
    from pathlib import Path

AXES = "[axes]\nc = [8]\no = [8]\nk = [3]\n"
WHOLE = """\
blocks = ["standard", "depthwise-separable"]
where  = ["c % groups == 0", "macs < 5e8"]
illegal = "rows"
columns = ["block", "c", "o", "k", "h", "macs", "params", "macs_ratio"]
baseline = "grouped"
[axes]
c = { from = 8, to = 1024, step = 8 }
o = { from = 8, to = 1024, times = 2 }
k = [1, 3, "3x5"]
h = [7, 14, 28]
stride = [1, 2]
partial = ["1/4", "1/2"]
padding = ["same", 1]
bias = [false, true]
dtype = ["float32", "float16"]
"""


def loaded(text: str, folder: Path):
    path = folder / "grid.toml"
    path.write_text(text, encoding="utf-8")
    return load_configuration(path)


def mistakes(text: str, folder: Path) -> list[str]:
    with pytest.raises(TomlError) as caught:
        loaded(text, folder)
    lines = [line.removeprefix(f"{folder}/grid.toml:") for line in caught.value.lines]
    assert lines == str(caught.value).replace(f"{folder}/grid.toml:", "").split("\n")
    return lines


def test_a_file_is_read_with_full_names_and_in_its_order(tmp_path: Path) -> None:
    read = loaded(WHOLE, tmp_path)
    assert [axis.name for axis in read.axes] == [
        *("in_channels", "out_channels", "kernel_size", "height", "stride", "partial", "padding", "bias", "dtype"),
    ]
    assert read.axes[0].values == range(8, 1025, 8)
    assert read.axes[1].values == (8, 16, 32, 64, 128, 256, 512, 1024)
    assert read.axes[2].values == ((1, 1), (3, 3), (3, 5))
    assert read.where == (Constraint("c % groups == 0"), Constraint("macs < 5e8"))
    assert (read.illegal, read.baseline) == ("rows", "grouped")
    assert read.columns == (
        *("block", "in_channels", "out_channels", "kernel_size", "in_height", "macs", "params", "macs_ratio"),
    )


def test_a_file_without_more_than_axes_has_the_defaults_of_compare(tmp_path: Path) -> None:
    read = loaded(AXES, tmp_path)
    assert (read.blocks, read.where, read.illegal, read.columns, read.baseline) == (
        *(DEFAULT_BLOCKS, (), "count", (), "standard"),
    )


def test_all_is_the_whole_catalogue(tmp_path: Path) -> None:
    assert loaded(f'blocks = ["all"]\n{AXES}', tmp_path).blocks == tuple(BLOCKS)


@pytest.mark.parametrize("text", [AXES, WHOLE])
def test_the_mapping_of_a_configuration_is_read_back(text: str, tmp_path: Path) -> None:
    read = loaded(text, tmp_path)
    assert read_configuration(read.to_dict()) == read


def test_a_mapping_may_have_the_values_of_python() -> None:
    read = read_configuration({"axes": {"c": (8, 16), "o": range(8, 25, 8), "k": [(3, 5)]}, "blocks": ("standard",)})
    assert [axis.values for axis in read.axes] == [(8, 16), range(8, 25, 8), ((3, 5),)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: axes (=missing) must be there; write [axes] with c, o and k."),
        ("axes = 3", "1:8: axes (=3) must be a table; write axes = { ... }."),
        ("[axes]\nc = [8]\no = [8]", "1:2: axes.k (=missing) must be there; write k = [...] with the values of kernel_size."),
        (f"{AXES}crops = [1]", "5:1: axes.crops is no size or parameter; did you mean groups?"),
        (f"{AXES}in_channels = [1]", "5:1: axes.in_channels must be there once, and is there as c too; leave one out."),
        ("[axes]\nin_channels = 8\nc = 8\no = 8\nk = 3", "3:1: axes.c must be there once, and is there as in_channels too"),
        (f"{AXES}h = []", "5:5: axes.h (=[]) must not be empty; write a list such as [1, 2], or leave the axis out."),
        (f"{AXES}h = [7, 'x']", "5:9: axes.h.1 (=x) must be a whole number from 1 to 1,000,000,000; write 8."),
        (f"{AXES}h = [7, 8, 7]", "5:12: axes.h.2 (=7) must be there once; leave the second one out."),
        (f"{AXES}h = {{ from = 8, to = 30, step = 8 }}", "5:22: axes.h.to (=30) must be reached from 8 in steps of 8; write to = 24."),
        (f"{AXES}h = {{ from = 8, too = 30, step = 8 }}", "5:17: axes.h.too is no key of a range; did you mean to?"),
        (f"block = []\n{AXES}", "1:1: block is no key of this table; did you mean blocks?"),
        (f"blocks = []\n{AXES}", "1:10: blocks (=[]) must not be empty; leave it out for the default."),
        (f"columns = []\n{AXES}", "1:11: columns (=[]) must not be empty; leave it out for the default."),
        (f"blocks = 'standard'\n{AXES}", "1:10: blocks (=standard) must be a list; write blocks = [...]."),
        (f"blocks = ['standrd']\n{AXES}", "1:11: blocks.0: block (=standrd) must be a name of the catalogue; did you mean standard?"),
        (f"baseline = 'all'\n{AXES}", "1:12: baseline: block (=all) must be a name of the catalogue;"),
        (f"illegal = 'row'\n{AXES}", "1:11: illegal (=row) must be 'count' or 'rows'; write one of them."),
        (f"columns = ['c', 'macs_rato']\n{AXES}", "1:17: columns.1 (=macs_rato) must be one of a sweep's columns; did you mean macs_ratio?"),
        (f"where = 'c > 1'\n{AXES}", "1:9: where (=c > 1) must be a list; write where = [...]."),
        (f"where = [1]\n{AXES}", '1:10: where.0 (=1) must be a text; write "...".'),
        (f"where = ['c > 1', 'cc > 1']\n{AXES}", "1:20: where.1 (=cc) must be an axis"),
        (f"where = ['o > 1 and cc > 1']\n{AXES}", "1:21: where.0 (=cc) must be an axis"),
        (f'where = ["é > 1", "c > é"]\n{AXES}', "1:11: where.0 (=é) must be an axis"),
        (f'where = [\n  "c >= 1",\n  "k == 3 and h(1) > 2",\n]\n{AXES}', "3:15: where.1 (=h(1)) must be made of comparisons"),
        (f'where = ["\\u0063 > q"]\n{AXES}', "1:10: where.0 (=q) must be an axis"),  # escapes: the text's own place
        (f'where = ["""c >\nq > 1"""]\n{AXES}', "1:10: where.0 "),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line_and_column(text: str, expected: str, tmp_path: Path) -> None:
    assert mistakes(text, tmp_path)[0].startswith(expected)


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = 'blocks = ["x"]\nwhere = ["y > 1"]\n[axes]\nc = []\no = ["z"]\nk = ["3x"]\n'
    assert [line[:4] for line in mistakes(text, tmp_path)] == ["1:11", "2:11", "4:5:", "5:6:", "6:6:"]


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ('blocks = ["ghost", "standard", "ghost"]', "32: blocks.2 (=ghost)"),
        ('blocks = ["all", "ghost"]', "18: blocks.1 (=ghost)"),
        ('columns = ["block", "c", "in_channels"]', "26: columns.2 (=in_channels)"),
        ('columns = ["macs", "macs"]', "20: columns.1 (=macs)"),
    ],
)
def test_a_block_and_a_column_are_there_once(line: str, mistake: str, tmp_path: Path) -> None:
    assert mistakes(f"{line}\n{AXES}", tmp_path) == [f"1:{mistake} must be there once; leave the second one out."]


def test_a_byte_order_mark_moves_no_mistake(tmp_path: Path) -> None:
    assert loaded(f"\ufeff{WHOLE}", tmp_path) == loaded(WHOLE, tmp_path)
    wrong = f'where = ["c > f(o)"]\n{AXES}'
    assert mistakes(f"\ufeff{wrong}", tmp_path) == mistakes(wrong, tmp_path)
    assert mistakes("\ufeffx = ", tmp_path)[0].startswith("1:5: the file must be TOML")


def test_a_grid_has_at_most_10_to_the_12_rows(tmp_path: Path) -> None:
    text = 'blocks = ["standard"]\n[axes]\nk = [3]\nc = { from = 1, to = 1000, step = 1 }\no = { from = 1, to = %d, step = 1 }\n'
    assert loaded(text % 10**9, tmp_path).blocks == ("standard",)
    more = text.replace("[3]", "[1, 3]") % 10**9
    assert mistakes(more, tmp_path) == [
        "5:1: axes.o (={'from': 1, 'to': 1000000000, 'step': 1}) must leave the grid at most 10^12 rows, and it has 2,000,000,000,000; "
        "give this axis fewer values."
    ]


def test_an_axis_of_other_blocks_does_not_make_the_grid_larger(tmp_path: Path) -> None:
    text = f'blocks = ["standard"]\n{AXES}m = {{ from = 1, to = 1000000000, step = 1 }}\n'
    read = loaded(f"{text}h = {{ from = 1, to = 1000000000, step = 1 }}\n", tmp_path)
    assert read.notes == (
        "axis depth_multiplier has no effect here: it is a parameter of depthwise, depthwise-separable, shared-kernel, "
        "shared-kernel-separable, spatially-separable-depthwise, inverted-residual, blueprint.",
    )


def test_a_condition_on_a_parameter_that_blocks_lack_is_noted(tmp_path: Path) -> None:
    read = loaded(f'blocks = ["standard", "grouped"]\nwhere = ["c % groups == 0", "c > 1"]\n{AXES}', tmp_path)
    assert read.notes == ('where "c % groups == 0" is not applied to standard: it names a parameter of others.',)


def test_a_mapping_has_no_lines_in_its_mistakes() -> None:
    with pytest.raises(ConvcostError, match=r"^axes\.c\.1 \(=x\) must be a whole number"):
        read_configuration({"axes": {"c": [1, "x"], "o": 8, "k": 3}})
    with pytest.raises(ConvcostError, match=r"^where\.0 \(=q\) must be an axis"):
        read_configuration({"axes": {"c": 1, "o": 8, "k": 3}, "where": ["q > 1"]})
    with pytest.raises(ConvcostError, match=r"^axes \(=missing\) must be there"):
        read_configuration({})
    with pytest.raises(ConvcostError, match=r"^axes\.c \(=missing\) must be there"):
        read_configuration({"axes": {}})


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff", "must be UTF-8"), (b"axes = ", "must be TOML"), (None, "must be a file that can be read")],
)
def test_what_is_no_toml_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConvcostError, match=message):
        load_configuration(path)
