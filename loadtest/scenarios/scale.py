"""scale: as many devices as there is room for, through a day's worth of events in minutes.

ramp       they connect, so many in a second
idle       nothing but heartbeats: memory of server, swarm and kernel, CPU per heartbeat
half       targeted pushes at half the rate, by APNs over HTTP/1.1: how late are they?
push       and at the whole of it: do they all come through?
broadcast  one push to all
storm      a tenth drops at once while pushes go on at half the rate
books      is every push accounted for?
drain      the server is told to end

CPU is the server's, and the swarm's beside it: for a connect, a heartbeat, a push (with its way to
the device), a device of the broadcast. Memory is for each device.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from loadtest.bench import say
from loadtest.measure import KIB
from loadtest.report import Bound, Column, Measured, Report, Sample
from loadtest.stages import Notes, Stage, run_stages
from loadtest.world import World, open_world
from trio_push.swarm.histogram import Histogram
from trio_push.swarm.settings import SwarmSettings

_STORM_SHARE: Final = 0.1
#: by then all who dropped are to be back
_BACK_S: Final = 30
#: what the server may need for each device of a broadcast
_DELIVERY_S: Final = 40e-6
#: a broadcast that not all have got by then has lost some
_BROADCAST_S: Final = 120
#: how exactly it is known when the last one has it: workers tell four times a second
_RESOLUTION_S: Final = 0.5
#: what start-up or a burst still has to do is done by then
_SETTLE_S: Final = 2.0
#: a push that was accepted has reached its device by then
_ARRIVE_S: Final = 5.0
_LOOK_S: Final = 0.02
#: what the end of a device's connection may take, at both ends
_GOODBYE_S: Final = 200e-6
#: for what a stage does beside its own time
_GRACE_S: Final = 60
#: memory of the server for a device, as `idle` has it; a mixed crowd is half of each
_MOST_KIB: Final = {"sse": 4.5, "ws": 6.0, "mixed": 5.25}

_COLUMNS = (
    Column("count", "count"),
    Column("seconds", "s", 1),
    Column("cpu_us", "CPU, µs"),
    Column("swarm_us", "swarm, µs"),
    Column("p99_ms", "p99, ms", 1),
    Column("lost", "lost"),
    Column("server_kib", "server, KiB", 1),
    Column("swarm_kib", "swarm, KiB", 1),
    Column("kernel_kib", "kernel, KiB", 1),
)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What to hold and for how long."""

    devices: int
    transport: str
    ramp: float
    keepalive_s: float
    idle_s: float
    rate: float
    push_s: float
    server_workers: int
    workers: int


async def run(scale: Scale, notes_file: Path | None) -> Report:
    """Take all stages that `notes_file` does not have yet."""
    notes = Notes(asdict(scale), notes_file)
    settings = SwarmSettings(
        devices=scale.devices,
        ramp=scale.ramp,
        workers=scale.workers,
        transport=scale.transport,
        storm_s=0.1,
        storm_share=_STORM_SHARE,
    )
    async with open_world(settings, scale.server_workers, scale.keepalive_s) as world:
        await run_stages(world, _stages(scale), notes)
    measured = Measured({name: [sample] for name, sample in notes.samples.items()})
    return Report("scale", asdict(scale), _COLUMNS, measured, _bounds(scale, measured))


def _stages(scale: Scale) -> list[Stage[World]]:
    ramp_s = scale.devices / scale.ramp
    return [
        Stage("ramp", _ramp, 1.5 * ramp_s + _GRACE_S, always=True),
        Stage("idle", partial(_idle, scale), scale.idle_s + _GRACE_S),
        Stage("half", partial(_push, scale, 0.5), scale.push_s + _GRACE_S),
        Stage("push", partial(_push, scale, 1.0), scale.push_s + _GRACE_S),
        # without an event of its own, no device can ask for what it missed in the storm
        Stage("broadcast", _broadcast, _BROADCAST_S + _GRACE_S, always=True),
        Stage("storm", partial(_storm, scale), 2 * _BACK_S + _GRACE_S),
        Stage("books", _books, 2 * _GRACE_S),
        Stage("drain", _drain, _GRACE_S + scale.devices * _GOODBYE_S),
    ]


def _bounds(scale: Scale, measured: Measured) -> list[Bound]:
    figure, devices = measured.figure, scale.devices
    broadcast_s = max(devices * _DELIVERY_S, 1.0) + _RESOLUTION_S
    return [
        Bound("devices connected", figure("ramp", "count"), "at least", devices),
        Bound(
            "server memory (PSS) per device, KiB",
            figure("idle", "server_kib"),
            "at most",
            _MOST_KIB[scale.transport],
        ),
        Bound("pushes in a second", figure("push", "per_s"), "at least", 0.95 * scale.rate),
        Bound("pushes that had not arrived", figure("push", "lost"), "at most", 0),
        Bound("latency at half the rate (p99), ms", figure("half", "p99_ms"), "at most", 500),
        Bound("broadcast to all, s", figure("broadcast", "seconds"), "at most", broadcast_s),
        Bound("lost of the broadcast", figure("broadcast", "lost"), "at most", 0),
        Bound("back after the storm, s", figure("storm", "seconds"), "at most", _BACK_S),
        Bound(
            "resumed without all that was missed", figure("storm", "not_recovered"), "at most", 0
        ),
        Bound("pushes lost", figure("books", "lost"), "at most", 0),
        Bound("books balanced", figure("books", "balanced"), "at least", 1),
    ]


async def _ramp(world: World) -> Sample:
    before, swarm_before = world.server_usage(), world.swarm_usage()
    await world.crowd.connect()
    cost, swarm = world.server_usage() - before, world.swarm_usage() - swarm_before
    return {
        "count": world.connected,
        "seconds": cost.at_s,
        "cpu_us": cost.cpu_s / max(world.connected, 1) * 1e6,
        "swarm_us": swarm.cpu_s / max(world.connected, 1) * 1e6,
        **_percentiles(world.crowd.connections.connect),
    }


async def _idle(scale: Scale, world: World) -> Sample:
    await trio.sleep(_SETTLE_S)
    before, swarm_before = world.server_usage(), world.swarm_usage()
    await trio.sleep(scale.idle_s)
    after, swarm, count = world.server_usage(), world.swarm_usage(), max(world.connected, 1)
    grown = after - world.empty_server
    # a device costs CPU only when its heartbeat comes
    beats = count * scale.idle_s / (scale.keepalive_s or scale.idle_s)
    return {
        "count": world.connected,
        "seconds": scale.idle_s,
        "cpu_us": (after - before).cpu_s / beats * 1e6,
        "swarm_us": (swarm - swarm_before).cpu_s / beats * 1e6,
        "server_kib": grown.pss_bytes / count / KIB,
        "swarm_kib": (swarm - world.empty_swarm).pss_bytes / count / KIB,
        "kernel_kib": grown.kernel_bytes / count / KIB,
        "server_mib": after.pss_bytes / KIB**2,
    }


async def _push(scale: Scale, share: float, world: World) -> Sample:
    return await _pushes(world, share * scale.rate, scale.push_s)


async def _pushes(world: World, rate: float, seconds: float) -> Sample:
    audit = world.audit
    accepted, latency = audit.pushes.accepted, audit.latency.since(Histogram())
    missing = accepted - audit.deliveries.distinct
    before, swarm_before = world.server_usage(), world.swarm_usage()
    began = trio.current_time()
    await world.driver(rate).run(seconds)
    elapsed = trio.current_time() - began
    cost, swarm = world.server_usage() - before, world.swarm_usage() - swarm_before
    with trio.move_on_after(_ARRIVE_S):
        while audit.pushes.accepted - audit.deliveries.distinct > missing:
            await trio.sleep(_LOOK_S)
    count = audit.pushes.accepted - accepted
    return {
        "count": count,
        # until the last one was answered, which is later than planned where they do not keep up
        "per_s": count / elapsed,
        "seconds": elapsed,
        "cpu_us": cost.cpu_s / max(count, 1) * 1e6,
        "swarm_us": swarm.cpu_s / max(count, 1) * 1e6,
        # all devices are there: what is still on its way, or stored, should not be
        "lost": max(audit.pushes.accepted - audit.deliveries.distinct - missing, 0),
        **_percentiles(audit.latency.since(latency)),
    }


async def _broadcast(world: World) -> Sample:
    deliveries = world.audit.deliveries
    received, before = deliveries.foreign, world.server_usage()
    connected, began = world.connected, trio.current_time()
    pushes = await world.broadcast()
    with trio.move_on_after(_BROADCAST_S):
        while deliveries.foreign - received < pushes:
            await trio.sleep(_LOOK_S)
    seconds = trio.current_time() - began
    reached = deliveries.foreign - received
    return {
        "count": reached,
        "seconds": seconds,
        "cpu_us": (world.server_usage() - before).cpu_s / max(reached, 1) * 1e6,
        "lost": max(pushes, connected) - reached,
    }


async def _storm(scale: Scale, world: World) -> Sample:
    connections = world.crowd.connections
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.crowd.stir)
        pushes = await _pushes(world, scale.rate / 2, _BACK_S)
        with trio.move_on_after(_BACK_S):
            while connections.back < connections.dropped:
                await trio.sleep(_LOOK_S)
        nursery.cancel_scope.cancel()
    all_back = connections.back == connections.dropped
    return {
        "count": connections.dropped,
        "back": connections.back,
        "not_recovered": connections.not_recovered,
        "seconds": (connections.back_after.max_s or 0.0) if all_back else 2.0 * _BACK_S,
        "p50_ms": pushes["p50_ms"],
        "p99_ms": pushes["p99_ms"],
    }


async def _books(world: World) -> Sample:
    began = trio.current_time()
    books = await world.books()
    deliveries = world.audit.deliveries
    for reason in books.reasons:
        say(f"  {reason}")
    return {
        "count": deliveries.received,
        "seconds": trio.current_time() - began,
        "balanced": float(bool(books.balanced)),
        "lost": books.lost,
        "duplicate": deliveries.duplicate,
        "out_of_order": deliveries.out_of_order,
    }


async def _drain(world: World) -> Sample:
    connected, began = world.connected, trio.current_time()
    await world.server.child.terminate()
    return {"count": connected, "seconds": trio.current_time() - began}


def _percentiles(durations: Histogram) -> Sample:
    summary = durations.summary_ms()
    return {f"{name}_ms": summary[name] or 0.0 for name in ("p50", "p99")}
