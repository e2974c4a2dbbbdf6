"""fanout: one event to all connected devices, again and again."""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import Final

import trio

from loadtest.bench import Plan, Subject, interleaved
from loadtest.crowd import connected
from loadtest.measure import usage
from loadtest.peers.all import DEVICE_PLANE
from loadtest.peers.bare import BARE_SSE
from loadtest.peers.ours import OURS
from loadtest.peers.peer import Peer
from loadtest.report import Bound, Column, Report, Sample

_TEXT: Final = "x" * 100
_SETTLE_S: Final = 1

#: what a delivery may cost, by transport
_MOST_RATIO: Final = {"sse": 1.5, "ws": 1.6}

_COLUMNS = (
    Column("devices", "devices"),
    Column("bytes", "B/event"),
    Column("delivery_us", "server CPU, µs each", 2),
    Column("wall_ms", "to all, ms"),
    Column("ratio", "CPU × bare", 2),
)


async def run(devices: int, broadcasts: int, transport: str, plan: Plan) -> Report:
    """Send `broadcasts` events to `devices`, each when all have the one before."""
    subjects = [
        Subject(peer.name, partial(_sample, peer, devices, broadcasts), peer.missing())
        for peer in DEVICE_PLANE[transport]
    ]
    measured = await interleaved(subjects, plan)
    measured.set_ratios(measured.samples, BARE_SSE.name, "delivery_us")
    cpu = Bound(
        "CPU per delivery, × bare send loop",
        measured.figure(OURS.name, "ratio"),
        "at most",
        _MOST_RATIO[transport],
        aim=1.25,
    )
    parameters = {"devices": devices, "broadcasts": broadcasts, "transport": transport}
    return Report("fanout", parameters, _COLUMNS, measured, [cpu])


async def _sample(peer: Peer, devices: int, broadcasts: int) -> Sample:
    count = peer.crowd(devices)
    walls_s = []
    async with (
        peer.serve() as server,
        connected(server.wire, peer.broadcast_path, count, peer.transport) as crowd,
    ):
        await trio.sleep(_SETTLE_S)
        await crowd.expect(0)
        greeted = await crowd.received()
        before = usage(server.child.pid)
        for number in range(1, broadcasts + 1):
            await crowd.expect(number * count)
            started_s = time.monotonic()
            await server.broadcast(_TEXT)
            received = await crowd.received()
            walls_s.append(received.at_s - started_s)
        cost = usage(server.child.pid) - before
    deliveries = count * broadcasts
    return {
        "devices": count,
        "bytes": (received.bytes - greeted.bytes) / deliveries,
        "delivery_us": cost.cpu_s / deliveries * 1e6,
        "wall_ms": median(walls_s) * 1e3,
    }
