"""The README's example: the default command's output, put between its markers with `--write`."""

from __future__ import annotations

import subprocess
import sys

from processes import EXAMPLE
from readme import write_between


def main() -> None:
    chosen = ("block", "params", "macs", "macs_ratio", "time_s", "speedup")
    command = [*EXAMPLE, "--columns", ",".join(chosen)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    text = f"```text\n{done.stdout}{done.stderr}```\n"
    if "--write" in sys.argv:
        write_between("benchmarks/example.py", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
