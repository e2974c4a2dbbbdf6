"""Starts the workers of a swarm: `python -m trio_push.swarm.fork_server FD…`, by `forked`.

One process imports all that a worker needs and then forks one worker for each of the sockets that
it was given, so that they share the memory of what is imported: some 50 MB that each of 50
workers would have to itself. It runs no loop and has no thread, which makes the fork harmless.

For each worker that ends it prints a line: which, and how (negative: the signal that ended it).
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from contextlib import suppress
from typing import NoReturn

import trio

from trio_push.swarm.worker import work
from trio_push.watch import logs


def main() -> None:
    files = [int(argument) for argument in sys.argv[1:]]
    logs.configure("warning", "auto", sys.stderr)
    # what there is now is never looked through, nor written to, by any worker
    gc.collect()
    gc.freeze()
    workers = {}
    for number, file in enumerate(files):
        pid = os.fork()
        if pid == 0:
            for other in files:
                if other != file:
                    os.close(other)
            be_worker(socket.socket(fileno=file))
        workers[pid] = number
    for file in files:
        os.close(file)
    while workers:
        pid, status = os.wait()
        with suppress(BrokenPipeError):  # the parent has heard enough
            os.write(1, b"%d %d\n" % (workers.pop(pid), os.waitstatus_to_exitcode(status)))


def be_worker(connection: socket.socket) -> NoReturn:
    """Work for whoever is at the other end of `connection`, and end the process."""
    code = 1
    try:
        trio.run(_work, connection)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        # neither the buffers nor the exit handlers of the process that was forked are ours
        os._exit(code)


async def _work(connection: socket.socket) -> None:
    connection.setblocking(False)
    await work(trio.SocketStream(trio.socket.from_stdlib_socket(connection)))


if __name__ == "__main__":
    main()
