"""The end of this process, which the code that it runs may not decide."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDS: Final = ("_exit", "execv", "execve")
"""Functions of `os` that end a process without any exception; its other ones call these."""


@contextmanager
def process_kept() -> Iterator[None]:
    """Raise SystemExit where code ends this process at once; its children, also those of a fork, end as they like."""
    process = os.getpid()
    real = {name: getattr(os, name) for name in ENDS}

    def refusal(name: str) -> Callable[..., NoReturn]:
        def refuse(*args: Any) -> NoReturn:  # noqa: ANN401 - the arguments of any of the functions
            if os.getpid() != process:
                real[name](*args)
            raise SystemExit(f"os.{name}({', '.join(map(repr, args[:1]))})")

        return refuse

    for name in ENDS:
        setattr(os, name, refusal(name))
    try:
        yield
    finally:
        for name in ENDS:
            setattr(os, name, real[name])
