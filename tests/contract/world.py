"""A node on a store that can be stopped or killed, and started again on what it left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from tests.fakes import T0, Disk, FakeDevice
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.devices.farewell import farewell
from trio_push.engine.contract import Shared
from trio_push.mailbox.journal import Journal, NoJournal
from trio_push.mailbox.sqlite import SqliteJournal
from trio_push.node import Node
from trio_push.push import Push, State
from trio_push.wire.cursor import Cursor

SETTINGS = ServeSettings(mailbox_capacity=2, store_per_token=5, write_timeout_s=10, ack_timeout_s=5)


class World:
    """One node at a time, on a wall clock that follows the mock clock from life to life."""

    def __init__(
        self,
        path: Path | None,
        nursery: trio.Nursery,
        settings: ServeSettings = SETTINGS,
        *,
        shared: Shared | None = None,
    ) -> None:
        self._path = path
        #: where the node's pushes are held, if it is one of several
        self._shared = shared
        self._nursery = nursery
        self._settings = settings
        start = trio.current_time()
        self.clock = Clock(wall=lambda: T0 + trio.current_time() - start)
        self.disk = Disk()

    @property
    def is_durable(self) -> bool:
        return self._path is not None

    @property
    def is_shared(self) -> bool:
        return self._shared is not None

    @property
    def rest_of_one(self) -> int:
        """Bytes with which a device takes the rest of an event, and a part of the next."""
        return 35 if self.is_shared else 20

    # -- its lives

    async def start(self) -> None:
        """A new node. Raises ConfigError."""
        self.disk.gate.set()
        if self._path is None:
            self.journal: Journal = NoJournal()
        else:
            self.journal = SqliteJournal(str(self._path), write=self.disk.write)
        self.node = Node.make(self._settings, self.clock, self.journal, self._shared)
        self.journal = self.node.journal
        self.router = self.node.router
        self._life = await self._nursery.start(self._live)

    async def _live(self, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as life:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.router.run, self.node.push_channel)
                if self.node.engine is not None:
                    await nursery.start(self.node.engine.run)
                task_status.started(life)

    async def kill(self) -> None:
        """The process is gone, with all that was not on disk."""
        self._end()
        await wait_all_tasks_blocked()

    async def stop(self) -> None:
        """As at SIGTERM."""
        self.node.push_channel.close()
        await farewell(self.node.directory, self.router.delivery, drain_s=1)
        self.lost = self.router.abandon()
        await self.router.commit()
        self.check()
        self._end()
        await wait_all_tasks_blocked()

    def _end(self) -> None:
        self._life.cancel()
        for device in self.node.directory.connections():
            device.close()
        if isinstance(self.journal, SqliteJournal):
            self.journal.close()

    async def restart(self, how: str) -> None:
        await (self.kill() if how == "kill" else self.stop())
        await self.start()

    # -- what is done to it

    async def submit(self, *pushes: Push) -> list[State]:
        return await self.node.push_channel.submit(pushes)

    def connect(
        self, token: str = "aa", seen: int | None = None, room: int | None = None
    ) -> FakeDevice:
        device = FakeDevice(token, room)
        self.router.attach(device, None if seen is None else Cursor(self.router.epoch, seen))
        return device

    async def come(
        self, token: str = "aa", seen: int | None = None, room: int | None = None
    ) -> FakeDevice:
        """The same, where other nodes may have something for the device."""
        if self.node.engine is None:
            return self.connect(token, seen, room)
        cursor = None if seen is None else Cursor(self.router.epoch, seen)
        device = FakeDevice(token, room)
        async with self.node.engine.admitting(token, cursor) as missed:
            self.router.attach(device, cursor, missed)
        return device

    def disconnect(self, device: FakeDevice) -> None:
        self.router.delivery.disconnect(device)

    # -- what is true of it

    def count(self, state: State) -> int:
        return self.node.ledger.counts[state]

    def stored(self, token: str = "aa") -> list[bytes]:
        return [push.payload for push in self.router.stored(token)]

    def check(self) -> None:
        """The books are balanced."""
        books = self.node.ledger.snapshot(self.router.held())
        assert books["balanced"], books

    async def check_file(self) -> None:
        """The file has what is held, and what was promised and is on its way; nothing else."""
        self.check()
        if not isinstance(self.journal, SqliteJournal):
            return
        await self.journal.commit()
        rows = {(row.seq, row.push.token): row for row in self.journal.rows()}
        held = {(held.seq, held.push.token): held for held in self.router._store.everything()}
        for key, each in held.items():
            assert (rows[key].push, rows[key].state) == (each.push, each.state)
        assert rows.keys() - held.keys() == set(self._promised_and_on_their_way())

    def _promised_and_on_their_way(self) -> Iterator[tuple[int, str]]:
        for connection in self.router.delivery.waiting:
            assert connection.mailbox is not None
            torn = connection.mailbox.torn
            if torn and torn.numbered and torn.numbered.promised:
                yield torn.numbered.seq, connection.token
            if connection.mailbox._ends is not None:
                for numbered in connection.mailbox._ends[1]._state.data:
                    if numbered.promised:
                        yield numbered.seq, connection.token
