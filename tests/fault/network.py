"""What lies between a node and Redis, and can be cut: a proxy that stops, or a pulled cable."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import trio

from tests.fault.test_half_open import ip
from tests.redis import RedisServer


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
    """A network namespace with two cables to ours, for a Redis to live in."""

    def __init__(self) -> None:
        self._name = f"tr{os.getpid()}"
        # Others may run these tests at the same time on this machine.
        self._net = f"10.214.{os.getpid() % 256}"
        self.hosts = (f"{self._net}.2", f"{self._net}.6")

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command that is to run there begins with."""
        return ("ip", "netns", "exec", self._name)

    def make(self) -> None:
        ip(f"netns add {self._name}")
        for n, ours in enumerate((f"{self._net}.1", f"{self._net}.5")):
            here, there = f"{self._name}h{n}", f"{self._name}t{n}"
            ip(f"link add {here} type veth peer name {there} netns {self._name}")
            ip(f"addr add {ours}/30 dev {here}")
            ip(f"-n {self._name} addr add {self.hosts[n]}/30 dev {there}")
            ip(f"link set {here} up")
            ip(f"-n {self._name} link set {there} up")

    def remove(self) -> None:
        with suppress(OSError, subprocess.CalledProcessError):
            ip(f"netns del {self._name}")

    def cut(self) -> None:
        """The second cable is pulled: no end is told, what is sent is gone."""
        ip(f"-n {self._name} link set {self._name}t1 down")

    def mend(self) -> None:
        ip(f"-n {self._name} link set {self._name}t1 up")


@contextmanager
def island() -> Iterator[Island | None]:
    """None: this machine does not let us make one."""
    made = Island()
    try:
        try:
            made.make()
        except (OSError, subprocess.CalledProcessError):
            yield None
        else:
            yield made
    finally:
        made.remove()
