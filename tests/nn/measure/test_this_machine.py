"""Whose figures a calibration holds, and whether it is used: never another machine's, never in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from made_machine import machine

from convcost.nn.measure.this_machine import cache_sizes, calibration_for, identity
from convcost.system.processor import cpu_name
from convcost.text.errors import ConvcostError
from convcost.timing.machine_file import default_path, save_machine

if TYPE_CHECKING:
    from pathlib import Path

    from convcost.timing.machine import Identity

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CONVCOST_MACHINE", raising=False)


def calibrated(here: Identity) -> Path:
    """A calibration where it is looked for."""
    path = default_path("cpu")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_machine(path, machine(here))
    return path


def test_this_machine_is_told_by_its_processor_and_its_versions() -> None:
    here = identity(CPU)
    assert (here.name, here.device, here.torch_version) == (cpu_name(), "cpu", torch.__version__.partition("+")[0])
    assert here.isa
    assert here.onednn_version in torch.__config__.show()


def test_the_caches_grow_and_more_threads_hold_no_less() -> None:
    one, two = cache_sizes(CPU, 1), cache_sizes(CPU, 2)
    assert [size for _, size in one] == sorted(size for _, size in one)
    assert all(few <= many <= 2 * few for (_, few), (_, many) in zip(one, two, strict=True))


def test_a_calibration_of_this_machine_is_used_and_named() -> None:
    path = calibrated(identity(CPU))
    found, said = calibration_for(CPU, "float32", 1)
    assert found is not None
    assert found.identity == identity(CPU)
    assert said == f"bounds and intervals from the calibration of 2026-11-24, run-to-run term 5.0 % ({path})."


def test_without_one_the_reader_is_told_how_to_get_it() -> None:
    found, said = calibration_for(CPU, "float32", 1)
    assert found is None
    assert said == "no bound is shown: this machine is not calibrated; run convcost calibrate (a minute)."


@pytest.mark.parametrize(
    ("field", "value", "dtype", "threads", "said"),
    [
        ("torch_version", "1.0", "float32", 1, "torch 1.0 there, "),
        ("name", "a 6502", "float32", 1, "machine a 6502 there, "),
        ("isa", "MMX", "float32", 1, "instructions MMX there, "),
        ("device", "cpu", "float32", 7, "not measured with 7 threads"),
        ("device", "cpu", "float64", 1, "not measured with float64"),
    ],
)
def test_a_stale_calibration_is_not_used_and_says_what_is_stale(
    field: str, value: str, dtype: str, threads: int, said: str
) -> None:
    other: dict[str, Any] = {field: value}
    calibrated(replace(identity(CPU), **other))
    found, note = calibration_for(CPU, dtype, threads)
    assert found is None
    assert note.startswith("no bound is shown: the calibration of 2026-11-24 is not of this: ")
    assert said in note
    assert note.endswith("run convcost calibrate.")


def test_a_named_file_of_another_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_machine(tmp_path / "theirs.toml", machine(replace(identity(CPU), name="a 6502")))
    monkeypatch.setenv("CONVCOST_MACHINE", str(tmp_path / "theirs.toml"))
    with pytest.raises(ConvcostError, match=r"must be of this machine: machine a 6502 there, .*convcost calibrate\.$"):
        calibration_for(CPU, "float32", 1)


def test_a_named_file_that_is_not_there_or_damaged_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    monkeypatch.setenv("CONVCOST_MACHINE", str(path))
    with pytest.raises(ConvcostError, match=r"must be a file that can be read"):
        calibration_for(CPU, "float32", 1)
    path.write_text("machine_version = 7\n", encoding="utf-8")
    with pytest.raises(ConvcostError, match=r"mine\.toml:1:1: machine_version \(=7\)"):
        calibration_for(CPU, "float32", 1)
