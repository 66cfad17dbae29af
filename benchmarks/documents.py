"""Write the output of a benchmark into a document, between its markers."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def write_between(name: str, text: str, document: Path) -> None:
    """Replace what stands between the markers of this name."""
    begin, end = f"<!-- {name} begins -->\n", f"<!-- {name} ends -->"
    before, rest = document.read_text(encoding="utf-8").split(begin)
    document.write_text(before + begin + text + end + rest.split(end)[1], encoding="utf-8")
