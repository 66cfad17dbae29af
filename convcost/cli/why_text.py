"""The account of a row as people read it: one line a part, then what would help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.text.units import human_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from convcost.comparison.rows import Row
    from convcost.models.report import Call
    from convcost.timing.account import Account
    from convcost.timing.hints import Hint

__all__ = ["why_layers_text", "why_text"]


def why_text(row: Row) -> str | None:
    """A small block of lines; None for a row that nothing looked into."""
    if row.account is None or row.conditions is None:
        return None
    where = "" if row.conditions.device == "cpu" else f" on {row.conditions.device}"
    return _text(f"{row.placed.block.name}{where}", row.account, row.hint)


def why_layers_text(calls: Iterable[Call]) -> tuple[str, ...]:
    """One block of lines for each distinct layer of a model that was looked into, with the names of its calls."""
    alike: dict[int, list[Call]] = {}
    for call in calls:
        if call.account is not None:
            alike.setdefault(id(call.account), []).append(call)
    texts = []
    for first, *others in alike.values():
        more = f" (and {len(others)} alike)" if others else ""
        if first.account is not None:
            texts.append(_text(f"{first.name}{more}", first.account, first.hint))
    return tuple(texts)


def _text(name: str, account: Account, hint: Hint | None) -> str:
    lines = [f"{name}: where {human_time(account.time_s)} go", str(account)]
    lines += [f"  {account.agreement}"] if account.agreement.agrees is not None else []
    lines += [f"  hint: {hint.text}"] if hint is not None else []
    return "\n".join(lines)
