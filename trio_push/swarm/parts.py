"""The parts of a swarm, made from its settings. What cannot work comes out here, at the start."""

from __future__ import annotations

import random
import secrets
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from trio_push.clock import Clock
from trio_push.errors import ConfigError
from trio_push.swarm.audit import Audit
from trio_push.swarm.device import Device
from trio_push.swarm.driver import Driver
from trio_push.swarm.lanes import MakeLanes
from trio_push.swarm.lean_device import LeanDevice
from trio_push.swarm.lean_websocket import LeanWebSocketDevice
from trio_push.swarm.library_device import LibraryDevice
from trio_push.swarm.library_websocket import LibraryWebSocketDevice
from trio_push.swarm.limits import check_open_files, ephemeral_ports, source_addresses
from trio_push.swarm.on_push import OnPush
from trio_push.swarm.population import Destination, Population
from trio_push.swarm.reconnect import SCHEDULES
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.stamp import Stamper
from trio_push.swarm.target import Target, look_up
from trio_push.swarm.tokens import GeneratedTokens, read_tokens
from trio_push.swarm.unrest import Unrest

#: makes a device by its index; what it does beside its own task, it does in the nursery
MakeDevice = Callable[[int, trio.Nursery], Device]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a run consists of; nothing of it has begun."""

    audit: Audit
    population: Population
    make_device: MakeDevice
    #: None: the swarm only listens
    driver: Driver | None
    on_push: OnPush | None
    #: of the ramp, and of who is restless
    random: random.Random
    unrest: Unrest


async def make_parts(
    settings: SwarmSettings, target: Target, api: Target | None, make_lanes: MakeLanes
) -> Parts:
    """Raises ConfigError for what cannot work here, Unreachable for hosts that are not known."""
    check_open_files(settings.devices)
    tokens = _tokens(settings)
    audit = Audit(settings.devices)
    stamper = Stamper(secrets.token_hex(4), settings.payload_bytes)
    wall_offset_s = Clock().wall() - trio.current_time()
    on_push = await _on_push(settings, tokens)
    population = Population(
        _destination(settings, target, tokens),
        audit,
        stamper,
        seed=settings.seed,
        wall_offset_s=wall_offset_s,
        on_push=None if on_push is None else on_push.received,
        schedule=SCHEDULES[settings.reconnect],
        slow_readers=settings.slow_readers,
    )
    driver = None
    if settings.push_rate:
        driver = Driver(
            make_lanes(target, api, audit),
            tokens,
            audit,
            stamper,
            rate=settings.push_rate,
            seed=settings.seed,
            wall_offset_s=wall_offset_s,
        )
    return Parts(
        audit=audit,
        population=population,
        make_device=_device_maker(settings, population),
        driver=driver,
        on_push=on_push,
        random=random.Random(settings.seed),
        unrest=Unrest(
            churn_per_s=settings.churn,
            storm_s=settings.storm_s,
            storm_share=settings.storm_share,
        ),
    )


def _tokens(settings: SwarmSettings) -> Sequence[str]:
    if settings.token_file is not None:
        return read_tokens(settings.token_file, settings.devices)
    return GeneratedTokens(settings.devices, prefix=settings.token_prefix, seed=settings.seed)


def _destination(settings: SwarmSettings, target: Target, tokens: Sequence[str]) -> Destination:
    return Destination(
        target=target,
        tokens=tokens,
        path=settings.path,
        connect_timeout_s=settings.connect_timeout_s,
        sources=source_addresses(target, settings.devices, ephemeral_ports()),
        ack=settings.ack,
    )


async def _on_push(settings: SwarmSettings, tokens: Sequence[str]) -> OnPush | None:
    if settings.on_push_url is None:
        return None
    target = await look_up(settings.on_push_url, "--on-push-url")
    return OnPush(target, tokens, settings.think_s)


def _device_maker(settings: SwarmSettings, population: Population) -> MakeDevice:
    tls = population.destination.target.tls
    lean = settings.client == "lean"
    if lean and tls:
        raise ConfigError("a lean device speaks no TLS: give --client library, or an http:// --url")
    context = ssl.create_default_context() if tls else None

    def make(index: int, nursery: trio.Nursery) -> Device:
        if not uses_websocket(settings.transport, index):
            return (
                LeanDevice(index, population) if lean else LibraryDevice(index, population, context)
            )
        if lean:
            return LeanWebSocketDevice(index, population)
        return LibraryWebSocketDevice(index, population, nursery, context)

    return make


def uses_websocket(transport: str, index: int) -> bool:
    """Whether a device connects by WebSocket; of a mixed crowd, every other one does."""
    return index % 2 == 1 if transport == "mixed" else transport == "ws"
