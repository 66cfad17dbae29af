"""Another revision of the user's project, checked out beside it for a while."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from convcost.system.signals import handled
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    project = Path(_git(beside, "rev-parse", "--show-toplevel", otherwise=_no_repository))
    unknown = f"base (={revision}) must be a revision of {project}; fetch it, as git fetch origin {revision}."
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    commit = _git(project, *words, otherwise=lambda _: unknown)
    folder = Path(tempfile.mkdtemp(prefix="convcost-base-")).resolve() / project.name
    with _terminated_like_interrupted():
        try:
            _git(project, "worktree", "add", "--quiet", "--detach", str(folder), commit)
            lacking = tuple(_fill_submodules(project, folder))
            yield Checkout(f"{revision} ({commit[:9]})", project.resolve(), folder, lacking)
        finally:
            _remove(project, folder)


def _no_repository(said: str) -> str:
    return f"base needs a git repository that git can read here ({said}); mend that, or leave --base out."


def _git(folder: Path, *words: str, otherwise: Callable[[str], str] | None = None) -> str:
    """What git prints.

    Args:
        folder: where it runs.
        words: of the command.
        otherwise: makes the message of git's own words when it fails.

    Raises:
        ConvcostError: git is not there, or fails.
    """
    try:
        left_out = _variables_of_a_repository()
        done = _run(words, folder, {key: value for key, value in os.environ.items() if key not in left_out})
    except OSError as error:
        msg = f"base needs git, and it could not be run ({error.strerror}); install it, or leave --base out."
        raise ConvcostError(msg) from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        msg = otherwise(said) if otherwise else f"git {words[0]} failed: {said}; mend it, or leave --base out."
        raise ConvcostError(msg)
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


@cache
def _variables_of_a_repository() -> frozenset[str]:
    """The variables that lead git to one repository and one index: in a hook, to those of the commit it is about.

    Those that hold settings stay, as GIT_CONFIG_COUNT and all that git does not list here: they are the user's.
    """
    listed = _run(("rev-parse", "--local-env-vars"), Path.cwd(), dict(os.environ)).stdout.split()
    return frozenset(name for name in listed if not name.startswith("GIT_CONFIG_"))


def _run(words: Sequence[str], folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["git", "-c", "core.hooksPath=/dev/null", *words]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)  # noqa: S603 - words are ours


def _remove(project: Path, folder: Path) -> None:
    """Remove a worktree; another Ctrl-C or SIGTERM waits until that is done."""
    with handled(signal.SIGINT, signal.SIG_IGN), handled(signal.SIGTERM, signal.SIG_IGN):
        try:
            _git(project, "worktree", "remove", "--force", "--force", str(folder))  # the second: one that is locked
        except ConvcostError:  # it was added in part, not at all, or is gone: what is left of it goes too
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(ConvcostError):
                _git(project, "worktree", "unlock", str(folder))
            _git(project, "worktree", "prune")
        shutil.rmtree(folder.parent, ignore_errors=True)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, which a CI job gets when it is cancelled, ends as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with handled(signal.SIGTERM, interrupt):
        yield
