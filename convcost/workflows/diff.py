"""`convcost diff`: two targets counted, each at a git revision if one is named."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convcost.budgets.limits import Budget
from convcost.changes.diff import compare_models
from convcost.models.columns import MODEL_COLUMNS
from convcost.system.git_revision import checked_out
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError
from convcost.text.input_file import is_file
from convcost.workflows.budget_process import count_budget, mixed_up
from convcost.workflows.model import count_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from convcost.changes.diff import DiffReport
    from convcost.models.report import ModelReport
    from convcost.system.git_revision import Checkout
    from convcost.text.sizes import Input
    from convcost.workflows.budget_process import Counted

AT_REVISION: Final = re.compile(r"(?P<target>.+(?::[\w.]+|\.toml|\.pt2))@(?P<revision>.*)", re.DOTALL)
"""A target with a revision, which may hold colons and further signs of @ itself."""
PACKAGED: Final = ("network", "torchvision", "timm")
"""Beginnings of targets from installed packages."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models.

    Attributes:
        name: Target as the user named it.
        target: Target without its revision.
        args: Arguments of the callable.
        revision: Git revision of the target's files; None for the working tree.
    """

    name: str
    target: str
    args: Mapping[str, object]
    revision: str | None = None

    @property
    def folder(self) -> Path:
        """The folder in whose repository the revision is: that of the target's file, or the current one."""
        file = _file_of(self.target)
        return Path(file).resolve().parent if file else Path.cwd()

    def budget(self, inputs: tuple[Input, ...], device: str, checkout: Checkout | None) -> Budget:
        """The target as one that is counted in a process of its own, in the current folder or its counterpart."""
        here, target, file = Path.cwd(), self.target, _file_of(self.target)
        if checkout is not None:
            if file and (Path(file).is_absolute() or not here.is_relative_to(checkout.project)):
                target = f"{checkout.counterpart(Path(file))}{target.removeprefix(file)}"
            here = checkout.counterpart(here)
        return Budget(self.name, target, here, self.args, inputs, device=device)


def parse_side(name: str, args: Mapping[str, object]) -> Side:
    """A target, or TARGET@REV: the target at a git revision.

    Raises:
        ConvcostError: An empty revision, or one of a target that no git repository of the user's holds.
    """
    file = _file_of(name)
    is_plain = is_file(Path(file)) and "@" not in name.removeprefix(file)
    matched = None if is_plain else AT_REVISION.fullmatch(name)
    if matched is None:
        return Side(name, name, args)
    target, revision = matched["target"], matched["revision"]
    if not revision:
        raise ConvcostError(f"target (={name}) must name a revision after @, such as {target}@HEAD~1; or leave @ out.")
    if target.partition(":")[0] in PACKAGED:
        raise ConvcostError(
            f"target (={name}) must be a file or module of yours to have a revision: {target} comes from an installed "
            f"package; leave @{revision} out."
        )
    return Side(name, target, args, revision)


def _file_of(target: str) -> str:
    """The path of a target's file; empty for one that is named otherwise."""
    where = target.rpartition(":")[0]
    return where if where.endswith(".py") else target if target.endswith((".toml", ".pt2")) else ""


def diff_targets(
    a: Side, b: Side, inputs: tuple[Input, ...], *, cross_check: bool, device: str
) -> Iterator[DiffReport]:
    """Count two targets: after the first a diff without the second, then the diff.

    Args:
        a: First target.
        b: Second target.
        inputs: Inputs of both models; empty for their own.
        cross_check: Whether to run torch's FlopCounterMode and fvcore too.
        device: As for `count_target`.

    Raises:
        ConvcostError: As `count_target`; an unknown revision; or files that are not those of the revision.
    """
    first = None
    for counted in _counts(a, b, inputs, cross_check=cross_check, device=device):
        yield compare_models(counted if first is None else first, None if first is None else counted)
        first = counted


def _counts(a: Side, b: Side, inputs: tuple[Input, ...], *, cross_check: bool, device: str) -> Iterator[ModelReport]:
    """The counts of both targets; in processes of their own where one is at a revision."""
    if a.revision is None and b.revision is None:
        for side in (a, b):
            *_, report = count_target(side.target, inputs, side.args, cross_check=cross_check, device=device)
            yield report
        return
    with ExitStack() as stack:
        checkouts = [
            None if side.revision is None else stack.enter_context(checked_out(side.revision, side.folder, "revision"))
            for side in (a, b)
        ]
        first = _counted(a, checkouts[0], inputs, cross_check=cross_check, device=device)
        yield first.report
        second = _counted(b, checkouts[1], inputs, cross_check=cross_check, device=device)
        pairs = (checkouts[0], first, second, b), (checkouts[1], second, first, a)
        for checkout, own, other, side in pairs:
            if checkout is not None and (why := mixed_up(other.sources, own.sources, checkout, side.name)):
                raise ConvcostError(f"the two revisions cannot be told apart: {why}.")
        yield second.report


def _counted(
    side: Side, checkout: Checkout | None, inputs: tuple[Input, ...], *, cross_check: bool, device: str
) -> Counted:
    """A target counted in a process of its own, under the name that the user gave it."""
    show_progress(f"counting {side.name} ...")
    try:
        counted = count_budget(side.budget(inputs, device, checkout), checkout, cross_check=cross_check)
    except ConvcostError as error:
        if checkout is None:
            raise
        lacking = "".join(f" Submodule {path} is not here at that commit: fetch it." for path in checkout.lacking)
        raise ConvcostError(f"at {checkout.revision}: {checkout.without_folder(error)}{lacking}") from error
    name = side.name if checkout is None else f"{side.target}@{checkout.revision}"
    return replace(counted, report=replace(counted.report, target=name, columns=MODEL_COLUMNS))
