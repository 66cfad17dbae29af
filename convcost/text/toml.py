"""Values as TOML writes them: the way back of tomllib."""

from __future__ import annotations

from convcost.budgets.lock import key_text, quoted
from convcost.text.errors import ConvcostError, as_text

__all__ = ["value_text"]


def value_text(value: object) -> str:
    """A value in TOML, lists and tables on one line.

    >>> print(value_text({"a": [1, True], "b c": {"x": 0.5}}))
    { a = [1, true], "b c" = { x = 0.5 } }

    Raises:
        ConvcostError: a value that TOML has no form for, such as None.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)  # TOML spells exponents, inf and nan as Python does
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        pairs = ", ".join(f"{key_text(key)} = {value_text(inner)}" for key, inner in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    msg = f"(={as_text(repr(value))}) must have a form in TOML; leave it out, or wrap the target in a function."
    raise ConvcostError(msg)
