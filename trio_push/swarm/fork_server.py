"""Starts the workers of a swarm. It is a program: `python -m trio_push.swarm.fork_server …`

    FD…            one worker for each of these sockets, by `forked`
    --listen FD    one worker for each connection that is made, by `run_agent`; the secret that
                   has to be known for it comes on standard input

One process imports all that a worker needs and then forks the workers, so that they share the
memory of what is imported: some 50 MB that each of 50 workers would have to itself. It runs no
loop and has no thread, which makes the fork harmless.

For each worker on a socket that ends it prints a line: which, and how (negative: the signal).
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from contextlib import suppress
from typing import NoReturn

import trio

from trio_push.swarm.agent_handshake import admit
from trio_push.swarm.limits import MAX_WORKERS
from trio_push.swarm.worker import work
from trio_push.watch import logs


def main() -> None:
    logs.configure("warning", "auto", sys.stderr)
    # what there is now is never looked through, nor written to, by any worker
    gc.collect()
    gc.freeze()
    if sys.argv[1] == "--listen":
        be_agent(socket.socket(fileno=int(sys.argv[2])), sys.stdin.read())
    start_workers([int(argument) for argument in sys.argv[1:]])


def start_workers(files: list[int]) -> None:
    """Returns when all have ended."""
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


def be_agent(listener: socket.socket, secret: str) -> NoReturn:
    """A worker for whoever connects and knows the secret, to be found out by the worker."""
    listener.setblocking(True)
    workers: set[int] = set()
    while True:
        connection, _ = listener.accept()
        workers = {pid for pid in workers if os.waitpid(pid, os.WNOHANG) == (0, 0)}
        if len(workers) < MAX_WORKERS:
            pid = os.fork()
            if pid == 0:
                listener.close()
                be_worker(connection, secret)
            workers.add(pid)
        connection.close()


def be_worker(connection: socket.socket, secret: str | None = None) -> NoReturn:
    """Work for whoever is at the other end and knows the `secret`, if any; end the process."""
    code = 1
    try:
        trio.run(_work, connection, secret)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        # neither the buffers nor the exit handlers of the process that was forked are ours
        os._exit(code)


async def _work(connection: socket.socket, secret: str | None) -> None:
    connection.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
    if secret is None or await admit(stream, secret):
        await work(stream)


if __name__ == "__main__":
    main()
