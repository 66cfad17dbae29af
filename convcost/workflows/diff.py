"""`convcost diff`: two targets counted, each at a git revision if one is named."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convcost.budgets.limits import Budget
from convcost.changes.diff import compare_models
from convcost.models.columns import MODEL_COLUMNS
from convcost.system.git_revision import checked_out
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError
from convcost.text.input_file import is_file
from convcost.workflows.budget_process import count_budget, mixed_up, time_pair
from convcost.workflows.model import count_target, load_as_counted, require_count_device, require_same_model
from convcost.workflows.side_by_side import time_side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from convcost.changes.diff import DiffReport
    from convcost.models.report import ModelReport
    from convcost.system.git_revision import Checkout
    from convcost.text.sizes import Input
    from convcost.timing.conditions import TimingOptions
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

    def label(self, other: Side, at: str | None = None) -> str:
        """The target with its revision, and with the arguments that the other has not got.

        Args:
            other: The other model.
            at: Revision with its hash; None without one.
        """
        own = [f"{name}={value}" for name, value in self.args.items() if (name, value) not in other.args.items()]
        name = self.target if at is None else f"{self.target}@{at}"
        return f"{name} ({', '.join(own)})" if own else name

    @property
    def file(self) -> str:
        """The path of the target's file; empty for one that is named otherwise."""
        return _file_of(self.target)

    @property
    def folder(self) -> Path:
        """The folder in whose repository the revision is: the file's, as far as it exists, or the current one."""
        file = self.file
        return next(place for place in Path(file).resolve().parents if place.is_dir()) if file else Path.cwd()

    def budget(self, inputs: tuple[Input, ...], device: str, checkout: Checkout | None) -> Budget:
        """The target as one that is counted in a process of its own, in the current folder or its counterpart."""
        here, target, file = Path.cwd(), self.target, self.file
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


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """How two targets are counted and timed.

    Attributes:
        inputs: Inputs of both models; empty for their own.
        cross_check: Whether to run torch's FlopCounterMode and fvcore too.
        device: Device of the count, as for `count_target`.
        timing: Device, threads and time budget of the timing; None without one.
    """

    inputs: tuple[Input, ...] = ()
    cross_check: bool = False
    device: str = "auto"
    timing: TimingOptions | None = None


def diff_targets(a: Side, b: Side, options: DiffOptions) -> Iterator[DiffReport]:
    """Compare two targets: after the first count a diff without the second, then the diff, then with its times.

    Args:
        a: First target.
        b: Second target.
        options: How they are counted and timed.

    Raises:
        ConvcostError: As `count_target` and `time_target`; an unknown revision; files that are not those of the
            revision; or a target that is not the same model each time it is loaded.
    """
    require_count_device(options.device)
    with ExitStack() as stack:
        if a.revision is None and b.revision is None:
            yield from _diff_here((a, b), options)
        else:
            checkouts = [
                None
                if side.revision is None
                else stack.enter_context(checked_out(side.revision, side.folder, "revision"))
                for side in (a, b)
            ]
            yield from _diff_at_revisions((a, b), checkouts, options)


def diff_modules(
    a: object, b: object, inputs: object, kwargs: Mapping[str, Any] | None, options: DiffOptions
) -> DiffReport:
    """The diff of two modules, which stay as they are: copies are timed.

    Raises:
        ConvcostError: As `convcost.count`; or a module that cannot be copied to be timed.
    """
    from convcost.nn.alter.altered import replaced
    from convcost.nn.count.counted_call import call_of, module_of
    from convcost.nn.count.cpu_trial import with_values
    from convcost.nn.count.model_report import reports, with_zeros

    modules, call = (module_of(a), module_of(b)), call_of(inputs, kwargs)
    counts = []
    for letter, module in zip("ab", modules, strict=True):
        with _of_model(letter):
            *_, counted = reports(module, *call, device=options.device, cross_check=options.cross_check)
        counts.append(counted)
    diff = compare_models(counts[0], counts[1])
    if options.timing is not None:
        first, second = ((with_values(replaced(module, {})), *with_zeros(call)) for module in modules)
        steps = time_side_by_side((counts[0], counts[1]), (first, second), diff.pairs, options.timing, show_progress)
        for pair in steps:
            diff = compare_models(pair.a, pair.b, pair.timing)
    return diff


@contextmanager
def _of_model(name: str) -> Iterator[None]:
    """Say which of the two models an error is of, where its message does not."""
    try:
        yield
    except ConvcostError as error:
        if f"(={name})" in str(error):
            raise
        raise ConvcostError(f"{name}: {error}") from error


def _diff_here(sides: tuple[Side, Side], options: DiffOptions) -> Iterator[DiffReport]:
    """The diff of two targets of the working tree."""
    counts: list[ModelReport] = []
    for side, other in zip(sides, sides[::-1], strict=True):
        with _of_model(side.target):
            *_, counted = count_target(
                side.target, options.inputs, side.args, cross_check=options.cross_check, device=options.device
            )
        counts.append(replace(counted, target=side.label(other)))
        _require_same_model(sides, counts)
        yield (diff := compare_models(counts[0], counts[1] if len(counts) > 1 else None))
    if options.timing is None:
        return
    from convcost.nn.load.user_code import user_code_context

    forwards = []
    for side, counted in zip(sides, counts, strict=True):
        show_progress(f"loading {side.target} with weights ...")
        with user_code_context(side.target):
            forwards.append(load_as_counted(side.target, options.inputs, side.args, counted))
    loaded = forwards[0], forwards[1]
    steps = time_side_by_side((counts[0], counts[1]), loaded, diff.pairs, options.timing, show_progress)
    while True:
        with user_code_context(sides[0].target), user_code_context(sides[1].target):
            pair = next(steps, None)
        if pair is None:
            return
        yield compare_models(pair.a, pair.b, pair.timing)


def _require_same_model(sides: tuple[Side, Side], counts: Sequence[ModelReport]) -> None:
    """Refuse a target that is compared with itself, and is another model the second time."""
    a, b = sides
    if len(counts) > 1 and (a.target, a.args, a.revision) == (b.target, b.args, b.revision):
        require_same_model(counts[0], counts[1], "between its two counts", "make it without chance")


def _diff_at_revisions(
    sides: tuple[Side, Side], checkouts: Sequence[Checkout | None], options: DiffOptions
) -> Iterator[DiffReport]:
    """The diff of two targets, one of them at least at a revision; each counted in a process of its own."""
    budgets = [
        side.budget(options.inputs, options.device, checkout) for side, checkout in zip(sides, checkouts, strict=True)
    ]
    counts = []
    for budget, side, other, checkout in zip(budgets, sides, sides[::-1], checkouts, strict=True):
        counted = _counted(budget, side, checkout, cross_check=options.cross_check)
        label = side.label(other, None if checkout is None else checkout.revision)
        counts.append(replace(counted, report=replace(counted.report, target=label, columns=MODEL_COLUMNS)))
        _require_same_model(sides, [one.report for one in counts])
        if len(counts) == 1:
            yield compare_models(counts[0].report)
    for checkout, base, head, side in zip(checkouts, counts, counts[::-1], sides[::-1], strict=True):
        if checkout is None:
            continue
        sources = head.sources if side.folder.is_relative_to(checkout.project) else None
        if why := mixed_up(sources, base.sources, checkout, side.name):
            raise ConvcostError(f"the two revisions cannot be told apart: {why}.")
    yield (diff := compare_models(counts[0].report, counts[1].report))
    if options.timing is not None:
        pair = time_pair(budgets, checkouts, (diff.a, counts[1].report), diff.pairs, options.timing)
        yield compare_models(pair.a, pair.b, pair.timing)


def _counted(budget: Budget, side: Side, checkout: Checkout | None, *, cross_check: bool) -> Counted:
    """A target counted in a process of its own."""
    show_progress(f"counting {side.name} ...")
    try:
        with _of_model(side.target):
            return count_budget(budget, checkout, cross_check=cross_check)
    except ConvcostError as error:
        if checkout is None:
            raise
        lacking = "".join(f" Submodule {path} is not here at that commit: fetch it." for path in checkout.lacking)
        raise ConvcostError(f"at {checkout.revision}: {checkout.without_folder(error)}{lacking}") from error
