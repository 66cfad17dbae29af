"""A budget's model, counted or timed in a process of its own: nothing that it does reaches another budget's."""

from __future__ import annotations

from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeVar

from convcost.models.columns import MODEL_COLUMNS
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError
from convcost.workflows.model import count_target, load_as_counted, load_forward
from convcost.workflows.side_by_side import time_side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from convcost.budgets.limits import Budget
    from convcost.models.report import ModelReport
    from convcost.nn.load.source_tree import Sources, SourceTree
    from convcost.nn.measure.models import Forward
    from convcost.system.git_revision import Checkout
    from convcost.timing.conditions import Conditions, Setup, TimingOptions
    from convcost.timing.measured import ForwardTiming
    from convcost.workflows.side_by_side import TimedPair

T = TypeVar("T")
IMPORTED: Final = ("convcost.nn.count.model_report", "convcost.nn.load.source_tree", "convcost.nn.load.target")
"""What every count needs, and a forked process has if this one has it."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A counted model.

    Attributes:
        report: Report of the count, without columns.
        sources: Where its modules come from.
    """

    report: ModelReport
    sources: Sources


@dataclass(frozen=True, slots=True)
class Timed:
    """A timed model.

    Attributes:
        timing: Timing, next to that of the earlier model where there is one.
        conditions: Conditions of the timing.
        setup: Machine, versions and switches.
        untimed: Reason why the earlier model could not be loaded; empty without one.
    """

    timing: ForwardTiming
    conditions: Conditions
    setup: Setup
    untimed: str = ""


def count_budget(
    budget: Budget, checkout: Checkout | None = None, *, recount: bool = False, cross_check: bool = False
) -> Counted:
    """Count the model of a budget.

    Args:
        budget: The budget, with its folder in the checkout if there is one.
        checkout: Another revision's files; None for the working tree.
        recount: Whether to count a second call, and once more on the CPU with other inputs.
        cross_check: Whether to run torch's FlopCounterMode and fvcore too.

    Raises:
        ConvcostError: As `convcost model`, or the model ends its process.
    """
    from convcost.nn.load.source_tree import is_data

    count = partial(_count, budget, _tree(budget, checkout), recount=recount, cross_check=cross_check)
    if is_data(budget.target) and budget.device != "cpu" and not recount:
        return count()  # no code of the user's runs, and nothing is computed
    return _apart(budget, count)


def mixed_up(head: Sources | None, base: Sources, checkout: Checkout, head_name: str = "the working tree") -> str:
    """Why the two counts do not compare two revisions: a file that is not one of either's own; empty if all are.

    Args:
        head: Where the modules of one come from; None if it is of another project.
        base: Where those of the other come from.
        checkout: Revision of the other.
        head_name: Name of the one, for messages.
    """
    from convcost.nn.load.changed_modules import changed_modules

    trees = checkout.project, checkout.folder
    for side, other, name in ((base, head, checkout.revision), (head, base, head_name)):
        if side is not None and (
            wrong := sorted(
                side.doubted
                | (side.outside.keys() & (frozenset() if other is None else other.inside))
                | (side.outside.keys() & changed_modules(checkout.changed, trees, side.inside))
            )
        ):
            return (
                f"{wrong[0]} is imported from {side.outside[wrong[0]]}, not from the files of {name}: "
                "name the target as file.py:callable, or install the project with pip install -e"
            )
    if read := sorted(base.read & checkout.changed):
        return (
            f"{read[0]} is read from {checkout.project}, not from the files of {checkout.revision}: "
            "let the code find it beside its own __file__, or by a relative path"
        )
    return ""


def time_models(budget: Budget, earlier: Budget | None, checkout: Checkout | None, options: TimingOptions) -> Timed:
    """Time the model of a budget, next to its earlier version.

    Args:
        budget: The budget.
        earlier: Budget whose target is the earlier version of the model; None to time the model alone.
        checkout: Files of the earlier version.
        options: Conditions and time budget.

    Raises:
        ConvcostError: As `convcost model --time`, or the model ends its process.
    """
    trees = _tree(budget), _tree(earlier or budget, checkout)
    return _apart(budget, partial(_time, budget, earlier, trees, options), in_threads=options.threads != 1)


def time_pair(
    budgets: Sequence[Budget],
    checkouts: Sequence[Checkout | None],
    counted: tuple[ModelReport, ModelReport],
    pairs: Sequence[tuple[str | None, str | None]],
    options: TimingOptions,
) -> TimedPair:
    """Time two models side by side, each from the files of its own revision.

    Args:
        budgets: The two models.
        checkouts: Files of the revision of each; None for the working tree.
        counted: Their counts.
        pairs: Names of the layers to time alone, as for `time_side_by_side`.
        options: Conditions and time budget.

    Raises:
        ConvcostError: As `convcost model --time`, or a model ends its process.
    """
    trees = [_tree(budget, checkout) for budget, checkout in zip(budgets, checkouts, strict=True)]
    plain = replace(counted[0], columns=()), replace(counted[1], columns=())
    timed = _apart(
        budgets[1], partial(_time_pair, budgets, trees, plain, pairs, options), in_threads=options.threads != 1
    )
    a, b = (replace(one, columns=MODEL_COLUMNS) for one in (timed.a, timed.b))
    return replace(timed, a=a, b=b)


def machine_for(device: str) -> str:
    """The name of this machine with a device; a GPU's library that this process had used would fail in a fork."""
    from convcost.nn.count.isolation import run_apart
    from convcost.nn.measure.this_machine import machine_here

    return run_apart(partial(machine_here, device))


def _tree(budget: Budget, checkout: Checkout | None = None) -> SourceTree:
    from convcost.nn.load.source_tree import SourceTree, working_tree

    return working_tree(budget.folder) if checkout is None else SourceTree(checkout.folder, checkout.project)


def _apart(budget: Budget, action: Callable[[], T], *, in_threads: bool = False) -> T:
    """The result of a function in another process; this one imports for all."""
    for module in IMPORTED:
        import_module(module)
    from convcost.nn.count.isolation import run_apart
    from convcost.system.child_process import ProcessEndedError

    try:
        return run_apart(action, in_threads=in_threads)
    except ProcessEndedError as error:
        msg = f"target (={budget.target}) {error} in which it ran; correct what does that, or look with convcost model."
        raise ConvcostError(msg) from error


def _count(budget: Budget, tree: SourceTree, *, recount: bool, cross_check: bool) -> Counted:
    from convcost.nn.load.source_tree import has_imports, opened_files, sources_of
    from convcost.nn.load.user_code import is_own_fault, own_fault

    opened = opened_files() if tree.is_checkout and has_imports(budget.target, budget.folder) else ()
    with _ready(budget, tree):
        try:
            device = budget.device
            *_, report = count_target(
                budget.target, budget.inputs, budget.args, cross_check=cross_check, device=device, recount=recount
            )
        except Exception as error:
            if isinstance(error, ConvcostError) or not is_own_fault(error):
                raise
            raise own_fault(error) from error
        return Counted(replace(report, columns=()), sources_of(tree, budget.target, budget.folder, opened))


def _time(
    budget: Budget, earlier: Budget | None, trees: tuple[SourceTree, SourceTree], options: TimingOptions
) -> Timed:
    from convcost.nn.measure.models import measure_forwards
    from convcost.nn.measure.session import conditions_for
    from convcost.nn.measure.this_machine import fingerprint

    with _ready(budget, trees[0]):
        head = _load(budget)
    base: Forward | None = None
    untimed = ""
    if earlier is not None:
        try:
            with _ready(earlier, trees[1]):
                base = _load(earlier)
        except ConvcostError as error:
            untimed = f"it could not be loaded there beside today's model: {error}"
    with _ready(budget, trees[0]):  # a model may import while it runs
        timing = measure_forwards(head, base, options)
        conditions = conditions_for(options)
        return Timed(timing, conditions, fingerprint(conditions.device), untimed)


def _load(budget: Budget) -> Forward:
    return load_forward(budget.target, budget.inputs, budget.args)


def _time_pair(
    budgets: Sequence[Budget],
    trees: Sequence[SourceTree],
    counted: tuple[ModelReport, ModelReport],
    pairs: Sequence[tuple[str | None, str | None]],
    options: TimingOptions,
) -> TimedPair:
    forwards = []
    for budget, tree, report in zip(budgets, trees, counted, strict=True):
        show_progress(f"loading {budget.name} with weights ...")
        with _ready(budget, tree):
            forwards.append(load_as_counted(budget.target, budget.inputs, budget.args, report))
    with _ready(budgets[1], trees[1]):  # a model may import while it runs
        *_, timed = time_side_by_side(counted, (forwards[0], forwards[1]), pairs, options, show_progress)
    return timed


@contextmanager
def _ready(budget: Budget, tree: SourceTree) -> Iterator[None]:
    """The budget's folder as the current one, and its modules from its tree."""
    from convcost.nn.load.source_tree import has_imports, imports_from

    if not budget.folder.is_dir():
        raise ConvcostError(f"folder (={budget.folder}) must be there; the revision may be older than it.")
    is_importing = has_imports(budget.target, budget.folder)
    with imports_from(tree, budget.target, budget.folder) if is_importing else nullcontext(), chdir(budget.folder):
        yield
