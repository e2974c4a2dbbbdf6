"""A crowd of devices in several processes: what a swarm's parent tells its workers and hears.

All workers begin, connect, stir and settle together. The driver is not theirs: they learn its plan
when it has ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from typing import NoReturn

import trio
from msgspec import structs

from trio_push.errors import ConfigError, ProtocolError
from trio_push.swarm.audit import Audit
from trio_push.swarm.connections import Connections
from trio_push.swarm.crowd import Share
from trio_push.swarm.histogram import Histogram
from trio_push.swarm.limits import shares
from trio_push.swarm.message_stream import MessageStream
from trio_push.swarm.messages import (
    Connect,
    Failed,
    FromWorker,
    Look,
    Message,
    Name,
    Named,
    Order,
    Ready,
    Settle,
    Settled,
    Stir,
    Tried,
)
from trio_push.swarm.on_push import Calls
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.tally import Tally
from trio_push.swarm.worker_processes import Link
from trio_push.swarm.worst import Worst, worst_among

#: devices of all workers that may be connecting at the same time: half of the backlog of a
#: listening socket
CONNECTING_IN_ALL = 2048
#: a worker that is busy with a storm answers within that time; one that does not, hangs
ANSWER_S = 30.0
#: workers say what they count four times a second: who is silent for so long is gone
SILENCE_S = 60.0

#: starts so many workers, for as long as the block runs
Start = Callable[[int], AbstractAsyncContextManager[Sequence[Link]]]


def orders(settings: SwarmSettings, share: Share, workers: int) -> list[Order]:
    """The part of each of `workers`, where `share` is all of the swarm."""
    per_user = settings.devices_per_user or 1
    return [
        Order(
            settings=_part(settings, len(devices)),
            run=share.run,
            first=devices.start,
            seed=_seed(settings.seed, number),
            connecting_at_once=min(share.connecting_at_once, CONNECTING_IN_ALL // workers),
            sources=share.sources,
            tokens=list(share.tokens[devices.start : devices.stop])
            if settings.token_file
            else None,
        )
        for number, devices in enumerate(shares(settings.devices, workers, per_user))
    ]


def _part(settings: SwarmSettings, devices: int) -> SwarmSettings:
    part = devices / settings.devices
    return replace(
        settings,
        devices=devices,
        ramp=max(settings.ramp * part, 0.01),
        churn=settings.churn * part,
        # the parent's own business
        api_key=None,
        push_rate=0,
        token_file=None,
        json=None,
        agents=(),
        agent_secret="",
    )


def _seed(seed: int, worker: int) -> int:
    """Another one for each worker, or they would all do the same at the same time."""
    return int.from_bytes(hashlib.sha256(b"%d/%d" % (seed, worker)).digest()[:4])


class _Worker:
    """One worker, and what it has said."""

    def __init__(self, link: Link, order: Order) -> None:
        self.link = link
        self.order = order
        self.stream = MessageStream(link.stream, FromWorker)
        self.connected = 0
        self.lost = False
        #: CPU time that it has used
        self.cpu_s = 0.0
        #: each is set by the message of that type, and all when the worker is lost
        self.said: dict[type[Message], trio.Event] = {
            kind: trio.Event() for kind in (Ready, Tried, Settled, Named)
        }
        self.worst: Sequence[Worst] = ()

    @property
    def devices(self) -> range:
        return range(self.order.first, self.order.first + self.order.settings.devices)

    async def tell(self, message: Message, answer: type[Message] | None = None) -> None:
        """Send and, if there is to be an answer, wait for that. A lost worker hears nothing."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send(message)
        if answer is not None:
            await self.said[answer].wait()


class Workers:
    """A `Crowd` of several processes."""

    def __init__(self, orders: Sequence[Order], start: Start, audit: Audit) -> None:
        self.losses: list[str] = []
        self._orders = orders
        self._start = start
        self._audit = audit
        # what devices receive goes into the audit
        self._tally = Tally(deliveries=audit.deliveries, latency=audit.latency)
        self._workers: list[_Worker] = []

    @property
    def connections(self) -> Connections:
        return self._tally.connections

    @property
    def calls(self) -> Calls:
        return self._tally.calls

    @property
    def lag(self) -> Histogram:
        return self._tally.lag

    @property
    def cpu_s(self) -> float:
        return max((worker.cpu_s for worker in self._workers), default=0.0)

    async def run(
        self, lost: Callable[[], None], *, task_status: trio.TaskStatus[None]
    ) -> NoReturn:
        async with self._start(len(self._orders)) as links, trio.open_nursery() as nursery:
            for link, order in zip(links, self._orders, strict=True):
                worker = _Worker(link, structs.replace(order, ahead_s=link.ahead_s))
                self._workers.append(worker)
                nursery.start_soon(self._follow, worker, lost)
            await self._tell_all(lambda worker: worker.order, Ready)
            task_status.started()
            await trio.sleep_forever()

    async def connect(self) -> None:
        await self._tell_all(lambda _: Connect(), Tried)

    async def stir(self) -> NoReturn:
        await self._tell_all(lambda _: Stir())
        await trio.sleep_forever()

    async def settle(self) -> None:
        plans = self._audit.plans_of([worker.devices for worker in self._workers])
        plan = dict(zip(self._workers, plans, strict=True))
        with trio.move_on_after(ANSWER_S):
            await self._tell_all(lambda worker: Settle(*plan[worker]), Settled)
        for worker in self._workers:
            if not worker.said[Settled].is_set():
                self._lose(worker, "does not answer")

    async def worst(self, *, lost: int) -> Sequence[Worst]:
        with trio.move_on_after(ANSWER_S):
            await self._tell_all(lambda _: Name(lost), Named)
        return worst_among(each for worker in self._workers for each in worker.worst)

    async def _tell_all(
        self, message: Callable[[_Worker], Message], answer: type[Message] | None = None
    ) -> None:
        """All at the same time: none waits for another."""
        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                nursery.start_soon(worker.tell, message(worker), answer)

    async def _follow(self, worker: _Worker, lost: Callable[[], None]) -> None:
        """Take in what a worker says, until it is lost."""
        why = ""
        try:
            while True:
                with trio.move_on_after(SILENCE_S) as waiting:
                    message = await anext(worker.stream, None)
                if waiting.cancelled_caught:
                    why = f"has said nothing for {SILENCE_S:g} s"
                    break
                if message is None:
                    break
                self._hear(worker, message)
        except ProtocolError as exc:
            why = f"cannot be understood ({exc})"
        self._lose(worker, why or await worker.link.how_ended())
        lost()

    def _lose(self, worker: _Worker, why: str) -> None:
        if worker.lost:
            return
        worker.lost = True
        unknown = f"what its {len(worker.devices)} devices got last is not known"
        self.losses.append(f"{worker.link.name} {why}: {unknown}")
        self.connections.now -= worker.connected
        worker.connected = 0
        for event in worker.said.values():
            event.set()

    def _hear(self, worker: _Worker, message: FromWorker) -> None:
        match message:
            case Look():
                self._tally.add(message.tally)
                worker.connected += message.tally.connections.now
                worker.cpu_s = message.cpu_s
            case Failed():
                raise ConfigError(message.why)
            case Named():
                worker.worst = message.worst
                worker.said[Named].set()
            case _:
                worker.said[type(message)].set()
