"""Each budget in a process of its own: what a model does to its process, or to this one, reaches no other budget."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from budgeted_project import commit, edit, git
from fork_server import fast_python

import convcost
from convcost.cli import main
from convcost.system.child_process import CAN_FORK

PLAIN = "from torch import nn\ndef net():\n    return nn.Conv2d(3, {width}, 3)\n"
PARAMS = 28  # 3·3·3 weights and a bias for each output channel
BUDGET = '[budget.{name}]\ntarget = "{target}"\ninput = "1x3x8x8"\nparams = "1 k"\n'
forked = pytest.mark.skipif(not CAN_FORK, reason="what is changed before the model is loaded is what a fork inherits")


def run(folder: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    command = [fast_python(), "-m", "convcost", "check", "--format", "json", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done, json.loads(done.stdout)


def budgets(folder: Path, **models: str) -> None:
    """Write one file and one budget for each model."""
    for name, code in models.items():
        (folder / f"{name}.py").write_text(code)
    texts = [BUDGET.format(name=name, target=f"{name}.py:net") for name in models]
    (folder / "convcost.toml").write_text("".join(texts))


def verdicts(result: dict[str, Any]) -> dict[str, tuple[int | None, str]]:
    return {one["name"]: (one["metrics"][0]["actual"], one["metrics"][0]["verdict"]) for one in result["budgets"]}


LEFT_BEHIND = {
    "dtype": "torch.set_default_dtype(torch.float64)",
    "device": "torch.set_default_device('meta')",
    "environment": "os.environ['WIDTH'] = '9'",
    "folder": "os.chdir('/')",
    "path": "sys.path.insert(0, '/nowhere')",
    "module": "sys.modules['json'] = None",
    "random": "torch.manual_seed(7); random.seed(7)",
    "threads": "threading.Thread(target=time.sleep, args=(600,)).start(); torch.set_num_threads(1)",
    "formula": "convcost.register(torch.ops.aten.relu)(lambda *_, out: 1)",
    "patch": "nn.Conv2d = nn.Linear",
}


@forked
@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_what_one_model_leaves_behind_does_not_reach_the_next(what: str, tmp_path: Path) -> None:
    imports = "import convcost, os, random, sys, threading, time, torch\nfrom torch import nn\n"
    state = (
        f"{imports}import json\nfrom convcost.nn.count.operators import REGISTERED\n"
        "print('state', torch.get_default_dtype(), torch.get_default_device(), os.environ.get('WIDTH'), os.getcwd(),\n"
        "      '/nowhere' in sys.path, torch.initial_seed(), random.getstate()[1][0] == 7, threading.active_count(),\n"
        "      len(REGISTERED), nn.Conv2d.__name__, file=sys.stderr)\n"
    )
    budgets(tmp_path, first=imports + PLAIN.format(width=4) + LEFT_BEHIND[what], second=state + PLAIN.format(width=8))
    seen = []
    for words in ((), ("--only", "second")):
        done, result = run(tmp_path, *words)
        assert verdicts(result)["second"] == (8 * PARAMS, "pass")
        seen += [line for line in done.stderr.splitlines() if line.startswith("state")]
    assert len(seen) == 2
    assert seen[0] == seen[1]


ENDS = {
    "exit": ("import os\nos._exit(3)", "ended the process (exit code 3) in which it ran"),
    "signal": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "ended the process (signal SIGSEGV) in"),
    "interrupt": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)",
        "ended the process (signal SIGINT) in which it",
    ),
    "memory": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "ended the process (signal SIGKILL, as the system sends where memory runs out) in which it ran",
    ),
    "worker": (
        "import os, time\nif os.fork() == 0:\n    os.closerange(0, 99)\n    time.sleep(20)\nos._exit(4)",
        "ended the process (exit code 4)",
    ),
}


@forked
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("when", ["imported", "run"])
def test_a_model_that_ends_its_process_is_an_error_of_its_budget_alone(how: str, when: str, tmp_path: Path) -> None:
    code, said = ENDS[how]
    if when == "run":
        inner = code.replace("\n", "\n        ")
        code = f"from torch import nn\nclass net(nn.Module):\n    def forward(self, x):\n        {inner}\n"
    budgets(tmp_path, first=PLAIN.format(width=4), ends=code, last=PLAIN.format(width=8))
    done, result = run(tmp_path)
    assert done.returncode == 2
    passed = {"first": (4 * PARAMS, "pass"), "last": (8 * PARAMS, "pass")}
    assert verdicts(result) == {**passed, "ends": (None, "skipped")}
    error = result["budgets"][1]["error"]
    assert error.startswith(f"convcost.toml:6:10: ends: target (=ends.py:net) {said}")
    assert f"\nerror: {error}\n" in f"\n{done.stderr}"


@forked
def test_a_model_that_crashes_convcost_is_an_error_of_its_budget_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(target: str, *_: object, **__: object) -> None:
        raise ZeroDivisionError(target)

    budgets(tmp_path, first=PLAIN.format(width=4), last=PLAIN.format(width=8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("convcost.workflows.budget_process.count_target", crash)
    assert main(["check"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [line.partition(" budget")[0] for line in lines] == [
        f"error: convcost.toml:{line}:10: {name}: {name}.py:net" for line, name in ((2, "first"), (6, "last"))
    ]


@forked
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_process_of_a_budget_dies_with_the_check(number: signal.Signals, tmp_path: Path) -> None:
    budgets(tmp_path, net="import os, time\nprint(os.getpid(), flush=True)\nwhile True:\n    time.sleep(0.1)\n")
    command = [fast_python(), "-m", "convcost", "check", "--export", "out.csv"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as done:
        assert done.stderr is not None
        child = int(done.stderr.readline())
        done.send_signal(number)
        assert done.stderr.read() == ("" if number != signal.SIGINT else "error: net: interrupted\n")
    assert done.returncode == (130 if number == signal.SIGINT else -number)
    for _ in range(200):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists()
    assert (tmp_path / "out.csv").exists() == (number == signal.SIGINT)


LOUD = """
import atexit, ctypes, os, threading, time

def say(word):
    print(word)
    os.write(1, f"{word} by descriptor\\n".encode())
    os.system(f"echo {word} by a child")

say("imported")
atexit.register(say, "at exit")
atexit.register(os.write, 1, b"at exit, no print\\n")
threading.Thread(target=lambda: (time.sleep(0.2), say("late"))).start()
"""


@pytest.mark.parametrize("command", ["check", "model"])
def test_what_a_model_prints_is_never_on_stdout_at_exit_either(command: str, tmp_path: Path) -> None:
    budgets(tmp_path, net=LOUD + PLAIN.format(width=4))
    words = {
        "check": ["check", "--format", "csv"],
        "model": ["model", "net.py:net", "--input", "1x3x8x8", "--format", "csv"],
    }
    done = subprocess.run(
        [fast_python(), "-m", "convcost", *words[command]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "imported by a child" in done.stderr
    assert not [line for line in done.stdout.splitlines() if line.startswith(("imported", "at exit", "late"))]
    assert len(done.stdout.splitlines()) == 2


def test_where_no_process_can_be_forked_a_new_interpreter_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcost.system.child_process.CAN_FORK", False)
    budgets(tmp_path, ends="import os\nos._exit(3)\n", last=PLAIN.format(width=8))
    result = convcost.check(str(tmp_path / "convcost.toml"))
    assert verdicts(result.to_dict()) == {"ends": (None, "skipped"), "last": (8 * PARAMS, "pass")}


@forked
def test_formulas_of_the_calling_process_count_its_budgets_too(tmp_path: Path) -> None:
    program = (
        "import convcost, torch\n"
        "convcost.register(torch.ops.aten._fft_r2c)(lambda *_, out: 1000)\n"
        "print(convcost.check('convcost.toml').to_dict()['budgets'][0]['metrics'][0]['actual'])\n"
    )
    model = "import torch\nfrom torch import nn\nclass net(nn.Module):\n    def forward(self, x):\n        return torch.fft.rfft(x)\n"
    budgets(tmp_path, net=model)
    text = (tmp_path / "convcost.toml").read_text()
    (tmp_path / "convcost.toml").write_text(text.replace("params", "macs"))
    done = subprocess.run([fast_python(), "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "1000\n"


@pytest.mark.timing
@pytest.mark.parametrize("threads", [1, 2])
def test_a_process_whose_torch_has_computed_in_threads_can_still_time_budgets(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVCOST_DB", str(tmp_path / "times.db"))
    torch.randn(500, 500) @ torch.randn(500, 500)  # starts OpenMP's threads, which a fork does not have
    budgets(tmp_path, net=PLAIN.format(width=64))
    text = (tmp_path / "convcost.toml").read_text()
    (tmp_path / "convcost.toml").write_text(f'{text}latency = {{ max = "60 s", threads = {threads} }}\n')
    result = convcost.check(str(tmp_path / "convcost.toml"), time_budget=0.7).to_dict()
    latency = next(one for one in result["budgets"][0]["metrics"] if one["metric"] == "latency")
    assert latency["actual"] > 0
    assert latency["threads"] == threads


OPERATOR = """
import torch
from torch import nn

LIBRARY = torch.library.Library("convcost_of_two_revisions", "DEF")
LIBRARY.define("same(Tensor x) -> Tensor")

def net():
    return nn.Conv2d(3, {width}, 3)
"""


@forked
def test_revisions_that_register_one_operator_can_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "init", "--quiet")
    budgets(tmp_path, net=OPERATOR.format(width=8))
    edit(tmp_path / "convcost.toml", '"1 k"', '{ grow = "0 %" }')
    commit(tmp_path)
    budgets(tmp_path, net=OPERATOR.format(width=16))
    edit(tmp_path / "convcost.toml", '"1 k"', '{ grow = "0 %" }')
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--base", "HEAD", "--format", "json"]) == 1
    (metric,) = json.loads(capsys.readouterr().out)["budgets"][0]["metrics"]
    assert (metric["baseline"], metric["actual"]) == (8 * PARAMS, 16 * PARAMS)
