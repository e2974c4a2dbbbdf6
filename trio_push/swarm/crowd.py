"""The devices of a run as a whole: begun, stirred, and brought to rest together.

`Run` asks for that without knowing where the devices live: in this process (`LocalCrowd`) or in
others (`trio_push.swarm.workers`).
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

import trio

from trio_push.clock import Clock
from trio_push.errors import ConfigError
from trio_push.swarm.audit import Audit
from trio_push.swarm.connections import Connections
from trio_push.swarm.credentials import Signer, read_key
from trio_push.swarm.device import Device, keep_connected
from trio_push.swarm.histogram import Histogram
from trio_push.swarm.lean_device import LeanDevice
from trio_push.swarm.lean_websocket import LeanWebSocketDevice
from trio_push.swarm.library_device import LibraryDevice
from trio_push.swarm.library_websocket import LibraryWebSocketDevice
from trio_push.swarm.on_push import Calls, OnPush
from trio_push.swarm.population import (
    CONNECTING_AT_ONCE,
    Destination,
    Population,
)
from trio_push.swarm.ramp import ramp
from trio_push.swarm.reconnect import SCHEDULES
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.stamp import Stamper
from trio_push.swarm.start import find_start
from trio_push.swarm.target import Target, look_up
from trio_push.swarm.unrest import Unrest, stir
from trio_push.swarm.users import Users
from trio_push.swarm.worst import Worst, worst_of


class Crowd(Protocol):
    """All devices of a run. What they receive, they report to the audit they were made with."""

    @property
    def connections(self) -> Connections: ...

    @property
    def calls(self) -> Calls:
        """Of --on-push-url."""

    @property
    def lag(self) -> Histogram:
        """How late the loops of other processes were."""

    @property
    def cpu_s(self) -> float:
        """CPU time of the busiest of other processes."""

    @property
    def losses(self) -> Sequence[str]:
        """What parts of the crowd are gone for good, and why: their counts are not whole."""

    async def run(
        self, lost: Callable[[], None], *, task_status: trio.TaskStatus[None]
    ) -> NoReturn:
        """Be the devices until cancelled; none connects yet. `lost` is called for each loss.

        Raises ConfigError or Unreachable when that cannot work.
        """

    async def connect(self) -> None:
        """Start the devices at the ramp's rate; returns when each has tried."""

    async def stir(self) -> NoReturn:
        """Disturb the devices, as far as that is asked for, until cancelled."""

    async def settle(self) -> None:
        """All is sent: have slow readers read what is left, wake who sleeps, update the audit."""

    async def worst(self, *, lost: int) -> Sequence[Worst]:
        """The devices that fared worst, when so many pushes were `lost` in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Which devices of a swarm are in one process, and what they need to know of the others."""

    #: what marks the pushes of the run
    run: str
    #: index of the first among all devices of the swarm
    first: int = 0
    tokens: Sequence[str]
    #: whose the devices are; None: nobody's
    users: Users | None = None
    sources: Sequence[str]
    seed: int
    connecting_at_once: int = CONNECTING_AT_ONCE
    #: how much the clock here is ahead of the one that stamps the pushes
    ahead_s: float = 0.0


class LocalCrowd:
    """The devices of one process. Made by `local_crowd`."""

    def __init__(
        self, settings: SwarmSettings, share: Share, population: Population, on_push: OnPush | None
    ) -> None:
        self.lag = Histogram()
        self.cpu_s = 0.0
        self.losses: Sequence[str] = ()
        self._settings = settings
        self._population = population
        self._on_push = on_push
        self._random = random.Random(share.seed)
        self._devices: list[Device] = []
        self._make_device = _device_maker(settings, population)
        #: where the devices run, as long as `run` does
        self._nursery: trio.Nursery | None = None

    @property
    def connections(self) -> Connections:
        return self._population.connections

    @property
    def calls(self) -> Calls:
        return Calls() if self._on_push is None else self._on_push.calls

    async def run(
        self, lost: Callable[[], None], *, task_status: trio.TaskStatus[None]
    ) -> NoReturn:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._population.reading.run)
            if self._on_push is not None:
                nursery.start_soon(self._on_push.run)
            task_status.started()
            await trio.sleep_forever()

    async def connect(self) -> None:
        await ramp(self._start, self._settings.devices, self._settings.ramp, self._random)
        await self._population.wait_all_tried()

    def _start(self, index: int) -> None:
        assert self._nursery is not None  # `run` came before
        device = self._make_device(index, self._nursery)
        self._devices.append(device)
        # one name for all: trio would make a string for each
        self._nursery.start_soon(keep_connected, device, self._population, name="device")

    async def stir(self) -> NoReturn:
        settings = self._settings
        unrest = Unrest(
            churn_per_s=settings.churn,
            storm_s=settings.storm_s,
            storm_share=settings.storm_share,
            sleepers=settings.sleepers,
            asleep_s=settings.asleep_s,
            awake_s=settings.awake_s,
        )
        await stir(unrest, self._devices, self._population, self._random)

    async def settle(self) -> None:
        self._population.slow_readers = 0
        self._population.sleep.wake_all()
        await trio.lowlevel.checkpoint()

    async def worst(self, *, lost: int) -> Sequence[Worst]:
        people = self._population
        await trio.lowlevel.checkpoint()
        return worst_of(
            people.audit,
            people.destination.tokens,
            lost=lost,
            missing_marks=people.missing_marks(),
        )


async def local_crowd(
    settings: SwarmSettings, share: Share, target: Target, audit: Audit
) -> LocalCrowd:
    """The devices of `settings` in this process.

    Raises ConfigError for what cannot work here, Unreachable for hosts that are not known.
    """
    on_push = None
    if settings.on_push_url is not None:
        called = await look_up(settings.on_push_url, "--on-push-url")
        on_push = OnPush(called, share.tokens, settings.think_s)
    destination = Destination(
        target=target,
        tokens=share.tokens,
        path=settings.path,
        connect_timeout_s=settings.connect_timeout_s,
        sources=share.sources,
        ack=settings.ack,
        signer=_signer(settings),
        users=share.users,
    )
    population = Population(
        destination,
        audit,
        Stamper(share.run, first=_first_addressee(settings, share)),
        seed=share.seed,
        wall_offset_s=wall_offset_s() - share.ahead_s,
        on_push=None if on_push is None else on_push.received,
        schedule=SCHEDULES[settings.reconnect],
        slow_readers=settings.slow_readers,
        connecting_at_once=share.connecting_at_once,
        start=await find_start(destination),
        addresses_users=settings.addresses_users,
        mark_read=settings.mark_read,
    )
    return LocalCrowd(settings, share, population, on_push)


def users_of(settings: SwarmSettings, *, first_device: int = 0) -> Users | None:
    """Whose devices those of `settings` are, where the first is that device of all."""
    per_user = settings.devices_per_user
    if not per_user:
        return None
    first = first_device // per_user
    return Users(settings.devices, per_user, settings.user_prefix, first=first)


def _first_addressee(settings: SwarmSettings, share: Share) -> int:
    """What the stamp of a push says when it is for the first device, or user, of the share."""
    if share.users is not None and settings.addresses_users:
        return share.users.first
    return share.first


def _signer(settings: SwarmSettings) -> Signer | None:
    if settings.jwt_key is None:
        return None
    return Signer(
        read_key(settings.jwt_key),
        lifetime_s=settings.jwt_lifetime_s,
        audience=settings.jwt_audience,
        now=Clock().wall,
    )


def wall_offset_s() -> float:
    """What makes epoch time of trio's."""
    return Clock().wall() - trio.current_time()


def check_client(settings: SwarmSettings, target: Target) -> None:
    """Raise ConfigError for devices that cannot talk to `target`."""
    if settings.client == "lean" and target.tls:
        raise ConfigError("a lean device speaks no TLS: give --client library, or an http:// --url")


def _device_maker(
    settings: SwarmSettings, population: Population
) -> Callable[[int, trio.Nursery], Device]:
    """Makes a device by its index; what it does beside its own task, it does in the nursery."""
    lean = settings.client == "lean"
    tls = population.destination.target.tls
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
