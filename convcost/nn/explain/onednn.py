"""The primitives that oneDNN runs in a call, from its verbose lines on C's stdout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from convcost.system.streams import STDOUT, taken_from
from convcost.timing.onednn_lines import parse_lines, separate

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcost.timing.onednn_lines import Primitive

__all__ = ["primitives_of"]


def primitives_of(call: Callable[[], object], times: int = 5) -> list[tuple[Primitive, ...]]:
    """What oneDNN ran in each of some calls made one after the other.

    Args:
        call: that ran before, so that no primitive is created in what is seen.
        times: how many calls are looked at.

    Returns:
        The primitives of each call. Where the calls differ, no line can be given to one of them: an empty list.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return [()] * times
    text = taken_from(STDOUT, lambda: _verbose(call, times), separate)
    ran = parse_lines(text.splitlines())
    length, rest = divmod(len(ran), times)
    calls = [ran[number * length : (number + 1) * length] for number in range(times)]
    same = {tuple((one.kind, one.implementation, one.problem) for one in each) for each in calls}
    return [] if rest or len(same) != 1 else calls


def _verbose(call: Callable[[], object], times: int) -> None:
    verbose: Any = torch.backends.mkldnn.verbose
    with verbose(torch.backends.mkldnn.VERBOSE_ON):
        for _ in range(times):
            call()
    if wanted := _users_level():
        verbose(wanted).__enter__()  # leaving the block above has switched it off; the user wants it on for good


def _users_level() -> int:
    """How much the user's environment asks oneDNN to say; 0 for nothing."""
    said = os.environ.get("ONEDNN_VERBOSE") or os.environ.get("DNNL_VERBOSE") or "0"
    return int(said) if said in {"1", "2"} else 0
