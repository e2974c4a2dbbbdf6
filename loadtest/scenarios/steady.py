"""steady: a flow of pushes to a crowd of devices, sent and audited by the swarm.

The same swarm drives the bare loop and the peers that speak as we do; their side of the books
it cannot see.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import trio

from loadtest.bench import Plan, Subject, interleaved
from loadtest.measure import usage
from loadtest.peers.all import WHOLE_WAY
from loadtest.peers.bare import BARE_SSE
from loadtest.peers.ours import OURS
from loadtest.peers.peer import Peer, url
from loadtest.report import Bound, Column, Report, Sample
from loadtest.swarm import swarm_report

#: devices that connect in a second: well below what any of the servers can
_RAMP: Final = 1000
#: time for the swarm to connect, to take in what is under way at the end, and to reckon
_GRACE_S: Final = 120

_COLUMNS = (
    Column("accepted", "pushes accepted"),
    Column("lost", "lost"),
    Column("p50_ms", "latency: p50, ms", 1),
    Column("p99_ms", "latency: p99, ms", 1),
    Column("max_ms", "latency: longest, ms", 1),
    Column("cpu_percent", "server CPU, %"),
    Column("ratio", "CPU × bare", 2),
)


async def run(devices: int, rate: int, seconds: int, transport: str, plan: Plan) -> Report:
    """Push `rate` times a second to `devices` for `seconds`."""
    subjects = [
        Subject(peer.name, partial(_sample, peer, devices, rate, seconds), peer.missing())
        for peer in WHOLE_WAY[transport]
    ]
    measured = await interleaved(subjects, plan)
    measured.set_ratios(measured.samples, BARE_SSE.name, "cpu_percent")
    figure = partial(measured.figure, OURS.name)
    bounds = [
        Bound("devices connected", figure("connected"), "at least", devices),
        # the swarm's plan is random: a hundredth less than the rate says is no fault
        Bound("pushes accepted", figure("accepted"), "at least", 0.99 * rate * seconds),
        Bound("pushes refused", figure("refused"), "at most", 0),
        Bound("pushes lost", figure("lost"), "at most", 0),
        Bound("books balanced", figure("balanced"), "at least", 1),
    ]
    parameters = {"devices": devices, "pushes/s": rate, "seconds": seconds, "transport": transport}
    return Report("steady", parameters, _COLUMNS, measured, bounds)


async def _sample(peer: Peer, devices: int, rate: int, seconds: int) -> Sample:
    flags = {
        "devices": devices,
        "ramp": _RAMP,
        "duration": seconds,
        "push-rate": rate,
        "via": "apns",
        "path": peer.events_path,
        "transport": peer.transport,
    }
    async with peer.serve() as server:
        before = usage(server.child.pid)
        with trio.fail_after(devices / _RAMP + seconds + _GRACE_S):
            report = await swarm_report(flags | {"url": url(server.wire, "")})
        cost = usage(server.child.pid) - before
    figures = {
        "connected": report["devices"]["connected"],
        "accepted": report["pushes"]["accepted"],
        "refused": report["pushes"]["refused"],
        "lost": report["deliveries"]["lost"],
        "balanced": report["books"]["balanced"],
        "p50_ms": report["latency_ms"]["p50"],
        "p99_ms": report["latency_ms"]["p99"],
        "max_ms": report["latency_ms"]["max"],
        "cpu_percent": cost.cpu_s / cost.at_s * 100,
    }
    # what the swarm cannot know (the books of a foreign server) is null
    return {metric: float(value) for metric, value in figures.items() if value is not None}
