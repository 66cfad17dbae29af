"""`make bench`: all benchmarks, one after the other; each figure is a ratio or a spread of one run.

Each runs in its own process, since a process with torch would affect the processes that it starts.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = (
    "startup",
    "whole_command",
    "counting",
    "kernels",
    "check",
    "diff",
    "latency_verdicts",
    "repeatability",
    "layers",
    "replacements",
    "account",
    "bound",
    "history",
    "sweep",
)


def main() -> int:
    worst = 0
    for name in BENCHMARKS:
        path = HERE / f"{name}.py"
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        print(f"\n## {name}\n{first}\n", flush=True)
        worst = max(worst, subprocess.run([sys.executable, str(path)], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
