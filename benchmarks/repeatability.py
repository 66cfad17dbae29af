"""The speed-up of depthwise-separable at 64→64, 3×3, 56×56 in ten fresh processes: spread, coverage, width."""

from __future__ import annotations

import json
import statistics
import subprocess

from processes import CONVCOST

PROCESSES = 10
LAYER = ["compare", "--c", "64", "--o", "64", "--k", "3", "--h", "56", "--block", "depthwise-separable", "--no-count"]


def main() -> None:
    rows = []
    for _ in range(PROCESSES):
        command = [*CONVCOST, *LAYER, "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout)["rows"][0])
        print(f"{rows[-1]['speedup']:.2f} ({rows[-1]['speedup_low']:.2f} to {rows[-1]['speedup_high']:.2f})"
              f"  {rows[-1]['warning'] or ''}", flush=True)  # fmt: skip
    speedups = [row["speedup"] for row in rows]
    centre = statistics.median(speedups)
    spread = statistics.stdev(speedups) / statistics.mean(speedups)
    covered = sum(row["speedup_low"] <= centre <= row["speedup_high"] for row in rows)
    widest = max((row["speedup_high"] - row["speedup_low"]) / row["speedup"] for row in rows)
    print(f"{rows[0]['cpu']}, torch {rows[0]['torch_version']}, {rows[0]['threads']} thread")
    print(f"median of {PROCESSES} processes: {centre:.2f}; spread {100 * spread:.1f} % (wanted: at most 5)")
    print(f"intervals that cover the median: {covered} of {PROCESSES} (wanted: at least 8)")
    print(f"widest interval: {100 * widest:.1f} % (wanted: under 15)")


if __name__ == "__main__":
    main()
