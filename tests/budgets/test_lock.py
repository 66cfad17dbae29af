"""The lock: text that reads back as what was written, one layer a line, and damage that is told."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locks import conv, entry, relu

from convcost.budgets.config_files import save_lock
from convcost.budgets.lock import lock_text, read_lock
from convcost.text.errors import ConvcostError

ENTRIES = {
    "b": entry(conv("stem", "3>8"), relu("act"), conv("head.0", "8>16", "1x1")),
    'a model, "quoted" \x7f é': entry(conv("body.é\n#2", "8>8", groups=8), torch="2.12.1", uncounted=2),
    "two inputs": entry(replace(relu("add"), input="1x8x8x8, 1x16:int64", dtype="float16", uncounted=1, shares="act")),
}


def test_what_was_written_is_read_back() -> None:
    assert read_lock(lock_text(ENTRIES).encode(), "convcost.lock", ENTRIES).entries == ENTRIES


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_name_survives(budget: str, layer: str) -> None:
    try:
        f"{budget}{layer}".encode()
    except UnicodeEncodeError:
        return  # half a surrogate pair is no text that a file could hold
    entries = {budget: entry(conv(layer, "3>8"))}
    assert read_lock(lock_text(entries).encode(), "convcost.lock", entries).entries == entries


def test_a_layer_is_one_line_in_the_order_of_the_forward_pass_and_budgets_go_by_name() -> None:
    text = lock_text({"z": ENTRIES["b"], "b": ENTRIES["b"]})
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("[")] == [
        *("[budget.b]", "[budget.b.layers]"),
        *("[budget.z]", "[budget.z.layers]"),
    ]
    start = lines.index("[budget.b.layers]") + 1
    assert [line.partition(" = ")[0] for line in lines[start : start + 3]] == ['"stem"', '"act"', '"head.0"']


def test_a_change_of_one_layer_changes_its_line_and_the_totals_alone() -> None:
    wider = entry(conv("stem", "3>8"), relu("act"), conv("head.0", "8>32", "1x1"))
    before, after = (lock_text({"b": one}).splitlines() for one in (ENTRIES["b"], wider))
    assert [a.partition(" = ")[0] for a, b in zip(before, after, strict=True) if a != b] == [
        *("params", "macs", "weight_bytes", "checksum"),
        '"head.0"',
    ]


TEXT = lock_text({"b": ENTRIES["b"]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "convcost.lock:1:1: lock_version (=missing) must be 3; delete the lock and run convcost check --update."),
        (TEXT.replace("lock_version = 3", "lock_version = 2"), "convcost.lock:3:1: lock_version (=2) must be 3"),
        (TEXT + "[", "convcost.lock:20:2: the file must be TOML: "),
        (
            TEXT + "<<<<<<< HEAD\n",
            "convcost.lock:20:1: the lock holds the marker of a merge conflict (<<<<<<<); keep either side, or delete the lock, and run convcost check --update.",
        ),
        (
            TEXT.replace("counter = 1", "=======\r\ncounter = 1"),
            "convcost.lock:6:1: the lock holds the marker of a merge conflict (=======)",
        ),
        (TEXT.replace("params = 344", "params = 345"), "params (=345) is not the sum of its layers (344), as after a"),
        (
            TEXT.replace("counter = 1\n", ""),
            "convcost.lock:5:9: the lock of b is damaged: counter (=missing) must be there; write it anew with convcost check --update, or delete the entry [budget.b], or the lock.",
        ),
        (
            TEXT.replace("macs = 22016", 'macs = "x"'),
            "the lock of b is damaged: macs (=x) must be a whole number from 0 to 1e+40; write",
        ),
        (
            TEXT.replace("macs = 22016", "macs = -1"),
            "the lock of b is damaged: macs (=-1) must be a whole number from 0 to 1e+40; write",
        ),
        (
            TEXT.replace("macs = 22016", f"macs = 0x{'f' * 5000}"),
            "the lock of b is damaged: macs (=a number of 20000 bits) must be a whole number from 0 to 1e+40; write",
        ),
        (
            TEXT.replace('op = "ReLU"', 'opp = "ReLU"'),
            "the lock of b is damaged: layers.act.opp is no key of this table",
        ),
        (TEXT.replace('op = "ReLU", ', ""), "the lock of b is damaged: layers.act.op (=missing) must be there"),
        (
            TEXT.replace("groups = 1", "groups = true"),
            "the lock of b is damaged: layers.stem.groups (=true) must be a whole number from 0 to 1e+40",
        ),
        (
            TEXT.replace('"3>8"', '"3-8"'),
            "the lock of b is damaged: layers.stem.channels (=3-8) must be a text of the form 3>8",
        ),
        (
            TEXT.replace('"1x3x8x8", output', '"1x3x8x?", output'),
            "layers.stem.input (=1x3x8x?) must be a text of the form 1x3x8x8, 1x16:int64",
        ),
        (
            TEXT.replace('"1x8x8x8", params', '"8,8", params'),
            "layers.stem.output (=8,8) must be a text of the form 3x3",
        ),
        (
            TEXT.replace('input = ["1x3x8x8"]', 'input = "1x3x8x8"'),
            "the lock of b is damaged: input (=1x3x8x8) must be a list",
        ),
        (TEXT.replace('input = ["1x3x8x8"]', "input = [3]"), "the lock of b is damaged: input.0 (=3) must be a text"),
        (
            TEXT.partition("\n[budget.b.layers]")[0] + "layers = 3\n",
            "the lock of b is damaged: layers (=3) must be a table",
        ),
        (TEXT.partition('"stem"')[0] + '"stem" = 3\n', "the lock of b is damaged: layers.stem (=3) must be a table"),
        (
            "lock_version = 3\nbudget.b = 3\n",
            "convcost.lock:2:12: the lock of b is damaged: b (=3) must be a table",
        ),
        ("lock_version = 3\nbudget = 3\n", "convcost.lock:2:10: budget (=3) must be a table"),
    ],
)
def test_a_damaged_lock_is_told_with_its_line_and_what_to_do(text: str, said: str) -> None:
    with pytest.raises(ConvcostError) as refused:
        read_lock(text.encode(), "convcost.lock", ["b"])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("peak_activation_bytes = 4096", "peak_activation_bytes = 4_096_000"),
        ("weight_bytes = 1376", "weight_bytes = 13760"),
        ('torch = "2.13.0"', 'torch = "2.4.0"'),
        ('output = "1x8x8x8"', 'output = "1x8x16x16"'),
        ("checksum = ", "# checksum = "),
    ],
)
def test_an_entry_that_was_edited_by_hand_is_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(
        ConvcostError, match="is not that of its lines, as after an edit; write it anew with"
    ) as refused:
        read_lock(TEXT.replace(old, new, 1).encode(), "convcost.lock", ["b"])
    assert str(refused.value).startswith("convcost.lock:")
    assert "the lock of b is damaged: checksum (=" in str(refused.value)


def test_an_entry_may_change_its_name_and_its_layout() -> None:
    text = TEXT.replace("budget.b", 'budget."c d"').replace(" = ", "  =  ").replace("\n", " # text\r\n")
    assert read_lock(text.encode(), "convcost.lock", ["c d"]).entries == {"c d": ENTRIES["b"]}


def test_what_was_not_obtained_is_left_out() -> None:
    packed = replace(ENTRIES["b"], params=None, weight_bytes=None)
    text = lock_text({"b": packed})
    assert tomllib.loads(text)["budget"]["b"].keys().isdisjoint({"params", "weight_bytes"})
    assert read_lock(text.encode(), "convcost.lock", ["b"]).entries == {"b": packed}


def test_an_entry_that_is_about_to_be_written_anew_may_be_damaged_and_keeps_its_text_until_then() -> None:
    text = lock_text({"a": ENTRIES["b"], "b": ENTRIES["b"]})
    damaged = text.replace("params = 344", "params = 345", 1)  # that of a
    lock = read_lock(damaged.encode(), "convcost.lock", ["a", "b"], rewritten=True)
    assert (lock.entries, lock.notes) == ({"b": ENTRIES["b"]}, ())
    assert lock_text(lock.entries, lock.kept) == damaged
    assert lock_text({"a": ENTRIES["b"]}, lock.kept) == text


def test_an_entry_that_nobody_needs_is_no_obstacle_keeps_its_text_and_is_named_where_it_is_damaged() -> None:
    text = lock_text({"a.b": ENTRIES["b"], "b": ENTRIES["b"]}) + "# the end\n"
    damaged = text.replace("params = 344", "params = 345", 1).replace("\n", "\r\n")
    lock = read_lock(damaged.encode(), "convcost.lock", ["b"], rewritten=True)
    (note,) = lock.notes
    assert note.startswith("convcost.lock:5:9: the lock of a.b is damaged: params (=345) is not the sum of its layers")
    assert note.endswith(
        "; it was not needed; write it anew with convcost check --update, or delete the entry "
        '[budget."a.b"] where no budget has this name any more.'
    )
    assert lock_text({}, lock.kept) == text.replace("params = 344", "params = 345", 1)
    assert read_lock(text.encode(), "convcost.lock", ["a.b"]).notes == ()


def test_an_entry_that_cannot_be_kept_is_refused_with_the_step_that_helps() -> None:
    text = lock_text({"a": ENTRIES["b"], "b": ENTRIES["b"]})
    head, a, a_layers, b, b_layers = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    apart = f"{head}{a}{b}{b_layers}{a_layers}"
    assert read_lock(apart.encode(), "convcost.lock", ["b"]).entries == {"b": ENTRIES["b"]}
    with pytest.raises(ConvcostError) as refused:
        read_lock(apart.encode(), "convcost.lock", ["b"], rewritten=True)
    step = "delete the entry [budget.a], or the lock."
    assert str(refused.value) == f"convcost.lock:5:9: the tables of a must stand together to be kept; {step}"


def test_the_text_is_toml_that_others_read() -> None:
    read = tomllib.loads(TEXT)
    assert read["budget"]["b"]["layers"]["stem"]["macs"] == 3 * 8 * 9 * 8 * 8


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from locks import conv, entry
from convcost.budgets.config_files import save_lock
one, two = ({{"m": entry(*(conv(f"layer{{i}}", "8>8", kernel) for i in range(400)))}} for kernel in ("3x3", "5x5"))
print("ready", flush=True)
while True:
    save_lock(Path({path!r}), one)
    save_lock(Path({path!r}), two)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this platform cannot kill a process outright")
def test_killed_at_any_moment_the_lock_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "convcost.lock"
    wanted = [
        lock_text({"m": entry(*(conv(f"layer{i}", "8>8", kernel) for i in range(400)))}) for kernel in ("3x3", "5x5")
    ]
    save_lock(path, {"m": entry(*(conv(f"layer{i}", "8>8", "3x3") for i in range(400)))})
    code = WRITER.format(tests=str(Path(__file__).parents[1]), path=str(path))
    source = random.Random(0)
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(source.uniform(0, 0.05))
            os.kill(writer.pid, signal.SIGKILL)
        assert path.read_text(encoding="utf-8") in wanted
