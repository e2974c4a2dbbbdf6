"""Several nodes in one process, on whatever they share; a node can be killed, or be stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from tests.fakes import T0, FakeDevice
from tests.serving import PATIENCE_S
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.devices.farewell import farewell
from trio_push.engine.contract import Shared
from trio_push.node import Node
from trio_push.push import Push, State
from trio_push.wire.cursor import Cursor

SETTINGS = ServeSettings(mailbox_capacity=2, store_per_token=5, write_timeout_s=10, ack_timeout_s=5)


class OneNode:
    """A node that runs, without its listeners."""

    def __init__(self, shared: Shared, clock: Clock, settings: ServeSettings = SETTINGS) -> None:
        self.node = Node.make(settings, clock, shared=shared)
        assert self.node.engine is not None
        self.engine = self.node.engine
        self.router = self.node.router
        self.name = self.node.id
        self._clock = clock
        self._life = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self._life:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.router.run, self.node.push_channel)
                await nursery.start(self.engine.run)
                task_status.started()

    def kill(self) -> None:
        """The process is gone, with all that it had in memory."""
        self._life.cancel()
        for device in self.node.directory.connections():
            device.close()

    async def stop(self) -> None:
        """As at SIGTERM."""
        self.node.push_channel.close()
        await farewell(self.node.directory, self.router.delivery, drain_s=1)
        await self.router.commit()
        await self.engine.leave()
        self._life.cancel()

    # -- what is done to it

    async def submit(self, *pushes: Push) -> list[State]:
        return await self.node.push_channel.submit(pushes)

    async def connect(
        self, token: str = "aa", cursor: Cursor | None = None, room: int | None = None
    ) -> FakeDevice:
        device = FakeDevice(token, room)
        await self.let_in(device, cursor)
        return device

    async def let_in(self, device: FakeDevice, cursor: Cursor | None = None) -> None:
        device.connected_at = self._clock.wall()
        async with self.engine.admitting(device.token, cursor) as missed:
            device.mark = self.router.attach(device, cursor, missed)

    def disconnect(self, device: FakeDevice) -> None:
        self.router.delivery.disconnect(device)

    # -- what is true of it

    def count(self, state: State) -> int:
        return self.node.ledger.counts[state]

    @property
    def books(self) -> dict[str, int]:
        return self.node.ledger.snapshot(self.router.held())

    def check(self) -> None:
        assert self.books["balanced"], self.books


class Way:
    """What nodes share, at the other end of a way: `_call` says what that does to a call."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._shared, name)
        return partial(self._call, found) if callable(found) else found

    async def _call(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        raise NotImplementedError


class Nodes:
    """Several of them."""

    def __init__(self, shared: Shared, nursery: trio.Nursery) -> None:
        start = trio.current_time()
        self.clock = Clock(wall=lambda: T0 + trio.current_time() - start)
        self.shared = shared
        self._nursery = nursery
        self.all: list[OneNode] = []

    async def start(self, settings: ServeSettings = SETTINGS) -> OneNode:
        node = OneNode(self.shared, self.clock, settings)
        await self._nursery.start(node.run)
        self.all.append(node)
        return node

    @property
    def in_transit(self) -> int:
        """How many pushes lie among what is shared, by the books of all nodes."""
        handed = sum(node.count(State.HANDED_OVER) for node in self.all)
        return handed - sum(node.node.ledger.taken_over for node in self.all)

    async def rows(self, *tokens: str) -> int:
        return sum(len(rows) for rows in await self.shared.rows(tokens))

    def check(self) -> None:
        for node in self.all:
            node.check()


async def until(condition) -> None:
    """Wait for what happens by itself."""
    with trio.fail_after(PATIENCE_S):
        while not condition():
            await trio.sleep(0.005)
