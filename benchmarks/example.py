"""The output of the README's example commands; `--write` writes it between their markers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import EXAMPLE, PYTHON
from readme import write_between

CHOSEN = "block,params,macs,macs_ratio,time_s,speedup"
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
        table = output_of(*EXAMPLE[EXAMPLE.index("compare") :], "--columns", CHOSEN, machine=none)
        why = output_of(*WHY, machine=none)
        output_of("calibrate", "--out", str(machine), machine=none)
        roofline = output_of(*ROOFLINE, machine=machine)
    examples = {
        "benchmarks/example.py": table,
        "benchmarks/example.py --why": why[why.index("depthwise: where ") :],
        "benchmarks/example.py --roofline": roofline[roofline.index(ROOFLINE_BEGINS) + len(ROOFLINE_BEGINS) :],
    }
    for name, text in examples.items():
        block = f"```text\n{text.strip()}\n```\n"
        if "--write" in sys.argv:
            write_between(name, block)
        else:
            print(f"{name}\n{block}")


if __name__ == "__main__":
    main()
