"""Several processes write at once, and one is killed: what was committed is there, and the database is whole."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import history_writer as made
import pytest

from convcost.archive.database import add, stored_rows

COMMIT_S = 0.005
"""About the time of a commit: a kill may fall anywhere within one."""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")


def start(path: Path, who: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, made.__file__, str(path), who, str(count)]
    folder = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def said(output: str) -> set[int]:
    """The numbers whose commit was reported; a line that the kill cut short is none."""
    return {int(line) for line in output.splitlines(keepends=True) if line.endswith("\n")}


def stored(path: Path, who: str) -> set[int]:
    rows, total = stored_rows(path, "1", {}, None)
    assert len(rows) == total
    return {int(row.entry.name.split("-")[1]) for row in rows if row.entry.name.startswith(f"{who}-")}


def kill_one_of_two(path: Path, count: int, after: int, delay_s: float) -> int:
    """Start two writers, kill the first once it has committed `after` rows and so many seconds have passed, and check.

    Returns:
        How many rows the killed one had committed.
    """
    victim, survivor = start(path, "victim", count), start(path, "survivor", count)
    before = "".join(victim.stdout.readline() for _ in range(after))
    time.sleep(delay_s)
    victim.send_signal(signal.SIGKILL)
    of_victim = said(before + victim.communicate()[0])
    of_survivor = said(survivor.communicate()[0])
    assert survivor.returncode == 0
    assert of_survivor == set(range(count))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert stored(path, "survivor") == of_survivor
    kept = stored(path, "victim")
    assert of_victim <= kept
    assert len(kept - of_victim) <= 1  # committed, and killed before it could say so
    add(path, made.session(), [made.entry("after-0")])
    assert stored(path, "after") == {0}
    return len(of_victim)


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_loses_no_committed_row(database: Path, seed: int) -> None:
    chance = random.Random(seed)
    kill_one_of_two(database, 60, chance.randrange(50), chance.random() * COMMIT_S)


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.2, 0.3])
def test_a_kill_while_the_database_is_made_loses_nothing(database: Path, delay_s: float) -> None:
    kill_one_of_two(database, 20, 0, delay_s)


@pytest.mark.parametrize("attempt", range(3))
def test_many_processes_may_make_the_database_at_once(database: Path, attempt: int) -> None:
    del attempt  # the same again: it is a race
    writers = {who: start(database, who, 10) for who in "abcdef"}
    for writer in writers.values():
        assert said(writer.communicate()[0]) == set(range(10))
        assert writer.returncode == 0
    assert all(stored(database, who) == set(range(10)) for who in writers)
