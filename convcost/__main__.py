"""`python -m convcost`, and the entry point of the `convcost` command."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and exit with its code."""
    from convcost.cli import main  # noqa: PLC0415 - `python -X importtime -m convcost` then shows the cost of each

    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
