"""The time of the default command, and the share of counting beyond the import of torch and fvcore."""

from __future__ import annotations

import statistics

from processes import EXAMPLE, PYTHON, in_turn

RUNS = 3
IMPORTS = [PYTHON, "-c", "import torch, fvcore.nn"]


def main() -> None:
    commands = {
        "default": EXAMPLE,
        "all blocks": [*EXAMPLE, "--block", "all"],
        "counted only": [*EXAMPLE, "--no-time"],
        "all counted": [*EXAMPLE, "--no-time", "--block", "all"],
        "imports": IMPORTS,
    }
    done = in_turn(commands, RUNS)
    wall = {name: statistics.median(run.wall_s for run in runs) for name, runs in done.items()}
    print(f"{RUNS} runs each in turn, median wall seconds")
    print(f"default command: {wall['default']:.1f} s (wanted: at most 15)")
    print(f"--block all: {wall['all blocks']:.1f} s, of which counting {wall['all counted'] - wall['imports']:.1f} s")
    print(f"counting adds {wall['counted only'] - wall['imports']:.2f} s to the imports (wanted: at most 2.5)")


if __name__ == "__main__":
    main()
