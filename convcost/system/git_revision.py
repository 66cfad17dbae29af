"""Other revisions of the user's project: one checked out in a temporary folder, and the versions of one file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.system.ownership import owned, remove_abandoned
from convcost.system.signals import handled
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Checkout:
    """Another revision in a temporary folder.

    Attributes:
        revision: Name of the revision as it was given, with its short hash.
        project: Absolute path of the user's working tree.
        folder: Absolute path of the checkout.
        lacking: Paths of submodules whose commit is not in the local clones; their folders are empty.
        changed: Paths in the project of the files that are not the same in the working tree.
    """

    revision: str
    project: Path
    folder: Path
    lacking: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()

    def without_folder(self, text: object) -> str:
        """A text without the path of the temporary folder."""
        return str(text).replace(f"{self.folder}{os.sep}", "")

    def counterpart(self, path: Path) -> Path:
        """The same file or folder in the checkout; a path outside the project stays as it is."""
        resolved = path.resolve()
        return self.folder / resolved.relative_to(self.project) if resolved.is_relative_to(self.project) else resolved


@dataclass(frozen=True, slots=True)
class Version:
    """A file as a commit left it.

    Attributes:
        commit: Short hash of the commit.
        subject: First line of its message.
        content: Content of the file.
    """

    commit: str
    subject: str
    content: bytes


PREFIX: Final = "convcost-base-"
"""Beginning of the names of the temporary folders."""


@contextmanager
def checked_out(revision: str, beside: Path, name: str = "base") -> Iterator[Checkout]:
    """A git worktree of a revision in a temporary folder; removed afterwards, also on failure, Ctrl-C and SIGTERM.

    Submodules come from the local clones; nothing is fetched.

    Args:
        revision: Name of the revision, as git takes it.
        beside: Folder of the project.
        name: Name of the revision's option, for messages.

    Raises:
        ConvcostError: There is no git, no repository or no such revision.
    """
    project = Path(_git(beside, "rev-parse", "--show-toplevel", otherwise=partial(_no_repository, name)))
    unknown = f"{name} (={revision}) must be a revision of {project}; fetch it, as git fetch origin {revision}."
    commit = revision
    for suffix in (
        "",
        "^{commit}",
    ):  # one after the other: :/TEXT, the latest commit with a text, takes all that follows
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}{suffix}")
        commit = _git(project, *words, otherwise=lambda _: unknown)
    _remove_abandoned(project)
    # SIGTERM, which a cancelled CI job gets, cleans up as Ctrl-C does.
    with (
        handled(signal.SIGTERM, signal.default_int_handler),
        owned(lambda: Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()) as parent,
    ):
        folder = parent / project.name
        try:
            _git(project, "worktree", "add", "--quiet", "--detach", str(folder), commit)
            lacking = tuple(_fill_submodules(project, folder))
            changed = frozenset(_changed(project, folder, commit))
            yield Checkout(f"{revision} ({commit[:9]})", project.resolve(), folder, lacking, changed)
        finally:
            _remove(project, folder)


def versions_of(path: Path, most: int) -> tuple[Version, ...]:
    """A file in the latest commits that changed it, the oldest first; empty without git, a repository or a commit.

    Nothing is fetched.

    Args:
        path: Path of the file.
        most: Maximum number of commits.
    """
    with suppress(ConvcostError, OSError):
        words = ("log", f"--max-count={most}", "--no-show-signature", "-z", "--format=%H %h %s", "--", path.name)
        commits = [line.split(" ", 2) for line in _git(path.parent, *words).split("\0") if line]
        wanted = "".join(f"{commit}:./{path.name}\n" for commit, _, _ in commits)
        variables = _environment() | {"GIT_NO_LAZY_FETCH": "1"}
        done = _run(("cat-file", "--batch"), path.parent, variables, wanted.encode())
        contents = _batch(BytesIO(done.stdout), len(commits))
        versions = [
            Version(short, subject, content)
            for (_, short, subject), content in zip(commits, contents, strict=True)
            if content is not None
        ]
        return tuple(reversed(versions))
    return ()


def _batch(output: BytesIO, count: int) -> Iterator[bytes | None]:
    """The objects that `git cat-file --batch` wrote; None for one that is missing."""
    for _ in range(count):
        size = output.readline().rpartition(b" ")[2].strip()
        yield output.read(int(size)) if size.isdigit() else None
        if size.isdigit():
            output.readline()


def _no_repository(name: str, reason: str) -> str:
    return f"{name} needs a git repository that git can read here ({reason}); correct that, or leave {name} out."


def _git(folder: Path, *words: str, otherwise: Callable[[str], str] | None = None) -> str:
    """The output of a git command.

    Args:
        folder: Folder in which git runs.
        words: Words of the command.
        otherwise: Function that makes the error message from git's own.

    Raises:
        ConvcostError: git is missing, or fails.
    """
    try:
        done = _run(words, folder, _environment())
    except OSError as error:
        msg = f"a revision needs git, and it could not be run ({error.strerror}); install it, or leave it out."
        raise ConvcostError(msg) from error
    if done.returncode:
        reason = " ".join(os.fsdecode(done.stderr or done.stdout).split())
        msg = (
            otherwise(reason)
            if otherwise
            else f"git {words[0]} failed: {reason}; correct it, or leave the revision out."
        )
        raise ConvcostError(msg)
    return os.fsdecode(done.stdout).strip()


def _changed(project: Path, folder: Path, commit: str) -> Iterator[str]:
    """The files in which a working tree is not a commit, those of changed submodules and new files among them."""
    words = ("--name-only", "-z", "--no-renames", "--no-ext-diff", "--ignore-submodules=none", commit)
    new = _git(project, "ls-files", "-z", "--others", "--exclude-standard")
    for path in filter(None, f"{_git(project, 'diff', *words)}\0{new}".split("\0")):
        folders = [tree for tree in (project, folder) if (tree / path).is_dir()]
        yield from (file.relative_to(tree).as_posix() for tree in folders for file in (tree / path).rglob("*"))
        yield path


def _fill_submodules(project: Path, folder: Path) -> Iterator[str]:
    """Check out the submodules of a worktree, and theirs, from the clones in the project.

    Yields:
        The path of each submodule that lacks its commit.
    """
    if not (folder / ".gitmodules").is_file():
        return
    with suppress(ConvcostError):  # .gitmodules names none
        listed = _git(folder, "config", "--file", ".gitmodules", "-z", "--get-regexp", r"^submodule\..*\.path$")
        for path in (entry.partition("\n")[2] for entry in listed.split("\0") if entry):
            if _copy_clone(project / path, folder / path):
                yield from (f"{path}/{inner}" for inner in _fill_submodules(project / path, folder / path))
            else:
                yield path


def _copy_clone(clone: Path, wanted: Path) -> bool:
    """Check out a submodule in the worktree; false if the local clone does not have its commit."""
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


def _environment() -> dict[str, str]:
    """The environment variables without those that bind git to one repository."""
    return {key: value for key, value in os.environ.items() if key not in _repository_variables()}


@cache
def _repository_variables() -> frozenset[str]:
    """The environment variables that bind git to one repository and index, as in a hook.

    Variables with the user's settings, such as GIT_CONFIG_COUNT, are not among them.
    """
    listed = _run(("rev-parse", "--local-env-vars"), Path.cwd(), dict(os.environ)).stdout
    return frozenset(name for name in os.fsdecode(listed).split() if not name.startswith("GIT_CONFIG_"))


def _run(
    words: Sequence[str], folder: Path, variables: dict[str, str], given: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-c", "core.hooksPath=/dev/null", *words]
    run: partial[subprocess.CompletedProcess[bytes]] = partial(subprocess.run, capture_output=True, check=False)
    return run(command, cwd=folder, env=variables, input=given)


def _remove_abandoned(project: Path) -> None:
    """Remove the folders of killed runs, and what git knows of those of this project."""
    listed = _git(project, "worktree", "list", "--porcelain").splitlines()
    folders = [Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")]
    ours = [folder for folder in folders if folder.parent.name.startswith(PREFIX)]
    for parent in {*Path(tempfile.gettempdir()).glob(f"{PREFIX}*"), *(folder.parent for folder in ours)}:
        remove_abandoned(parent, partial(shutil.rmtree, ignore_errors=True))
    for folder in ours:
        if not folder.exists():
            with suppress(ConvcostError):  # it is not locked
                _git(project, "worktree", "unlock", str(folder))
            _git(project, "worktree", "prune")


def _remove(project: Path, folder: Path) -> None:
    """Remove a worktree; Ctrl-C and SIGTERM are ignored meanwhile."""
    with handled(signal.SIGINT, signal.SIG_IGN), handled(signal.SIGTERM, signal.SIG_IGN):
        try:
            _git(project, "worktree", "remove", "--force", "--force", str(folder))  # forced twice: it may be locked
        except ConvcostError:  # it was added in part, or is gone already
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(ConvcostError):
                _git(project, "worktree", "unlock", str(folder))
            _git(project, "worktree", "prune")
        shutil.rmtree(folder.parent, ignore_errors=True)
