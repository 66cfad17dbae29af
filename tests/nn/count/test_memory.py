"""What a module must move whatever its kernel: each expectation is a product of sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from made_machine import machine
from torch import nn

import convcost
from convcost.cli import main
from convcost.nn.measure.this_machine import identity
from convcost.timing.machine_file import save_machine

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = 2 * 4 * 9 * 9 * 4  # bytes of 2 samples, 4 channels, 9 x 9 pixels, float32
A_PIXEL = 2 * 4 * 4  # of every sample and channel


class Mine(nn.ReLU):
    pass


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.ReLU(), 2 * IMAGE),
        (nn.ReLU(inplace=True), IMAGE),
        (nn.Softmax(1), 2 * IMAGE),
        (nn.BatchNorm2d(4), 2 * IMAGE + 2 * 4 * 4),  # weight and bias
        (nn.MaxPool2d(3), IMAGE + 3 * 3 * A_PIXEL),
        (nn.MaxPool2d(2), (8 * 8 + 4 * 4) * A_PIXEL),  # the ninth row and column lie in no window
        (nn.MaxPool2d(2, ceil_mode=True), (9 * 9 + 5 * 5) * A_PIXEL),
        (nn.MaxPool2d(1, 3), 2 * 3 * 3 * A_PIXEL),
        (nn.AvgPool2d((1, 3), (3, 3)), (3 * 9 + 3 * 3) * A_PIXEL),
        (nn.AdaptiveAvgPool2d(1), IMAGE + A_PIXEL),
        (nn.Upsample(scale_factor=2), 18 * 18 * A_PIXEL),
        (nn.Upsample(scale_factor=0.5), None),
        (nn.ZeroPad2d(1), 11 * 11 * A_PIXEL),
        (nn.ZeroPad2d(-1), None),
        (nn.Flatten(), None),
        (nn.Dropout(), None),
        (nn.Identity(), None),
        (nn.PixelShuffle(2), None),
        (Mine(), None),
    ],
    ids=str,
)
def test_bytes_that_no_kernel_can_leave_out(module: nn.Module, expected: int | None) -> None:
    (row,) = convcost.count(nn.Sequential(module).eval(), (torch.zeros(2, 4, 9, 9),)).layers
    assert row.least_bytes == expected
    work = row.work("float32")
    assert (None if work is None else (work.flops, work.moved_bytes, work.convolution)) == (
        None if expected is None else (0, expected, False)
    )


def test_an_embedding_reads_a_few_rows_of_its_table() -> None:
    (row,) = convcost.count(nn.Sequential(nn.Embedding(1000, 16)), (torch.zeros(1, 3, dtype=torch.int64),)).layers
    assert row.traffic_bytes > 1000 * 16 * 4
    assert row.least_bytes == 3 * 8 + 3 * 16 * 4


def test_a_sample_without_a_batch_has_the_bound_of_a_batch_of_one() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 1, stride=3, bias=False))
    alone, batch = (convcost.count(net, (torch.zeros(*first, 4, 9, 9),)).layers[0] for first in ((), (1,)))
    assert alone.work("float32") == batch.work("float32")
    assert alone.work("float32").moved_bytes == (3 * 3 * 4 + 4 * 4 + 3 * 3 * 4) * 4  # a ninth of the pixels is read


@pytest.mark.timing
def test_rows_without_macs_have_a_bound_and_views_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_machine(tmp_path / "machine.toml", machine(identity(torch.device("cpu"))))
    monkeypatch.setenv("CONVCOST_MACHINE", str(tmp_path / "machine.toml"))
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(),"
        " nn.MaxPool2d(3), nn.Flatten())\n",
        encoding="utf-8",
    )
    words = ["model", f"{tmp_path / 'net.py'}:net", "--input", "2x4x9x9", "--no-cross-check", "--format", "csv"]
    assert main([*words, "--time", "--time-budget", "1", "--columns", "op,bound_s,bound,bound_level"]) == 0
    # 1 us a call, 2 * 2592 + 32 bytes at 100 GB/s are 52 ns: the call decides
    assert capsys.readouterr().out.splitlines()[1:] == [
        "BatchNorm2d,1e-06,overhead,",
        "ReLU,1e-06,overhead,",
        "Dropout,,,",
        "MaxPool2d,1e-06,overhead,",
        "Flatten,,,",
    ]
