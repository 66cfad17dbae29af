"""`convcost check` on real models: in a folder, against a lock, against another revision."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from budgeted_project import CONFIG, MODEL, commit, edit, git
from fork_server import fast_python
from locks import edit_lock

import convcost
from convcost.budgets.config_files import load_configuration
from convcost.cli import main
from convcost.nn.count.operators import REGISTERED
from convcost.system.git_revision import checked_out

MACS = 8 * 8 * 9 * (3 * 8 + 8 * 16)  # 87,552


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit: a model and its budget."""
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "models.py").write_text(MODEL)
    (folder / "convcost.toml").write_text(CONFIG)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder)
    monkeypatch.chdir(folder)
    return folder


def forget_models() -> None:
    sys.modules.pop("models", None)


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    forget_models()
    code = main(["check", "--format", "json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_a_budget_is_met_and_then_exceeded(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = checked(capsys)
    (metric,) = result["budgets"][0]["metrics"]
    assert (code, result["schema"], result["passed"], result["verdict"]) == (0, "convcost.check/1", True, "pass")
    assert (metric["actual"], metric["max"], metric["verdict"], metric["source"]) == (
        MACS,
        100_000,
        "pass",
        "convcost.toml:4",
    )
    edit(project / "convcost.toml", "100 k", "80 k")
    code, result = checked(capsys)
    assert (code, result["passed"], result["verdict"]) == (1, False, "fail")


def test_growth_against_the_lock_fails_and_says_why_and_what_would_help(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(project / "convcost.toml", 'max = "100 k", ', "")
    code, result = checked(capsys)
    assert (code, result["budgets"][0]["metrics"][0]["verdict"]) == (0, "skipped")  # a note, no failure
    assert checked(capsys, "--update")[0] == 0
    edit(project / "models.py", "width, 16, 3", "width, 24, 3")
    code, result = checked(capsys)
    (budget,) = result["budgets"]
    assert (code, budget["verdict"], budget["compared_with"]) == (1, "fail", "convcost.lock")
    change = next(one for one in budget["changes"] if one["layer"] == "body")
    assert (change["change"], change["text"]) == ("changed", "out_channels 16 → 24")
    assert (change["params_delta"], change["macs_delta"]) == (8 * 8 * 9, 64 * 8 * 8 * 9)
    assert budget["remedy"]["totals"]["macs"] <= MACS * 1.01
    assert checked(capsys, "--update")[0] == 0
    assert checked(capsys)[0] == 0


def test_update_rewrites_only_what_moved(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "convcost.toml").write_text(CONFIG + CONFIG.replace("budget.net", "budget.other"))
    assert checked(capsys, "--update")[0] == 0
    lock = project / "convcost.lock"
    before, written = lock.read_text(), lock.stat().st_mtime_ns
    forget_models()
    assert main(["check", "--update"]) == 0
    assert "convcost.lock: no figure changed" in capsys.readouterr().err
    assert lock.stat().st_mtime_ns == written
    edit(project / "models.py", "width, 16, 3", "width, 12, 3")
    forget_models()
    assert main(["check", "--update", "--only", "net"]) == 0
    assert "convcost.lock: net written" in capsys.readouterr().err
    moved = [a for a, b in zip(before.splitlines(), lock.read_text().splitlines(), strict=True) if a != b]
    assert moved == [line for line in before.partition("[budget.other]")[0].splitlines() if line in moved]


def test_an_update_writes_the_entries_of_those_that_could_be_checked_and_says_which_it_left(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = CONFIG.replace("budget.net", "budget.gone").replace(":Net", ":Gone")
    (project / "convcost.toml").write_text(gone + CONFIG)
    forget_models()
    assert main(["check", "--update"]) == 2
    said = capsys.readouterr().err
    assert "note: convcost.lock: left as it was for gone, which could not be checked." in said
    assert "note: convcost.lock: net written" in said
    assert set(tomllib.loads((project / "convcost.lock").read_text())["budget"]) == {"net"}


def test_an_update_mends_an_entry_that_a_merge_damaged(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, "--update")[0] == 0
    lock = project / "convcost.lock"
    before = lock.read_text()
    edit(lock, f"macs = {MACS}", f"macs = {MACS + 1}")
    assert main(["check"]) == 2
    assert "is not the sum of its layers" in capsys.readouterr().err
    assert checked(capsys, "--update")[0] == 0
    assert lock.read_text() == before


@pytest.mark.parametrize("words", [[], ["--only", "net"]])
def test_a_damaged_entry_that_is_not_checked_blocks_nobody_and_an_update_leaves_it(
    project: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "convcost.toml").write_text(CONFIG + CONFIG.replace("budget.net", "budget.b1"))
    assert checked(capsys, "--update")[0] == 0
    lock = project / "convcost.lock"
    edit(lock, lock.read_text().partition("weight_bytes")[0], lock.read_text().partition("macs =")[0] + "macs = 3\n")
    damaged = lock.read_text().partition("[budget.net]")[0]
    if not words:
        (project / "convcost.toml").write_text(CONFIG)
    edit(project / "models.py", "width, 16, 3", "width, 12, 3")
    for more in [], ["--update"], []:
        code, result = checked(capsys, *words, *more)
        (note,) = result["notes"]
        assert (code, "the lock of b1 is damaged: macs (=3) is not" in note) == (0, True)
    assert lock.read_text().partition("[budget.net]")[0] == damaged
    assert result["budgets"][0]["metrics"][0]["baseline"] == MACS - 4 * 8 * 9 * 64


def test_a_lock_that_cannot_be_written_is_refused_before_the_work(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "convcost.lock").mkdir()
    edit(project / "models.py", "import torch\n", "import torch\nopen('ran', 'w').close()\n")
    forget_models()
    assert main(["check", "--update"]) == 2
    assert "error: the lock (=" in capsys.readouterr().err
    assert not (project / "ran").exists()


def test_a_file_that_cannot_be_written_in_the_end_costs_neither_verdict_nor_notes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(project / "models.py", "class Net", "import os, shutil; shutil.rmtree('gone')\n\nclass Net")
    (project / "gone").mkdir()
    assert main(["check", "--junit", "gone/out.xml", "--format", "json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["verdict"] == "pass"
    assert "note: net: macs grow is not judged: convcost.lock has no entry of it" in err
    assert "error: junit (=gone/out.xml) could not be written" in err


def test_a_lock_that_is_not_used_is_not_read(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "convcost.lock").write_text("<<<<<<< HEAD\n")
    assert main(["check"]) == 2
    assert "the lock holds the marker of a merge conflict" in capsys.readouterr().err
    assert checked(capsys, "--base", "HEAD")[0] == 0


def test_a_budget_that_is_named_twice_is_checked_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.is_dir()
    _, result = checked(capsys, "--only", "net", "--only", "net")
    assert [one["name"] for one in result["budgets"]] == ["net"]
    assert [one.budget.name for one in convcost.check(only="net").budgets] == ["net"]


@pytest.mark.usefixtures("project")
def test_a_base_is_not_accepted_into_the_lock() -> None:
    said = r"^base \(=HEAD\) and update exclude each other: the lock holds today's figures; leave one out\.$"
    with pytest.raises(convcost.ConvcostError, match=said):
        convcost.check(base="HEAD", update=True)


def test_an_update_by_another_torch_that_counts_the_same_renews_its_version(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(capsys, "--update")[0] == 0
    lock, version = project / "convcost.lock", torch.__version__.partition("+")[0]
    before = lock.read_text()
    edit_lock(lock, (version, "2.4.0"))
    code, result = checked(capsys, "--update")
    assert (code, lock.read_text()) == (0, before)
    said = f"the lock was counted by counter 1, torch 2.4.0; now it is by counter 1, torch {version}."
    assert result["budgets"][0]["notes"] == [said]


@pytest.mark.parametrize(("torch_before", "code"), [("2.4.0", 0), (torch.__version__.partition("+")[0], 1)])
def test_growth_of_the_peak_alone_may_be_that_of_another_torch(
    project: Path, capsys: pytest.CaptureFixture[str], torch_before: str, code: int
) -> None:
    edit(project / "convcost.toml", "macs = {", 'peak_activation_bytes = { grow = "0 %" }\nmacs = {')
    assert checked(capsys, "--update")[0] == 0
    lock = tomllib.loads((project / "convcost.lock").read_text())["budget"]["net"]
    peak = lock["peak_activation_bytes"]
    texts = [(f"peak_activation_bytes = {peak}", f"peak_activation_bytes = {peak - 4}"), (lock["torch"], torch_before)]
    edit_lock(project / "convcost.lock", *texts)
    shown, result = checked(capsys)
    verdicts = {metric["metric"]: metric["verdict"] for metric in result["budgets"][0]["metrics"]}
    assert (shown, verdicts["peak_activation_bytes"]) == (code, "fail" if code else "inconclusive")


def test_growth_of_a_second_input_is_not_excused_by_another_torch(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "attention.py").write_text(
        "from torch import nn\n"
        "class Cross(nn.Module):\n"
        "    def __init__(self, length):\n        super().__init__()\n        self.length = length\n"
        "    def forward(self, q):\n        k = q.new_zeros(1, 4, self.length, 32)\n"
        "        return nn.functional.scaled_dot_product_attention(q, k, k)\n"
    )
    (project / "convcost.toml").write_text(
        '[budget.net]\ntarget = "attention.py:Cross"\nargs = { length = 64 }\ninput = "1x4x16x32"\n'
        'macs = { grow = "1 %" }\n'
    )
    assert checked(capsys, "--update")[0] == 0
    edit_lock(project / "convcost.lock", (torch.__version__.partition("+")[0], "2.4.0"))
    edit(project / "convcost.toml", "64", "4096")
    code, result = checked(capsys)
    (budget,) = result["budgets"]
    assert (code, budget["verdict"]) == (1, "fail")
    assert budget["changes"][0]["macs_delta"] == 4 * 16 * (4096 - 64) * (32 + 32)  # heads, queries, keys, in and out
    assert "recounted" not in {one["change"] for one in budget["changes"]}


def test_growth_by_a_dtype_alone_says_why_and_an_update_shows_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "typed.py").write_text("import models\ndef net():\n    return models.Net().half()\n")
    edit(project / "convcost.toml", "models.py:Net", "typed.py:net")
    edit(project / "convcost.toml", "macs = {", 'weight_bytes = { grow = "1 %" }\nmacs = {')
    assert checked(capsys, "--update")[0] == 0
    edit(project / "typed.py", ".half()", "")
    forget_models()
    for words, code in ([], 1), (["--update"], 0):
        sys.modules.pop("typed", None)
        assert main(["check", *words]) == code
        out = capsys.readouterr().out
        assert f"why: net against convcost.lock: {72 * (3 + 16) * 2 / 1000:.2f} kB more of weights" in out
        assert "body  float16 → float32  other bytes a parameter" in out


@pytest.mark.parametrize(
    ("old", "new"), [("counter = 1", "counter = 0"), (f'"{torch.__version__.partition("+")[0]}"', '"2.4.0"')]
)
def test_growth_that_another_version_may_have_made_is_not_decided(
    project: Path, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(capsys, "--update")[0] == 0
    lock = project / "convcost.lock"
    edit_lock(lock, (f"macs = {MACS}", f"macs = {MACS - 5000}"), ("macs = 73728", "macs = 68728"), (old, new))
    code, result = checked(capsys)
    (budget,) = result["budgets"]
    assert (code, budget["verdict"], budget["changes"][0]["change"]) == (0, "inconclusive", "recounted")
    assert budget["metrics"][0]["reason"].startswith(
        "87.6 k is 6.06 % over the baseline of 82.6 k, and 82.6 k without what another version"
    )  # 5000 / 82,552
    assert any(
        note.startswith("the counter may have changed, not the model: 1 layer of the same structure is")
        for note in budget["notes"]
    )
    assert checked(capsys, "--strict")[0] == 3
    edit_lock(lock, (new, old))
    assert checked(capsys)[0] == 1  # the same counter: it is the model


@pytest.mark.parametrize("change", ["new", "renamed", "moved"])
def test_growth_of_a_budget_without_a_baseline_is_reported_as_not_judged_and_undecided_when_strict(
    project: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if change != "new":
        assert checked(capsys, "--update")[0] == 0
    if change == "renamed":
        edit(project / "convcost.toml", "budget.net", "budget.other")
    words: tuple[str, ...] = ()
    if change == "moved":
        (project / "sub").mkdir()
        (project / "convcost.toml").rename(project / "sub" / "convcost.toml")
        (project / "models.py").rename(project / "sub" / "models.py")
        words = ("--config", "sub/convcost.toml")
    code, result = checked(capsys, *words)
    (budget,) = result["budgets"]
    step = "convcost.lock has no entry of it; write one with convcost check --update"
    assert (code, budget["verdict"], budget["notes"]) == (0, "pass", [f"macs grow is not judged: {step}"])
    code, result = checked(capsys, *words, "--strict")
    (metric,) = result["budgets"][0]["metrics"]
    assert (code, metric["verdict"], metric["reason"]) == (3, "inconclusive", step)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # as the next line
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the old way to quantise is what is tested
def test_limits_on_packed_weights_are_not_decided(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "packed.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n    return torch.ao.quantization.quantize_dynamic("
        "nn.Sequential(nn.Linear(16, 8)), {nn.Linear}, dtype=torch.qint8)\n"
    )
    (project / "convcost.toml").write_text(
        '[budget.net]\ntarget = "packed.py:net"\ninput = "2x16"\n'
        'params = { max = 9, grow = "1 %" }\nweight_bytes = { max = "9 kB", level = "warn" }\nmacs = "1 k"\n'
    )
    assert checked(capsys, "--update")[0] == 0
    code, result = checked(capsys)
    reason = f"0 holds {16 * 8 + 8} packed weights: params and weight_bytes are not obtained"
    metrics = {one["metric"]: (one["actual"], one["verdict"], one["reason"]) for one in result["budgets"][0]["metrics"]}
    assert (code, result["passed"]) == (0, True)
    assert metrics["params"] == metrics["weight_bytes"] == (None, "inconclusive", reason)
    assert metrics["macs"][:2] == (0, "pass")  # a lower bound: its operator is listed
    code, result = checked(capsys, "--strict")
    assert (code, [one["verdict"] for one in result["budgets"][0]["metrics"]]) == (3, ["inconclusive", "inconclusive", "warn"])  # fmt: skip


def test_a_count_that_other_values_or_another_device_change_is_not_decided_when_strict(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(project / "models.py", "return self.body(self.stem(x).relu())", "return self.body(self.stem(x)) if x.sum().item() else self.stem(x)")  # fmt: skip
    edit(project / "convcost.toml", "macs =", 'flops = "200 k"\nparams = "2 k"\nmacs =')
    code, result = checked(capsys)
    (budget,) = result["budgets"]
    assert (code, budget["verdict"], budget["metrics"][0]["metric"]) == (0, "pass", "params")
    assert budget["notes"][0].startswith("the forward pass reads values of tensors (item in Net): the counts hold for")
    assert checked(capsys, "--update")[0] == 0
    code, result = checked(capsys, "--strict")
    reason = f"macs are {8 * 8 * 9 * 3 * 8:,}, but {MACS:,} on the CPU with random inputs; make the forward pass take"
    metrics = {one["metric"]: one for one in result["budgets"][0]["metrics"]}
    assert (code, {name: one["verdict"] for name, one in metrics.items()}) == (
        3,
        {"params": "pass", "macs": "inconclusive", "flops": "inconclusive"},
    )
    assert metrics["macs"]["reason"].startswith(reason)
    assert metrics["flops"]["reason"].startswith(reason)
    edit(project / "models.py", "x.sum().item() else", "x.device.type == 'cpu' else")
    code, result = checked(capsys)  # counted as on the CPU, where it is over its limits
    assert (code, {one["metric"]: one["actual"] for one in result["budgets"][0]["metrics"]}["macs"]) == (1, MACS)


def test_a_count_that_a_second_call_changes_is_not_decided(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(project / "models.py", "return self.body(self.stem(x).relu())", "self.calls = getattr(self, 'calls', 0) + 1\n        return self.body(self.stem(x)) if self.calls > 1 else self.stem(x)")  # fmt: skip
    code, result = checked(capsys)
    (metric,) = result["budgets"][0]["metrics"]
    assert (code, metric["verdict"]) == (0, "inconclusive")
    assert metric["reason"].startswith(f"macs are {8 * 8 * 9 * 3 * 8:,}, but {MACS:,} in a second call; make")
    assert checked(capsys, "--strict")[0] == 3


def test_an_improvement_is_a_note_and_with_strict_a_failure(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, "--update")[0] == 0
    edit(project / "models.py", "width, 16, 3", "width, 12, 3")
    code, result = checked(capsys)
    assert (code, result["passed"]) == (0, True)
    assert any(note.startswith("macs fell by 21.1 %: keep it with") for note in result["budgets"][0]["notes"])
    code, result = checked(capsys, "--strict")
    assert (code, result["verdict"]) == (1, "fail")
    code, result = checked(capsys, "--strict", "--base", "HEAD")  # nothing is to be kept
    assert (code, result["verdict"], result["budgets"][0]["notes"]) == (0, "pass", [])


def test_a_verdict_on_stderr_is_no_note(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(project / "convcost.toml", 'max = "100 k"', 'max = "1 k"')
    assert main(["check", "--format", "json"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fail: ")
    assert "\nnote: to accept " in err


@pytest.mark.parametrize(
    ("limit", "words"),
    [('min = "90 k"', []), ('max = "100 k", grow = "1 %"', ["--strict"])],
    ids=["min", "improvement"],
)
def test_no_block_is_sought_for_what_is_not_too_much(
    project: Path, limit: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(capsys, "--update")[0] == 0
    edit(project / "models.py", "width, 16, 3", "width, 12, 3")
    edit(project / "convcost.toml", 'max = "100 k", grow = "1 %"', limit)
    forget_models()
    assert main(["check", *words]) == 1
    assert "back under budget" not in capsys.readouterr().out


def test_modules_that_share_weights_are_known_by_the_first_call_that_used_them(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(project / "models.py", "self.body = nn.Conv2d(width, 16, 3, padding=1, bias=False)", "self.body = nn.Conv2d(3, width, 3, padding=1, bias=False)\n        self.body.weight = self.stem.weight")  # fmt: skip
    edit(project / "models.py", "self.body(self.stem(x).relu())", "self.stem(x) + self.body(x) + self.body(x)")
    assert checked(capsys, "--update")[0] == 0
    layers = tomllib.loads((project / "convcost.lock").read_text())["budget"]["net"]["layers"]
    convolutions = {
        name: (layer["params"], layer.get("shares")) for name, layer in layers.items() if "channels" in layer
    }
    assert convolutions == {"stem": (3 * 8 * 9, None), "body": (0, "stem"), "body#2": (0, "stem")}


def test_what_is_not_counted_now_is_no_improvement(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, "--update")[0] == 0
    edit(project / "models.py", "self.body(self.stem(x).relu())", "torch.fft.fft2(self.stem(x)).real")
    code, result = checked(capsys)
    (budget,) = result["budgets"]
    (note,) = budget["notes"]
    assert (code, budget["metrics"][0]["verdict"], note.partition(":")[0]) == (0, "pass", "not counted, so that macs may be larger")  # fmt: skip
    forget_models()
    assert main(["check", "--strict"]) == 3
    out = capsys.readouterr().out
    assert "net macs: ≥, 1 operation uncounted: aten._fft_c2c; give each a formula with convcost.register" in out
    assert "why: net against convcost.lock: 73.7 k counted MACs fewer" in out  # 64 pixels of 8·16·9
    assert "added: fft_fft2, on 1x8x8x8  MACs not counted" in out


def test_growth_is_not_decided_where_more_calls_of_one_operation_were_hidden(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(project / "models.py", "self.body(self.stem(x).relu())", "torch.fft.fft(torch.fft.fft(torch.fft.fft(self.body(self.stem(x))).real).real).real")  # fmt: skip
    edit(project / "convcost.toml", 'max = "100 k", ', "")
    assert checked(capsys, "--update")[0] == 0
    edit(project / "models.py", "torch.fft.fft(torch.fft.fft(torch.fft.fft(", "self.body.forward(self.stem(x)) + torch.fft.fft(((")  # fmt: skip
    code, result = checked(capsys)
    (metric,) = result["budgets"][0]["metrics"]
    assert (code, metric["verdict"]) == (0, "inconclusive")
    assert "3 calls uncounted then, 1 now" in metric["reason"]


def test_uncounted_operations_make_a_lower_bound(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(project / "convcost.toml", "models.py:Net", "models.py:Spectral")
    code, result = checked(capsys)
    (metric,) = result["budgets"][0]["metrics"]
    assert (code, result["passed"], metric["verdict"], metric["lower_bound"]) == (0, True, "pass", True)
    step = "give each a formula with convcost.register"
    assert metric["reason"] == f"≥, 1 operation uncounted: aten._fft_r2c; {step}"
    assert [one["op"] for one in result["budgets"][0]["uncounted"]] == ["aten._fft_r2c"]
    code, result = checked(capsys, "--strict")
    assert (code, result["passed"], result["verdict"]) == (3, False, "inconclusive")


def test_a_model_that_does_not_load_is_exit_code_2_beside_the_others_verdicts(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = CONFIG.replace("budget.net", "budget.gone").replace(":Net", ":Gone")
    tight = CONFIG.replace("budget.net", "budget.tight").replace("100 k", "1 k")
    (project / "convcost.toml").write_text(broken + tight)
    forget_models()
    assert main(["check", "--format", "csv"]) == 2
    streams = capsys.readouterr()
    assert "error: convcost.toml:2:10: gone: target (=models.py:Gone) must name something that is there" in streams.err
    assert [line.split(",")[:3] for line in streams.out.splitlines()[1:]] == [
        ["gone", "macs", ""],
        ["tight", "macs", str(MACS)],
    ]


@pytest.mark.parametrize(
    "raised", ["SystemExit('no')", "BaseException('no')", "KeyboardInterrupt('no')", "GeneratorExit('no')"]
)
def test_a_forward_that_ends_the_program_is_exit_code_2_beside_the_others_verdicts(
    project: Path, raised: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "exits.py").write_text(
        f"from models import Net\nclass Exits(Net):\n    def forward(self, x):\n        print('hello')\n        raise {raised}\n"
    )
    ends = CONFIG.replace("budget.net", "budget.ends").replace("models.py:Net", "exits.py:Exits")
    (project / "convcost.toml").write_text(ends + CONFIG)
    code, result = checked(capsys)  # what the forward prints is not in the JSON
    kind = raised.partition("(")[0]
    where = f"{project / 'exits.py'}:5"
    said = f"the model (Exits) got input 1x3x8x8: {kind}: no at {where}; mend it there, or change the input."
    assert (code, result["passed"], result["budgets"][0]["error"]) == (2, False, f"convcost.toml:2:10: ends: {said}")
    assert result["budgets"][1]["metrics"][0]["verdict"] == "pass"


SIBLINGS = "from torch import nn\nfrom blocks import WIDTH\ndef net():\n    return nn.Conv2d(3, WIDTH, 3)\n"
COUNTED = 'input = "1x3x8x8"\nparams = "1 k"\n'


class TestModulesOfSeveralBudgets:
    def test_siblings_of_one_name_are_each_budgets_own(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = ""
        for folder, width in (("a", 8), ("b", 16), ("c", 24)):
            (project / folder).mkdir()
            (project / folder / "models.py").write_text(SIBLINGS)
            (project / folder / "blocks.py").write_text(f"WIDTH = {width}\n")
            text += f'[budget.{folder}]\ntarget = "{folder}/models.py:net"\n{COUNTED}'
        (project / "convcost.toml").write_text(text + f'[budget.again]\ntarget = "a/models.py:net"\n{COUNTED}')
        blocks = ModuleType("blocks")  # the caller's own, which is that of one budget, and stays
        vars(blocks).update(__file__=str(project / "c" / "blocks.py"), WIDTH=24)
        monkeypatch.setitem(sys.modules, "blocks", blocks)
        _, result = checked(capsys)
        actual = [one["metrics"][0]["actual"] for one in result["budgets"]]
        assert actual == [28 * width for width in (8, 16, 24, 8)]  # 3·3·3 weights and a bias for each output
        assert sys.modules["blocks"] is blocks

    def test_a_module_of_another_check_is_not_taken_for_its_namesake(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Each model looks in a folder of its own, which is on the import path for nobody else."""
        for folder, width in (("a", 8), ("b", 16)):
            (project / folder / "deep").mkdir(parents=True)
            path = f"import sys\nsys.path.insert(0, {str(project / folder / 'deep')!r})\n"
            (project / folder / "models.py").write_text(path + SIBLINGS)
            (project / folder / "deep" / "blocks.py").write_text(f"WIDTH = {width}\n")
            (project / folder / "convcost.toml").write_text(f'[budget.net]\ntarget = "models.py:net"\n{COUNTED}')
            _, result = checked(capsys, "--config", f"{folder}/convcost.toml")
            assert result["budgets"][0]["metrics"][0]["actual"] == 28 * width

    def test_a_module_is_imported_once_by_each_budget_since_none_gets_anothers_state(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (project / "once.py").write_text(
            "from models import Net\nwith open('imports.txt', 'a') as file:\n    file.write('once ')\n"
        )
        text = CONFIG.replace("models.py", "once.py")
        (project / "convcost.toml").write_text(text + text.replace("budget.net", "budget.same"))
        assert checked(capsys)[0] == 0
        assert (project / "imports.txt").read_text() == "once once "

    def test_a_module_that_the_forward_pass_imports_is_found(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (project / "sub").mkdir()
        (project / "sub" / "late.py").write_text("def same(x):\n    return x\n")
        lazy = MODEL.replace("return self.body", "from late import same\n        return self.body")
        (project / "sub" / "lazy.py").write_text(lazy)
        edit(project / "convcost.toml", "models.py", "sub/lazy.py")
        assert checked(capsys)[0] == 0


class TestAgainstAnotherRevision:
    def test_growth_is_judged_and_explained_without_a_lock(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        edit(project / "models.py", "self.body", "self.trunk")
        edit(project / "models.py", "stem(x).relu", "stem(x).relu")
        edit(project / "models.py", "width=8", "width=9")
        code, result = checked(capsys, "--base", "HEAD")
        (budget,) = result["budgets"]
        assert code == 1
        assert budget["compared_with"].startswith("HEAD (")
        assert budget["metrics"][0]["baseline"] == MACS
        assert {(one["layer"], one["change"]) for one in budget["changes"]} >= {("stem", "changed")}
        assert worktrees(project) == 1

    def test_growth_that_the_lock_accepts_passes(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert checked(capsys, "--update")[0] == 0
        commit(project)
        edit(project / "models.py", "width=8", "width=9")
        code, result = checked(capsys, "--base", "HEAD")
        (metric,) = result["budgets"][0]["metrics"]
        assert (code, metric["verdict"]) == (1, "fail")
        assert metric["reason"].endswith("; it may grow by 1 %, and convcost.lock holds 87.6 k")
        step = "run convcost check --update and commit convcost.lock, which then holds for base too"
        assert result["budgets"][0]["advice"][-1] == f"to accept net: {step}"
        assert checked(capsys, "--update")[0] == 0
        for words in ([], ["--strict"]):
            code, result = checked(capsys, "--base", "HEAD", *words)
            (metric,) = result["budgets"][0]["metrics"]
            assert (code, metric["verdict"], metric["baseline"]) == (0, "pass", MACS)
            assert result["budgets"][0]["notes"] == [f"macs {metric['reason']}"]
        edit(project / "convcost.lock", f"macs = {MACS * 9 // 8}", f"macs = {MACS * 9 // 8 - 1}")
        code, result = checked(capsys, "--base", "HEAD")
        assert (code, result["notes"][0].startswith("no growth is accepted: ")) == (1, True)

    def test_a_renamed_layer_is_recognised(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        edit(project / "models.py", "self.body", "self.trunk")
        code, result = checked(capsys, "--base", "HEAD")
        assert code == 0
        assert [(one["layer"], one["change"]) for one in result["budgets"][0]["changes"]] == [("trunk", "renamed")]

    def test_modules_of_the_project_come_from_the_revision(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (project / "package").mkdir()
        (project / "package" / "__init__.py").write_text("")
        (project / "package" / "sizes.py").write_text("WIDTH = 8\n")
        edit(project / "models.py", "width=8", "width=WIDTH")
        edit(project / "models.py", "import torch\n", "import torch\nfrom package.sizes import WIDTH\n")
        commit(project)
        (project / "package" / "sizes.py").write_text("WIDTH = 9\n")
        code, result = checked(capsys, "--base", "HEAD")
        (metric,) = result["budgets"][0]["metrics"]
        assert (code, metric["baseline"], metric["actual"]) == (1, MACS, MACS * 9 // 8)
        assert "package.sizes" not in sys.modules

    def test_a_new_model_has_no_baseline(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        edit(project / "models.py", "class Spectral", "class Wide(Net):\n    pass\n\nclass Spectral")
        new = CONFIG.replace("budget.net", "budget.wide").replace(":Net", ":Wide")
        (project / "convcost.toml").write_text(new)
        code, result = checked(capsys, "--base", "HEAD")
        assert (code, result["budgets"][0]["metrics"][0]["verdict"]) == (0, "pass")
        assert result["budgets"][0]["metrics"][0]["baseline"] is None

    def test_a_formula_that_the_models_register_counts_both_revisions(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        edit(project / "convcost.toml", "models.py:Net", "models.py:Spectral")
        with (project / "models.py").open("a") as file:
            file.write("\nimport convcost\n@convcost.register(torch.ops.aten._fft_r2c)\n")
            file.write("def fft(*_, out):\n    return 1000\n")
        commit(project)
        edit(project / "models.py", "return 1000", "return 2000")
        code, result = checked(capsys, "--base", "HEAD")
        (metric,) = result["budgets"][0]["metrics"]
        assert (code, metric["baseline"], metric["actual"]) == (1, MACS + 1000, MACS + 2000)
        assert torch.ops.aten._fft_r2c not in REGISTERED

    @pytest.mark.parametrize(
        ("old", "new", "factor", "key"),
        [
            ('"models.py:Net"', '"models.py:Net"\nargs = { width = 16 }', 2, "args"),
            ("1x3x8x8", "1x3x16x16", 4, "input"),
            (":Net", ":Deep", 2, "target"),
        ],
    )
    def test_what_the_configuration_asks_for_is_compared_with_what_it_asked_for_then(
        self, project: Path, old: str, new: str, factor: int, key: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with (project / "models.py").open("a") as file:
            file.write("\nclass Deep(Net):\n    def forward(self, x):\n        super().forward(x)\n")
            file.write("        return super().forward(x)\n")
        edit(project / "convcost.toml", 'max = "100 k", ', "")
        revision = commit(project)
        edit(project / "convcost.toml", old, new)
        code, result = checked(capsys, "--base", "HEAD")
        (budget,) = result["budgets"]
        assert (code, budget["metrics"][0]["baseline"], budget["metrics"][0]["actual"]) == (1, MACS, factor * MACS)
        said = f"HEAD ({revision[:9]}) has its own {key}, used to count the model there."
        assert said in budget["notes"]

    @pytest.mark.parametrize(
        ("text", "lacks"),
        [
            (None, "{} has no such budget"),
            (CONFIG.replace("budget.net", "budget.other"), "{} has no such budget"),
            (
                "budget = 3\n",
                "the configuration of {} cannot be read (convcost.toml:1:10: budget (=3) must be a table; write budget = {{ ... }})",
            ),
        ],
    )
    def test_a_base_without_the_budget_is_counted_with_what_is_asked_for_today(
        self, project: Path, text: str | None, lacks: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if text is None:
            (project / "convcost.toml").unlink()
        else:
            (project / "convcost.toml").write_text(text)
        revision = commit(project)
        (project / "convcost.toml").write_text(CONFIG)
        code, result = checked(capsys, "--base", "HEAD")
        (budget,) = result["budgets"]
        assert (code, budget["metrics"][0]["baseline"]) == (0, MACS)
        asked = "today's target, args and input"
        lacks = lacks.format(f"HEAD ({revision[:9]})")
        assert budget["notes"] == [f"{lacks}: the model was counted there with {asked}."]

    def test_a_base_that_did_not_speak_of_convcost_yet_is_no_obstacle(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (project / "convcost.toml").unlink()
        (project / "pyproject.toml").write_text("[tool.other]\n")
        edit(project / "models.py", "class Net", "class Old")
        commit(project)
        edit(project / "models.py", "class Old", "class Net")
        with (project / "pyproject.toml").open("a") as file:
            file.write(CONFIG.replace("budget.net", "tool.convcost.budget.net"))
        for words, expected in (((), (0, "pass")), (("--strict",), (3, "inconclusive"))):
            code, result = checked(capsys, "--base", "HEAD", *words)
            (metric,) = result["budgets"][0]["metrics"]
            assert ((code, metric["verdict"]), metric["baseline"]) == (expected, None)

    def test_a_base_whose_pyproject_is_broken_is_said_to_be(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (project / "convcost.toml").unlink()
        text = CONFIG.replace("budget.net", "tool.convcost.budget.net")
        (project / "pyproject.toml").write_text(text + "broken\n")
        revision = commit(project)
        (project / "pyproject.toml").write_text(text)
        _, result = checked(capsys, "--base", "HEAD")
        said = f"the configuration of HEAD ({revision[:9]}) cannot be read (pyproject.toml:5:7: the file must be TOML: "
        assert result["budgets"][0]["notes"][0].startswith(said)

    def test_submodules_come_from_the_clones_that_are_here(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with_submodule(project)
        shutil.rmtree(project.parent / "library")  # nothing is left to fetch from
        edit(project / "third" / "sizes.py", "8", "16")
        code, result = checked(capsys, "--base", "HEAD")
        (metric,) = result["budgets"][0]["metrics"]
        assert (code, metric["baseline"], metric["actual"]) == (1, MACS, 2 * MACS)
        assert worktrees(project) == worktrees(project / "third") == 1

    def test_a_base_that_cannot_be_counted_decides_nothing_and_every_output_says_so(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with_submodule(project)
        git(project, "update-index", "--cacheinfo", f"160000,{'1' * 40},third")
        git(project, "commit", "--quiet", "-m", "a commit of the submodule that is not here")
        code, result = checked(capsys, "--base", "HEAD", "--junit", "out.xml", "--export", "out.md")
        (metric,) = result["budgets"][0]["metrics"]
        assert (code, result["verdict"], metric["verdict"]) == (0, "inconclusive", "inconclusive")
        said = "it could not be counted at HEAD ("
        assert metric["reason"].startswith(said)
        assert metric["reason"].endswith("; submodule third is not here at that commit, fetch it")
        for form in ("table", "csv", "markdown", "github"):
            forget_models()
            assert main(["check", "--base", "HEAD", "--format", form]) == 0
            streams = capsys.readouterr()
            assert said in streams.out.replace("\\", "")
            assert f"\nwarning: not decided: net macs: {said}" in f"\n{streams.err}"
        assert said in (project / "out.xml").read_text()
        forget_models()
        assert main(["check", "--base", "HEAD", "--strict"]) == 3
        assert "warning" not in capsys.readouterr().err

    @pytest.mark.parametrize("revision", ["nothing", "--help", "HEAD:models.py", ""])
    def test_a_revision_that_is_none_is_one_line(
        self, project: Path, revision: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["check", f"--base={revision}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: base (={revision}) must be a revision of {project}; fetch it, as git fetch")

    def test_outside_a_repository_it_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "convcost.toml").write_text(CONFIG)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        assert main(["check", "--base", "HEAD"]) == 2
        said = capsys.readouterr().err
        assert "error: base needs a git repository that git can read here (fatal: not a git repository" in said

    def test_why_git_refuses_a_repository_is_said(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (project / ".git" / "config").write_text("[core\n")
        monkeypatch.setenv("LC_ALL", "C")
        assert main(["check", "--base", "HEAD"]) == 2
        assert "read here (fatal: bad config line 1 in file .git/config); correct that" in capsys.readouterr().err

    def test_the_worktree_is_removed_on_failure(self, project: Path) -> None:
        seen = []

        def fail() -> None:
            with checked_out("HEAD", project) as checkout:
                seen.append(checkout.folder)
                assert (checkout.folder / "models.py").is_file()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert not seen[0].parent.exists()
        assert worktrees(project) == 1

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_worktree_is_removed_when_interrupted(self, project: Path, number: signal.Signals) -> None:
        # many short sleeps: a signal that comes just before a sleep begins is seen when that ends
        slow = "import time\nprint('here', flush=True)\nfor _ in range(600):\n    time.sleep(0.1)\n"
        (project / "slow.py").write_text(slow)
        edit(project / "convcost.toml", "models.py:Net", "slow.py:Net")
        commit(project)
        (project / "slow.py").write_text("from models import Net\n")
        command = [fast_python(), "-m", "convcost", "check", "--base", "HEAD", "--export", "out.csv"]
        with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as done:
            assert done.stderr is not None
            while "here" not in done.stderr.readline():
                assert done.poll() is None
            done.send_signal(number)
            done.communicate(timeout=60)
        assert done.returncode == 130
        assert worktrees(project) == 1
        assert (project / "out.csv").read_text().splitlines()[1].startswith("net,macs,,")

    @pytest.mark.skipif(os.name == "nt", reason="the filter is a shell's")
    def test_a_worktree_that_was_only_begun_is_removed_too(self, project: Path, tmp_path: Path) -> None:
        (project / ".gitattributes").write_text("*.py filter=slow\n")
        commit(project)
        git(project, "config", "filter.slow.smudge", f"touch {tmp_path}/begun; sleep 5; cat")
        command = [sys.executable, "-m", "convcost", "check", "--base", "HEAD"]
        with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as done:
            while not (tmp_path / "begun").exists():
                assert done.poll() is None
                time.sleep(0.01)
            done.send_signal(signal.SIGTERM)
            done.communicate(timeout=60)
        assert done.returncode == 130
        assert worktrees(project) == 1
        assert not list(project.glob(".git/worktrees/*"))

    def test_the_users_settings_of_git_hold_in_the_checkout(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (project / ".gitattributes").write_text("*.py filter=own\n")
        commit(project)
        monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "filter.own.smudge")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", 'echo "skip = $GIT_LFS_SKIP_SMUDGE"')
        with checked_out("HEAD", project) as checkout:
            assert (checkout.folder / "models.py").read_text() == "skip = 1\n"

    def test_git_variables_of_a_hook_do_not_lead_astray(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert (project / ".git" / "index").is_file()
        monkeypatch.setenv("GIT_INDEX_FILE", "nowhere/index")
        monkeypatch.setenv("GIT_DIR", "nowhere")
        assert checked(capsys, "--base", "HEAD")[0] == 0

    @pytest.mark.timing
    def test_both_revisions_are_timed_next_to_each_other(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with (project / "convcost.toml").open("a") as file:
            file.write('latency = { max = "60 s", grow = "100000 %" }\n')
        code, result = checked(capsys, "--base", "HEAD", "--time-budget", "1.5")
        latency = next(one for one in result["budgets"][0]["metrics"] if one["metric"] == "latency")
        doubt = latency["reason"] or ""  # a busy machine decides nothing, and says so
        assert (code, latency["verdict"]) == (
            0,
            "inconclusive" if "undisturbed" in doubt or "busy" in doubt else "pass",
        )
        assert latency["low"] <= latency["actual"] <= latency["high"]
        assert latency["baseline"] > 0
        assert latency["growth"] is not None or doubt

    @pytest.mark.parametrize(
        ("device", "here"), [("cpu", ""), ("cuda:99", ", without cuda:99")], ids=["name", "device"]
    )
    def test_a_limit_for_another_machine_is_not_timed_and_the_rest_is_judged(
        self, project: Path, device: str, here: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("convcost.workflows.check._timed", None)
        edit(project / "convcost.toml", "100 k", "1 k")
        with (project / "convcost.toml").open("a") as file:
            file.write(f'latency = {{ max = "1 ns", device = "{device}", machine = "NVIDIA H100", level = "warn" }}\n')
        code, result = checked(capsys)
        macs, latency = result["budgets"][0]["metrics"]
        assert (code, macs["verdict"], latency["verdict"]) == (1, "fail", "skipped")
        assert latency["reason"].startswith("other machine: the limit was set for NVIDIA H100, this is ")
        assert latency["reason"].endswith(f" cores{here}")
        assert (result["budgets"][0]["error"], result["conditions"]["machine"]) == (None, None)

    def test_what_was_counted_is_judged_where_the_timing_fails(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        edit(project / "convcost.toml", "100 k", "1 k")
        with (project / "convcost.toml").open("a") as file:
            file.write('latency = { max = "1 s", device = "cuda:99" }\n')
        forget_models()
        assert main(["check", "--export", "out.json", "--export", "out.md", "--junit", "out.xml"]) == 2
        streams = capsys.readouterr()
        said = "convcost.toml:5: net latency: device (=cuda:99) must be there: "
        assert f"\nerror: {said}" in streams.err
        assert "fail: convcost.toml:4: net macs: 87.6 k is over max 1.00 k by" in streams.out
        assert "skipped: convcost.toml:5: net latency: it was not timed" in streams.out
        assert streams.out.endswith("\nnot timed: 1 budget of 1\n")
        (budget,) = json.loads((project / "out.json").read_text())["budgets"]
        assert (budget["verdict"], [one["verdict"] for one in budget["metrics"]]) == ("fail", ["fail", "skipped"])
        assert budget["error"].startswith(said)
        assert '<testcase classname="net" name="timing"' in (project / "out.xml").read_text()

    def test_without_a_base_a_latency_may_not_be_compared(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with (project / "convcost.toml").open("a") as file:
            file.write('latency = { max = "1 ns", grow = "10 %", machine = "another one" }\n')
        for words in ([], ["--update"], []):  # without a lock, and with one
            code, result = checked(capsys, *words, "--time-budget", "0.6")
            step = "a lock holds no times; compare two revisions here with base"
            assert f"latency grow is not judged: {step}" in result["budgets"][0]["notes"]
        latency = next(one for one in result["budgets"][0]["metrics"] if one["metric"] == "latency")
        assert (code, latency["verdict"]) == (0, "skipped")
        assert (latency["actual"], latency["device"], latency["threads"], latency["torch_version"]) == (None,) * 4
        assert latency["reason"].startswith("other machine: the limit was set for another one, this is ")


def with_submodule(project: Path) -> None:
    """Commit a model whose width is that of a submodule."""
    library = project.parent / "library"
    library.mkdir()
    (library / "sizes.py").write_text("WIDTH = 8\n")
    git(library, "init", "--quiet", "--initial-branch=main")
    commit(library)
    git(project, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "third")
    edit(project / "models.py", "width=8", "width=WIDTH")
    edit(project / "models.py", "import torch\n", "import sys\nimport torch\nsys.path.insert(0, __file__.replace('models.py', 'third'))\nfrom sizes import WIDTH\n")  # fmt: skip
    commit(project)


def worktrees(folder: Path) -> int:
    return len(git(folder, "worktree", "list").splitlines())


def test_the_nearest_configuration_is_found_from_below(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(project / "src" / "deep")
    forget_models()
    assert convcost.check().passed
    (project / "pyproject.toml").write_text(CONFIG.replace("budget.net", "tool.convcost.budget.net"))
    (project / "convcost.toml").unlink()
    assert [one.budget.name for one in convcost.check().budgets] == ["net"]
    (project / "pyproject.toml").unlink()
    with pytest.raises(convcost.ConvcostError, match=r"no convcost\.toml and no \[tool\.convcost\]"):
        convcost.check()


def test_init_writes_a_configuration_that_passes_and_never_over_another(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--init", "models.py:Net", "--input", "1x3x8x8"]) == 2
    assert "config (=convcost.toml) must not be there yet, and it is; edit it" in capsys.readouterr().err
    (project / "convcost.toml").unlink()
    assert main(["check", "--init", "models.py:Net", "--input", "1x3x8x8", "--arg", "width=4"]) == 0
    text = (project / "convcost.toml").read_text()
    assert 'target = "models.py:Net"' in text
    assert "args = { width = 4 }" in text
    assert 'macs = { max = "48.2 k", grow = "1 %" }' in text  # 64 * 9 * (3 * 4 + 4 * 16) = 43,776, and 10 %
    assert main(["check"]) == 0


@pytest.mark.parametrize("name", ["sub/c.toml", "sub/pyproject.toml", "../beside.toml"])
def test_the_first_configuration_is_read_where_it_lies(project: Path, name: str) -> None:
    (project / "sub").mkdir()
    edit(project / "models.py", "width=8)", "width=8, options=None)")
    words = ["--input", "1x3x8x8", "--arg", 'options={"a b": [1, True], "c": 0.5}', "--config", name]
    forget_models()
    assert main(["check", "--init", "models.py:Net", *words]) == 0
    (budget,) = load_configuration(Path(name)).budgets
    assert budget.args == {"options": {"a b": [1, True], "c": 0.5}}
    forget_models()
    assert main(["check", "--config", name]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--arg", "options=None"], "arg (=None) must have a form in TOML; leave it out, or wrap the target"),
        (["--only", "net"], "--init writes a file and judges nothing;"),
        (["--columns", "budget"], "--init writes a file and judges nothing;"),
        (["--strict"], "--init writes a file and judges nothing; leave out --only, --strict, --format"),
        (["--format", "json"], "--init writes a file and judges nothing;"),
        (["--export", "out.csv"], "--init writes a file and judges nothing;"),
        (["--junit", "out.xml"], "--init writes a file and judges nothing;"),
    ],
)  # fmt: skip
def test_what_a_first_configuration_cannot_have_is_refused(
    project: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_models()
    edit(project / "models.py", "width=8)", "width=8, options=None)")
    assert main(["check", "--init", "models.py:Net", "--input", "1x3x8x8", "--config", "new.toml", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (project / "new.toml").exists()


@pytest.mark.parametrize("nearer", ["convcost.toml", "pyproject.toml"])
def test_the_configuration_of_the_nearest_folder_wins_and_convcost_toml_within_one(
    project: Path, nearer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = project / "package"
    package.mkdir()
    inner = CONFIG.replace("budget.net", "budget.inner")
    (package / nearer).write_text(inner if nearer == "convcost.toml" else inner.replace("[", "[tool.convcost.", 1))
    (package / "pyproject.toml").touch()
    monkeypatch.chdir(package)
    assert [one.name for one in load_configuration().budgets] == ["inner"]
    (package / "pyproject.toml").write_text("[tool.other]\n")
    (package / "convcost.toml").unlink(missing_ok=True)
    assert [one.name for one in load_configuration().budgets] == ["net"]
    (project / "pyproject.toml").write_text("[tool.convcost]\n")
    assert [one.name for one in load_configuration().budgets] == ["net"]


@pytest.mark.usefixtures("project")
def test_a_target_alone_needs_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    forget_models()
    words = ["check", "models.py:Net", "--input", "1x3x8x8"]
    assert main([*words, "--max-macs", "87.552 k"]) == 0
    assert main([*words, "--max-macs", "87_551"]) == 1
    streams = capsys.readouterr()
    assert "87,552 is over max 87,551 by 1 (0.00114 %)" in streams.out  # rounding would hide it


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["models.py:Net"], "TARGET must come with a limit; give --max-params,"),
        (["models.py:Net", "--max-macs", "5 MB"], "max_macs (=5 MB) must be a number of MACs"),
        (["models.py:Net", "--max-macs", "5", "--update"], "TARGET and --config, --only, --update exclude each other"),
        (["--max-macs", "5"], "--input, --arg and --max-... must come with a TARGET"),
        (["--update", "--base", "HEAD"], "--update and --base exclude each other"),
        (["--init"], "--init must come with a TARGET to count"),
        (["--only", "nett"], "only (=nett) must be a budget of convcost.toml; did you mean net?"),
        (["--config", "no.toml"], "config (=no.toml) must be a file that can be read (No such file or directory)"),
        (
            ["--time-budget", "0"],
            "time_budget (=0.0) must be a number of seconds above 0; leave it out for the default.",
        ),
        (["--junit", "no/folder.xml"], "junit (=no/folder.xml) must be in a folder that can be written"),
        (["--export", "out.docx"], "export (=out.docx) must end in .csv, .json"),
        (["--format", "xml"], "Invalid value for '--format'"),
    ],
)
@pytest.mark.usefixtures("project")
def test_wrong_usage_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")


def test_a_crash_is_exit_code_2(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("convcost.workflows.check.check_budgets", broken)
    assert project.is_dir()
    assert main(["check"]) == 2
    assert "error: convcost crashed: ZeroDivisionError" in capsys.readouterr().err


def test_every_output_comes_from_one_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(project / "convcost.toml", "100 k", "80 k")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary.md"))
    forget_models()
    words = ["--junit", "out.xml", "--export", "out.csv", "--export", "out.json", "--export", "out.xlsx"]
    assert main(["check", "--format", "github", *words]) == 1
    assert "❌ fail" in (project / "summary.md").read_text(encoding="utf-8")
    assert 'failures="1"' in (project / "out.xml").read_text(encoding="utf-8")
    assert json.loads((project / "out.json").read_text())["passed"] is False
    assert (project / "out.csv").read_text().splitlines()[1].startswith(f"net,macs,{MACS},80000,")
    assert (project / "out.xlsx").stat().st_size > 0


@pytest.mark.parametrize("form", ["table", "markdown", "github"])
def test_control_characters_of_names_and_messages_reach_no_line_of_text(
    project: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, message = r'"a\nb\r\u001b[31m\u009b\u0085c"', r'"one\n::error::two \u001b]0;x\u0007"'
    tight = CONFIG.replace("net]", f"{name}]").replace("100 k", "1 k") + f"message = {message}\n"
    (project / "convcost.toml").write_text(tight + tight.replace('c"]', 'd"]').replace(":Net", ":Gone"))
    assert main(["check", "--update", "--format", form]) == 2
    streams = capsys.readouterr()
    text = streams.out + streams.err
    shown = "a b \ufffd[31m\ufffd c"
    assert shown in streams.err
    assert not [line for line in text.split("\n") if not line.isprintable()]
    if form == "table":
        assert f"{shown} macs: 87.6 k is over max 1.00 k" in streams.out
        assert "; one ::error::two \ufffd]0;x\ufffd\n" in streams.out
    (project / "convcost.toml").write_text(tight.replace('"1 %"', "1"))
    assert main(["check"]) == 2
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert f"budget.{shown}.macs.grow (=1) must be a text" in line


def test_what_refuses_a_configuration_stands_in_the_pull_request(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(project / "convcost.toml", '"1 %"', "1")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary.md"))
    assert main(["check", "--format", "github"]) == 2
    streams = capsys.readouterr()
    assert streams.out.startswith("::error file=convcost.toml,line=4,col=32,title=convcost%3A not checked::budget.net.")
    assert streams.err.startswith("error: convcost.toml:4:32: budget.net.macs.grow (=1) must be a text")
    assert "- convcost.toml:4:32: budget.net.macs.grow" in (project / "summary.md").read_text(encoding="utf-8")
    assert main(["check", "--format", "json"]) == 2
    assert capsys.readouterr().out == ""


def test_the_configuration_and_its_schema_are_printed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.is_dir()
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["budget"]["minProperties"] == 1
    assert main(["config", "show"]) == 0
    assert json.loads(capsys.readouterr().out)["budget"]["net"]["macs"]["max"] == 100_000
