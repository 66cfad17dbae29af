"""Files that are whole or absent: what a write that fails leaves, and what is left by runs that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from convcost.system.whole_files import require_writable, write_whole
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from pathlib import Path

KILLED = """
import os, signal, sys
from pathlib import Path
from convcost.system.whole_files import write_whole

def end(temporary):
    temporary.write_text("half", encoding="utf-8")
    {end}

write_whole(Path(sys.argv[1]), end)
"""
posix = pytest.mark.skipif(os.name == "nt", reason="an open file cannot be renamed on Windows: there are no locks")


@posix
def test_what_a_killed_run_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    code = KILLED.format(end="os.kill(os.getpid(), signal.SIGKILL)")
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".convcost-")
    require_writable(path)
    assert list(tmp_path.iterdir()) == []


@posix
def test_the_file_of_a_run_that_still_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    code = KILLED.format(end='print("ready", flush=True); sys.stdin.read()')
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        require_writable(path)
        writer.communicate()
    assert path.read_text(encoding="utf-8") == "half"
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_only_resemble_ours_stay(tmp_path: Path) -> None:
    names = {".convcost-notes.md", ".convcost-abc", "x.convcost-abcdefgh", ".convcost-ABCDEFGH"}
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".convcost-abcdefgh").mkdir()
    require_writable(tmp_path / "rows.csv")
    assert {path.name for path in tmp_path.iterdir()} == {*names, ".convcost-abcdefgh"}


class LibraryError(Exception):
    """What xlsxwriter and pyarrow raise for a full disk."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (LibraryError("[Errno 28] No space left"), r"\[Errno 28\] No space left"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "surrogates not allowed"),
    ],
)
def test_a_write_that_fails_is_one_error_and_leaves_the_old_file(tmp_path: Path, error: Exception, reason: str) -> None:
    path = tmp_path / "rows.xlsx"
    path.write_text("old", encoding="utf-8")

    def fail(temporary: Path) -> None:
        temporary.write_text("half", encoding="utf-8")
        raise error

    with pytest.raises(ConvcostError, match=reason):
        write_whole(path, fail)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text(encoding="utf-8") == "old"


def test_a_path_that_is_too_long_is_refused_with_a_short_line(tmp_path: Path) -> None:
    with pytest.raises(ConvcostError, match=r"must be a path \(") as caught:
        require_writable(tmp_path / f"{'a' * 300}.csv")
    assert len(str(caught.value)) < 200


@posix
def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop.csv"
    loop.symlink_to("loop.csv")
    if sys.version_info < (3, 13):  # later ones replace the link
        with pytest.raises(ConvcostError, match=r"must be a path \(Symlink loop"):
            require_writable(loop)
