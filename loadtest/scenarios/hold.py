"""What `idle` and `connect` share: connect a crowd, leave it in peace, and look at the server."""

from __future__ import annotations

from functools import partial
from typing import Final

import trio

from loadtest.bench import Plan, Subject, interleaved
from loadtest.crowd import connected
from loadtest.measure import KIB, usage
from loadtest.peers.all import DEVICE_PLANE
from loadtest.peers.bare import BARE_SSE
from loadtest.peers.peer import Peer
from loadtest.report import Measured, Sample

#: what start-up or a burst of connects still has to do is done by then
_SETTLE_S: Final = 1


async def hold(devices: int, transport: str, plan: Plan, *, ratio: str) -> Measured:
    """Measure all device planes under a crowd of `devices`, with the ratio of one metric."""
    subjects = [
        Subject(peer.name, partial(_sample, peer, devices), peer.missing())
        for peer in DEVICE_PLANE[transport]
    ]
    measured = await interleaved(subjects, plan)
    measured.set_ratios(measured.samples, BARE_SSE.name, ratio)
    return measured


async def _sample(peer: Peer, devices: int) -> Sample:
    count = peer.crowd(devices)
    async with peer.serve() as server:
        await trio.sleep(_SETTLE_S)
        empty = usage(server.child.pid)
        async with connected(server.wire, peer.events_path, count, peer.transport) as crowd:
            full = usage(server.child.pid)
            await trio.sleep(_SETTLE_S)
            quiet = usage(server.child.pid)
    return {
        "devices": count,
        "pss_kib": (quiet - empty).pss_bytes / count / KIB,
        "kernel_kib": (quiet - empty).kernel_bytes / count / KIB,
        "connect_us": (full - empty).cpu_s / count * 1e6,
        "connects_per_s": count / crowd.connect_s,
    }
