"""Rows lost from a history to which two processes write 10,000 rows each, with one killed at random, 20 times."""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests/archive"))

from test_database_processes import COMMIT_S, kill_one_of_two

TIMES, ROWS = 20, 10_000


def main(times: int = TIMES, rows: int = ROWS) -> None:
    seed = time.time_ns()
    chance = random.Random(seed)
    print(f"{times} times, {rows} rows a process, each a transaction; seed {seed}", flush=True)
    killed_after, seconds = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            path, after, delay_s = Path(folder) / "history.sqlite3", chance.randrange(rows), chance.random() * COMMIT_S
            start = time.perf_counter()
            killed_after.append(kill_one_of_two(path, rows, after, delay_s))
            seconds.append(time.perf_counter() - start)
    few, most, middle = min(killed_after), max(killed_after), statistics.median(killed_after)
    print(f"killed after {few} to {most} committed rows, median {middle:.0f}")
    print(f"no committed row lost and integrity_check ok in {times} of {times}")
    print(f"median {statistics.median(seconds):.1f} s for both processes and the checks")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
