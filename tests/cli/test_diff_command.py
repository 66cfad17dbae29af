"""`convcost diff`: two targets, at revisions too, and what ends in one line."""

from __future__ import annotations

import csv
import io
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
import torch  # noqa: F401 - the whole file needs it
from budgeted_project import MODEL, commit, edit, git

from convcost.cli import main
from convcost.workflows import diff as workflow
from convcost.workflows.diff import Side, parse_side

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch
INPUT = ("--input", "1x3x8x8")
BODY = "out_channels 16 → 24"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits: the body has 16 channels in the first and 24 in the second."""
    folder = tmp_path / "a@b"  # a path may hold the sign before a revision
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "models.py").write_text(MODEL, encoding="utf-8")
    commit(folder, "first")
    edit(folder / "models.py", "width, 16", "width, 24")
    commit(folder, "second")
    monkeypatch.chdir(folder)
    return folder


def diff(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["diff", *words])
    out, err = capsys.readouterr()
    return code, out, err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, err = diff(capsys, *words, "--format", "json")
    assert code == 0, err
    return dict(json.loads(out))


@pytest.mark.parametrize(
    ("a", "b", "named"),
    [
        ("models.py:Net@HEAD~1", "models.py:Net", ("models.py:Net@HEAD~1 ({})", "models.py:Net")),
        ("models:Net@HEAD~1", "models:Net@HEAD", ("models:Net@HEAD~1 ({})", "models:Net@HEAD ({})")),
        ("{folder}/models.py:Net@main@{{1}}", "./models.py:Net", ("{folder}/models.py:Net@main@{{1}} ({})", None)),
    ],
    ids=["revision-and-working-tree", "two-revisions-of-a-module", "absolute-path-and-reflog"],
)
def test_a_target_at_a_revision_is_counted_from_its_files(
    project: Path, capsys: pytest.CaptureFixture[str], a: str, b: str, named: tuple[str, str | None]
) -> None:
    """8·16·9 weights become 8·24·9."""
    found = as_json(capsys, a.format(folder=project), b, *INPUT)
    hashes = [git(project, "rev-parse", "--short=9", revision) for revision in ("HEAD~1", "HEAD")]
    for side, name, short in zip("ab", named, hashes, strict=True):
        assert name is None or found[side]["target"] == name.format(short, folder=project)
    changed = [row for row in found["layers"] if row["change"] != "same"]
    assert [(row["name_b"], row["what"]) for row in changed] == [("body", BODY)]
    assert found["delta"]["params"] == 8 * 9 * (24 - 16)
    assert git(project, "status", "--porcelain") == ""
    assert len(git(project, "worktree", "list").splitlines()) == 1


def test_a_target_of_another_repository_is_at_its_revision_there(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    found = as_json(capsys, "a@b/models.py:Net@HEAD~1", "a@b/models.py:Net", *INPUT)
    assert found["delta"]["params"] == 8 * 9 * (24 - 16)


def test_a_target_whose_folder_is_gone_is_still_at_its_revision(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "old").mkdir()
    (project / "models.py").rename(project / "old" / "models.py")
    commit(project, "moved")
    (project / "old" / "models.py").rename(project / "models.py")
    (project / "old").rmdir()
    found = as_json(capsys, "old/models.py:Net@HEAD", "models.py:Net", *INPUT)
    assert {row["change"] for row in found["layers"]} == {"same"}


def test_a_target_at_a_revision_is_compared_with_one_of_no_repository(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.parent / "copy.py").write_text(MODEL, encoding="utf-8")
    found = as_json(capsys, "models.py:Net@HEAD", "../copy.py:Net", *INPUT)
    assert found["delta"]["params"] == 8 * 9 * (16 - 24)


def test_an_earlier_network_as_data_is_read_from_its_revision(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'resolution = 8\n[[layers]]\nname = "a"\nblock = "standard"\nout_channels = {}\nkernel_size = 3\n'
    (project / "net.toml").write_text(text.format(4), encoding="utf-8")
    commit(project, "a network")
    (project / "net.toml").write_text(text.format(6), encoding="utf-8")
    found = as_json(capsys, "net.toml@HEAD", "net.toml")
    assert [row["what"] for row in found["layers"] if "conv" in (row["op_a"] or "").lower()] == ["out_channels 4 → 6"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("models.py:Net@nope", "models.py:Net"), "revision (=nope) must be a revision of "),
        (("models.py:Net@", "models.py:Net"), "target (=models.py:Net@) must name a revision after @, such as "),
        (
            ("network:resnet18@HEAD", "models.py:Net"),
            "target (=network:resnet18@HEAD) must be a file or module of yours",
        ),
        (("models.py:Gone@HEAD", "models.py:Net"), "at HEAD ("),
        (("models.py:Gone", "models.py:Net@HEAD"), "target (=models.py:Gone) must name something that is there"),
        (("gone.py:Net@HEAD", "models.py:Net"), "at HEAD ("),
        (("../outside.py:Net@HEAD", "models.py:Net"), "revision needs a git repository that git can read here"),
        (("models.py:Net",), "B must be given, or a revision of A (=models.py:Net)"),
        (("models.py:Net", "models.py:Net", "--top", "0"), "top (=0) must be"),
        (("models.py:Net", "models.py:Net", "--sort", "time"), "sort (=time) must have times to sort by"),
        (("models.py:Net", "models.py:Net", "--why"), "--why must have times to account for; add --time."),
        (("models.py:Net", "models.py:Net", "--device", "cuda"), "device (=cuda) must be auto, meta or cpu"),
        (("models.py:Net", "models.py:Net", "--export", "a.docx"), "export (=a.docx) must end in"),
        (
            ("models.py:Net", "network:resnet18", "--input", "1x4x8x8"),
            "models.py:Net: stem (Conv2d) expects in_channels 3",
        ),
    ],
)
@pytest.mark.usefixtures("project")
def test_what_cannot_be_compared_is_one_line(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "outside.py").write_text(MODEL, encoding="utf-8")
    inputs = () if "--input" in words else INPUT
    code, out, err = diff(capsys, *words, *inputs)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("name", "target", "revision"),
    [
        ("m.py:net@HEAD~1", "m.py:net", "HEAD~1"),
        ("m.py:net@main@{2026-11-26 12:30:00}", "m.py:net", "main@{2026-11-26 12:30:00}"),
        ("a.b:C.make@v1.2", "a.b:C.make", "v1.2"),
        ("net.toml@HEAD", "net.toml", "HEAD"),
        ("x@y/m.py:net@HEAD^", "x@y/m.py:net", "HEAD^"),
        ("x:y@z/m.py:net", "x:y@z/m.py:net", None),
        ("x@y/net.toml", "x@y/net.toml", None),
        ("network:resnet18", "network:resnet18", None),
        ("timm:resnet50.a1_in1k", "timm:resnet50.a1_in1k", None),
    ],
)
def test_a_revision_is_told_from_a_path_with_the_same_sign(
    name: str, target: str, revision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("x:y@z/m.py", "x@y/net.toml"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    assert parse_side(name, {}) == Side(name, target, {}, revision)


@pytest.mark.usefixtures("project")
def test_a_revision_alone_is_compared_with_the_working_tree(capsys: pytest.CaptureFixture[str]) -> None:
    alone = as_json(capsys, "models.py:Net@HEAD~1", *INPUT)
    assert alone == as_json(capsys, "models.py:Net@HEAD~1", "models.py:Net", *INPUT)


@pytest.mark.usefixtures("project")
def test_macs_beside_what_is_not_counted_are_at_least_so_many(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = diff(capsys, "models.py:Net", "models.py:Spectral", *INPUT)
    assert "MACs: at least 124 k, the same" in out.splitlines()  # 64 pixels · 9 · (8·3 + 8·24)
    assert "B: not counted: aten._fft_r2c, 1 call, in fft_rfft2" in out


@pytest.mark.usefixtures("project")
def test_arguments_go_to_both_or_to_one(capsys: pytest.CaptureFixture[str]) -> None:
    both = as_json(capsys, "models.py:Net", "models.py:Net", *INPUT, "--arg", "width=4")
    assert both["a"]["totals"]["params"] == both["b"]["totals"]["params"] == 4 * 9 * (3 + 24)
    one = as_json(capsys, "models.py:Net", "models.py:Net", *INPUT, "--arg", "width=4", "--arg-b", "width=5")
    assert one["a"]["totals"]["params"] == 4 * 9 * (3 + 24)
    assert one["b"]["totals"]["params"] == 5 * 9 * (3 + 24)
    assert [one[side]["target"] for side in "ab"] == ["models.py:Net (width=4)", "models.py:Net (width=5)"]


def test_each_target_imports_its_own_modules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both folders have modules of the same names."""
    monkeypatch.chdir(tmp_path)
    for folder, channels in (("old", 8), ("new", 16)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net_beside.py").write_text(
            "from torch import nn\nfrom size_beside import N\nnet = nn.Conv2d(3, N, 3)\n"
        )
        (tmp_path / folder / "size_beside.py").write_text(f"N = {channels}\n")
    found = as_json(capsys, "old/net_beside.py:net", "new/net_beside.py:net", *INPUT)
    assert [found[side]["totals"]["params"] for side in "ab"] == [28 * 8, 28 * 16]
    assert main(["model", "new/net_beside.py:net", "old/net_beside.py:net", *INPUT, "--format", "json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert [model["totals"]["params"] for model in models] == [28 * 16, 28 * 8]


@pytest.mark.usefixtures("project")
def test_the_exports_and_the_json_have_the_same_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "models.py:Net@HEAD~1", "models.py:Net", *INPUT
    code, out, _ = diff(capsys, *words, "--all", "--format", "csv", "--export", str(tmp_path / "rows.json"))
    assert code == 0
    rows, whole = list(csv.DictReader(io.StringIO(out))), json.loads((tmp_path / "rows.json").read_text())
    assert [row["name_a"] for row in rows] == [row["name_a"] for row in whole["layers"]]
    for amount in ("params", "macs", "traffic"):
        total = whole["delta"].get(amount, whole["delta"]["traffic_bytes"])
        assert sum(int(row[f"{amount}_delta"]) for row in rows) == total
    assert whole["schema"] == "convcost.diff/1"
    assert whole["time"] is None
    assert whole["cross_check"]["a"]["torch"]["status"] == "unavailable"


@pytest.mark.usefixtures("project")
def test_only_what_differs_is_shown_unless_all_is(capsys: pytest.CaptureFixture[str]) -> None:
    words = "models.py:Net@HEAD~1", "models.py:Net", *INPUT
    _, out, _ = diff(capsys, *words)
    assert [line.split()[:2] for line in out.splitlines()[2:4]] == [["~", "body"], []]
    assert "2 layers the same" in out.splitlines()
    _, out, _ = diff(capsys, *words, "--all")
    assert [line.split()[0] for line in out.splitlines()[2:5]] == ["stem", "relu#1", "~"]


@pytest.mark.usefixtures("project")
def test_a_cross_check_on_request_is_on_both(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, "models.py:Net@HEAD~1", "models.py:Net", *INPUT, "--cross-check")
    assert {check["status"] for side in "ab" for check in found["cross_check"][side].values()} == {"agrees"}


@pytest.mark.usefixtures("project")
def test_inputs_that_the_targets_declare_themselves_may_differ(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = diff(capsys, "network:resnet18", "--arg-b", "resolution=192")
    assert code == 0
    assert (
        "A: network:resnet18, input 1x3x224x224; B: network:resnet18 (resolution=192), input 1x3x192x192"
        in out.splitlines()[0]
    )
    assert "note: the models run on different inputs; give both the same with input." in err


@pytest.mark.timing
@pytest.mark.parametrize("a", ["models.py:Net@HEAD~1", "models.py:Narrow"], ids=["at-a-revision", "here"])
def test_the_times_of_both_and_of_what_differs_are_there(
    a: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No time is asserted."""
    with (project / "models.py").open("a", encoding="utf-8") as file:
        file.write("\nclass Narrow(Net):\n    def __init__(self):\n        super().__init__()\n")
        file.write("        self.body = nn.Conv2d(8, 16, 3, padding=1, bias=False)\n")
    words = a, "models.py:Net", *INPUT, "--time", "--time-budget", "0.6", "--time-device", "cpu"
    found = as_json(capsys, *words, "--why")
    assert found["time"]["speedup"] == pytest.approx(found["time"]["speedup"])
    timed = [row for row in found["layers"] if row["time_a_s"] is not None]
    assert [(row["name_b"], row["device"]) for row in timed] == [("body", "cpu")]
    assert timed[0]["speedup"] is not None
    for side in "ab":
        parts = sum(part["seconds"] for part in timed[0][f"account_{side}"])
        assert parts == pytest.approx(timed[0][f"time_{side}_s"])
    code, out, err = diff(capsys, *words, "--sort", "time")
    assert code == 0
    (line,) = (line for line in out.splitlines() if line.startswith("formula: "))
    assert line.startswith("formula: 1.4x as many MACs, so ")  # 8·27 + 8·24·9 over 8·27 + 8·16·9 = 1.42
    assert "; clock: " in line
    assert "Traceback" not in err


@pytest.mark.timing
def test_a_target_that_is_another_model_each_time_is_refused_before_it_is_timed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "\nimport itertools\nwidths = itertools.count(4)\ndef other():\n    return Net(next(widths))\n"
    with (project / "models.py").open("a", encoding="utf-8") as file:
        file.write(source)
    code, out, err = diff(capsys, "models.py:Net", "models.py:other", *INPUT, "--time", "--time-budget", "0.6")
    assert (code, out) == (2, "")
    assert "target (=models.py:other) must make the same model each time" in err
    assert "body is changed (in_channels 4 → 5)" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("at", ["", "@HEAD"], ids=["here", "at-a-revision"])
def test_a_target_that_is_another_model_than_itself_is_refused(
    at: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "\nimport os\ndef other():\n    return Net(4 + os.urandom(1)[0])\n"  # no seed decides it
    with (project / "models.py").open("a", encoding="utf-8") as file:
        file.write(source)
    commit(project, "third")
    for _ in range(3):  # two draws may be equal
        code, out, err = diff(capsys, f"models.py:other{at}", f"models.py:other{at}", *INPUT)
        if code:
            break
    assert (code, out) == (2, "")
    assert "must make the same model each time: between its two counts, body is changed (in_channels " in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("at", ["", "@HEAD~1"], ids=["here", "at-a-revision"])
@pytest.mark.usefixtures("project")
def test_an_interrupt_of_the_second_count_exports_the_first(
    at: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "count_budget" if at else "count_target"
    real, calls = getattr(workflow, name), []

    def second_is_interrupted(*words: Any, **named: Any) -> Any:
        calls.append(words)
        if len(calls) > 1:
            signal.raise_signal(signal.SIGINT)
        return real(*words, **named)

    monkeypatch.setattr(workflow, name, second_is_interrupted)
    out = tmp_path / "diff.json"
    code, shown, err = diff(
        capsys, f"models.py:Net{at}", "models.py:Net", *INPUT, "--sort", "macs", "--export", str(out)
    )
    assert code == 130
    whole = json.loads(out.read_text(encoding="utf-8"))
    assert whole["b"] is None
    assert set(whole["delta"].values()) == {None}
    assert [row["name_a"] for row in whole["layers"]] == ["stem", "relu#1", "body"]
    assert {row[key] for row in whole["layers"] for key in ("change", "name_b", "macs_b", "macs_delta")} == {None}
    assert [line.split()[0] for line in shown.splitlines()[2:5]] == ["stem", "relu#1", "body"]
    assert "interrupted: what was not obtained yet is left empty." in err


@pytest.mark.usefixtures("project")
def test_an_interrupt_of_the_timing_keeps_the_diff(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "convcost.nn.measure.side_by_side.measure_side_by_side", lambda *_, **__: signal.raise_signal(signal.SIGINT)
    )
    out = tmp_path / "diff.json"
    words = "models.py:Net", "models.py:Net", "--arg-b", "width=4", "--time", "--sort", "time", "--export", str(out)
    assert diff(capsys, *words, *INPUT)[0] == 130
    whole = json.loads(out.read_text(encoding="utf-8"))
    assert whole["delta"]["macs"] == -64 * 9 * (3 + 24) * 4
    assert whole["time"] is None
