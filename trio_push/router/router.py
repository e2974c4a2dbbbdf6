"""Where a push goes, and when: held until due, written to its device, stored or let go.

It serves the push channel, and settles each submission when every push of it is where the
reply promises. It never waits for a device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec.structs
import trio

from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.devices.connection import Connection, Transport
from trio_push.devices.delivery import Delivery, DeviceGone
from trio_push.errors import Refusal
from trio_push.faults import Faults
from trio_push.mailbox.history import History, Missed
from trio_push.mailbox.journal import Journal
from trio_push.mailbox.offline import Offline
from trio_push.mailbox.store import Held, Store
from trio_push.mailbox.users import Users
from trio_push.push import Numbered, Push, State
from trio_push.router.acks import Acks
from trio_push.router.channel import SLICE, PushChannel, Submission
from trio_push.router.committer import Committer
from trio_push.router.delay import Delay
from trio_push.router.directory import Directory
from trio_push.router.faults import FaultyRoutes
from trio_push.router.read_marks import read_marks
from trio_push.router.restore import restore
from trio_push.sockets import WOULD_BLOCK
from trio_push.watch.ledger import Ledger
from trio_push.wire.close_codes import REPLACED, UNREGISTERED
from trio_push.wire.cursor import Cursor
from trio_push.wire.reasons import SERVICE_UNAVAILABLE

if TYPE_CHECKING:
    from trio_push.engine.engine import Engine

#: seconds after which a provider may find room again
ROOM_RETRY_AFTER_S = 30


class Router:
    """Routes the pushes of one node. `run` owns every task that it starts."""

    def __init__(
        self,
        settings: ServeSettings,
        clock: Clock,
        ledger: Ledger,
        directory: Directory,
        journal: Journal,
        faults: Faults,
    ) -> None:
        #: names this store's lifetime in event ids: another epoch, another sequence
        self.epoch = journal.epoch
        self._store_total = settings.store_total
        self.default_ttl_s = settings.default_ttl_s
        self._clock = clock
        self._ledger = ledger
        self._directory = directory
        self._journal = journal
        #: what makes this node one of several; None: it is alone, and asks nobody
        self.engine: Engine | None = None
        self._store = Store()
        self.offline = Offline(self._store, ledger, journal, per_token=settings.store_per_token)
        self.committer = Committer(journal, self.offline, directory)
        self.users = Users(journal, per_user=settings.devices_per_user)
        #: the last number that was given
        self.seq = journal.seq
        self.history = History(
            per_token=settings.history_per_token,
            total=settings.history_total,
            floor=journal.floor,
        )
        self._faults = faults
        self.faulty = FaultyRoutes(faults, self, clock, ledger, directory)
        self._delay = Delay(clock, self.offline, self._release, self._resend)
        self.acks = Acks(self.offline)
        self.delivery = Delivery(
            clock=clock,
            ledger=ledger,
            directory=directory,
            offline=self.offline,
            history=self.history,
            ack_timeout_s=settings.ack_timeout_s,
            write_timeout_s=settings.write_timeout_s,
            mailbox_capacity=settings.mailbox_capacity,
        )

    async def run(
        self,
        pushes: PushChannel,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Route until the push channel is closed, then go on releasing and draining.

        First it takes over what the journal has from earlier runs. Ends by being cancelled.
        """
        now = self._clock.wall()
        await restore(self._journal, self.offline, self._directory, self.users, now)
        async with trio.open_nursery() as nursery:
            await nursery.start(self.committer.run, lambda: self.seq)
            await nursery.start(self.delivery.run)
            await nursery.start(self._delay.run)
            task_status.started()
            await pushes.serve(self._settle)

    def _settle(self, submission: Submission) -> None:
        if self.engine is not None:
            faulty = self._faults.pushes is not None
            submit = self.faulty.submit if faulty else self.engine.local.submit
            submit(submission.pushes, self._ledger.enter, submission.settle)
            return
        recorded = self._journal.recorded
        outcomes = list(map(self._way(), submission.pushes))
        if self._journal.recorded == recorded:
            submission.settle(outcomes)
        else:
            self.committer.settle(submission, outcomes)

    def _way(self) -> Callable[[Push], State]:
        """How pushes are routed now: as always, or with what may befall them on demand."""
        return self.faulty.route if self._faults.touches_routes else self.route

    # -- one push

    def route(self, push: Push) -> State:
        """Accept a push: where it is now. Never blocks."""
        delayed = push.not_before > 0 and push.not_before > self._clock.wall()
        if delayed or (push.collapse_id is not None and self._has_somewhere_to_go(push)):
            self.offline.displace(push)
        if delayed:
            self.seq += 1
            self._delay.hold(Held(self.seq, push, State.DELAYED))
            state = State.DELAYED
        else:
            state = self._place(push)
        self._ledger.enter(state)
        if self.engine is not None:
            self.engine.local.check_out(push.token)
        return state

    def place(self, push: Push) -> State:
        """Bring a push that is due to its device, which is here. The caller writes the ledger."""
        if push.collapse_id is not None:
            self.offline.displace(push)
        return self._place(push)

    def _has_somewhere_to_go(self, push: Push) -> bool:
        """Whether a push will not just be discarded, and so may replace another."""
        return push.storable or self._directory.get(push.token) is not None

    def _place(self, push: Push, *, promised: bool = False) -> State:
        """Bring a push that is due to its device or into the store."""
        if push.wants_ack and self.offline.is_full(push.token):
            return State.DROPPED_MAILBOX_FULL
        self.seq += 1
        numbered = Numbered(self.seq, push, promised or push.wants_ack)
        connection = self._directory.get(push.token)
        if connection is not None:
            try:
                return self.delivery.deliver(connection, numbered)
            except DeviceGone:
                pass
        return self.offline.keep(numbered)

    def _release(self, held: Held) -> None:
        """A held push is due."""
        push = held.push
        self.offline.release(held)
        is_late = push.expired(self._clock.wall())
        state = State.EXPIRED if is_late else self._place(push, promised=True)
        self._ledger.move(State.DELAYED, state)

    def _resend(self, held: Held) -> None:
        """No acknowledgement came in time: send the push anew, or wait for its device."""
        self.offline.release(held)
        self._ledger.move(State.AWAITING_ACK, self._place(held.push))
        if self.engine is not None:
            self.engine.local.check_out(held.push.token)

    # -- one push for all

    async def broadcast(self, push: Push) -> Counter[State]:
        """Push to every device connected now; `push.token` does not matter.

        Each of them counts as one accepted push, also where the device proves to be gone.
        Cancelled, it has reached some of them.
        """
        delivered = 0
        queued: list[Push] = []
        states: list[State] = []
        connections = self._directory.connections()
        for start in range(0, len(connections), SLICE):
            some = connections[start : start + SLICE]
            delivered += self._broadcast_slice(push, some, queued, states)
            await trio.lowlevel.checkpoint()
        if queued:
            states = await self.committer.committed(queued, states)
        return Counter(states) + Counter({State.DELIVERED_LIVE: delivered})

    def _broadcast_slice(
        self, push: Push, connections: list[Connection], queued: list[Push], states: list[State]
    ) -> int:
        """Encode once per transport and write to each device; the hot loop of a fan-out.

        Returns to how many it was delivered; adds the pushes of those who did not take it.
        """

        def route(token: str) -> None:
            queued.append(msgspec.structs.replace(push, token=token))
            states.append(self._way()(queued[-1]))

        # What each of them has waiting may be another's to replace; and what befalls a push on
        # demand befalls each by itself.
        one_by_one = push.collapse_id is not None or self._faults.touches_routes
        # A number per slice, so that pushes routed between two slices keep their order.
        self.seq += 1
        everyones = Numbered(self.seq, push)
        remember = push.storable
        frames: dict[Transport, bytes] = {}
        delivered = 0
        for connection in connections:
            if one_by_one:
                route(connection.token)
                continue
            frame = frames.get(connection.transport)
            if frame is None:
                frame = frames[connection.transport] = connection.transport.frame(self.seq, push)
            if connection.mailbox is None:
                try:
                    taken = connection.send(frame)
                except WOULD_BLOCK:
                    taken = 0
                except OSError:
                    self.delivery.disconnect(connection)
                    route(connection.token)  # it may have come back
                    continue
                if taken == len(frame):
                    delivered += 1
                    if remember:
                        self.history.add(connection.token, everyones)
                    continue
                rest = frame[taken:]
            else:
                rest = frame
            own = msgspec.structs.replace(push, token=connection.token)
            numbered = Numbered(self.seq, own, own.wants_ack)
            state = self.delivery.queue(connection, numbered, rest)
            self._ledger.enter(state)
            queued.append(own)
            states.append(state)
        self._ledger.enter(State.DELIVERED_LIVE, delivered)
        return delivered

    # -- devices

    def attach(
        self,
        connection: Connection,
        cursor: Cursor | None = None,
        missed: Missed | None = None,
        *,
        opening: bytes = b"",
    ) -> int:
        """A device has come: it replaces an older connection and gets what waits for it.

        `cursor` is the last event it has: then it is told whether what it missed since is all
        here, and gets that first; `missed` is that, where others had a part in it.
        `opening` goes before everything. Returns the mark of the history at which it came.
        """
        older = self._directory.attach(connection)
        if older is not None:
            self.delivery.disconnect(older, REPLACED)
        self.seq += 1
        mark = self.history.mark
        told, replay = b"", list[Numbered]()
        if cursor is not None:
            told, replay = self._greet(connection, cursor, mark, missed)
        for held in self._store.of(connection.token, State.AWAITING_ACK):
            if self.offline.take(held, State.STORED):
                self.offline.hold(Held(held.seq, held.push))
        # None of this waits: what is pushed from now on comes after it, and nothing twice.
        self.delivery.catch_up(connection, self.seq, opening + told, replay)
        return mark

    def resume(
        self,
        connection: Connection,
        cursor: Cursor,
        *,
        before: int,
        missed: Missed | None = None,
    ) -> None:
        """A device that is connected says what it has: it gets what it missed before it came.

        What it was sent since that mark, it has been sent on this connection; `missed` is as in
        `attach`.
        """
        self.seq += 1
        told, replay = self._greet(connection, cursor, before, missed)
        self.delivery.replay(connection, self.seq, told, replay)

    def _greet(
        self, connection: Connection, cursor: Cursor, before: int, missed: Missed | None
    ) -> tuple[bytes, list[Numbered]]:
        if cursor.epoch == self.epoch and cursor.seq <= self.seq:
            self.acks.acknowledge_until(connection.token, cursor.seq)
        if missed is None:
            missed = self._missed(connection.token, cursor, before)
        sync_result = connection.transport.sync_result
        return sync_result(cursor.seq, self.seq, recovered=missed.complete), missed.events

    def _missed(self, token: str, cursor: Cursor, before: int) -> Missed:
        """What a device has been sent here since `cursor`, up to which it has everything."""
        if cursor.epoch != self.epoch or cursor.seq > self.seq:
            return Missed([], complete=False)
        return self.history.since(token, cursor.seq, self._clock.wall(), before=before)

    # -- users

    def mark_read(self, token: str, notification_id: str) -> None:
        """The user has read it on one device: tell the others, also those not there now."""
        if self.engine is not None:
            self.engine.mark_read(token, notification_id)
            return
        expires_at = self._clock.wall() + self.default_ttl_s
        for push in read_marks(self.users.others(token), notification_id, expires_at):
            self.route(push)

    # -- what is held

    def is_held(self, push_id: str) -> bool:
        """Whether a push with this id is delayed, stored, or awaits its acknowledgement."""
        return bool(self._store.with_id(push_id))

    def recall(self, push_id: str) -> int:
        """End the held pushes with this id; returns how many there were."""
        return sum(self.offline.take(h, State.RECALLED) for h in self._store.with_id(push_id))

    def stored(self, token: str) -> list[Push]:
        """The pushes held for a token that are due."""
        return [held.push for held in self._store.of(token, State.STORED, State.AWAITING_ACK)]

    def delayed(self, token: str) -> int:
        """How many pushes held for a token are not due yet."""
        return len(self._store.of(token, State.DELAYED))

    def check_room(self, push: Push) -> None:
        """Raise Refusal when the push would have to be held and cannot be."""
        self.committer.check(push)
        if len(self._store) < self._store_total:
            return
        absent = self._directory.get(push.token) is None
        if push.not_before > 0 or (absent and push.storable):
            detail = f"{self._store_total} pushes are held, the most this node takes"
            raise Refusal(SERVICE_UNAVAILABLE, detail, retry_after_s=ROOM_RETRY_AFTER_S)

    async def commit(self) -> None:
        """Wait until what was done so far outlives the process, if it is to; or Refusal."""
        await self.committer.commit()

    def abandon(self) -> int:
        """The node stops. Without a journal what it holds is lost, and said to be: how much."""
        return self.offline.abandon()

    def unregister(self, token: str, at_ms: int | None = None) -> int:
        """Refuse the token from now on, drop its device, recall what waits for it.

        Returns since when it is unregistered, in epoch milliseconds.
        """
        at_ms = int(self._clock.wall() * 1000) if at_ms is None else at_ms
        since = self._directory.unregister(token, at_ms)
        self._journal.unregister(token, since)
        connection = self._directory.get(token)
        if connection is not None:
            self.delivery.disconnect(connection, UNREGISTERED)
        for held in self._store.of(token):
            self.offline.take(held, State.RECALLED)
        self.history.forget(token)
        self.users.remove(token)
        return since

    def register(self, token: str) -> None:
        """Accept the token again."""
        self._directory.register(token)
        self._journal.register(token)

    def held(self) -> dict[State, int]:
        """What really lies in the rooms, for the books to be compared with."""
        return {**self._store.counts, **self.delivery.held()}
