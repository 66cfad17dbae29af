"""The stand-in for `python` that `fork_server` writes: hands its words and streams to the server, ends as the fork does.

Imports as little as it can: it starts in a hundredth of a second.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has the public module alone, which takes long to import
import _socket
import marshal
import os
import sys

FORWARDED = (_signal.SIGINT, _signal.SIGTERM)


def main(path: str, words: list[str]) -> int:
    """Have the server run `python WORDS...`; its exit status as `waitpid` gives it."""
    fork, early = 0, []

    def forward(number: int, _: object) -> None:
        if fork:
            os.kill(fork, number)
        else:
            early.append(number)

    for number in FORWARDED:
        _signal.signal(number, forward)
    streams = [number for number in range(3) if is_open(number)]
    while (spare := os.open(os.devnull, os.O_RDONLY)) < 3:  # a stream that is closed lends its number to nothing else
        pass
    os.close(spare)
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(path)
    request = marshal.dumps((words, os.getcwd(), dict(os.environ), streams))  # noqa: PTH109 - pathlib takes long to import
    rights = b"".join(number.to_bytes(4, sys.byteorder) for number in streams)
    ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if streams else []
    server.sendmsg([len(request).to_bytes(8, "little")], ancillary)
    server.sendall(request)
    fork = int.from_bytes(server.recv(8), "little")
    for number in early:
        os.kill(fork, number)
    return int.from_bytes(server.recv(8), "little")


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    status = main(sys.argv[1], sys.argv[2:])
    if os.WIFSIGNALED(status):
        _signal.signal(os.WTERMSIG(status), _signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))
