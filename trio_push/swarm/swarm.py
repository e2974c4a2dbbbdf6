"""The swarm as a whole: `swarm` is the command, `open_run` the same without signals and output."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import trio
from rich.console import Console

from trio_push.errors import ConfigError
from trio_push.swarm.display import show_progress
from trio_push.swarm.lanes import MakeLanes
from trio_push.swarm.parts import make_parts
from trio_push.swarm.report import Report
from trio_push.swarm.report_text import print_report
from trio_push.swarm.run import Run
from trio_push.swarm.server_ledger import open_ledger
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.target import look_up, look_up_server
from trio_push.watch.garbage import keep_frozen


@asynccontextmanager
async def open_run(
    settings: SwarmSettings, make_lanes: MakeLanes | None = None
) -> AsyncIterator[Run]:
    """A run that is ready to begin; the server has answered.

    `make_lanes` takes the place of `--via`: the demo sends in more than one way. Raises
    ConfigError when a setting cannot be used here, Unreachable when the server does not answer.
    """
    target = await look_up_server(settings.url, "--url")
    async with open_ledger(target, settings.api_url, settings.api_key) as ledger:
        # nodes that are one server take a push at any of them
        api = await look_up(ledger.api_urls[0], "--api-url") if ledger.api_urls else None
        yield Run(settings, await make_parts(settings, target, api, make_lanes), ledger)


async def swarm(settings: SwarmSettings) -> int:
    """Run a swarm, show how it goes and print the report; returns the exit code.

    Ctrl-C and SIGTERM end the run early, with a report; a second one ends it at once.
    """
    console = Console()
    if settings.json is not None:
        check_writable(settings.json)
    async with open_run(settings) as run, trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, run)
        nursery.start_soon(keep_frozen, lambda: run.look().connections.now)
        nursery.start_soon(show_progress, console, run.look)
        report = await run.run()
        nursery.cancel_scope.cancel()
    print_report(report, console)
    if settings.json is not None:
        write_json(report, settings.json)
    return report.exit_code


def check_writable(path: str) -> None:
    """Raise ConfigError for a file that cannot be written: now, and not when the run is over."""
    target = Path(path)
    if target.is_dir() or not os.access(target if target.exists() else target.parent, os.W_OK):
        raise ConfigError(f"--json {path} cannot be written")


def write_json(report: Report, path: str) -> None:
    """Write the figures to a file."""
    text = orjson.dumps(report.figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    Path(path).write_bytes(text)


async def _stop_on_signal(run: Run) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            run.stop()
            break
    # outside of the receiver: the next signal does what signals do
    await trio.sleep_forever()
