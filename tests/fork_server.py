"""Python processes that start in a twentieth of a second: forks of a server that has imported torch.

A fresh process that needs torch imports for 1.5 to 3 s, and the tests start a hundred of them. `fast_python()` is the
path of a program that is called as `python` is, with `-m`, `-c` or a script. It passes its words, folder, environment
and three streams to the server, which forks and runs them; signals and the exit status go the same way. What belongs to
one process alone (limits, the user, other descriptors) does not: such tests, and a few of each kind of command, call
`sys.executable` itself.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import marshal
import os
import pkgutil
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NoReturn

IMPORTED = ("fvcore.nn", "numpy", "pandas", "pydantic", "pytest", "rich.console", "rich.table", "sqlite3", "torch")
Request = tuple[list[str], str, dict[str, str], list[int]]
"""Words, folder, environment, and which of the three standard streams are open."""


@cache
def fast_python() -> str:
    """A program named `python` to call in place of `sys.executable`; that itself where processes do not fork well."""
    if sys.platform != "linux":
        return sys.executable
    folder = tempfile.TemporaryDirectory(prefix="convcost-forks-")
    path, program = Path(folder.name, "socket"), Path(folder.name, "python")
    words = [sys.executable, "-I", "-S", str(Path(__file__).with_name("fork_client.py")), str(path)]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        number = listener.fileno()
        command = [sys.executable, __file__, str(number)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[number], start_new_session=True)

    def end() -> None:
        server.communicate()  # closes its input: it ends
        folder.cleanup()

    atexit.register(end)
    return str(program)


def serve(listener: socket.socket) -> Request:
    """Fork at every connection until the input is closed. Returns in the forks only: what each is to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who report
    while True:
        ready, _, _ = select.select([sys.stdin, listener], [], [])
        if sys.stdin in ready:
            os._exit(0)
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return receive(client)
        client.close()


def receive(client: socket.socket) -> Request:
    """Fork once more, and report the fork's end to the client; one whose client is gone is killed."""
    size, streams, _, _ = socket.recv_fds(client, 8, 3)
    text = b""
    while len(text) < int.from_bytes(size, "little"):
        text += client.recv(1 << 16)
    fork = os.fork()
    if fork == 0:
        client.close()
        request: Request = marshal.loads(text)  # noqa: S302 - our own client's
        take(streams, request[3])
        return request
    for number in streams:
        os.close(number)
    client.sendall(fork.to_bytes(8, "little"))
    ended = os.pidfd_open(fork)
    ready, _, _ = select.select([ended, client.fileno()], [], [])
    if ended not in ready:
        os.kill(fork, signal.SIGKILL)
    _, status = os.waitpid(fork, 0)
    with suppress(OSError):  # the client is gone
        client.sendall(status.to_bytes(8, "little"))
    os._exit(0)


def take(received: list[int], streams: list[int]) -> None:
    """Make the received descriptors the standard streams, and close the others."""
    for number in range(3):
        os.close(number)
    for number, ours in zip(streams, received, strict=True):
        os.dup2(ours, number)
        os.close(ours)


def open_streams() -> None:
    """What a new interpreter makes of its descriptors."""
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = None
        if number_is_open(number):
            how = "backslashreplace" if name == "stderr" else errors or "strict"
            mode, lines = "w" if number else "r", 1 if name == "stderr" or os.isatty(number) else -1
            stream = open(number, mode, lines, encoding=encoding, errors=how, closefd=False)  # noqa: SIM115 - a descriptor
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def number_is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def run(words: list[str]) -> None:
    """What `python WORDS...` runs."""
    sys.modules["__main__"] = ModuleType("__main__")
    if words[0] == "-m":
        sys.argv[:] = words[1:]
        sys.path.insert(0, str(Path.cwd()))
        if words[1] == "pytest":  # it rewrites the assertions of the packages with plugins, and warns where it cannot
            for name in [name for name in sys.modules if name.partition(".")[0] == "convcost"]:
                del sys.modules[name]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv[:] = ["-c", *words[2:]]
        sys.path.insert(0, "")
        exec(compile(words[1], "<string>", "exec"), vars(sys.modules["__main__"]))  # noqa: S102 - our own tests' code
    else:
        sys.argv[:] = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")


def end(words: list[str]) -> NoReturn:
    """Run and end as an interpreter does, but leave the freeing of what torch holds to the system: it takes 0.6 s."""
    code = 0
    try:
        run(words)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
    except BaseException:  # noqa: BLE001 - the interpreter prints whatever is raised
        sys.excepthook(*sys.exc_info())
        code = 1
    vars(threading)["_shutdown"]()  # what an interpreter calls at its end
    atexit._run_exitfuncs()
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except OSError as error:
        code = 120
        sys.stderr.write(f"Exception ignored: {error!r}\n")
    ctypes.CDLL(None).fflush(None)
    os._exit(code)


def main(number: str) -> None:
    """Import what takes long, then serve."""
    ours = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    installed = [path for path in sys.path[1:] if path not in ours]
    import convcost

    for name in IMPORTED:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(convcost.__path__, "convcost."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # a fork's collections copy none of it
    words, folder, environment, _ = serve(socket.socket(fileno=int(number)))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    open_streams()
    sys.path[:] = [*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *installed]
    end(words)


if __name__ == "__main__":
    main(sys.argv[1])
