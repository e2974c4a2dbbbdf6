"""What a running swarm shows: a live table on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import trio
from rich.console import Console
from rich.live import Live
from rich.table import Table

from trio_push.swarm.audit import Audit
from trio_push.swarm.connections import Connections
from trio_push.swarm.report_text import durations

#: as often as an eye can follow; each time costs 2 ms
LIVE_INTERVAL_S = 0.25
LINE_INTERVAL_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """A look at a run while it goes on."""

    phase: str
    elapsed_s: float
    devices: int
    connections: Connections
    audit: Audit


async def show_progress(console: Console, look: Callable[[], Progress]) -> NoReturn:
    """Show it until cancelled."""
    if not console.is_terminal:
        while True:
            await trio.sleep(LINE_INTERVAL_S)
            console.print(_line(look()), soft_wrap=True, highlight=False)
    # without auto_refresh there is no thread; transient: the report takes its place
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_table(look()), refresh=True)
            await trio.sleep(LIVE_INTERVAL_S)


def _rows(progress: Progress) -> dict[str, str]:
    connections, audit = progress.connections, progress.audit
    pushes, deliveries = audit.pushes, audit.deliveries
    devices = f"{connections.now:,} of {progress.devices:,} connected"
    if connections.asleep:
        devices += f", {connections.asleep:,} asleep"
    if connections.reconnects:
        devices += f", {connections.reconnects:,} reconnects"
    if failures := connections.failures.total():
        devices += f", {failures:,} attempts failed"
    rows = {"devices": devices, "received": f"{deliveries.received:,}"}
    if pushes.planned:
        rows["pushes"] = f"{pushes.accepted:,} accepted, {pushes.on_the_way:,} on the way"
        if pushes.refused:
            rows["pushes"] += f", {pushes.refused:,} refused"
        rows["latency"] = durations(audit.latency.summary_ms())
    return rows


def _line(progress: Progress) -> str:
    rows = "; ".join(f"{label} {text}" for label, text in _rows(progress).items())
    return f"{progress.elapsed_s:6.1f} s  {progress.phase}: {rows}"


def _table(progress: Progress) -> Table:
    title = f"{progress.phase}, {progress.elapsed_s:.0f} s"
    table = Table(title=title, show_header=False, title_style="bold")
    for label, text in _rows(progress).items():
        table.add_row(label, text)
    return table
