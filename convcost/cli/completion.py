"""Completion in a shell: the values of options, and the words as bash splits them."""

from __future__ import annotations

import inspect
import os
from contextlib import redirect_stdout
from copy import copy
from io import StringIO
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

import typer

from convcost.archive.filters import COMMANDS
from convcost.cli.output import WRONG, write_out
from convcost.convolution.cost import ITEMSIZE
from convcost.text.errors import ConvcostError
from convcost.timing.conditions import ALLOCATORS, MEMORY_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from convcost.grids.columns import GridColumn
    from convcost.text.columns import Column

F = TypeVar("F", bound="Callable[..., Any]")
Values: TypeAlias = "Callable[[str, str], Iterable[str]]"
NAME_THE_SHELL: Final = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"
"""Environment variable with which typer takes the shell from the command line, and does not look for it."""
BREAKS: Final = (":", "=")
"""Characters at which bash splits a word."""


def run_completion(app: typer.Typer, words: list[str]) -> int:
    """Complete the words that the shell gives in the environment, or show or install the shell's script.

    Args:
        app: The application with its commands.
        words: Words after `convcost`: the option and the name of a shell, if any; none where the shell completes.

    Raises:
        ConvcostError: typer does not know the shell.
    """
    kept = _rejoin() if os.environ.get("COMP_WORDS") and not words else ""
    if len(words) > 1:
        os.environ[NAME_THE_SHELL] = "1"
    text, code = StringIO(), 0
    try:
        with redirect_stdout(text):
            code = int(typer.main.get_command(app).main(words, prog_name="convcost", standalone_mode=False) or 0)
    except SystemExit as error:  # typer ends so, whether it succeeds or not
        code = int(error.code or 0)
    write_out("".join(f"{line.removeprefix(kept)}\n" for line in text.getvalue().splitlines()))
    if code and words:
        raise ConvcostError(f"{words[0]} must know the shell; name it: convcost {words[0]} bash, zsh, fish or pwsh.")
    return WRONG if code else 0


def _rejoin() -> str:
    """Join the words of `COMP_WORDS` that bash split; the start of the last one, which bash keeps as it is."""
    words, cursor = os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"])
    if len(words) <= cursor:
        return ""
    joined: list[str] = []
    for word in words[: cursor + 1]:
        if joined and (joined[-1].endswith(BREAKS) or word.startswith(BREAKS)):
            joined[-1] += word
        else:
            joined.append(word)
    os.environ.update(COMP_WORDS="\n".join(joined), COMP_CWORD=str(len(joined) - 1))
    value = joined[-1].rpartition("=")[2]
    return value[: value.rfind(":") + 1]


def with_values(command: F) -> F:
    """Let the shell complete the values of a command's options.

    Args:
        command: Function of a command.
    """
    signature = inspect.signature(command, eval_str=True)
    signature = signature.replace(parameters=[_with_values(one) for one in signature.parameters.values()])
    command.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    command.__dict__["__signature__"] = signature
    return command


def _with_values(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter with an option of its own: commands share the declarations of options, whose values may differ."""
    kind, infos = parameter.annotation, [copy(one) for one in getattr(parameter.annotation, "__metadata__", ())]
    if parameter.name not in VALUES or not infos:
        return parameter
    for info in infos:
        info.autocompletion = _completer(VALUES[parameter.name])
    return parameter.replace(annotation=Annotated[(kind.__origin__, *infos)])


def _completer(values: Values) -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return list(values(str(ctx.info_name), incomplete))

    return complete


def _blocks(command: str, _: str) -> Iterable[str]:
    from convcost.convolution.blocks import BLOCKS

    return [*BLOCKS, *(() if command in {"history", "replace"} else ("all",))]


def _networks(*_: str) -> Iterable[str]:
    from convcost.models.network import list_networks

    return (f"network:{name}" for name in list_networks())


def _kernels(*_: str) -> Iterable[str]:
    from convcost.kernels.named import KERNELS

    return KERNELS


def _columns(command: str, incomplete: str) -> Iterable[str]:
    """The fields of a row, each after the ones that are there already."""
    from convcost.archive.listing import HISTORY_COLUMNS
    from convcost.budgets.columns import CHECK_COLUMNS
    from convcost.changes.columns import DIFF_COLUMNS
    from convcost.changes.replace_columns import REPLACE_COLUMNS
    from convcost.comparison.columns import COMPARE_COLUMNS
    from convcost.grids.measured import EVERY
    from convcost.kernels.columns import KERNEL_COLUMNS
    from convcost.models.columns import MODEL_COLUMNS

    columns: Mapping[str, Iterable[Column[Any] | GridColumn]] = {
        "compare": COMPARE_COLUMNS, "model": MODEL_COLUMNS, "check": CHECK_COLUMNS, "history": HISTORY_COLUMNS,
        "kernel": KERNEL_COLUMNS, "diff": DIFF_COLUMNS, "replace": REPLACE_COLUMNS,
        "sweep": EVERY.values(),
    }  # fmt: skip
    before, comma, _ = incomplete.rpartition(",")
    return (f"{before}{comma}{column.name}" for column in columns[command])


def _sort(command: str, _: str) -> Iterable[str]:
    from convcost.changes import replace_report
    from convcost.models.report import ORDERS

    orders = {"model": ORDERS, "diff": ORDERS, "replace": replace_report.ORDERS}
    return orders.get(command) or _columns(command, "")


def _device(command: str, _: str) -> Iterable[str]:
    from convcost.models.report import COUNT_DEVICES

    return COUNT_DEVICES if command in {"model", "check", "diff", "replace"} else DEVICES


def _origins(*_: str) -> Iterable[str]:
    from convcost.changes.replacement import ORIGINS

    return ORIGINS


def _budgets(command: str, _: str) -> Iterable[str]:
    from convcost.budgets.config_files import load_configuration

    if command == "replace":  # where it is a regular expression
        return ()
    try:
        return [budget.name for budget in load_configuration(None).budgets]
    except ConvcostError:  # no configuration here, or one with mistakes
        return ()


DEVICES: Final = ("auto", "cpu", "cuda", "mps")
VALUES: Final[Mapping[str, Values]] = {
    "block": _blocks,
    "to": _blocks,
    "origin": _origins,
    "baseline": _blocks,
    "kernels": _kernels,
    "target": _networks,
    "targets": _networks,
    "model": _networks,
    "a": _networks,
    "b": _networks,
    "columns": _columns,
    "sort": _sort,
    "pareto": _columns,
    "group_by": _columns,
    "only": _budgets,
    "device": _device,
    "time_device": lambda *_: DEVICES,
    "dtype": lambda *_: ITEMSIZE,
    "memory_format": lambda *_: MEMORY_FORMATS,
    "allocator": lambda *_: ALLOCATORS,
    "padding": lambda *_: ("same", "valid"),
    "command": lambda *_: COMMANDS,
}
"""Functions of a command and of what is typed, by parameter: the values that the parameter may have."""
