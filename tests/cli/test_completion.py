"""Completion in a shell: its script is shown and installed, and it completes the values of options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from convcost import BLOCKS
from convcost.cli import main
from convcost.models.network import list_networks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASH = shutil.which("bash")
NETWORKS = [f"network:{name}" for name in list_networks()]


def convcost(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convcost", *words]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=False, env=os.environ | variables
    )


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """The values for the last of some words, which bash has split."""

    def complete(*words: str) -> list[str]:
        monkeypatch.setenv("_CONVCOST_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(["convcost", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        assert main([]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out.split()

    return complete


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["compare", "--block", ""], [*BLOCKS, "all"]),
        (["compare", "--block", "gh"], ["ghost"]),
        (["compare", "--baseline", "low"], ["low-rank"]),
        (["explain", "standard", "gh"], ["ghost"]),
        (["history", "--block", "al"], []),
        (["compare", "--dtype", "fl"], ["float32", "float64", "float16"]),
        (["compare", "--memory-format", "=", "ch"], ["channels_last"]),
        (["compare", "--allocator", ""], ["pinned", "default"]),
        (["compare", "--columns", "block,params_"], ["block,params_ratio"]),
        (["compare", "--columns", "=", "block,params_"], ["block,params_ratio"]),
        (["model", "net"], NETWORKS),
        (["model", "network", ":"], list_networks()),
        (["model", "network", ":", "mobilenet_v2"], ["mobilenet_v2"]),
        (["check", "network", ":", "resnet1"], ["resnet18"]),
        (["kernel", "--model", "network", ":", "resnet1"], ["resnet18"]),
        (["kernel", "sob"], ["sobel", "sobel-y"]),
        (["kernel", "--columns", "rank1"], ["rank1_error"]),
        (["model", "--sort", ""], ["macs", "params", "traffic", "time"]),
        (["model", "--device", ""], ["auto", "meta", "cpu"]),
        (["model", "--time-device", "c"], ["cpu", "cuda"]),
        (["sweep", "--device", "c"], ["cpu", "cuda"]),
        (["sweep", "--pareto", "time_s,verd"], ["time_s,verdict"]),
        (["diff", "network", ":", "resnet1"], ["resnet18"]),
        (["diff", "network:resnet18", "network", ":", "resnet5"], ["resnet50"]),
        (["diff", "--sort", ""], ["macs", "params", "traffic", "time"]),
        (["diff", "--device", "m"], ["meta"]),
        (["diff", "--columns", "what,macs_d"], ["what,macs_delta"]),
        (["replace", "network", ":", "resnet1"], ["resnet18"]),
        (["replace", "--to", "gh"], ["ghost"]),
        (["replace", "--from", ""], ["standard", "grouped", "depthwise", "pointwise"]),
        (["replace", "--only", ""], []),
        (["replace", "--sort", ""], ["macs", "params", "time"]),
        (["replace", "--columns", "name,macs_r"], ["name,macs_ratio"]),
        (["sweep", "--pareto", "macs,para"], ["macs,params", "macs,params_ratio"]),
        (["sweep", "--sort", "macs_"], ["macs_ratio"]),
        (["sweep", "--group-by", "bl"], ["block"]),
        (["history", "--command", "ch"], ["check"]),
        (["config", "s"], ["schema", "show"]),
        (["ex"], ["explain"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_the_values_of_an_option_are_completed(
    words: list[str], values: list[str], completed: Callable[..., list[str]]
) -> None:
    assert completed(*words) == list(values)


def test_the_budgets_of_the_configuration_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, completed: Callable[..., list[str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert completed("check", "--only", "") == []
    (tmp_path / "convcost.toml").write_text('[budget.wide]\ntarget = "network:resnet18"\nmacs = "2 G"\n')
    assert completed("check", "--only", "w") == ["wide"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_script_of_the_shell_that_is_named_is_shown(shell: str) -> None:
    done = convcost("--show-completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"complete_{shell}" in done.stdout


def test_the_script_is_installed_once_and_the_command_succeeds(tmp_path: Path) -> None:
    done = convcost("--install-completion", "bash", HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete_bash" in (tmp_path / ".bash_completions" / "convcost.sh").read_text()


def test_a_shell_that_cannot_be_completed_is_refused_with_those_that_can() -> None:
    done = convcost("--show-completion", "tcsh")
    assert done.returncode == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.stderr


@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_a_shell_that_is_not_recognised_is_asked_for(option: str) -> None:
    code = (
        "import sys, shellingham\n"
        "def fail(*_): raise shellingham.ShellDetectionFailure\n"
        "shellingham.detect_shell = fail\n"
        f"from convcost.cli import main\nsys.exit(main([{option!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"error: {option} must know the shell; name it: convcost {option} bash, zsh, fish or pwsh.\n"
    )


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_bash_completes_with_the_script() -> None:
    script = convcost("--show-completion", "bash").stdout
    words = "COMP_WORDS=(convcost model network : mobilenet_v2); COMP_CWORD=4; _convcost_completion convcost"
    convcost_itself = f'convcost() {{ "{sys.executable}" -m convcost "$@"; }}; export -f convcost'
    program = f'{convcost_itself}\nenv() {{ local -x "${{@:1:$#-1}}"; convcost; }}\n{script}\n{words}\necho "${{COMPREPLY[*]}}"'
    done = subprocess.run([str(BASH), "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "mobilenet_v2\n", done.stderr
