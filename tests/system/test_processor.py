"""The processor of platforms that this machine is not, by taking away what they lack."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

import pytest

from convcost.system import processor


def test_only_glibc_can_pin_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert processor.pin_allocator() is False
    monkeypatch.setattr(sys, "platform", "darwin")
    assert processor.pin_allocator() is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt's thresholds")
def test_glibc_is_asked_to_keep_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Libc:
        def mallopt(self, name: int, value: int) -> int:
            asked.append((name, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Libc())
    assert processor.pin_allocator() is True
    assert asked == [(-3, 1 << 30), (-1, 2**31 - 1)]


def test_the_processor_has_a_name() -> None:
    assert processor.cpu_name().strip() == processor.cpu_name() != ""


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel\t: 9\n", "AMD EPYC (family 25, model 17)"),
        ("cpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC 7763 64-Core\n", "AMD EPYC 7763 64-Core"),
        ("model name\t: AMD EPYC\n", "AMD EPYC"),
        ("processor\t: 0\nBogoMIPS\t: 50\n\nHardware\t: BCM2835\n", "BCM2835"),
        ("processor\t: 0\n", ""),
    ],
)
def test_a_name_without_a_number_gets_the_family_and_the_model(cpuinfo: str, name: str) -> None:
    assert processor.name_in_cpuinfo(cpuinfo) == name


def test_without_proc_the_name_is_the_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "freebsd")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert processor.cpu_name() == "riscv64"


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux tells through /proc/stat")
def test_the_load_of_others_is_at_least_nothing() -> None:
    load = processor.other_load(0.05)
    assert load is not None
    assert load >= 0.0
