"""What to do about a failure: revert the change, replace layers by another block, or accept the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.budgets.limits import METRICS
from convcost.text.units import change_of, number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from convcost.budgets.remedy import Remedy
    from convcost.budgets.verdict import Judgement
    from convcost.changes.change import Change

MAX_NAMED: Final = 3
"""Maximum number of layers that a line names; the JSON has all."""


def ways_back(
    failures: Sequence[Judgement], changes: Sequence[Change], remedy: Remedy | None, command: str = ""
) -> Iterator[str]:
    """The ways back under a budget: the change is reverted, or a block of the catalogue replaces layers.

    Args:
        failures: Verdicts of the broken limits.
        changes: Layers that differ from the baseline.
        remedy: Block that is enough; None without one.
        command: Command that replaces the layers.
    """
    real = [change.layer for change in changes if change.kind != "renamed"]
    if failures and real and all(map(_grew_beyond, failures)):
        figures = {one.metric.name: one.reading.baseline for one in failures if one.reading.baseline is not None}
        plural = "s" if len(real) > 1 else ""
        yield f"revert the change{plural} of {_layers(real)}: the model then has {_totals(figures)} again"
    if remedy is not None:
        yield _replacement(remedy) + (f"; see it with {command}" if command else "")


def acceptance(failures: Sequence[Judgement]) -> str | None:
    """How to accept the figures that broke limits: the limits to move, and the lock to renew; None without any."""
    steps = []
    for key, move in (("max", "raise"), ("min", "lower"), ("grow", "raise")):
        broken = [one for one in failures if key in one.broken and (key != "grow" or one.limit.metric == "latency")]
        if broken:
            steps.append(f"{move} {_places(key, broken)}")
    grown = [one for one in failures if "grow" in one.broken and one.limit.metric != "latency"]
    if grown:
        too = "" if grown[0].reading.locked else ", which then holds for base too"
        steps.append(f"run convcost check --update and commit convcost.lock{too}")
    return "; ".join(steps) or None


def _grew_beyond(one: Judgement) -> bool:
    """Whether the baseline meets the limit that the model, which is larger, breaks."""
    actual, baseline, most = one.reading.actual, one.reading.baseline, one.limit.bound("max")
    return actual is not None and baseline is not None and baseline < actual and (most is None or baseline <= most)


def _places(key: str, broken: Sequence[Judgement]) -> str:
    """Limits and their places: `max of macs (convcost.toml:6)`; arguments, `max_macs`, without a file."""
    places = {one.limit.metric: one.limit.sources.get(key, one.limit.source) for one in broken}
    if not all(places.values()):
        return ", ".join(f"{key}_{metric}" for metric in places)
    return f"{key} of {', '.join(f'{metric} ({place})' for metric, place in places.items())}"


def _replacement(remedy: Remedy) -> str:
    """`depthwise-separable in place of conv1: 1.18 M → 152 k params, 7.8x fewer, the model then has 4.10 M params`."""
    metric = METRICS[remedy.metric]
    before, after = metric.text(remedy.before), metric.text(remedy.after)
    return (
        f"{remedy.block} in place of {_layers(remedy.layers)}: {before} → {after} {remedy.metric}, "
        f"{change_of(remedy.before, remedy.after)}, the model then has {_totals(remedy.totals)} (test the accuracy: it "
        "may fall)"
    )


def _layers(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    rest = f" and {number_of('more layer', more)}" if more > 0 else ""
    return f"{', '.join(names[:MAX_NAMED])}{rest}"


def _totals(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{METRICS[name].text(value)} {name}" for name, value in figures.items())
