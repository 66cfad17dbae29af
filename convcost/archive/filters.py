"""The filters of `convcost history`, and their SQL condition."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convcost.archive.rows import FORWARD
from convcost.convolution.blocks import find_block
from convcost.convolution.cost import ITEMSIZE
from convcost.convolution.shape import require_at_least
from convcost.text.errors import ConvcostError, did_you_mean, encodable
from convcost.text.sizes import format_sizes
from convcost.text.units import parse_moment
from convcost.timing.conditions import MEMORY_FORMATS, require_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = ("check", "compare", "kernel", "model")


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters on stored timings; all that are set must hold.

    Attributes:
        blocks: Names of blocks; any of them may match.
        targets: Targets of models; any of them may match.
        names: Names of layers, kernels or blocks; any of them may match, and "forward" matches whole models.
        command: "check", "compare", "kernel" or "model".
        devices: Names of devices; any of them may match, and "cuda" matches all of its devices.
        dtype: Data type of the elements.
        memory_format: "contiguous" or "channels_last".
        threads: Threads of torch.
        in_channels: Requested input channels.
        out_channels: Requested output channels.
        kernel_size: Requested kernel size.
        since: Date or age of the oldest timing.
        until: Date or age of the newest timing.

    Raises:
        ConvcostError: An unknown block, command, device, dtype or memory format, or a number below 1.
    """

    blocks: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    command: str | None = None
    devices: tuple[str, ...] = ()
    dtype: str | None = None
    memory_format: str | None = None
    threads: int | None = None
    in_channels: int | None = None
    out_channels: int | None = None
    kernel_size: tuple[int, int] | None = None
    since: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        """Refuse filters that no row could match."""
        for name in self.blocks:
            find_block(name)
        if self.command is not None and self.command not in COMMANDS:
            msg = f"command (={self.command}) must be a command that times; {did_you_mean(self.command, COMMANDS)}"
            raise ConvcostError(msg)
        for name in self.devices:
            if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name, re.ASCII):
                raise ConvcostError(f"device (={name}) must be cpu, cuda, cuda:1 or mps.")
        for field, allowed in (("dtype", tuple(ITEMSIZE)), ("memory_format", MEMORY_FORMATS)):
            value = getattr(self, field)
            if value is not None:
                require_one_of(field, value, allowed)
        sizes = {name: getattr(self, name) for name in ("threads", "in_channels", "out_channels")}
        require_at_least(1, **{name: size for name, size in sizes.items() if size is not None})

    def condition(self) -> tuple[str, dict[str, object]]:
        """The SQL condition on the tables `session` and `entry`, and its values by name.

        Raises:
            ConvcostError: `since` or `until` is no date, or they are in the wrong order.
        """
        since, until = (
            self.since and parse_moment("since", self.since),
            self.until and parse_moment("until", self.until),
        )
        if since and until and since > until:
            raise ConvcostError(f"since (={self.since}) must be before until (={self.until}); exchange them.")
        chosen = _Condition()
        chosen.any_of("session.command = 'compare' AND entry.name = {}", self.blocks)
        chosen.any_of("session.target = {}", self.targets)
        chosen.any_of("entry.name = {}", [FORWARD if name == "forward" else name for name in self.names])
        chosen.any_of("instr(session.device || ':', {} || ':') = 1", self.devices)
        for name in ("command", "dtype", "memory_format", "threads"):
            chosen.equal(f"session.{name} = {{}}", getattr(self, name))
        for name in ("in_channels", "out_channels", "kernel_size"):
            chosen.requested(name, getattr(self, name))
        chosen.equal("session.measured_at >= {}", since)
        chosen.equal("session.measured_at <= {}", until)
        return " AND ".join(chosen.tests), chosen.values


class _Condition:
    """Builds an SQL condition from tests; values are bound, never written into the text."""

    def __init__(self) -> None:
        self.tests = ["1"]
        self.values: dict[str, object] = {}

    def any_of(self, test: str, wanted: Sequence[object]) -> None:
        """Add the test that one of these values passes; nothing without values."""
        if wanted:
            self.tests.append(f"({' OR '.join(f'({test.format(self._bound(value))})' for value in wanted)})")

    def equal(self, test: str, wanted: object) -> None:
        """Add the test that the value passes; nothing for None."""
        self.any_of(test, () if wanted is None else (wanted,))

    def requested(self, name: str, value: int | tuple[int, int] | None) -> None:
        """Add a test of a size: the requested size of a block, the real size of any other layer."""
        if value is not None:
            text = self._bound(f'"{name}": {json.dumps(value)},')
            own = self._bound(format_sizes(value) if isinstance(value, tuple) else value)
            of_block = f"session.command = 'compare' AND instr(entry.layer, {text})"
            self.tests.append(f"({of_block} OR session.command <> 'compare' AND entry.{name} = {own})")

    def _bound(self, value: object) -> str:
        name = f"v{len(self.values)}"
        self.values[name] = encodable(value) if isinstance(value, str) else value
        return f":{name}"
