"""Starts the workers of a swarm. It is a program: `python -m trio_push.swarm.fork_server …`

    FD…            one worker for each of these sockets, by `forked`
    --listen FD    one worker for each connection that is made, by `run_agent`; the secret that
                   has to be known for it comes on standard input

One process imports all that a worker needs and then forks the workers, so that they share the
memory of what is imported: some 50 MB that each of 50 workers would have to itself.

For each worker on a socket that ends it prints a line: which, and how (negative: the signal).
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import NoReturn

import trio

from trio_push.forking import fork, freeze
from trio_push.swarm.agent_handshake import admit
from trio_push.swarm.limits import MAX_WORKERS
from trio_push.swarm.worker import work
from trio_push.watch import logs


def main() -> None:
    logs.configure("warning", "auto", sys.stderr)
    freeze()
    if sys.argv[1] == "--listen":
        be_agent(socket.socket(fileno=int(sys.argv[2])), sys.stdin.read())
    start_workers([int(argument) for argument in sys.argv[1:]])


def start_workers(files: list[int]) -> None:
    """Returns when all have ended."""
    workers = {fork(partial(_be_one_of, files, file)): n for n, file in enumerate(files)}
    for file in files:
        os.close(file)
    while workers:
        pid, status = os.wait()
        with suppress(BrokenPipeError):  # the parent has heard enough
            os.write(1, b"%d %d\n" % (workers.pop(pid), os.waitstatus_to_exitcode(status)))


def _be_one_of(files: list[int], own: int) -> int:
    for other in files:
        if other != own:
            os.close(other)
    return be_worker(socket.socket(fileno=own))


def be_agent(listener: socket.socket, secret: str) -> NoReturn:
    """A worker for whoever connects and knows the secret, to be found out by the worker."""
    listener.setblocking(True)
    workers: set[int] = set()
    while True:
        connection, _ = listener.accept()
        workers = {pid for pid in workers if os.waitpid(pid, os.WNOHANG) == (0, 0)}
        if len(workers) < MAX_WORKERS:
            workers.add(fork(partial(_be_of_agent, listener, connection, secret)))
        connection.close()


def _be_of_agent(listener: socket.socket, connection: socket.socket, secret: str) -> int:
    listener.close()
    return be_worker(connection, secret)


def be_worker(connection: socket.socket, secret: str | None = None) -> int:
    """Work for whoever is at the other end and knows the `secret`, if any; the exit code."""
    trio.run(_work, connection, secret)
    return 0


async def _work(connection: socket.socket, secret: str | None) -> None:
    connection.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
    if secret is None or await admit(stream, secret):
        await work(stream)


if __name__ == "__main__":
    main()
