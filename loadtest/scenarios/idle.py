"""idle: what a connected device to which nothing happens costs in memory."""

from __future__ import annotations

from loadtest.bench import Plan
from loadtest.peers.ours import OURS
from loadtest.report import Bound, Column, Report
from loadtest.scenarios.hold import hold

#: what a connection may cost, by transport
_MOST_KIB = {"sse": 4.5, "ws": 6.0}

_COLUMNS = (
    Column("devices", "devices"),
    Column("pss_kib", "server, KiB each", 2),
    Column("kernel_kib", "kernel, KiB each", 1),
    Column("ratio", "× bare", 2),
)


async def run(devices: int, transport: str, plan: Plan) -> Report:
    """Connect `devices` to each server and leave them in peace."""
    measured = await hold(devices, transport, plan, ratio="pss_kib")
    memory = Bound(
        "server memory (PSS) per idle device, KiB",
        measured.figure(OURS.name, "pss_kib"),
        "at most",
        _MOST_KIB[transport],
        aim=4.0,
    )
    parameters = {"devices": devices, "transport": transport}
    return Report("idle", parameters, _COLUMNS, measured, [memory])
