"""The time of `convcost check` on three networks ÷ that of importing torch and counting them once."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from processes import in_turn

NETWORKS = ("mobilenet_v1", "mobilenet_v2", "resnet18")
COUNT = f"""
import torch
from convcost.workflows.model import count_target
for name in {NETWORKS!r}:
    count_target(f"network:{{name}}", (), {{}}, cross_check=False, device="meta")
"""
LIMITS = 'params = "40 M"\nmacs = { max = "5 G", grow = "1 %" }\n'
PAIRS = 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "convcost.toml"
        config.write_text("".join(f'[budget.{n}]\ntarget = "network:{n}"\n{LIMITS}' for n in NETWORKS))
        check = [sys.executable, "-m", "convcost", "check", "--config", str(config)]
        in_turn({"update": [*check, "--update"]}, 1)  # so that there is a lock to compare with
        runs = in_turn({"check": check, "count": [sys.executable, "-c", COUNT]}, PAIRS)
    ratios = [a.wall_s / b.wall_s for a, b in zip(runs["check"], runs["count"], strict=True)]
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    seconds = statistics.median(run.wall_s for run in runs["check"])
    print(f"check / (import torch + count): {middle:.2f} ({low:.2f} to {high:.2f}; wanted 1.3); check {seconds:.2f} s")
    print(f"{PAIRS} pairs in turn, {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
