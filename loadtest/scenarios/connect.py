"""connect: what it costs the server in CPU that a device connects."""

from __future__ import annotations

from loadtest.bench import Plan
from loadtest.peers.ours import OURS
from loadtest.report import Bound, Column, Report
from loadtest.scenarios.hold import hold

#: a handshake over WebSocket is checked in many ways, and the bare loop checks nothing
_MOST_RATIO = {"sse": 1.5, "ws": 2.0}
_COLUMNS = (
    Column("devices", "devices"),
    Column("connect_us", "server CPU, µs each", 1),
    Column("connects_per_s", "connects/s"),
    Column("ratio", "CPU × bare", 2),
)


async def run(devices: int, transport: str, plan: Plan) -> Report:
    """Connect `devices` to each server as fast as it takes them."""
    measured = await hold(devices, transport, plan, ratio="connect_us")
    cpu = Bound(
        "CPU per connect, × bare accept loop",
        measured.figure(OURS.name, "ratio"),
        "at most",
        _MOST_RATIO[transport],
    )
    return Report(
        "connect", {"devices": devices, "transport": transport}, _COLUMNS, measured, [cpu]
    )
