"""The output of the examples in docs/time.md; `--write` writes it between their markers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from documents import DOCS, write_between
from processes import PYTHON

LAYER = ["compare", "--c", "64", "--o", "64", "--k", "3", "--h", "56", "--no-count"]
WHY = [*LAYER, "--block", "depthwise", "--why"]
ROOFLINE = [*LAYER, "--roofline"]
ROOFLINE_BEGINS = "\ncpu\n"


def output_of(*words: str, machine: Path, notes: bool = False) -> str:
    """What a command prints, with its notes or without."""
    environment = os.environ | {"CONVCOST_MACHINE": str(machine)} if machine.exists() else None
    command = [PYTHON, "-m", "convcost", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout + (done.stderr if notes else "")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        none, machine = Path(folder) / "none", Path(folder) / "machine.toml"
        why = output_of(*WHY, machine=none)
        output_of("calibrate", "--out", str(machine), machine=none)
        roofline = output_of(*ROOFLINE, machine=machine)
    examples = {
        "benchmarks/example.py --why": why[why.index("depthwise: where ") :],
        "benchmarks/example.py --roofline": roofline[roofline.index(ROOFLINE_BEGINS) + len(ROOFLINE_BEGINS) :],
    }
    for name, text in examples.items():
        block = f"```text\n{text.strip()}\n```\n"
        if "--write" in sys.argv:
            write_between(name, block, DOCS / "time.md")
        else:
            print(f"{name}\n{block}")


if __name__ == "__main__":
    main()
