"""Hostile words for every option and hostile files for every reader: a refusal of one line, never a crash."""

from __future__ import annotations

import os
import sqlite3
import zipfile
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_machine import machine
from typer.main import get_command

import convcost
from convcost.cli import full_app, main
from convcost.models.network import config_folder
from convcost.nn.load.weights import convolutions_of
from convcost.text.errors import ConvcostError
from convcost.timing.machine_file import machine_text, read_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.torch, pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in its folders")]
LONG, LONGER = "9" * 400, "9" * 5001  # the second is longer than the numbers that Python reads
WORDS = [
    *(LONG, LONGER, f"-{LONGER}", f"0.{LONGER}", f"1e{LONG}", "1e999", f"0x{'f' * 5001}", f"1/{LONG}", f"{LONG}x3"),
    *(f"3x{LONGER}", "1x" * 5000 + "1", f"1x3x{'9' * 18}x{'9' * 18}", "nan", "inf", "-0", "-1", "", " "),
    *("\udcff", "é\u202e\x1b[2J", "x" * 10_000, "[" * 3000, "a=" + "[" * 3000, f"a={LONGER}", "a=" + "-" * 5000 + "1"),
    *("a=b.c", "=", ":", f"a={{'b': {LONGER}}}", f"{LONG} M", f"{LONGER} GMACs", "1e99 M", "5000%", f"{LONG}%"),
    *(f"{LONGER} s", f"{LONG}d", "9999-12-31T23:59", "," * 5000),
    *("folder", "loop", "pipe", "/dev/zero", "/dev/full", "nowhere/x.csv", "a/" * 3000, "y" * 300 + ".csv", "empty"),
    *("loop/x.py:f", "folder:f", "pipe.py:f"),
]
COMMANDS = {
    "compare": ["--c", "8", "--o", "16", "--k", "3", "--h", "8", "--no-time", "--no-count"],
    "explain": ["standard", "--c", "8", "--o", "16", "--k", "3"],
    "kernel": ["sobel", "--no-time", "--no-store"],
    "history": [],
    "model": ["network:mobilenet_v1", "--no-cross-check", "--arg", "resolution=32"],
    "replace": ["net.toml", "--to", "ghost", "--no-cross-check"],
    "sweep": ["grid.toml"],
    "check": ["network:mobilenet_v1", "--max-params", "5M", "--arg", "resolution=32"],
    "config": ["show"],
}
NETWORK = """name = "net"
resolution = 16
alpha = 1.0
layers = [{ block = "standard", out_channels = 8 }, { block = "standard", out_channels = 16 }, { classifier = 10 }]
"""
GRID = """blocks = ["grouped"]
where = ["c % groups == 0"]
illegal = "rows"
columns = ["c", "macs", "params_ratio"]
baseline = "standard"
[axes]
c = [8, 16]
o = { from = 8, to = 16, step = 8 }
k = ["3x5"]
h = 7
w = [7]
stride = [1]
dilation = 1
bs = [1]
groups = [2]
padding = ["same"]
bias = [true]
dtype = ["float16"]
partial = ["1/4"]
"""
OURS = ("error: ", "note: ", "warning: ", "Usage")
"""What a line of a message begins with; torch's own lines do not reach the user."""
SLOW = {"--time-budget", "--max-latency", "--help"}
"""Options whose legal values take long, or show the help."""


def options_of(command: str) -> list[str]:
    """The options of a command that take a value."""
    parameters = get_command(full_app()).commands[command].params  # type: ignore[attr-defined]  # typer's group has them
    options = [one.opts[0] for one in parameters if one.param_type_name == "option" and not one.is_flag]
    return [option for option in options if option not in SLOW]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with things that are no files, and a history of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVCOST_DB", str(tmp_path / "history.sqlite3"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "net.toml").write_text(NETWORK, encoding="utf-8")
    (tmp_path / "grid.toml").write_text(GRID, encoding="utf-8")
    return tmp_path


@pytest.fixture
def ends(place: Path, capfd: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """A function that runs a command: its messages, which must be those of an orderly end."""
    assert place

    def run(words: list[str]) -> str:
        code = main(words)
        messages = capfd.readouterr().err
        shown = [word[:60] for word in words]
        assert code in {0, 1, 2, 3}, (shown, messages[-300:])
        assert not any(sign in messages for sign in ("Traceback", "crashed", "fault of convcost")), (
            shown,
            messages[-300:],
        )
        assert code != 2 or "error: " in messages, shown
        assert max(map(len, messages.splitlines()), default=0) < 3100, shown
        assert all(line.startswith(OURS) for line in messages.splitlines()), (shown, messages[-300:])
        return messages

    return run


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_no_word_for_any_option_crashes_a_command(command: str, ends: Callable[[list[str]], str]) -> None:
    for number, option in enumerate(options_of(command)):
        for word in WORDS[number % 2 :: 2]:  # two neighbours take all words together
            ends([command, *COMMANDS[command], f"{option}={word}"])


@pytest.mark.parametrize(
    "command", ["explain", "kernel", "model", "replace", "sweep", "check", "config", "history", "nothing"]
)
def test_no_word_in_place_of_the_first_one_crashes_a_command(command: str, ends: Callable[[list[str]], str]) -> None:
    for word in WORDS:
        ends([command, word, *COMMANDS.get(command, [])[1:]])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(COMMANDS)).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.lists(
                st.tuples(st.sampled_from(options_of(name)), st.one_of(st.sampled_from(WORDS), st.text(max_size=20))),
                max_size=3,
            ),
        )
    )
)
def test_no_words_for_several_options_crash_a_command(
    ends: Callable[[list[str]], str], drawn: tuple[str, list[tuple[str, str]]]
) -> None:
    command, options = drawn
    words = [
        word
        for option, word in options
        for word in (f"{option}={word.replace(chr(0), '').encode('utf-8', 'replace').decode()}",)
    ]
    ends([command, *COMMANDS[command], *words])


VALUES = [
    *("-1", "0", "1.5", "nan", "inf", "true", '""', '"x"', '"\\u0000"', '"a\\u202e\\n::error::x"', "[]", "{}", "[[]]"),
    *("[1]", "{ a = 1 }", "9" * 4000, f"0x{'f' * 5001}", f"-{LONG}", "1e400", "1979-05-27", "[" * 90 + "]" * 90),
    *(f'"{LONGER} M"', '"5 %"', f"[0x{'f' * 5001}]", f"{{ max = 0x{'f' * 5001} }}", f'"{"y" * 5000}"'),
]
CONFIGURATION = """\
[budget.mobilenet]
target = "network:mobilenet_v1"
args.resolution = 32
input = ["1x3x32x32"]
device = "meta"
params = "5 M"
macs.max = "50 M"
macs.grow = "1 %"
macs.floor = "2 M"
macs.level = "warn"
message = "ask"
"""


def with_other_values(text: str) -> Iterator[str]:
    """A TOML text with each value in turn replaced by each of `VALUES`."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        key, equals, _ = line.partition(" = ")
        for value in VALUES if equals else ():
            yield "\n".join([*lines[:index], f"{key} = {value}", *lines[index + 1 :]])


@pytest.mark.slow
def test_no_value_in_a_configuration_crashes(place: Path, ends: Callable[[list[str]], str]) -> None:
    for text in with_other_values(CONFIGURATION):
        (place / "convcost.toml").write_text(text, encoding="utf-8")
        ends(["check"])
        ends(["config", "show"])


@pytest.mark.slow
def test_no_value_in_a_lock_crashes(place: Path, ends: Callable[[list[str]], str]) -> None:
    (place / "convcost.toml").write_text(CONFIGURATION, encoding="utf-8")
    ends(["check", "--update"])
    head = (place / "convcost.lock").read_text(encoding="utf-8").split("\n")[:14]  # the layers are alike
    for text in with_other_values("\n".join(head)):
        (place / "convcost.lock").write_text(text, encoding="utf-8")
        ends(["check"])


def test_no_value_in_a_network_crashes(place: Path, ends: Callable[[list[str]], str]) -> None:
    text = (config_folder() / "networks" / "mobilenet_v1.toml").read_text(encoding="utf-8")
    for number, other in enumerate(with_other_values(text)):
        if number % 7 == 0:
            (place / "net.toml").write_text(other, encoding="utf-8")
            ends(["model", "net.toml", "--no-cross-check", "--arg", "resolution=32"])


def test_no_value_in_a_sweep_crashes(place: Path, ends: Callable[[list[str]], str]) -> None:
    for text in with_other_values(GRID):
        (place / "grid.toml").write_text(text, encoding="utf-8")
        ends(["sweep", "grid.toml"])


def test_no_value_in_a_machine_file_crashes(place: Path) -> None:
    for text in with_other_values(machine_text(machine())):
        (place / "machine.toml").write_text(text, encoding="utf-8")
        with suppress(ConvcostError):
            read_machine(place / "machine.toml")


@pytest.mark.parametrize("name", ["folder", "loop", "pipe", "empty", "/dev/zero", "y" * 300, "nowhere/x"])
def test_what_is_no_file_is_refused_by_every_reader(
    name: str, ends: Callable[[list[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (
        ["check", "--config", name],
        ["config", "show", "--config", name],
        ["kernel", f"./{name}" if name[0] != "/" else name],
        ["kernel", "--model", name],
        ["model", name],
        ["check", name, "--max-macs", "1"],
        ["model", f"{name}.toml"],
        ["model", f"{name}/x.pt2"],
        ["sweep", name],
    ):
        assert "error: " in ends(words)
    monkeypatch.setenv("CONVCOST_DB", name)
    ends(["history"])
    monkeypatch.setenv("CONVCOST_MACHINE", name)
    ends(["compare", *COMMANDS["compare"], "--roofline"])


def test_a_link_in_a_circle_and_a_pipe_beside_a_target_are_no_mistake(
    place: Path, ends: Callable[[list[str]], str]
) -> None:
    os.mkfifo(place / "pyproject.toml")
    (place / "net.py").write_text("from torch import nn\nnet = nn.Linear(3, 4)\n", encoding="utf-8")
    assert "error: " not in ends(["check", "net.py:net", "--input", "1x3", "--max-params", "16"])


WEIGHT = torch.ones(4, 3, 3, 3)


def a_mapping_in_itself() -> dict[str, Any]:
    mapping: dict[str, Any] = {"weight": WEIGHT}
    mapping["itself"] = {"again": mapping}
    return mapping


STATES: dict[str, Any] = {
    "a mapping in itself": a_mapping_in_itself(),
    "keys of any type": {1: WEIGHT, None: WEIGHT, ("a",): WEIGHT, b"weight": WEIGHT, "": WEIGHT},
    "a name of two lines": {"a\n::error::.weight": WEIGHT},
    "a long number": {"weight": 10**5000},
    "expanded": {"weight": torch.ones(1).expand(10**6, 3, 3, 3)},
    "sparse": {"weight": WEIGHT.to_sparse()},
    "meta": {"weight": WEIGHT.to("meta")},
    "complex": {"weight": WEIGHT.to(torch.complex64)},
    "eight bits": {"weight": WEIGHT.to(torch.float8_e4m3fn)},
    "none": None,
    "a tensor": WEIGHT,
    "a list": [WEIGHT],
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_no_state_of_weights_crashes(state: object, place: Path, ends: Callable[[list[str]], str]) -> None:
    torch.save(state, place / "w.pth")
    ends(["kernel", "--model", "w.pth"])
    ends(["model", "w.pth", "--input", "1x3"])


def test_a_mapping_in_itself_is_read_once(place: Path) -> None:
    torch.save(a_mapping_in_itself(), place / "w.pth")
    layers, _ = convolutions_of("w.pth", {})
    assert [layer.name for layer in layers] == ["weight"]


@pytest.mark.parametrize(
    "name", ["../../x", "/abs", "a\\b", "\u202e", "a/" * 2000, "x\ny", "data.pkl", "w/../data.pkl"]
)
@pytest.mark.parametrize("first", [True, False])
def test_no_name_in_an_archive_crashes(name: str, first: bool, place: Path, ends: Callable[[list[str]], str]) -> None:  # noqa: FBT001 - a row of the table
    torch.save({"weight": WEIGHT}, place / "w.pth")
    with zipfile.ZipFile(place / "w.pth") as whole:
        held = [(member, whole.read(member)) for member in whole.namelist()]
    with zipfile.ZipFile(place / "other.pth", "w") as archive:
        for member, data in [(name, b"x"), *held] if first else [*held, (name, b"x")]:
            archive.writestr(member, data)
    ends(["kernel", "--model", "other.pth"])
    ends(["model", "other.pth", "--input", "1x3"])


def saved_weights(path: Path) -> None:
    torch.save({"weight": WEIGHT}, path)


def saved_matrix(path: Path) -> None:
    np.save(path, np.ones((3, 3)))


@pytest.mark.parametrize(
    ("name", "save", "words"),
    [
        ("w.pth", saved_weights, ["kernel", "--model", "w.pth"]),
        ("k.npy", saved_matrix, ["kernel", "k.npy", "--no-time"]),
    ],
)
def test_no_damage_to_a_binary_file_crashes(
    name: str, save: Callable[[Path], None], words: list[str], place: Path, ends: Callable[[list[str]], str]
) -> None:
    save(place / name)
    whole, generator = (place / name).read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for at in generator.integers(0, len(data), 4):
            data[at] = generator.integers(0, 256)
        (place / name).write_bytes(data[: generator.integers(0, len(data))] if generator.random() < 0.3 else data)
        ends(words)


FOREIGN = [
    None,
    "",
    b"\xff\x00",
    "x",
    -1,
    2**63 - 1,
    float("inf"),
    LONGER,
    "[" * 2000,
    "[1",
    "{}",
    "a\n::error::b",
    '["a"]',
]


@pytest.mark.slow
def test_no_foreign_value_in_the_history_crashes(place: Path, ends: Callable[[list[str]], str]) -> None:
    layer = ["compare", "--c", "3", "--o", "4", "--k", "1", "--h", "4", "--block", "standard", "--no-count"]
    ends([*layer, "--time-budget", "0.1"])
    whole = (place / "history.sqlite3").read_bytes()
    with closing(sqlite3.connect(place / "history.sqlite3")) as history:
        columns = [
            (table, column[1])
            for table in ("session", "entry")
            for column in history.execute(f"PRAGMA table_info({table})")
        ]
    assert len(columns) > 40
    for number, (table, column) in enumerate(columns):
        for value in FOREIGN[number % 2 :: 2]:
            (place / "history.sqlite3").write_bytes(whole)
            with closing(sqlite3.connect(place / "history.sqlite3")) as history, suppress(sqlite3.Error), history:
                history.execute(f"UPDATE {table} SET {column} = ?", (value,))  # noqa: S608 - names of our own tables
            ends(["history"])
            ends(["history", "--format", "json"])
    for statement in (
        "PRAGMA user_version = 99",
        "PRAGMA user_version = -1",
        "PRAGMA application_id = 5",
        "DROP TABLE entry",
    ):
        (place / "history.sqlite3").write_bytes(whole)
        with closing(sqlite3.connect(place / "history.sqlite3")) as history, history:
            history.execute(statement)
        assert "database (=" in ends(["history"])


@pytest.mark.parametrize("number", [10**5000, -(10**5000), 10**400], ids=["long", "negative", "shorter"])
@pytest.mark.parametrize(
    "call",
    [
        lambda number: convcost.compare(number, 4, 3, time=False, count=False),
        lambda number: convcost.compare(4, 4, number, time=False, count=False),
        lambda number: convcost.compare(4, 4, 3, threads=number),
        lambda number: convcost.compare(4, 4, 3, time_budget=number),
        lambda number: convcost.Conv(number, 4, 3),
        lambda number: convcost.Conv(4, 4, 3, stride=(number,) * 4),
        lambda number: convcost.Shape(1, number, (3, 3)),
        lambda number: convcost.Shape(1, 3, (number,) * 5),
    ],
)
def test_a_number_that_python_does_not_write_is_refused_in_one_line(call: Callable[[int], object], number: int) -> None:
    with pytest.raises(ConvcostError) as caught:
        call(number)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
