"""The pytest helper and the plugin, as a user's own test files have them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from fork_server import fast_python
from torch import nn

from convcost.changes.layer_cost import entry_of
from convcost.pytest import as_json, assert_cost, from_json
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from pathlib import Path

NET = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.Flatten(), nn.Linear(8 * 6 * 6, 10))
INPUT = torch.zeros(1, 3, 8, 8)
MACS = 36 * 8 * 27 + 288 * 10


def test_a_model_within_its_budget_is_returned_counted() -> None:
    assert assert_cost(NET, INPUT, max_macs=MACS).totals.macs == MACS


def test_the_failures_message_is_the_table_of_layers() -> None:
    with pytest.raises(AssertionError) as failed:
        assert_cost(NET, INPUT, max_macs=MACS - 1, max_params="1 M")
    lines = str(failed.value).splitlines()
    assert lines[:2] == ["fail: Sequential macs: 10,656 is over max 10,655 by 1", "  (0.00939 %)"]
    assert any(re.match(r"0\s+Conv2d\s+1x3x8x8\s", line) for line in lines)
    assert any(re.match(r"2\s+Linear\s+1x288\s", line) for line in lines)


def test_of_many_layers_the_largest_are_shown() -> None:
    deep = nn.Sequential(*(nn.Linear(4, 4) for _ in range(50)))
    with pytest.raises(AssertionError, match="and 40 smaller layers"):
        assert_cost(deep, torch.zeros(1, 4), max_params=1)


def test_the_message_fits_beside_pytests_margin_and_lists_what_counts_for_the_limit() -> None:
    with pytest.raises(AssertionError) as failed:
        assert_cost(nn.Sequential(nn.ReLU(), NET), INPUT, max_macs=1, max_flops=2, max_weight_bytes=3)
    first, *rest = str(failed.value).splitlines()
    assert len("AssertionError: ") + len(first) <= 72
    assert all(len(line) <= 72 for line in rest)
    assert "to accept Sequential: raise max_macs, max_flops, max_weight_bytes" in rest
    assert not any("ReLU" in line for line in rest)  # no parameters, no MACs


class Spectral(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(x).abs()


def test_uncounted_arithmetic_does_not_pass_silently() -> None:
    with pytest.raises(AssertionError, match="≥, 1 operation uncounted"):
        assert_cost(Spectral(), torch.zeros(8), max_macs="1 M")
    assert assert_cost(Spectral(), torch.zeros(8), max_macs="1 M", strict=False).uncounted


def test_a_wrong_quantity_is_no_assertion() -> None:
    with pytest.raises(ConvcostError, match=r"max_params \(=5 MB\) must be a number of parameters"):
        assert_cost(NET, INPUT, max_params="5 MB")
    with pytest.raises(ConvcostError, match="a check must have a limit"):
        assert_cost(NET, INPUT)


WITHOUT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""Plugins that these runs do without: the second imports for half a second."""
HEAD = "import pytest, torch\nfrom torch import nn\nNET = nn.Linear(4, 4, bias=False)\nX = torch.zeros(1, 4)\n"


@pytest.mark.parametrize(
    ("test", "code", "said"),
    [
        ("@pytest.mark.cost(max_params=16)\ndef test_net(assert_cost):\n    assert_cost(NET, X)\n", 0, "1 passed"),
        ("@pytest.mark.cost(max_params=15)\ndef test_net(assert_cost):\n    assert_cost(NET, X)\n", 1, "16 is over max 15"),
        ("@pytest.mark.cost(max_params=15)\ndef test_net(assert_cost):\n    assert_cost(NET, X, max_params=16)\n", 0, "1 passed"),
        ("@pytest.mark.cost(max_params=15)\ndef test_net(assert_cost):\n    pass\n", 1, "FAILED test_net.py::test_net - Failed: the test has limits"),
        ("@pytest.mark.cost(max_params=15)\ndef test_net():\n    pass\ndef test_other():\n    pass\n", 1, "must use the fixture assert_cost"),
        ("@pytest.mark.cost(max_params=15)\ndef test_net():\n    pass\ndef test_other():\n    pass\n", 1, "1 passed, 1 error in"),
        ("@pytest.mark.cost(max_params=15)\ndef test_net(assert_cost):\n    pytest.skip('no data')\n", 0, "1 skipped"),
        ("@pytest.mark.cost(max_params=15)\ndef test_net(assert_cost):\n    assert 1 == 2\n", 1, "1 failed in"),
        ("@pytest.mark.cost(max_params=15)\n@pytest.mark.xfail\ndef test_net(assert_cost):\n    assert 1 == 2\n", 0, "1 xfailed"),
        ('@pytest.mark.cost("1 k")\ndef test_net(assert_cost):\n    assert_cost(NET, X)\n', 1, "must name its limits; write @pytest.mark.cost(max_macs=...)"),
        ("@pytest.mark.cost()\ndef test_net(assert_cost):\n    assert_cost(NET, X)\n", 1, "must name its limits"),
        ('def test_net(assert_cost):\n    assert_cost(NET, X, max_macs="16")\n', 0, "1 passed"),
        ("pytestmark = pytest.mark.cost(max_macs=15)\n@pytest.mark.cost(max_macs=16)\n"
         "def test_net(assert_cost):\n    assert_cost(NET, X)\n", 0, "1 passed"),
    ],
)  # fmt: skip
def test_the_plugin_gives_a_fixture_and_a_marker(test: str, code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "test_net.py").write_text(HEAD + test)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    command = [fast_python(), "-m", "pytest", "-q", *WITHOUT, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr


def test_a_failure_lists_what_grew_since_the_test_passed(tmp_path: Path) -> None:
    file, command = tmp_path / "test_net.py", [fast_python(), "-m", "pytest", "-q", "-p", "no:hypothesispytest"]
    test = HEAD + "def test_net(assert_cost):\n    assert_cost(nn.Sequential(NET, nn.Linear(4, 4)), X, max_params=40)\n"
    outputs = []
    for code in (test, test.replace("nn.Linear(4, 4))", "nn.Linear(4, 3), nn.Linear(3, 9))")):
        file.write_text(code)
        done = subprocess.run([*command, str(file)], cwd=tmp_path, capture_output=True, text=True, check=False)
        outputs.append(done.stdout)
    assert "1 passed" in outputs[0]
    lines = [line.removeprefix("E").strip() for line in outputs[1].splitlines()]
    why = lines.index(
        "why: Sequential against its last pass: 31 params more, 23 MACs more, 124"
    )  # 9 · 4 - 5, 9 · 3 - 4
    assert lines[why + 2 : why + 4] == [
        "2  added: Linear, on 1x3  +36 params, +27 MACs",
        "back under budget: revert the change of 2: the model then has at most 36",
    ]
    assert not any(line.startswith("layer ") for line in lines)


@pytest.mark.parametrize("stored", [None, [], {}, {"layers": {"a": {"op": "x"}}}, {"layers": {}, "other": 1}])
def test_costs_that_another_version_stored_are_left_out(stored: object) -> None:
    assert from_json(stored) is None
    report = assert_cost(NET, INPUT, max_macs=MACS)
    assert from_json(as_json(report)) == entry_of(report)


@pytest.mark.slow
def test_a_failure_points_at_the_users_line_and_at_no_line_of_ours(tmp_path: Path) -> None:
    test = "@pytest.mark.cost(max_params=15)\ndef test_net(assert_cost):\n    assert_cost(NET, X)\n"
    (tmp_path / "test_net.py").write_text(HEAD + test)
    command = [sys.executable, "-m", "pytest", "-q", *WITHOUT, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "test_net.py:7: AssertionError" in done.stdout
    assert "convcost/pytest" not in done.stdout


def test_the_model_runs_once() -> None:
    runs = []

    class Counted(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            runs.append(1)
            return super().forward(x)

    assert_cost(Counted(4, 4), torch.zeros(1, 4), max_macs=16)
    assert len(runs) == 1
