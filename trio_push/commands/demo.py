"""`trio-push demo`: a server and a thousand devices in this process, for twenty seconds.

The same parts as `serve` and `swarm`, on ports that are free; a third of the devices get their
pushes by APNs over HTTP/2, a third by the API, a third by the API with a delay.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio
from rich.console import Console

from trio_push.config import SECONDS, ServeSettings
from trio_push.watch import logs

if TYPE_CHECKING:
    from trio_push.swarm.audit import Audit
    from trio_push.swarm.lane import Lane
    from trio_push.swarm.report import Report
    from trio_push.swarm.target import Target

DEVICES = 1_000
RAMP = 500
PUSH_RATE = 400
DURATION_S = 12 * SECONDS
DELAY_S = 3 * SECONDS
#: a connection that takes many pushes at a time, as the API's lanes are
APNS_LANES = 4


async def run() -> int:
    """Run the demonstration; exit code 99 when the books do not balance."""
    from trio_push.server import open_server

    logs.configure("warning", "auto", sys.stderr)
    console = Console(highlight=False, soft_wrap=True)
    loopback = ServeSettings(listen=("127.0.0.1:0",), api="127.0.0.1:0", drain_s=2 * SECONDS)
    async with open_server(loopback) as server:
        node, addresses = server.node, server.addresses
        console.print(f"server   {addresses.wire[0]} (devices, APNs), {addresses.api} (API)")
        console.print(f"devices  {DEVICES:,} connect to it, {RAMP} a second")
        console.print(
            f"pushes   {PUSH_RATE} a second for {DURATION_S} s: by APNs over HTTP/2, by the API, "
            f"by the API {DELAY_S} s ahead\n"
        )
        report = await _run_swarm(addresses.wire[0], console)
        _print_ledger(node.ledger.snapshot(node.router.held()), console)
        await server.drain()
    return report.exit_code


async def _run_swarm(url: str, console: Console) -> Report:
    from trio_push.swarm.display import show_progress
    from trio_push.swarm.report_text import print_report
    from trio_push.swarm.settings import SwarmSettings
    from trio_push.swarm.swarm import open_run

    settings = SwarmSettings(
        url=url, devices=DEVICES, ramp=RAMP, push_rate=PUSH_RATE, duration_s=DURATION_S
    )
    async with open_run(settings, _lanes) as run, trio.open_nursery() as nursery:
        nursery.start_soon(show_progress, console, run.look)
        report = await run.run()
        nursery.cancel_scope.cancel()
    print_report(report, console)
    return report


def _lanes(server: Target, api: Target | None, audit: Audit) -> Sequence[Lane]:
    """As many lanes for each of the three ways; every device keeps to one."""
    from trio_push.swarm.apns_h2_lane import ApnsHttp2Lane
    from trio_push.swarm.lanes import api_lanes
    from trio_push.swarm.provider import Provider

    provider = Provider(topic="com.apple.mgmt.External.demo")
    return [
        *(ApnsHttp2Lane(server, audit, provider) for _ in range(APNS_LANES)),
        *api_lanes(api, audit),
        *api_lanes(api, audit, delay_s=DELAY_S),
    ]


def _print_ledger(books: dict[str, Any], console: Console) -> None:
    """Where every accepted push is, in one line. The books are JSON: Any."""
    ended = {outcome: n for outcome, n in books["ended"].items() if "_" not in outcome}
    parts = [f"{n:,} {outcome}" for outcome, n in (ended | books["open"]).items() if n]
    verdict = "[green]balanced[/]" if books["balanced"] else "[bold red]NOT balanced[/]"
    console.print(f"\nledger   {books['accepted']:,} accepted = {' + '.join(parts)}: {verdict}")
