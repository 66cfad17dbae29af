"""`--why` on 60 random layers in both memory formats: explained share of the median, agreement of oneDNN's text."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter

from random_layers import comparisons, described

LAYERS = 60
SEED = 5
TIME_BUDGET_S = 1.5


def main() -> None:
    seed = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdecimal() else SEED
    start, left, agree, hints = time.perf_counter(), [], Counter(), Counter()
    kernels = wrong_sums = 0
    for result in comparisons(seed, LAYERS, time_budget=TIME_BUDGET_S, why=True):
        row = result.rows[0]
        account, timing = row.account, row.timing
        wrong_sums += abs(account.time_s - timing.time_s) > 1e-9 * timing.time_s
        kernels += sum(part.kernel is None for part in account.parts if part.part in {"convolution", "native"})
        left.append(account.share("unexplained"))
        agree[account.agreement.agrees] += 1
        hints["none" if row.hint is None else "verified" if row.hint.verified else "not verified"] += 1
        remark = "; ".join(account.agreement.differences) or (row.hint.text if row.hint else "")
        print(
            f"{described(result):62} {1e6 * timing.time_s:8.0f} µs  unexplained {100 * left[-1]:6.1f} %  {remark}",
            flush=True,
        )
    sizes = list(map(abs, left))
    print(f"\n{row.conditions.cpu}, torch {row.conditions.torch_version}, {row.conditions.threads} thread, seed {seed}")
    for limit in (0.1, 0.2):
        share = sum(size < limit for size in sizes) / LAYERS
        print(f"|unexplained| under {limit:.0%} of the median: {share:.0%} of the layers (wanted: at least 80 %)")
    print(f"median |unexplained|: {statistics.median(sizes):.1%}")
    print(f"oneDNN's problem text agrees: {agree[True]} of {agree[True] + agree[False]} that it ran (wanted: all)")
    print(f"convolution and native parts without a kernel's name: {kernels} (wanted: 0)")
    print(f"accounts that do not sum to the median: {wrong_sums} (wanted: 0)")
    print(f"hints: {dict(hints)}")
    print(f"seconds a layer, {TIME_BUDGET_S} s of timing included: {(time.perf_counter() - start) / LAYERS:.1f}")


if __name__ == "__main__":
    main()
