"""`make bench`: every benchmark of the project, one after the other; each figure is a ratio or a spread of one run."""

from __future__ import annotations

import account
import bound
import check
import counting
import history
import kernels
import latency_verdicts
import layers
import repeatability
import startup
import whole_command


def main() -> None:
    for benchmark in (
        startup,
        whole_command,
        counting,
        kernels,
        check,
        latency_verdicts,
        repeatability,
        layers,
        account,
        bound,
        history,
    ):
        print(f"\n## {benchmark.__name__}\n{(benchmark.__doc__ or '').splitlines()[0]}\n", flush=True)
        benchmark.main()


if __name__ == "__main__":
    main()
