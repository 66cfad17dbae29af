"""Write the output of a benchmark into README.md, or another document, between its markers."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def write_between(name: str, text: str, document: Path = README) -> None:
    """Replace what stands between the markers of this name."""
    begin, end = f"<!-- {name} begins -->\n", f"<!-- {name} ends -->"
    before, rest = document.read_text(encoding="utf-8").split(begin)
    document.write_text(before + begin + text + end + rest.split(end)[1], encoding="utf-8")
