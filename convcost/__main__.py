"""`python -m convcost`, and the entry point of the `convcost` command."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the public module takes milliseconds in which Ctrl-C has a traceback
import atexit
import gc
import os
import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in `convcost.cli.output`, which is not imported yet when it is needed."""
VERBOSE_VARIABLES = ("ONEDNN_VERBOSE", "DNNL_VERBOSE")
"""Environment variables with which oneDNN writes lines to C's stdout at every call."""


def run() -> None:
    """Run the command line and exit with its code."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # a process may be started to ignore Ctrl-C
        _signal.signal(_signal.SIGINT, _interrupted)
    if any(os.environ.get(name, "0") != "0" for name in VERBOSE_VARIABLES):
        _keep_stdout()
    codes: list[int] = []
    # Python would kill itself by SIGINT after a KeyboardInterrupt in code of exec(), although it was caught. The first
    # function that is registered runs last.
    atexit.register(_end, codes)
    from convcost.cli import main
    from convcost.system.streams import drop_output

    codes.append(main(sys.argv[1:]))
    drop_output()  # what a model prints at exit
    gc.freeze()  # or the interpreter would look through torch's objects for cycles, a fifth of the time to import it
    sys.exit(codes[0])


def _end(codes: list[int]) -> None:
    """End at once after Ctrl-C; otherwise all is written, and Ctrl-C no longer kills what is left of the end."""
    if INTERRUPTED in codes:
        _interrupted()
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)


def _interrupted(*_: object) -> None:
    """End at once: nothing is done before the command runs, and all is written when it has."""
    os._exit(INTERRUPTED)


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
