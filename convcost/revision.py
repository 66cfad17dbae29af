"""Another revision of the user's project, checked out beside it for a while."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convcost.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Checkout", "checked_out"]


@dataclass(frozen=True, slots=True)
class Checkout:
    """A revision on disk.

    Attributes:
        revision: as the user named it, with its short hash.
        project: the user's working tree, its absolute path.
        folder: the checkout, its absolute path.
        lacking: submodules whose commit is not here; their folders are empty.
    """

    revision: str
    project: Path
    folder: Path
    lacking: tuple[str, ...] = ()

    def counterpart(self, path: Path) -> Path:
        """The same file or folder in the checkout; one outside the project is its own."""
        resolved = path.resolve()
        return self.folder / resolved.relative_to(self.project) if resolved.is_relative_to(self.project) else resolved


@contextmanager
def checked_out(revision: str, beside: Path) -> Iterator[Checkout]:
    """A git worktree of a revision in a temporary folder; removed afterwards, also on failure, Ctrl-C and SIGTERM.

    Its submodules come from the clones that are here; nothing is fetched.

    Args:
        revision: anything that git understands.
        beside: a folder of the project.

    Raises:
        ConvcostError: no git, no repository, no such revision.
    """
    project = Path(_git(beside, "rev-parse", "--show-toplevel", otherwise=_NO_REPOSITORY))
    commit = _git(
        project,
        *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"),
        otherwise=f"base (={revision}) must be a revision of {project}; fetch it, as git fetch origin {revision}.",
    )
    folder = Path(tempfile.mkdtemp(prefix="convcost-base-")).resolve() / project.name
    with _terminated_like_interrupted():
        try:
            _git(project, "worktree", "add", "--quiet", "--detach", str(folder), commit)
            lacking = tuple(_fill_submodules(project, folder))
            yield Checkout(f"{revision} ({commit[:9]})", project.resolve(), folder, lacking)
        finally:
            _remove(project, folder)


_NO_REPOSITORY = "base needs a git repository, and this folder is in none; leave --base out, or use the lock."


def _git(folder: Path, *words: str, otherwise: str | None = None) -> str:
    """What git prints.

    Raises:
        ConvcostError: git is not there, or fails.
    """
    command = ["git", "-c", "core.hooksPath=/dev/null", *words]
    own = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}  # a hook's are of its commit
    try:
        done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)  # noqa: S603 - words are ours
    except OSError as error:
        msg = f"base needs git, and it could not be run ({error.strerror}); install it, or leave --base out."
        raise ConvcostError(msg) from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise ConvcostError(otherwise or f"git {words[0]} failed: {said}; mend it, or leave --base out.")
    return done.stdout.strip()


def _fill_submodules(project: Path, folder: Path) -> Iterator[str]:
    """Check the submodules of a worktree out, and theirs, from the clones in the project.

    Yields:
        The path of each one whose commit is not there.
    """
    if not (folder / ".gitmodules").is_file():
        return
    with suppress(ConvcostError):  # a file that names no submodule
        listed = _git(folder, "config", "--file", ".gitmodules", "-z", "--get-regexp", r"^submodule\..*\.path$")
        for path in (entry.partition("\n")[2] for entry in listed.split("\0") if entry):
            if _copy_clone(project / path, folder / path):
                yield from (f"{path}/{inner}" for inner in _fill_submodules(project / path, folder / path))
            else:
                yield path


def _copy_clone(clone: Path, wanted: Path) -> bool:
    """Put the commit of a submodule where it belongs in the worktree; whether the clone that is here has it."""
    if not (clone / ".git").exists():
        return False
    try:
        commit = _git(wanted.parent, "rev-parse", "--verify", "--quiet", f"HEAD:./{wanted.name}")
        _git(clone, "cat-file", "-e", f"{commit}^{{commit}}")
        _git(wanted.parent, "clone", "--quiet", "--shared", "--no-checkout", str(clone), str(wanted))
        _git(wanted, "checkout", "--quiet", "--detach", commit)
    except ConvcostError:
        return False
    return True


def _remove(project: Path, folder: Path) -> None:
    """Remove a worktree; a second Ctrl-C waits until that is done."""
    with _handler(signal.SIGINT, signal.SIG_IGN):
        try:
            _git(project, "worktree", "remove", "--force", str(folder))
        except ConvcostError:  # it was never added, or is gone: what is left of it goes too
            shutil.rmtree(folder, ignore_errors=True)
            _git(project, "worktree", "prune")
        shutil.rmtree(folder.parent, ignore_errors=True)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, which a CI job gets when it is cancelled, ends as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with _handler(signal.SIGTERM, interrupt):
        yield


@contextmanager
def _handler(number: signal.Signals, handler: signal._HANDLER) -> Iterator[None]:
    """A signal's handler for a while; other threads than the main one keep what there is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
