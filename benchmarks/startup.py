"""Start-up time of the predicted table ÷ that of `import fvcore.nn`, and of ten lines of typer and rich."""

from __future__ import annotations

import statistics
from importlib.metadata import version
from pathlib import Path

from processes import EXAMPLE, PYTHON, in_turn, ratio

RUNS = 15
PREDICTED = [*EXAMPLE, "--no-count", "--no-time"]
TEN_LINES = [PYTHON, str(Path(__file__).with_name("ten_lines.py"))]


def main() -> None:
    print(f"typer {version('typer')}, rich {version('rich')}; {RUNS} runs each in turn, processor time")
    commands = {"convcost": PREDICTED, "ten lines": TEN_LINES, "fvcore": [PYTHON, "-c", "import fvcore.nn"]}
    done = in_turn(commands, RUNS)
    seconds = {name: statistics.median(run.cpu_s for run in runs) for name, runs in done.items()}
    print("median seconds: " + ", ".join(f"{name} {value:.3f}" for name, value in seconds.items()))
    print(f"import fvcore.nn / convcost, in a pipe: {ratio(done['fvcore'], done['convcost'])} (wanted: at least 10)")
    print(f"convcost / ten lines, in a pipe: {ratio(done['convcost'], done['ten lines'])} (wanted: at most 1.25)")
    print(f"peak memory in a pipe: {max(run.peak_mb for run in done['convcost']):.0f} MB (wanted: under 45)")
    done = in_turn({"convcost": PREDICTED, "ten lines": TEN_LINES}, RUNS, terminal=True)
    print(f"convcost / ten lines, on a terminal: {ratio(done['convcost'], done['ten lines'])} (wanted: at most 1.25)")
    print(f"peak memory on a terminal: {max(run.peak_mb for run in done['convcost']):.0f} MB (wanted: under 45)")


if __name__ == "__main__":
    main()
