"""A worker: one process with a share of a swarm's devices, on the orders of its parent.

It ends when the stream to its parent does, for whatever reason.
"""

from __future__ import annotations

import time
from typing import NoReturn

import trio

from trio_push.errors import ConfigError, Unreachable
from trio_push.swarm.audit import Audit
from trio_push.swarm.crowd import Crowd, Share, local_crowd, users_of
from trio_push.swarm.histogram import Histogram
from trio_push.swarm.lag import watch_lag
from trio_push.swarm.limits import devices_per_process
from trio_push.swarm.message_stream import MessageStream
from trio_push.swarm.messages import (
    Connect,
    Failed,
    Look,
    Name,
    Named,
    Order,
    Ready,
    Settle,
    Settled,
    Stir,
    ToWorker,
    Tried,
)
from trio_push.swarm.tally import Tally
from trio_push.swarm.target import look_up
from trio_push.swarm.tokens import GeneratedTokens
from trio_push.watch.garbage import keep_frozen

#: between two looks: as often as a display shows one
LOOK_S = 0.25
#: a parent that has started all of its workers gives its orders; one that does not is none
ORDER_S = 60.0


async def work(stream: trio.abc.Stream) -> None:
    """Be a worker for whoever is at the other end, until that end is closed."""
    parent = MessageStream(stream, ToWorker)
    try:
        await _work(parent)
    except* trio.BrokenResourceError:
        pass  # a parent that is gone is no error of its worker


async def _work(parent: MessageStream) -> None:
    order = None
    with trio.move_on_after(ORDER_S):
        order = await anext(parent, None)
    if not isinstance(order, Order):
        return
    try:
        worker = Worker(parent, *await _crowd(order))
    except (ConfigError, Unreachable) as exc:
        await parent.send(Failed(str(exc)))
        return
    async with trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        await parent.send(Ready())
        async for message in parent:
            await worker.obey(message, nursery)
        nursery.cancel_scope.cancel()


async def _crowd(order: Order) -> tuple[Crowd, Audit]:
    settings = order.settings
    if settings.devices > devices_per_process():
        raise ConfigError(f"a worker cannot open files for {settings.devices} devices")
    tokens = order.tokens or GeneratedTokens(
        settings.devices, prefix=settings.token_prefix, seed=settings.seed, first=order.first
    )
    share = Share(
        run=order.run,
        first=order.first,
        tokens=tokens,
        users=users_of(settings, first_device=order.first),
        sources=order.sources,
        seed=order.seed,
        connecting_at_once=order.connecting_at_once,
        ahead_s=order.ahead_s,
    )
    target = await look_up(settings.url, "--url")
    audit = Audit(settings.devices, planned_elsewhere=True)
    return await local_crowd(settings, share, target, audit), audit


class Worker:
    """Carries out one order."""

    def __init__(self, parent: MessageStream, crowd: Crowd, audit: Audit) -> None:
        self._parent = parent
        self._crowd = crowd
        self._audit = audit
        self._lag = Histogram()
        #: what the parent has been told
        self._told = Tally()
        #: of what ends when all is to settle: the ramp and the unrest
        self._moving = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> NoReturn:
        """Have the devices, and say again and again what they counted."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._crowd.run, lambda: None)
            nursery.start_soon(watch_lag, self._lag)
            nursery.start_soon(keep_frozen, lambda: self._crowd.connections.now)
            task_status.started()
            while True:
                await trio.sleep(LOOK_S)
                await self._parent.send(self._look())

    async def obey(self, message: Connect | Stir | Settle | Name, nursery: trio.Nursery) -> None:
        match message:
            case Connect():
                nursery.start_soon(self._connect)
            case Stir():
                # the ramp has not ended if the parent was told to go on: then it ends now
                self._moving.cancel()
                self._moving = trio.CancelScope()
                nursery.start_soon(self._stir)
            case Settle():
                self._moving.cancel()
                self._audit.learn(message.planned, message.exempt)
                await self._crowd.settle()
                await self._parent.send(self._look(), Settled())
            case Name(lost):
                await self._parent.send(Named(list(await self._crowd.worst(lost=lost))))

    async def _connect(self) -> None:
        with self._moving:
            await self._crowd.connect()
        await self._parent.send(self._look(), Tried())

    async def _stir(self) -> None:
        with self._moving:
            await self._crowd.stir()

    def _look(self) -> Look:
        self._audit.count_exempt()
        tally = Tally(
            connections=self._crowd.connections,
            deliveries=self._audit.deliveries,
            latency=self._audit.latency,
            lag=self._lag,
            calls=self._crowd.calls,
        )
        news = tally.since(self._told)
        # A copy of the whole would be most of what a look costs.
        self._told.add(news)
        return Look(news, time.process_time())
