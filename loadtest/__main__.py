"""The command line: `python -m loadtest SCENARIO [--rounds N] [--only WORD] [--json FILE]`.

Each scenario measures our server beside its limit and its peers and prints one table.
Exit code 1 says that a bound was missed, 2 that something could not be measured, 130 that the
run was interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import httpx
import orjson
import trio
from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number
from rich.console import Console

from loadtest.bench import Plan, say
from loadtest.child import Failed
from loadtest.report import Report, as_json, print_report
from loadtest.scenarios import (
    acks,
    connect,
    delay,
    fanout,
    hop,
    idle,
    intake,
    provider,
    resume,
    scale,
    simulate,
    steady,
    storm,
)
from trio_push.errors import PushError, leaves
from trio_push.swarm.limits import devices_per_process

Scenario = Callable[[], Awaitable[Report]]


def _fit(_: type, devices: int) -> None:
    """Let the processes of this run open as many files as they may; ValueError: too few."""
    most = devices_per_process()
    if not 1 <= devices <= most:
        raise ValueError(f"1 to {most}, as each takes an open file (ulimit -Hn)")


def _some(help: str) -> Parameter:
    """A number of things of which there must be one."""
    return Parameter(validator=Number(gte=1), help=help)


Devices = Annotated[int, Parameter(validator=_fit, help="Devices that connect to each server.")]
Rounds = Annotated[
    int, _some("Rounds. In each, every server is measured once; figures are medians.")
]
Transport = Annotated[Literal["sse", "ws"], Parameter(help="How the devices connect.")]

app = App(
    name="python -m loadtest",
    help="""Measure trio-push beside a bare trio loop and beside its peers, in the same run.

    Peers that are not installed are left out, and how to install them is said. Exit code 0: every
    bound is kept; 1: one was missed; 2: something could not be measured; 130: interrupted.""",
    default_parameter=Parameter(negative=""),
    result_action="return_value",
    version_flags=(),
)


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What every scenario can be told.

    Parameters
    ----------
    only
        Measure only servers in whose names this word is found. Repeatable.
    json
        File to write all samples to.
    """

    only: Annotated[tuple[str, ...], Parameter(show_default=False)] = ()
    json: Path | None = None

    def plan(self, rounds: int) -> Plan:
        return Plan(rounds, self.only)


_COMMON = Common()


@app.command(name="idle")
def _idle(
    *,
    devices: Devices = 15_000,
    transport: Transport = "sse",
    rounds: Rounds = 3,
    common: Common = _COMMON,
) -> int:
    """What a connected device to which nothing happens costs the server in memory."""
    return _report(lambda: idle.run(devices, transport, common.plan(rounds)), common)


@app.command(name="connect")
def _connect(
    *,
    devices: Devices = 15_000,
    transport: Transport = "sse",
    rounds: Rounds = 3,
    common: Common = _COMMON,
) -> int:
    """What it costs the server in CPU that a device connects."""
    return _report(lambda: connect.run(devices, transport, common.plan(rounds)), common)


@app.command(name="fanout")
def _fanout(
    *,
    devices: Devices = 15_000,
    broadcasts: Annotated[int, _some("Events sent to all of them.")] = 10,
    transport: Transport = "sse",
    rounds: Rounds = 3,
    common: Common = _COMMON,
) -> int:
    """What one event to all devices costs per delivery, and when the last one has it."""
    return _report(lambda: fanout.run(devices, broadcasts, transport, common.plan(rounds)), common)


@app.command(name="acks")
def _acks(
    *,
    devices: Devices = 15_000,
    pushes: Annotated[int, _some("Pushes to each of them.")] = 10,
    rounds: Rounds = 3,
    common: Common = _COMMON,
) -> int:
    """How many pushes per second are delivered and acknowledged, over WebSocket."""
    return _report(lambda: acks.run(devices, pushes, common.plan(rounds)), common)


@app.command(name="intake")
def _intake(
    *,
    seconds: Annotated[int, _some("Time to push to each server for.")] = 5,
    profile: Annotated[
        Literal["mdm", "strict"], Parameter(help="By which rules the server judges pushes.")
    ] = "mdm",
    rounds: Rounds = 3,
    common: Common = _COMMON,
) -> int:
    """How many pushes per second are answered, over HTTP/2 and HTTP/1.1."""
    return _report(lambda: intake.run(seconds, profile, common.plan(rounds)), common)


@app.command(name="delay")
def _delay(
    *,
    pushes: Annotated[int, _some("Pushes to hold.")] = 1_000_000,
    rounds: Rounds = 1,
    common: Common = _COMMON,
) -> int:
    """What a held push costs in memory, and how late those fire that come due meanwhile."""
    return _report(lambda: delay.run(pushes, common.plan(rounds)), common)


@app.command(name="steady")
def _steady(
    *,
    devices: Devices = 15_000,
    rate: Annotated[int, _some("Pushes sent in a second.")] = 2_000,
    seconds: Annotated[int, _some("Time to go on for once all are connected.")] = 60,
    transport: Transport = "sse",
    rounds: Rounds = 1,
    common: Common = _COMMON,
) -> int:
    """A steady flow of pushes to a crowd of devices: none lost, books balanced."""
    return _report(
        lambda: steady.run(devices, rate, seconds, transport, common.plan(rounds)), common
    )


@app.command(name="storm")
def _storm(
    *,
    devices: Devices = 15_000,
    rate: Annotated[int, _some("Pushes sent in a second.")] = 2_000,
    transport: Transport = "sse",
    rounds: Rounds = 1,
    common: Common = _COMMON,
) -> int:
    """Most of the devices drop at once while pushes go on: when they are back, what is lost."""
    return _report(lambda: storm.run(devices, rate, transport, common.plan(rounds)), common)


@app.command(name="resume")
def _resume(
    *,
    devices: Devices = 15_000,
    missed: Annotated[int, _some("Pushes that each of them misses.")] = 10,
    rate: Annotated[int, _some("Pushes that go on in a second.")] = 2_000,
    transport: Transport = "sse",
    rounds: Rounds = 1,
    common: Common = _COMMON,
) -> int:
    """Devices are cut and come back: what it costs to give them what they missed, and only that."""
    return _report(
        lambda: resume.run(devices, missed, rate, transport, common.plan(rounds)), common
    )


@app.command(name="scale")
def _scale(
    *,
    devices: Annotated[int, _some("Devices that connect.")] = 15_000,
    transport: Annotated[
        Literal["sse", "ws", "mixed"], Parameter(help="How the devices connect.")
    ] = "sse",
    ramp: Annotated[float, _some("Devices that connect in a second.")] = 2_000,
    keepalive: Annotated[float, Parameter(help="Seconds between keep-alives.")] = 30,
    idle: Annotated[float, _some("Seconds in which nothing else happens.")] = 60,
    rate: Annotated[float, _some("Pushes sent in a second.")] = 2_500,
    seconds: Annotated[float, _some("Time to push for.")] = 20,
    server_workers: Annotated[
        int, Parameter(help="Processes of the server; 0: as many as the devices need.")
    ] = 0,
    workers: Annotated[
        int, Parameter(help="Processes of the swarm; 0: as many as the devices need.")
    ] = 0,
    resume: Annotated[
        Path | None, Parameter(help="File to note each stage in; those noted are not run again.")
    ] = None,
    json: Annotated[Path | None, Parameter(help="File to write all samples to.")] = None,
) -> int:
    """Many devices through ramp, idleness, pushes, a broadcast, a storm and a drain."""
    plan = scale.Scale(
        devices=devices,
        transport=transport,
        ramp=ramp,
        keepalive_s=keepalive,
        idle_s=idle,
        rate=rate,
        push_s=seconds,
        server_workers=server_workers,
        workers=workers,
    )
    return _report(lambda: scale.run(plan, resume), Common(json=json))


@app.command(name="hop")
def _hop(
    *,
    pushes: Annotated[int, _some("Pushes handed to each of the two nodes.")] = 100_000,
    batch: Annotated[int, _some("Pushes handed in at once.")] = 500,
    rounds: Rounds = 3,
    common: Common = _COMMON,
) -> int:
    """What it costs, and takes, that a device is connected to another node."""
    return _report(lambda: hop.run(pushes, batch, common.plan(rounds)), common)


@app.command(name="simulate")
def _simulate(
    *,
    devices: Annotated[
        tuple[int, ...], Parameter(help="Devices of the whole cluster. Repeatable.")
    ] = (1_000_000, 5_000_000, 100_000_000),
    devices_per_node: Annotated[int, _some("Devices of one process.")] = 50_000,
    entries: Annotated[int, Parameter(help="Nodes that pushes come in at; 0: all.")] = 0,
    primaries: Annotated[int, _some("Redis servers that share the registry.")] = 1,
    seed: Annotated[int, Parameter(help="What chance is made of.")] = 0,
    json: Annotated[Path | None, Parameter(help="File to write all figures to.")] = None,
) -> int:
    """Traffic between nodes and Redis at sizes that no machine here holds; nothing is measured."""

    async def scenario() -> Report:
        return simulate.run(devices, devices_per_node, entries, primaries, seed)

    return _report(scenario, Common(json=json))


@app.command(name="provider")
def _provider(
    *,
    seconds: Annotated[int, _some("Time to push with each client for.")] = 5,
    plot: Annotated[
        Path | None, Parameter(help="SVG file to draw into how the client scales itself.")
    ] = None,
    rounds: Rounds = 3,
    common: Common = _COMMON,
) -> int:
    """How many pushes per second the provider client sends, beside other clients."""
    return _report(lambda: provider.run(seconds, plot, common.plan(rounds)), common)


def _report(scenario: Scenario, common: Common) -> int:
    """Run a scenario, say what came of it, and give the exit code."""
    report = None
    failures: list[BaseException] = []
    if common.json is not None and not _writable(common.json):
        say(f"failed: --json {common.json} cannot be written")
        return 2
    try:
        report = trio.run(_until_signal, scenario)
    except* (Failed, PushError, httpx.HTTPError) as group:
        failures = list(leaves(group))
    for failure in failures:
        kind = "" if isinstance(failure, Failed) else f"{type(failure).__name__}: "
        say(f"failed: {kind}{failure}")
    if failures:
        return 2
    if report is None:
        say("interrupted")
        return 130
    print_report(report, Console())
    if common.json is not None:
        common.json.write_bytes(orjson.dumps(as_json(report), option=orjson.OPT_INDENT_2))
    return 0 if report.ok else 1


def _writable(file: Path) -> bool:
    """Whether the report can be written: to be known before the hour that it takes."""
    return not file.is_dir() and os.access(file if file.exists() else file.parent, os.W_OK)


async def _until_signal(scenario: Scenario) -> Report | None:
    """What the scenario reports; None when a signal came first, all children being ended."""
    report = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
            report = await scenario()
            nursery.cancel_scope.cancel()
    return report


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenario that `arguments` (of the process, if None) ask for; its exit code."""
    code = 2
    with suppress(CycloptsError):  # which has been told
        code = app(arguments, exit_on_error=False) or 0
    return code


if __name__ == "__main__":
    sys.exit(main())
