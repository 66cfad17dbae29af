"""A Dask cluster on this machine: a process with the scheduler, which starts the workers and ends with its parent.

`convcost sweep --workers` starts it as `python -m convcost.workflows.local_cluster 2`. It writes the address of the
scheduler to stdout and serves until its stdin is closed, which it is however the parent ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import threading
from typing import Final

DEVICE: Final = "device"
"""The resource of the one worker that times layers, so that one layer at a time runs on the device."""
_HERE: Final = "127.0.0.1"


async def serve(workers: int, scratch: str) -> None:
    """Run a scheduler and workers of one thread each; a worker that dies is started again.

    Args:
        workers: Number of worker processes.
        scratch: Folder for their temporary files.
    """
    import dask.config
    from distributed import Nanny, Scheduler

    dask.config.set(
        {
            "temporary-directory": scratch,
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            # What Dask watches many times a second is time that the workers do not have.
            "distributed.worker.profile.enabled": False,
            "distributed.admin.tick.interval": "1s",
            "distributed.admin.system-monitor.interval": "10s",
            "distributed.scheduler.active-memory-manager.start": False,
            "distributed.nanny.pre-spawn-environ": {},  # one thread for torch, and freed memory returned at once
        }
    )
    address = f"{_HERE}:0"
    async with Scheduler(host=_HERE, port=0, dashboard=False, dashboard_address=address) as scheduler:
        sys.stdout.write(f"{scheduler.address}\n")
        sys.stdout.flush()
        os.dup2(2, 1)  # what a worker prints must not fill the pipe that nobody reads any more
        resources = [{DEVICE: 1}, *[{}] * (workers - 1)]
        await asyncio.gather(
            *(Nanny(scheduler.address, nthreads=1, memory_limit=0, host=_HERE, resources=one) for one in resources)
        )
        await scheduler.finished()


def end_with_stdin(scratch: str) -> None:
    """End this process when stdin is closed; its workers end with it, in the middle of a part if they are in one."""
    sys.stdin.read()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    folder = tempfile.mkdtemp(prefix="convcost-")
    threading.Thread(target=end_with_stdin, args=(folder,), daemon=True).start()
    asyncio.run(serve(int(sys.argv[1]), folder))
