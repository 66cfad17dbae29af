"""A device without real time: calls queue work, and waiting for the device lets the time pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from convcost.nn.measure.clock import Reading

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Device:
    """An asynchronous device: a call only queues its work, and waiting for the device lets the time pass."""

    now: float = 0.0
    queued: float = 0.0
    cpu: float = 0.0
    preemptions: int = 0
    faults: int = 0
    log: list[str] = field(default_factory=list)
    steal: Callable[[str], bool] = lambda _: False
    waits: bool = True

    def work(self, name: str, seconds: float) -> Callable[[], object]:
        def call() -> None:
            self.log.append(name)
            self.queued += seconds
            if self.steal(name):
                self.preemptions += 1

        return call

    def read(self) -> Reading:
        if self.waits:
            self.now += self.queued
            self.cpu += self.queued
            self.queued = 0.0
        self.now += 1e-9
        return Reading(self.now, self.cpu, self.preemptions, self.faults)
