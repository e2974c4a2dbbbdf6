"""What lies between two and can be cut: a proxy that stops, or a cable that is pulled."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio

from tests.redis import RedisServer

CLONE_NEWNET = 0x40000000  # <linux/sched.h>


class Proxy:
    """Forwards to a Redis, until it is cut: then it holds what comes, and its connections."""

    def __init__(self, redis: RedisServer) -> None:
        self._socket = str(redis.socket)
        self._passes = trio.Event()
        self._passes.set()
        #: by which everything is late, either way
        self.delay_s = 0.0
        self.url = ""

    def cut(self) -> None:
        self._passes = trio.Event()

    def mend(self) -> None:
        self._passes.set()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"redis://127.0.0.1:{listener.socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._forward, [listener])

    async def _forward(self, client: trio.SocketStream) -> None:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async with (
                client,
                await trio.open_unix_socket(self._socket) as redis,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._pump, client, redis)
                await self._pump(redis, client)
                nursery.cancel_scope.cancel()

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await trio.sleep(self.delay_s)
                await self._passes.wait()
                await sink.send_all(data)
            await sink.send_eof()


@asynccontextmanager
async def proxy(redis: RedisServer) -> AsyncIterator[Proxy]:
    async with trio.open_nursery() as nursery:
        between = Proxy(redis)
        await nursery.start(between.run)
        yield between
        nursery.cancel_scope.cancel()


class Island:
    """A network namespace, joined to ours by cables, for who is to be cut off to live in."""

    def __init__(self, cables: int) -> None:
        self._name = f"tp{os.getpid()}"
        # Others may run these tests at the same time on this machine.
        net = f"10.213.{os.getpid() % 256}"
        #: the addresses of each cable: that of our end, and that of the other
        self.ends = [(f"{net}.{4 * n + 1}", f"{net}.{4 * n + 2}") for n in range(cables)]

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command that is to run there begins with."""
        return ("ip", "netns", "exec", self._name)

    def socket(self) -> socket.socket:
        """A socket of that namespace: it gets the one that the making thread is in."""
        made = []

        def make() -> None:
            with Path(f"/run/netns/{self._name}").open() as namespace:
                assert ctypes.CDLL(None).setns(namespace.fileno(), CLONE_NEWNET) == 0
                made.append(socket.socket())

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def make(self) -> None:
        _ip(f"netns add {self._name}")
        for n, (ours, theirs) in enumerate(self.ends):
            here, there = f"{self._name}h{n}", f"{self._name}t{n}"
            _ip(f"link add {here} type veth peer name {there} netns {self._name}")
            _ip(f"addr add {ours}/30 dev {here}")
            _ip(f"-n {self._name} addr add {theirs}/30 dev {there}")
            _ip(f"link set {here} up")
            _ip(f"-n {self._name} link set {there} up")

    def remove(self) -> None:
        # the cables by themselves: the kernel takes its time to remove those of a namespace
        cables = [f"link del {self._name}h{n}" for n in range(len(self.ends))]
        for command in (*cables, f"netns del {self._name}"):
            with suppress(OSError, subprocess.CalledProcessError):
                _ip(command)

    def cut(self) -> None:
        """The last cable is pulled: no end is told, what is sent is gone."""
        self._set_last("down")

    def mend(self) -> None:
        self._set_last("up")

    def _set_last(self, state: str) -> None:
        _ip(f"-n {self._name} link set {self._name}t{len(self.ends) - 1} {state}")


@contextmanager
def island(cables: int) -> Iterator[Island]:
    """An island while the block runs. Skips the test on a machine that does not let us make one."""
    made = Island(cables)
    try:
        try:
            made.make()
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs iproute2, and the right to make network namespaces")
        yield made
    finally:
        made.remove()


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, capture_output=True)
