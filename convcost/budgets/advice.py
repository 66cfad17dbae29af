"""What to do about a failure: revert the change, replace layers by another block, or accept the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convcost.budgets.limits import METRICS
from convcost.text.units import change_of, listed, number_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from convcost.budgets.remedy import Remedy
    from convcost.budgets.verdict import Judgement
    from convcost.changes.change import Change

MAX_NAMED: Final = 3
"""Maximum number of layers that a line names; the JSON has all."""
WHOLE: Final = "back under budget"
"""First words of a way that meets every limit."""
PART: Final = "part of the way"
"""First words of a way that leaves a limit broken, or one whose figure is not known then."""


def ways_back(
    judged: Sequence[Judgement], changes: Sequence[Change], remedy: Remedy | None, command: str = ""
) -> Iterator[str]:
    """The ways back under a budget, or a part of the way with the limits that stay broken; whole ways first.

    The layers that grew are reverted, or a block of the catalogue replaces layers.

    Args:
        judged: Verdicts of all limits.
        changes: Layers that differ from the baseline.
        remedy: Block that is enough for the limits whose figures are known for it; None without one.
        command: Command that replaces the layers.
    """
    failures = [one for one in judged if one.verdict in {"fail", "warn"}]
    ways = []
    real = [change for change in changes if change.kind != "renamed"]
    if real and any(map(_reverting_helps, failures)):
        baselines = {one.limit.metric: one.reading.baseline for one in judged if one.reading.baseline is not None}
        grown = grown_changes(real, failures)
        plural = "s" if len(grown) > 1 else ""
        most = "" if all(one in grown or one.costs_the_same for one in real) else "at most "
        figures = {one.limit.metric: one.reading.baseline for one in failures if one.reading.baseline is not None}
        text = f"revert the change{plural} of {_layers([one.layer for one in grown])}: the model then has {most}"
        ways.append(_way(f"{text}{_totals(figures)} again", failures, judged, baselines, "then"))
    if remedy is not None:
        text = _replacement(remedy, failures)
        way = _way(text, judged, judged, remedy.totals, "for a block")
        ways.append(f"{way}; see it with {command}" if command else way)
    yield from sorted(ways, key=lambda way: not way.startswith(WHOLE))


def grown_changes(changes: Sequence[Change], failures: Sequence[Judgement]) -> list[Change]:
    """The changes that add to a figure which broke a limit; all of them where none does.

    A layer whose input alone grew, and which costs the same, is left out beside others.
    """
    grown = [change for change in changes if any(change.grew(one.limit.metric) for one in failures)]
    return [change for change in grown if not change.costs_the_same] or grown or list(changes)


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


def _reverting_helps(one: Judgement) -> bool:
    """Whether the baseline, which is smaller, meets a limit that the model breaks."""
    actual, baseline = one.reading.actual, one.reading.baseline
    smaller = actual is not None and baseline is not None and baseline < actual
    return smaller and not set(one.broken) <= set(_unmet(one, baseline or 0))


def _unmet(one: Judgement, figure: float) -> list[str]:
    """The keys of the limits that a figure in place of the actual one would break."""
    limit, baseline = one.limit, one.reading.baseline
    most, least = limit.bound("max"), limit.bound("min")
    grows = limit.grow is not None and baseline is not None
    unmet = {
        "max": most is not None and figure > most,
        "min": least is not None and figure < least,
        "grow": grows and figure > (baseline or 0) + limit.allowance(baseline or 0) + one.reading.recounted,
    }
    return [key for key, broken in unmet.items() if broken and (key in one.broken or limit.metric != "latency")]


def _way(
    text: str, sought: Sequence[Judgement], judged: Sequence[Judgement], figures: Mapping[str, float], when: str
) -> str:
    """A way with the limits that it leaves broken.

    Args:
        text: What to do.
        sought: Verdicts whose figures should be known.
        judged: Verdicts of all limits.
        figures: Figures of the model then, by metric.
        when: Words for the case in which a figure is not known.
    """
    left = [
        f"{key} of {one.limit.metric}"
        for one in judged
        if one.limit.metric in figures
        for key in _unmet(one, figures[one.limit.metric])
    ]
    unknown = [one for one in sought if one.limit.metric not in figures and one.verdict != "skipped"]
    is_whole = not left and all(one.verdict not in {"fail", "warn"} for one in unknown)
    broken = f"; still broken then: {', '.join(left)}" if left else ""
    names = listed([one.limit.metric for one in unknown])
    missing = f"; {names} {'are' if len(unknown) > 1 else 'is'} not known {when}" if unknown else ""
    return f"{WHOLE if is_whole else PART}: {text}{broken}{missing}"


def _places(key: str, broken: Sequence[Judgement]) -> str:
    """Limits and their places: `max of macs (convcost.toml:6)`; arguments, `max_macs`, without a file."""
    places = {one.limit.metric: one.limit.sources.get(key, one.limit.source) for one in broken}
    if not all(places.values()):
        return ", ".join(f"{key}_{metric}" for metric in places)
    return f"{key} of {', '.join(f'{metric} ({place})' for metric, place in places.items())}"


def _replacement(remedy: Remedy, failures: Sequence[Judgement]) -> str:
    """`depthwise-separable in place of conv1: 1.18 M → 152 k params, 7.8x fewer, the model then has 4.10 M params`."""
    metric = METRICS[remedy.metric]
    before, after = metric.text(remedy.before), metric.text(remedy.after)
    bounds = {one.limit.metric: one.lower_bound for one in failures if one.limit.metric in remedy.totals}
    totals = _totals({name: remedy.totals[name] for name in bounds}, [name for name, least in bounds.items() if least])
    return (
        f"{remedy.block} in place of {_layers(remedy.layers)}: {before} → {after} {remedy.metric}, "
        f"{change_of(remedy.before, remedy.after)}, the model then has {totals} "
        "(test the accuracy: it may fall)"
    )


def _layers(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    rest = f" and {number_of('more layer', more)}" if more > 0 else ""
    return f"{', '.join(names[:MAX_NAMED])}{rest}"


def _totals(figures: Mapping[str, float], lower_bounds: Collection[str] = ()) -> str:
    return ", ".join(
        f"{'at least ' if name in lower_bounds else ''}{METRICS[name].text(value)} {name}"
        for name, value in figures.items()
    )
