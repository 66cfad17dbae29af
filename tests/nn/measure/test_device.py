"""Platforms that this machine is not, by taking away what they lack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from convcost.nn.measure import device as home
from convcost.system import processor
from convcost.text.errors import ConvcostError

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:", "cuda:x", "mps:1", "", "cuda:-1"])
def test_a_name_that_is_no_device_is_refused(name: str) -> None:
    if name == "cuda:" and torch.cuda.is_available():
        pytest.skip("cuda: is cuda here")
    with pytest.raises(ConvcostError, match=r"^device \(=.*\) must be "):
        home.resolve_device(name)


def test_a_device_that_is_not_there_is_refused_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConvcostError, match=r"^device \(=cuda\) must be there: torch .* sees 0 CUDA devices; take"):
        home.resolve_device("cuda")
    with pytest.raises(ConvcostError, match=r"^device \(=mps\) must be there: torch .* sees no Metal device; take"):
        home.resolve_device("mps")
    assert home.resolve_device("auto") == CPU


def test_auto_takes_the_accelerator_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert home.resolve_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert home.resolve_device("auto") == torch.device("cuda", 0)
    assert home.resolve_device("cuda:1") == torch.device("cuda", 1)


def test_all_threads_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    assert home.resolve_threads("all") == 3
    assert home.resolve_threads(2) == 2
    with pytest.raises(ConvcostError, match=r"^threads \(=49\) must be at most 48 on this machine; all is 3\.$"):
        home.resolve_threads(49)


def test_free_memory_is_what_the_system_says_is_available() -> None:
    free = home.free_memory(CPU)
    assert free is not None
    assert 10**8 < free < 10**14


def test_without_proc_the_physical_memory_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    free = home.free_memory(CPU)
    assert free == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert processor.other_load(0.0) is None


def test_what_does_not_fit_is_refused_with_sizes_and_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "free_memory", lambda _: 2 * 10**9)
    assert home.refusal(2 * 10**9, CPU) is None
    expected = "not timed: it needs 3.00 GB and this machine has 2.00 GB free; take a smaller input or batch"
    assert home.refusal(3 * 10**9, CPU) == expected
    monkeypatch.setattr(home, "free_memory", lambda _: None)
    assert home.refusal(10**30, CPU) is None
