"""`python -m convcost`, and the entry point of the `convcost` command."""

from __future__ import annotations

import os
import sys

TALKATIVE = ("ONEDNN_VERBOSE", "DNNL_VERBOSE")
"""With one of these the user has oneDNN write lines to C's stdout at every call."""


def run() -> None:
    """Run the command line and exit with its code."""
    if any(os.environ.get(name, "0") != "0" for name in TALKATIVE):
        _keep_stdout()
    from convcost.cli import main

    sys.exit(main(sys.argv[1:]))


def _keep_stdout() -> None:
    """Leave stdout to what Python prints: what C libraries write to its descriptor goes to stderr."""
    try:
        ours, encoding = os.dup(1), sys.stdout.encoding
        os.dup2(2, 1)
    except (AttributeError, OSError):  # one of the two is closed
        return
    sys.stdout = open(ours, "w", encoding=encoding)  # noqa: SIM115, PTH123 - a descriptor, open until the end


if __name__ == "__main__":
    run()
