"""Redirected descriptors in fresh processes: nothing of the user's is lost, whatever stdout is."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import ctypes, os, sys
from convcost.system.streams import STDOUT, taken_from
from convcost.timing.onednn import separate

libc = ctypes.CDLL(None)

def action():
    print("python")
    sys.stdout.flush()
    libc.puts(b"onednn_verbose,v1,info")
    libc.puts(b"caf\\xe9 from C")

if sys.stdout is not None:
    print("before", end=" ")
    libc.printf(b"and ")
seen = taken_from(STDOUT, action if sys.stdout else lambda: libc.puts(b"onednn_verbose,v1,info"), separate)
if sys.stdout is not None:
    print("after")
print(repr(seen), file=sys.stderr)
print(len(os.listdir("/proc/self/fd")), file=sys.stderr)
"""


def run(**streams: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run([sys.executable, "-c", SCRIPT], check=True, **options)


def test_in_a_pipe_the_users_lines_come_through_in_order_and_onednns_are_taken() -> None:
    done = run()
    assert done.stdout == b"before and python\ncaf\xe9 from C\nafter\n"
    assert done.stderr.splitlines()[0] == b"'onednn_verbose,v1,info\\n'"


def test_a_file_is_written_on_where_it_was(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        run(stdout=file)
    assert (tmp_path / "out").read_bytes() == b"before and python\ncaf\xe9 from C\nafter\n"


def test_a_closed_stdout_stays_closed_and_the_lines_are_read_all_the_same() -> None:
    done = run(preexec_fn=lambda: os.close(1), stdout=None)
    lines = done.stderr.splitlines()
    assert lines[0] == b"'onednn_verbose,v1,info\\n'"
    assert int(lines[1]) == int(run().stderr.splitlines()[1]) - 1  # no descriptor is left open


def test_an_error_in_the_action_gives_stdout_back() -> None:
    code = (
        "from convcost.system.streams import STDOUT, taken_from\n"
        "def action():\n    print('within', flush=True)\n    raise ValueError('mine')\n"
        "try:\n    taken_from(STDOUT, action, lambda text: ('', text))\n"
        "except ValueError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "within\nmine\n"


def test_a_stream_of_the_users_own_need_not_be_a_file() -> None:
    code = (
        "import sys\nfrom convcost.system.streams import STDOUT, taken_from\n"
        "class Tee:\n    def write(self, text):\n        sys.__stdout__.write(text)\n"
        "sys.stdout = Tee()\nprint('before')\n"
        "taken_from(STDOUT, lambda: None, lambda text: ('', text))\nprint('after')\nsys.stdout = sys.__stdout__\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "before\nafter\n"
