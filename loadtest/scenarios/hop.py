"""hop: what it costs that a device is connected to another node, and how much later it has a push.

Two nodes in this process, each with its own way to a redis-server that is started for it. The
same pushes are handed to the node of the devices, and then to the other one; what the second
costs more is the hop, in both nodes and Redis together. Devices are stubs that count: nothing
but the hop is to be measured.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from loadtest.bench import Plan, Subject, interleaved
from loadtest.child import Failed, running
from loadtest.measure import cpu_s, percentile
from loadtest.report import Bound, Column, Report, Sample
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.devices.connection import Connection
from trio_push.devices.sse import SseTransport
from trio_push.engine.client import open_link
from trio_push.engine.redis import RedisShared
from trio_push.engine.url import RedisUrl
from trio_push.node import Node
from trio_push.push import Push

_NAME: Final = "trio-push"
_INSTALL: Final = "apt install redis-server"
_DEVICES: Final = 2_000
#: senders at a time, each of which hands in so many pushes at once
_SENDERS: Final = 2
#: pushes by themselves, one after the other
_LONE: Final = 500
_START_S: Final = 10
_ARRIVE_S: Final = 60
#: until when a push may wait for its device: it may be stored
_TTL_S: Final = 3600

_COLUMNS = (
    Column("local_us", "push here: CPU, µs", 1),
    Column("hop_us", "hop: CPU, µs", 1),
    Column("redis_us", "of it Redis, µs", 1),
    Column("per_s", "pushes over it, 1/s"),
    Column("lone_p50_ms", "lone push: p50, ms", 2),
    Column("lone_p99_ms", "lone push: p99, ms", 2),
)


async def run(pushes: int, batch: int, plan: Plan) -> Report:
    """Hand in `pushes`, `batch` at a time, at the node of the devices and at another."""
    missing = None if shutil.which("redis-server") else _INSTALL
    measured = await interleaved([Subject(_NAME, partial(_sample, pushes, batch), missing)], plan)
    figure = partial(measured.figure, _NAME)
    bounds = [
        Bound("CPU of a hop, µs", figure("hop_us"), "at most", 15, aim=5),
        Bound("added to a lone push, p50, ms", figure("lone_p50_ms"), "at most", 2, aim=1),
        Bound("pushes lost", figure("lost"), "at most", 0),
    ]
    return Report("hop", {"pushes": pushes, "batch": batch}, _COLUMNS, measured, bounds)


class _Stub(Connection):
    """A device that takes everything and counts the events."""

    events = 0

    def send(self, data: bytes) -> int:
        self.events += 1
        return len(data)

    def close(self) -> None:
        pass


async def _sample(pushes: int, batch: int) -> Sample:
    with structlog.testing.capture_logs(), tempfile.TemporaryDirectory(prefix="hop-") as folder:
        path = Path(folder) / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(path)]
        command += ["--save", "", "--appendonly", "yes", "--dir", folder]
        async with running(command) as redis:
            await _answering(path)
            url = RedisUrl(path=str(path))
            async with _node(url) as sender, _node(url) as owner:
                return await _measure(sender, owner, redis.pid, pushes, batch)


async def _answering(path: Path) -> None:
    with trio.move_on_after(_START_S):
        while True:
            with socket.socket(socket.AF_UNIX) as sock:
                if sock.connect_ex(str(path)) == 0:
                    return
            await trio.sleep(0.01)
    raise Failed(f"redis-server does not answer within {_START_S} s")


@asynccontextmanager
async def _node(url: RedisUrl) -> AsyncIterator[Node]:
    """A running node without listeners."""
    async with open_link(url) as link, trio.open_nursery() as nursery:
        node = Node.make(ServeSettings(), Clock(), shared=RedisShared(link, "hop"))
        assert node.engine is not None
        await nursery.start(node.router.run, node.push_channel)
        await nursery.start(node.engine.run)
        yield node
        nursery.cancel_scope.cancel()


async def _measure(sender: Node, owner: Node, redis: int, pushes: int, batch: int) -> Sample:
    devices = [await _attached(owner, f"{number:064x}") for number in range(_DEVICES)]
    local, local_redis, _ = await _load(owner, devices, redis, pushes, batch)
    remote, remote_redis, per_s = await _load(sender, devices, redis, pushes, batch)
    lone = await _lone(sender, devices)
    sent = 2 * pushes // batch * batch + _LONE
    return {
        "local_us": 1e6 * local,
        "hop_us": 1e6 * (remote - local),
        "redis_us": 1e6 * (remote_redis - local_redis),
        "per_s": per_s,
        "lone_p50_ms": 1e3 * percentile(lone, 0.5),
        "lone_p99_ms": 1e3 * percentile(lone, 0.99),
        "lost": sent - sum(device.events for device in devices),
    }


async def _attached(node: Node, token: str) -> _Stub:
    with socket.socket() as sock:
        device = _Stub(token, sock, SseTransport(node.id), node.clock.wall())
    assert node.engine is not None
    async with node.engine.admitting(token, None):
        node.router.attach(device)
    return device


async def _load(
    node: Node, devices: Sequence[_Stub], redis: int, pushes: int, batch: int
) -> tuple[float, float, float]:
    """CPU seconds a push in all, those of Redis, and pushes in a second."""
    rounds = pushes // batch
    had = sum(device.events for device in devices)
    began, began_redis, began_s = time.process_time(), cpu_s(redis), time.monotonic()
    async with trio.open_nursery() as nursery:
        for number in range(_SENDERS):
            mine = range(number, rounds, _SENDERS)
            nursery.start_soon(_send, node, devices, mine, batch)
    with trio.move_on_after(_ARRIVE_S):
        while sum(device.events for device in devices) < had + rounds * batch:
            await trio.sleep(0.005)
    of_redis = cpu_s(redis) - began_redis
    spent = time.process_time() - began + of_redis
    sent = rounds * batch
    return spent / sent, of_redis / sent, sent / (time.monotonic() - began_s)


async def _send(node: Node, devices: Sequence[_Stub], rounds: range, batch: int) -> None:
    for number in rounds:
        some = [devices[(number * batch + i) % len(devices)] for i in range(batch)]
        await node.push_channel.submit([_push(node, device) for device in some])


async def _lone(node: Node, devices: Sequence[_Stub]) -> list[float]:
    """Seconds from handing a push in to its device having it, one by one."""
    took = []
    for device in devices[:_LONE]:
        had, began = device.events, time.perf_counter()
        await node.push_channel.submit([_push(node, device)])
        while device.events == had:
            await trio.lowlevel.checkpoint()
        took.append(time.perf_counter() - began)
    return took


def _push(node: Node, device: _Stub) -> Push:
    return Push("hop", device.token, b"x" * 100, "t", expires_at=node.clock.wall() + _TTL_S)
