"""Write the generated pages of the documentation, or check with `--check` that they are up to date."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from typer.testing import CliRunner

from convcost import BLOCKS, explain
from convcost.archive.listing import HISTORY_COLUMNS
from convcost.budgets.columns import CHECK_COLUMNS
from convcost.changes.columns import DIFF_COLUMNS
from convcost.changes.replace_columns import REPLACE_COLUMNS
from convcost.cli import COMMANDS, full_app
from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.comparison.explanation import EXPLAIN_COLUMNS
from convcost.convolution.blocks import PARAMETERS
from convcost.grids.measured import MEASURED_COLUMNS
from convcost.grids.plan import PLAN_COLUMNS
from convcost.kernels.columns import KERNEL_COLUMNS, LAYER_COLUMNS
from convcost.kernels.named import KERNELS
from convcost.models.columns import MODEL_COLUMNS
from convcost.models.model_table import MODELS_COLUMNS
from convcost.text.table import markdown_table

HERE = Path(__file__).parent
NOTICE = "<!-- Written by docs/generate.py; do not edit. -->\n\n"


def commands() -> str:
    """The help of every command."""
    os.environ["COLUMNS"] = "100"
    app = full_app()
    app.rich_markup_mode = None  # the plain help, whatever version of rich is installed
    runner = CliRunner()
    pages = []
    for name in COMMANDS:
        text = runner.invoke(app, [name, "--help"], prog_name="convcost").output
        pages.append(f"## `convcost {name}`\n\n```text\n{text.strip()}\n```\n")
    return f"# Commands\n\n{NOTICE}" + "\n".join(pages)


def blocks() -> str:
    """The catalogue, with each block's ratio to a standard convolution."""
    heads = ("block", "description", "MACs / standard", "own parameters", "paper")
    rows = []
    for block in BLOCKS.values():
        ratio = str(explain(block.name, 64, 64, 3).ratio_symbols)
        own = ", ".join(block.defaults) or "–"
        rows.append((f"`{block.name}`", block.summary, ratio, own, block.paper))
    symbols = (
        "N: batch size; H, W: input size, and output size if it is the same; OH, OW: output size; "
        "C, O: input and output channels; K: kernel size"
    )
    tables = f"{markdown_table(heads, rows)}\n{_parameters()}"
    return f"# Blocks\n\n{NOTICE}{symbols}.\n\n{tables}"


def _parameters() -> str:
    """The parameters that only some blocks have."""
    rows = []
    for one in PARAMETERS.values():
        names = ", ".join(f"`{name}`" for name in (one.name, one.short) if name)
        rows.append((names, one.symbol, one.help, one.defaults))
    return markdown_table(("parameter", "symbol", "meaning", "default"), rows)


def columns() -> str:
    """The fields of the rows of each command."""
    pages = []
    described = {
        "compare": COMPARE_COLUMNS,
        "explain": EXPLAIN_COLUMNS,
        "kernel": KERNEL_COLUMNS,
        "kernel --model": LAYER_COLUMNS,
        "model": MODEL_COLUMNS,
        "model TARGET TARGET ...": MODELS_COLUMNS,
        "diff": DIFF_COLUMNS,
        "replace": REPLACE_COLUMNS,
        "sweep --dry-run": PLAN_COLUMNS,
        "sweep --time": tuple(MEASURED_COLUMNS.values()),
        "check": CHECK_COLUMNS,
        "history": HISTORY_COLUMNS,
    }
    for command, fields in described.items():
        rows = [(f"`{column.name}`", column.meaning) for column in fields]
        pages.append(f"## `convcost {command}`\n\n{markdown_table(('field', 'meaning'), rows)}")
    return f"# Fields of a row\n\n{NOTICE}" + "\n".join(pages)


def kernels() -> str:
    """The named kernels with their sources."""
    heads = ("kernel", "description", "own parameters", "source")
    rows = [
        (f"`{kernel.name}`", kernel.summary, kernel.parameters or "–", kernel.source) for kernel in KERNELS.values()
    ]
    units = "size, sigma and wavelength in pixels, theta in degrees"
    return f"# Kernels\n\n{NOTICE}Named kernels of `convcost kernel`: {units}.\n\n" + markdown_table(heads, rows)


PAGES = {"commands.md": commands, "blocks.md": blocks, "columns.md": columns, "kernels.md": kernels}


def main() -> int:
    """Write or check every page."""
    stale = []
    for name, make in PAGES.items():
        path, text = HERE / name, make()
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(
            f"docs/{', docs/'.join(stale)} must equal the output of docs/generate.py; run make docs.", file=sys.stderr
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
