"""The layers of two models side by side: which are the same, and what the others cost more or less."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from convcost.changes.change import layers_of
from convcost.changes.layer_cost import entry_of
from convcost.changes.promise import TimedChange
from convcost.changes.settings import changed_settings, own_padding
from convcost.text.units import listed, number_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from convcost.changes.change import Change
    from convcost.changes.layer_cost import Entry
    from convcost.models.call import Call
    from convcost.models.report import ModelReport
    from convcost.timing.statistics import Timing

Kind: TypeAlias = Literal["same", "changed", "added", "removed"]
Amount: TypeAlias = Literal["params", "macs", "traffic_bytes"]
MAX_NAMED: Final = 3
"""Maximum number of layers that the words of a row name."""


@dataclass(frozen=True, slots=True)
class DiffRow:
    """One layer in two models.

    Attributes:
        change: Kind of the change; a renamed layer is the same. None where the second model was not counted.
        before: Call in the first model; None for an added layer.
        after: Call in the second model; None for a removed layer.
        what: Change of the layer in words; what an added or a removed layer is; or the former name.
        timing: Timing of the layer alone in the second model, with its speed-up over the first; None if not timed.
    """

    change: Kind | None
    before: Call | None
    after: Call | None
    what: str = ""
    timing: Timing | None = None

    @property
    def name(self) -> str:
        """The name of the layer in the second model, or in the one that has it."""
        return next(call.name for call in (self.after, self.before) if call is not None)

    def delta(self, amount: Amount) -> int | None:
        """What the layer costs more in the second model; None where that was not counted."""
        if self.change is None:
            return None
        before, after = (0 if call is None else int(getattr(call, amount)) for call in (self.before, self.after))
        return after - before

    @property
    def timed(self) -> TimedChange:
        """The change of the MACs and the times."""
        calls = (self.before, self.after)
        macs = [0 if call is None else call.macs for call in calls]
        seconds = [0.0 if call is None else call.time_s for call in calls]
        return TimedChange(self.name, *macs, *seconds)


def rows_of(
    before: ModelReport, after: ModelReport | None, timings: Mapping[tuple[str, str], Timing]
) -> tuple[DiffRow, ...]:
    """The layers of two models in the order of the forward pass, a removed one where it was.

    The rows' differences add up to those of the totals.

    Args:
        before: First model.
        after: Second model; None if it was not counted.
        timings: Timings of layers of the second model with their speed-ups, by the names in both models.
    """
    if after is None:
        return tuple(DiffRow(None, call, None) for call in before.layers)
    old, new = ({call.name: call for call in report.layers} for report in (before, after))
    changes = [_with_settings(change, old, new) for change in layers_of(_entry(before), _entry(after))]
    words = _replacements(changes)
    rows = [_row(change, old, new, words) for change in changes]
    return tuple(
        replace(row, timing=timings.get((row.before.name, row.after.name))) if row.before and row.after else row
        for row in _in_order(rows, old, new)
    )


def _entry(report: ModelReport) -> Entry:
    """The cost of a model, in which a convolution has the padding of its module, whatever it pads with."""
    entry = entry_of(report)
    paddings = {call.name: padding for call in report.layers if (padding := own_padding(call)) is not None}
    layers = {name: replace(entry.layers[name], padding=padding) for name, padding in paddings.items()}
    return replace(entry, layers={**entry.layers, **layers})


def _with_settings(change: Change, old: Mapping[str, Call], new: Mapping[str, Call]) -> Change:
    """The change with the settings that differ, which the cost of a layer does not have."""
    if change.before is None or change.after is None:
        return change
    words = tuple(changed_settings(old[change.before.name], new[change.after.name]))
    return replace(change, kind="changed", settings=words) if words else change


def _row(change: Change, old: Mapping[str, Call], new: Mapping[str, Call], words: Mapping[int, str]) -> DiffRow:
    before = None if change.before is None else old[change.before.name]
    after = None if change.after is None else new[change.after.name]
    if before is None or after is None:
        kind: Kind = "added" if before is None else "removed"
        return DiffRow(kind, before, after, "; ".join(filter(None, (words.get(id(change)), change.what))))
    if change.kind not in {"same", "renamed"}:
        return DiffRow("changed", before, after, change.what)
    if before.traffic_bytes == after.traffic_bytes:
        return DiffRow("same", before, after, change.what)
    return DiffRow("changed", before, after, "; ".join(filter(None, (change.what, "other traffic"))))


def _replacements(changes: Iterable[Change]) -> dict[int, str]:
    """Words for a layer that several replace under its name, for those, and for the reverse; by identity."""
    removed = {change.layer: change for change in changes if change.after is None}
    added = {change.layer: change for change in changes if change.before is None}
    words: dict[int, str] = {}
    for ones, others, one_word, other_word in (
        (removed, added, "replaced by", "in place of"),
        (added, removed, "in place of", "replaced by"),
    ):
        parts = defaultdict(list)
        for name in others:
            if owner := next((prefix for prefix in _prefixes(name) if prefix in ones), None):
                parts[owner].append(name)
        for owner, names in parts.items():
            words[id(ones[owner])] = f"{one_word} {_few(names)}"
            words.update((id(others[name]), f"{other_word} {owner}") for name in names)
    return words


def _prefixes(name: str) -> Iterator[str]:
    """The paths of the modules that hold a layer, the innermost first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _few(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return listed(names) if more <= 0 else f"{', '.join(names[:MAX_NAMED])} and {number_of('layer', more)} more"


def _in_order(rows: Iterable[DiffRow], old: Iterable[str], new: Collection[str]) -> Iterator[DiffRow]:
    """The rows in the order of the second model.

    A removed layer stands behind the one that it came after. If layers were added in its place or to the same module
    between that one and the next that both models have, it stands before these.
    """
    by_old = {row.before.name: row for row in rows if row.before is not None}
    by_new = {row.after.name: row for row in rows if row.after is not None}
    places = {name: index for index, name in enumerate(new)}
    added: defaultdict[str, list[int]] = defaultdict(list)
    for one, place in places.items():
        for prefix in _prefixes(one) if by_new[one].before is None else ():
            added[prefix].append(place)
    removed: defaultdict[int, list[DiffRow]] = defaultdict(list)
    last, waiting = 0, []
    for name in (*old, None):
        kept = None if name is None else by_old[name].after
        if name is not None and kept is None:
            waiting.append(name)
            continue
        place = len(new) if kept is None else places[kept.name]
        for one in waiting:
            last = next(_between(last, place, [added[one], added[one.rpartition(".")[0]]]), last)
            removed[last].append(by_old[one])
        waiting, last = [], place + 1
    for index, name in enumerate(new):
        yield from removed[index]
        yield by_new[name]
    yield from removed[len(new)]


def _between(first: int, end: int, places: Iterable[Sequence[int]]) -> Iterator[int]:
    """The first place of each that is at least `first` and below `end`."""
    for ones in places:
        index = bisect_left(ones, first)
        if index < len(ones) and ones[index] < end:
            yield ones[index]
