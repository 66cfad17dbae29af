"""The account of a row as people read it: one line a part, then what would help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcost.units import human_time

if TYPE_CHECKING:
    from convcost.rows import Row

__all__ = ["why_text"]


def why_text(row: Row) -> str | None:
    """A small block of lines; None for a row that nothing looked into."""
    if row.account is None or row.conditions is None:
        return None
    where = "" if row.conditions.device == "cpu" else f" on {row.conditions.device}"
    lines = [f"{row.placed.block.name}{where}: where {human_time(row.account.time_s)} go", str(row.account)]
    if row.account.agreement.agrees:
        lines.append("  oneDNN's problem text is this layer: groups, channels, sizes")
    lines += [f"  hint: {row.hint.text}"] if row.hint is not None else []
    return "\n".join(lines)
