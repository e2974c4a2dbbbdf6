"""idle: what a connected device to which nothing happens costs in memory."""

from __future__ import annotations

from loadtest.bench import Plan
from loadtest.peers.ours import OURS
from loadtest.report import Bound, Column, Report
from loadtest.scenarios.hold import hold

_COLUMNS = (
    Column("devices", "devices"),
    Column("pss_kib", "server, KiB each", 2),
    Column("kernel_kib", "kernel, KiB each", 1),
    Column("ratio", "× bare", 2),
)


async def run(devices: int, plan: Plan) -> Report:
    """Connect `devices` to each server and leave them in peace."""
    measured = await hold(devices, plan, ratio="pss_kib")
    memory = Bound(
        "server memory (PSS) per idle device, KiB",
        measured.figure(OURS.name, "pss_kib"),
        "at most",
        4.5,
        aim=4.0,
    )
    return Report("idle", {"devices": devices}, _COLUMNS, measured, [memory])
