"""Rows a second of a sweep against a NumPy and pyarrow script for the same columns, one thread each; equal values.

`--rows 100000000` also writes so many rows, and compares their peak memory with that of a million. `--workers 2` also
compares so many worker processes with one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from math import prod
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PAIRS = 5
AXES = {
    "c": {"from": 4, "to": 1024, "step": 4},
    "o": {"from": 4, "to": 1024, "step": 4},
    "k": [1, 3, 5, 7],
    "h": [7, 14, 28, 56, 112, 224],
    "stride": [1, 2],
    "m": [1, 2],
}
COLUMNS = (
    *("in_channels", "out_channels", "groups", "depth_multiplier", "expansion", "mid_channels", "batch", "in_height"),
    *("in_width", "out_height", "out_width", "params", "macs", "flops", "traffic_bytes", "flop_per_byte"),
    *("params_ratio", "macs_ratio"),
)
"""All numeric columns."""
MEASURED = """
peak = open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]
print(time.perf_counter() - start, time.process_time() - cpu, int(peak) / 1024)
"""
SWEEP = f"""
import json, sys, time
import convcost, pyarrow
pyarrow.set_cpu_count(1)
configuration, folder = json.loads(sys.argv[1]), sys.argv[2]
# What the sweep needs is loaded first, as what the script needs is.
convcost.sweep(configuration | {{"axes": {{"c": 8, "o": 8, "k": 3}}}})
start, cpu = time.perf_counter(), time.process_time()
convcost.sweep(configuration, out=folder)
{MEASURED}"""
SCRIPT = f"""
import sys, time
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
pa.set_cpu_count(1)
start, cpu = time.perf_counter(), time.process_time()
axes = [np.arange(4, 1025, 4), np.arange(4, 1025, 4), np.array([1, 3, 5, 7]), np.array([7, 14, 28, 56, 112, 224]),
        np.array([1, 2]), np.array([1, 2])]
shape = [len(values) for values in axes]
size, chunk, writer = np.prod(shape), 2**20, None
for first in range(0, size, chunk):
    places = np.unravel_index(np.arange(first, min(first + chunk, size)), shape)
    c, o, k, h, stride, m = (values[place] for values, place in zip(axes, places))
    out = (h + stride - 1) // stride
    hidden = c * m
    params = hidden * k * k + hidden * o
    macs = params * out * out
    flops = 2 * macs
    # Input, weights and output of both stages, 4 bytes each.
    traffic = 4 * (c * h * h + hidden * k * k + 2 * hidden * out * out + hidden * o + o * out * out)
    standard = c * o * k * k
    nothing = pa.nulls(len(c), pa.int64())
    table = pa.table({{
        "in_channels": c, "out_channels": o, "groups": c, "depth_multiplier": m, "expansion": nothing,
        "mid_channels": nothing, "batch": np.ones_like(c), "in_height": h, "in_width": h, "out_height": out,
        "out_width": out, "params": params, "macs": macs, "flops": flops, "traffic_bytes": traffic,
        "flop_per_byte": flops / traffic, "params_ratio": standard / params, "macs_ratio": standard * out * out / macs,
    }})
    writer = writer or pq.ParquetWriter(sys.argv[1], table.schema, compression="zstd")
    writer.write_table(table)
writer.close()
{MEASURED}"""
"""What a person would write for the same columns: all combinations in chunks, int64 products, Arrow's defaults."""


def run(program: str, *words: str) -> tuple[float, float, float]:
    """Seconds, seconds of the processor, and peak memory in MiB."""
    cpu = max(os.sched_getaffinity(0))
    command = ["taskset", "--cpu-list", str(cpu), sys.executable, "-c", program, *words]
    wall, processor, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(wall), float(processor), float(peak)


def configuration(**axes: object) -> str:
    return json.dumps({"blocks": ["depthwise-separable"], "columns": COLUMNS, "axes": AXES | axes})


def length(axis: object) -> int:
    return (axis["to"] - axis["from"]) // axis["step"] + 1 if isinstance(axis, dict) else len(axis)


def stored_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("part-*.parquet"))


def is_equal(folder: Path, file: Path) -> bool:
    ours = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))])
    theirs = pq.read_table(file)
    return ours.column_names == theirs.column_names and all(
        ours[name].combine_chunks().equals(theirs[name].combine_chunks()) for name in ours.column_names
    )


def compare_with_script() -> None:
    size = prod(map(length, AXES.values()))
    sweeps, scripts = [], []
    for number in range(PAIRS + 1):
        with tempfile.TemporaryDirectory() as made:
            folder, file = Path(made, "sweep"), Path(made, "script.parquet")
            sweeps.append(run(SWEEP, configuration(), str(folder)))
            scripts.append(run(SCRIPT, str(file)))
            if not number:  # the first pair is not counted, and its values are compared
                sweeps, scripts = [], []
                per_row = [stored / size for stored in (stored_bytes(folder), file.stat().st_size)]
                print(f"equal values: {is_equal(folder, file)}; {per_row[0]:.1f} and {per_row[1]:.1f} bytes a row")
    for place, what in enumerate(("wall", "processor")):
        ratios = sorted(theirs[place] / ours[place] for ours, theirs in zip(sweeps, scripts, strict=True))
        rates = [size / statistics.median(one[place] for one in side) / 1e6 for side in (sweeps, scripts)]
        print(
            f"{what} time: {rates[0]:.2f} and {rates[1]:.2f} million rows/s, "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}; wanted 2.0) times as many"
        )
    peaks = [statistics.median(one[2] for one in side) for side in (sweeps, scripts)]
    print(f"peak memory: {peaks[0]:.0f} and {peaks[1]:.0f} MiB; {size:,} rows, {PAIRS} pairs in turn, one thread each")


def compare_memory(rows: int) -> None:
    """The peak memory of a sweep of about so many rows ÷ that of about a million."""
    others = prod(length(axis) for name, axis in AXES.items() if name != "c")
    peaks = []
    for wanted in (10**6, rows):
        channels = {"from": 4, "to": 4 * max(1, wanted // others), "step": 4}
        with tempfile.TemporaryDirectory() as made:
            wall, _, peak = run(SWEEP, configuration(c=channels), str(Path(made, "sweep")))
            size = length(channels) * others
            stored = stored_bytes(Path(made, "sweep")) / 1e9
            print(f"{size:,} rows: peak memory {peak:.0f} MiB, {wall:.0f} s, {stored:.2f} GB")
        peaks.append(peak)
    print(f"peak memory of {size:,} rows / that of a million: {peaks[1] / peaks[0]:.2f} (wanted 1.5)")


def rate(configuration: str, workers: int) -> float:
    """Rows a second of a sweep by so many workers, from the end of their first parts to that of the last part.

    The start of the workers is left out; it takes seconds, however long the sweep.
    """
    with tempfile.TemporaryDirectory() as made:
        program = (
            f"import convcost; convcost.sweep({json.loads(configuration)}, {made + '/sweep'!r}, workers={workers})"
        )
        subprocess.run([sys.executable, "-c", program], check=True)
        parts = sorted(Path(made, "sweep").glob("part-*.parquet"), key=lambda path: path.stat().st_mtime)
        rows = sum(pq.read_metadata(path).num_rows for path in parts[workers:])
        return rows / (parts[-1].stat().st_mtime - parts[workers - 1].stat().st_mtime)


def compare_workers(workers: int) -> None:
    many = configuration(c={"from": 4, "to": 4096, "step": 4})
    pairs = [(rate(many, 1), rate(many, workers)) for _ in range(PAIRS)]
    ratios = sorted(several / one for one, several in pairs)
    one, several = (statistics.median(side) / 1e6 for side in zip(*pairs, strict=True))
    print(
        f"one worker {one:.2f}, {workers} workers {several:.2f} million rows/s: {statistics.median(ratios):.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}) times as many; {PAIRS} pairs in turn, {os.cpu_count()} cores"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, help="rows of one more sweep, for its peak memory")
    parser.add_argument("--workers", type=int, help="number of worker processes that are compared with one")
    options = parser.parse_args()
    compare_with_script()
    if options.rows:
        compare_memory(options.rows)
    if options.workers:
        compare_workers(options.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
