"""storm: devices drop all at once, while pushes go on, and all want to be back."""

from __future__ import annotations

from functools import partial
from typing import Final

import trio

from loadtest.bench import Plan, Subject, interleaved
from loadtest.measure import usage
from loadtest.peers.all import WHOLE_WAY
from loadtest.peers.ours import OURS
from loadtest.peers.peer import Peer, url
from loadtest.report import Bound, Column, Report, Sample
from loadtest.swarm import swarm_report

#: devices that connect in a second at first: well below what the server can
_RAMP: Final = 1000
#: the rest stays, and shows what the storm does to those who have nothing to do with it
_SHARE: Final = 0.9
#: quiet before the storm: each device has its first push by then, at the usual rate
_BEFORE_S: Final = 10
#: by then, 99 of 100 have to be back
_BACK_S: Final = 30
_GRACE_S: Final = 120

_COLUMNS = (
    Column("dropped", "dropped"),
    Column("back", "back"),
    Column("back_p99_s", "p99 back, s", 1),
    Column("lost", "lost"),
    Column("not_recovered", "not recovered"),
    Column("p99_ms", "p99 of pushes, ms", 1),
    Column("cpu_percent", "CPU, %"),
)


async def run(devices: int, rate: int, transport: str, plan: Plan) -> Report:
    """Drop most of `devices` in one moment while pushes go on, and count who is back."""
    subjects = [
        Subject(peer.name, partial(_sample, peer, devices, rate), peer.missing())
        for peer in WHOLE_WAY[transport]
        if peer.name == OURS.name  # the others neither store nor resume
    ]
    measured = await interleaved(subjects, plan)
    figure = partial(measured.figure, OURS.name)
    bounds = [
        Bound("devices back", figure("back"), "at least", 0.99 * round(_SHARE * devices)),
        Bound("back (p99), s", figure("back_p99_s"), "at most", _BACK_S),
        Bound("resumed without all that was missed", figure("not_recovered"), "at most", 0),
        Bound("pushes lost", figure("lost"), "at most", 0),
    ]
    parameters = {"devices": devices, "pushes/s": rate, "transport": transport}
    return Report("storm", parameters, _COLUMNS, measured, bounds)


async def _sample(peer: Peer, devices: int, rate: int) -> Sample:
    flags = {
        "devices": devices,
        "ramp": _RAMP,
        "duration": _BEFORE_S + _BACK_S,
        "storm": _BEFORE_S,
        "storm-share": _SHARE,
        "reconnect": "scale",
        "push-rate": rate,
        "via": "api",
        "transport": peer.transport,
    }
    if peer.transport == "ws":
        flags["ack"] = "yes"
    async with peer.serve() as server:
        before = usage(server.child.pid)
        with trio.fail_after(devices / _RAMP + _BEFORE_S + _BACK_S + _GRACE_S):
            report = await swarm_report(flags | {"url": url(server.wire, "")})
        cost = usage(server.child.pid) - before
    figures = {
        "dropped": report["devices"]["dropped"],
        "back": report["devices"]["back"],
        "back_p99_s": report["back_ms"]["p99"] / 1e3,
        "not_recovered": report["devices"]["not_recovered"],
        "lost": report["deliveries"]["lost"],
        "p99_ms": report["latency_ms"]["p99"],
        "cpu_percent": cost.cpu_s / cost.at_s * 100,
    }
    return {metric: float(value) for metric, value in figures.items()}
