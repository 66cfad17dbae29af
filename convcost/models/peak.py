"""The peak of the memory along a forward pass: the call during which most bytes are alive, and what they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from convcost.text.units import human_bytes, number_of

MODEL_INPUT: Final = "(input)"
"""Name of the inputs of the model in place of that of a call."""
MAX_NAMED: Final = 2
"""Maximum number of kept activations that the text names."""
MAX_NAME: Final = 80
"""Maximum number of characters of a name in the text, which leaves out the middle of a longer one."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Activations that are alive during a call that does not use them, such as those of a skip connection.

    Attributes:
        name: Name of the call that made them, or `MODEL_INPUT`.
        bytes: Their size.
    """

    name: str
    bytes: int

    def __str__(self) -> str:
        """The size, and what made them."""
        made_by = "the model's input" if self.name == MODEL_INPUT else _short(self.name)
        return f"{human_bytes(self.bytes)} of {made_by}"


@dataclass(frozen=True, slots=True)
class Peak:
    """The call during which most bytes of activations are alive.

    Attributes:
        name: Name of the call.
        alive_bytes: Bytes alive then; the other sizes add up to them.
        input_bytes: Size of its inputs.
        output_bytes: Size of its outputs, without those in the memory of inputs or of earlier results.
        inside_bytes: Size of what it needs for a time, such as the scores of attention.
        kept: What it does not use, largest first.
    """

    name: str
    alive_bytes: int
    input_bytes: int
    output_bytes: int
    inside_bytes: int
    kept: tuple[Kept, ...]

    def __str__(self) -> str:
        """The call and what is alive then, as text."""
        parts = [
            f"{what} {human_bytes(size)}"
            for what, size in (
                ("input", self.input_bytes),
                ("output", self.output_bytes),
                ("inside", self.inside_bytes),
            )
            if size
        ]
        if self.kept:
            named = ", ".join(map(str, self.kept[:MAX_NAMED]))
            others = len(self.kept) - MAX_NAMED
            more = f" and {number_of('other', others)}" if others > 0 else ""
            total = human_bytes(sum(one.bytes for one in self.kept))
            parts.append(f"also alive {named}" if len(self.kept) == 1 else f"also alive {total} ({named}{more})")
        return f"at {_short(self.name)}: {', '.join(parts)}"

    @property
    def record(self) -> dict[str, Any]:
        """The peak as a JSON object."""
        return {**asdict(self), "kept": [asdict(one) for one in self.kept]}


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 2]}...{name[-MAX_NAME // 2 :]}"
