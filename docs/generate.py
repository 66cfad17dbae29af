"""Write the generated pages of the documentation, or check with `--check` that they are up to date."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from typer.testing import CliRunner

from convcost import BLOCKS, explain
from convcost.archive.listing import HISTORY_COLUMNS
from convcost.budgets.columns import CHECK_COLUMNS
from convcost.cli import COMMANDS, full_app
from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.convolution.blocks import PARAMETERS
from convcost.kernels.columns import KERNEL_COLUMNS, LAYER_COLUMNS
from convcost.kernels.named import KERNELS
from convcost.models.columns import MODEL_COLUMNS

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
    lines = ["| block | what it is | MACs / standard | own parameters | paper |", "|---|---|---|---|---|"]
    for block in BLOCKS.values():
        ratio = explain(block.name, 64, 64, 3).ratio_symbols
        own = ", ".join(block.defaults) or "–"
        lines.append(f"| `{block.name}` | {block.summary} | {ratio} | {own} | {block.paper} |")
    symbols = "N samples, H, W output size, C input and O output channels, K kernel size"
    table = "\n".join(("\n".join(lines), "", *_parameters()))
    return f"# Blocks\n\n{NOTICE}{symbols}.\n\n{table}\n"


def _parameters() -> list[str]:
    """The parameters that only some blocks have."""
    lines = ["| parameter | symbol | what it is | default |", "|---|---|---|---|"]
    for one in PARAMETERS.values():
        names = ", ".join(f"`{name}`" for name in (one.name, one.short) if name)
        lines.append(f"| {names} | {one.symbol} | {one.help} | {one.defaults} |")
    return lines


def columns() -> str:
    """Every field of a row."""
    pages = []
    described = {
        "compare": COMPARE_COLUMNS,
        "kernel": KERNEL_COLUMNS,
        "kernel --model": LAYER_COLUMNS,
        "model": MODEL_COLUMNS,
        "check": CHECK_COLUMNS,
        "history": HISTORY_COLUMNS,
    }
    for command, fields in described.items():
        lines = [f"## `convcost {command}`", "", "| field | meaning |", "|---|---|"]
        lines += [f"| `{column.name}` | {column.meaning} |" for column in fields]
        pages.append("\n".join(lines) + "\n")
    return f"# Fields of a row\n\n{NOTICE}" + "\n".join(pages)


def kernels() -> str:
    """The named kernels, with their numbers' source."""
    lines = ["| kernel | what it is | own parameters | source |", "|---|---|---|---|"]
    lines += [
        f"| `{kernel.name}` | {kernel.summary} | {kernel.parameters or '–'} | {kernel.source} |"
        for kernel in KERNELS.values()
    ]
    units = "size, sigma and wavelength in pixels, theta in degrees"
    return f"# Kernels\n\n{NOTICE}Of `convcost kernel`; {units}.\n\n" + "\n".join(lines) + "\n"


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
        print(f"docs/{', docs/'.join(stale)} must be what docs/generate.py writes; run make docs.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
