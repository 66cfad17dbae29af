"""`python -m convcost`, and the entry point of the `convcost` command."""

from __future__ import annotations

import os
import sys

VERBOSE_VARIABLES = ("ONEDNN_VERBOSE", "DNNL_VERBOSE")
"""Environment variables with which oneDNN writes lines to C's stdout at every call."""


def run() -> None:
    """Run the command line and exit with its code."""
    if any(os.environ.get(name, "0") != "0" for name in VERBOSE_VARIABLES):
        _keep_stdout()
    from convcost.cli import main
    from convcost.system.streams import drop_output

    code = main(sys.argv[1:])
    drop_output()  # what a model prints at exit
    sys.exit(code)


def _keep_stdout() -> None:
    """Keep stdout for the output of Python; output of C libraries goes to stderr."""
    try:
        ours, encoding = os.dup(1), sys.stdout.encoding
        os.dup2(2, 1)
    except (AttributeError, OSError):  # one of the two is closed
        return
    sys.stdout = open(ours, "w", encoding=encoding)  # noqa: SIM115, PTH123 - a file descriptor that stays open until the process ends


if __name__ == "__main__":
    run()
