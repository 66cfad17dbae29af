"""What tests of real time share: short looks at the machine, and a calibration of few and small steps."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _short_look(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How busy others keep the machine is looked at for a moment, not for half a second: no test judges it."""
    if request.node.get_closest_marker("timing"):
        for home in ("session", "machine"):
            monkeypatch.setattr(f"convcost.nn.measure.{home}.LOOK_S", 0.02)


@pytest.fixture
def small_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of step of a calibration, but for fewer dtypes and on smaller data."""
    for name, value in {
        "DTYPES": ("float32", "bfloat16", "float16"),
        "GEMMS": (128,),
        "CONVOLUTIONS": ((16, 3, 14),),
        "MEMORY_BYTES": (1 << 24,),
    }.items():
        monkeypatch.setattr(f"convcost.nn.measure.machine.{name}", value)
