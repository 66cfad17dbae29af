"""`convcost check` on real models: in a folder, against a lock, against another revision."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import convcost
from convcost.cli import main
from convcost.config_files import load_configuration
from convcost.revision import checked_out

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.body = nn.Conv2d(width, 16, 3, padding=1, bias=False)
    def forward(self, x):
        return self.body(self.stem(x).relu())

class Spectral(Net):
    def forward(self, x):
        return torch.fft.rfft2(super().forward(x)).abs()
"""
CONFIG = """\
[budget.net]
target = "models.py:Net"
input = "1x3x8x8"
macs = { max = "100 k", grow = "1 %" }
"""
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


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - our own words


def commit(folder: Path, message: str = "change") -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def forget_models() -> None:
    sys.modules.pop("models", None)


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
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
    assert (change["change"], change["text"]) == ("changed", "16→24")
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
    assert "convcost.lock: nothing moved" in capsys.readouterr().err
    assert lock.stat().st_mtime_ns == written
    edit(project / "models.py", "width, 16, 3", "width, 12, 3")
    forget_models()
    assert main(["check", "--update", "--only", "net"]) == 0
    assert "convcost.lock: net written" in capsys.readouterr().err
    moved = [a for a, b in zip(before.splitlines(), lock.read_text().splitlines(), strict=True) if a != b]
    assert moved == [line for line in before.partition("[budget.other]")[0].splitlines() if line in moved]


def test_another_torch_that_counts_the_same_leaves_the_lock_alone(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(capsys, "--update")[0] == 0
    version = torch.__version__.partition("+")[0]
    edit(project / "convcost.lock", version, "2.4.0")
    before = (project / "convcost.lock").read_text()
    assert checked(capsys, "--update")[0] == 0
    assert (project / "convcost.lock").read_text() == before


def test_a_counter_that_changed_is_told_apart_from_a_model_that_grew(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(capsys, "--update")[0] == 0
    lock = project / "convcost.lock"
    for old, new in ((f"macs = {MACS}", f"macs = {MACS - 5000}"), ("macs = 73728", "macs = 68728"), ("counter = 1", "counter = 0")):  # fmt: skip
        edit(lock, old, new)
    code, result = checked(capsys)
    (budget,) = result["budgets"]
    assert (code, budget["verdict"], budget["changes"][0]["change"]) == (0, "pass", "recounted")
    assert any(note.startswith("the counter changed, not the model: 1 layers") for note in budget["notes"])
    edit(lock, "counter = 0", "counter = 1")
    assert checked(capsys)[0] == 1  # the same counter: it is the model


def test_an_improvement_is_a_note_and_with_strict_a_failure(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, "--update")[0] == 0
    edit(project / "models.py", "width, 16, 3", "width, 12, 3")
    code, result = checked(capsys)
    assert (code, result["passed"]) == (0, True)
    assert any(note.startswith("macs fell by 21.1 %: keep it with") for note in result["budgets"][0]["notes"])
    code, result = checked(capsys, "--strict")
    assert (code, result["verdict"]) == (1, "fail")


def test_uncounted_operations_make_a_lower_bound(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(project / "convcost.toml", "models.py:Net", "models.py:Spectral")
    code, result = checked(capsys)
    (metric,) = result["budgets"][0]["metrics"]
    assert (code, result["passed"], metric["verdict"], metric["lower_bound"]) == (0, True, "pass", True)
    assert metric["reason"] == "≥, 1 operation uncounted"
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
        assert sys.modules["package.sizes"].WIDTH == 9
        for name in ("package", "package.sizes"):
            sys.modules.pop(name)

    def test_a_new_model_has_no_baseline(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        edit(project / "models.py", "class Spectral", "class Wide(Net):\n    pass\n\nclass Spectral")
        edit(project / "convcost.toml", ":Net", ":Wide")
        code, result = checked(capsys, "--base", "HEAD")
        assert (code, result["budgets"][0]["metrics"][0]["verdict"]) == (0, "pass")

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
        assert "read here (fatal: bad config line 1 in file .git/config); mend that" in capsys.readouterr().err

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
        (project / "slow.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
        commit(project)
        edit(project / "convcost.toml", "models.py:Net", "slow.py:Net")
        (project / "slow.py").write_text("from models import Net\n")
        command = [sys.executable, "-m", "convcost", "check", "--base", "HEAD", "--export", "out.csv"]
        with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as done:  # noqa: S603 - our own command
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
        with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as done:  # noqa: S603 - our own command
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
        assert (code, latency["verdict"]) == (0, "pass")
        assert latency["low"] <= latency["actual"] <= latency["high"]
        assert latency["baseline"] > 0
        assert latency["growth"] is not None

    def test_without_a_base_a_latency_may_not_be_compared(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with (project / "convcost.toml").open("a") as file:
            file.write('latency = { max = "1 ns", grow = "10 %", machine = "another one" }\n')
        checked(capsys, "--update", "--time-budget", "0.6")
        code, result = checked(capsys, "--time-budget", "0.6")
        latency = next(one for one in result["budgets"][0]["metrics"] if one["metric"] == "latency")
        assert (code, latency["verdict"]) == (0, "skipped")
        assert (latency["device"], latency["threads"]) == ("cpu", 1)
        assert latency["torch_version"] == torch.__version__
        assert latency["reason"].startswith("other machine: the limit was set for another one, this is ")


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
    assert "macs =" in text
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
    assert "87,552 is over max 87,551 by 1 (0.001 %)" in streams.out  # rounding would hide it


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
        (["--time-budget", "0"], "time_budget (=0.0) must be a number of seconds above 0; 8 is the default."),
        (["--junit", "no/folder.xml"], "--junit (=no/folder.xml) must be in a folder that can be written"),
        (["--export", "out.docx"], "--export (=out.docx) must end in .csv, .json"),
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

    monkeypatch.setattr("convcost.checking.check_budgets", broken)
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
