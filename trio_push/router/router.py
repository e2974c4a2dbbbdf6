"""Where a push goes, and when: held until due, written to its device, stored or let go.

It takes submissions out of the push channel, all that waits at once, and settles each when
every push of it is where the reply promises. It never waits for a device.
"""

from __future__ import annotations

import secrets
from collections import Counter

import msgspec.structs
import trio

from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.devices.connection import Connection, Transport
from trio_push.devices.delivery import Delivery, DeviceGone
from trio_push.errors import Refusal
from trio_push.mailbox.offline import Offline
from trio_push.mailbox.store import Held, Store
from trio_push.push import Numbered, Push, State
from trio_push.router.channel import Submission
from trio_push.router.delay import Delay
from trio_push.router.directory import Directory
from trio_push.sockets import WOULD_BLOCK
from trio_push.watch.ledger import Ledger
from trio_push.wire.close_codes import REPLACED, UNREGISTERED
from trio_push.wire.reasons import SERVICE_UNAVAILABLE

#: pushes routed, or devices written to in a broadcast, before other tasks get a turn: 2 ms
SLICE = 200
#: seconds after which a provider may find room again
ROOM_RETRY_AFTER_S = 30


class Router:
    """Routes the pushes of one node. `run` owns every task that it starts."""

    def __init__(
        self, settings: ServeSettings, clock: Clock, ledger: Ledger, directory: Directory
    ) -> None:
        #: names this store's lifetime in event ids: another epoch, another sequence
        self.epoch = secrets.token_hex(4)
        self._store_total = settings.store_total
        self._clock = clock
        self._ledger = ledger
        self._directory = directory
        self._store = Store()
        self._offline = Offline(self._store, ledger, per_token=settings.store_per_token)
        self._delay = Delay(clock, self._offline, self._release)
        self._seq = 0
        self.delivery = Delivery(
            clock=clock,
            ledger=ledger,
            directory=directory,
            offline=self._offline,
            write_timeout_s=settings.write_timeout_s,
            mailbox_capacity=settings.mailbox_capacity,
        )

    async def run(
        self,
        submissions: trio.MemoryReceiveChannel[Submission],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Route until the push channel is closed, then go on releasing and draining.

        Ends by being cancelled.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.delivery.run)
            await nursery.start(self._delay.run)
            task_status.started()
            await self._route_all(submissions)

    async def _route_all(self, submissions: trio.MemoryReceiveChannel[Submission]) -> None:
        async for submission in submissions:
            routed = self._settle(submission)
            # All that waits now is routed in this turn: a turn per submission would cost more
            # than routing it.
            while True:
                try:
                    routed += self._settle(submissions.receive_nowait())
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
                if routed >= SLICE:
                    routed = 0
                    await trio.lowlevel.checkpoint()

    def _settle(self, submission: Submission) -> int:
        submission.settle([self.route(push) for push in submission.pushes])
        return len(submission.pushes)

    # -- one push

    def route(self, push: Push) -> State:
        """Accept a push: where it is now. Never blocks."""
        delayed = push.not_before > 0 and push.not_before > self._clock.wall()
        if delayed or push.collapse_id is not None:
            self._offline.displace(push)
        if delayed:
            self._seq += 1
            self._delay.hold(Held(self._seq, push, delayed=True))
            state = State.DELAYED
        else:
            state = self._place(push)
        self._ledger.enter(state)
        return state

    def _place(self, push: Push) -> State:
        """Bring a push that is due to its device or into the store."""
        self._seq += 1
        numbered = Numbered(self._seq, push)
        connection = self._directory.get(push.token)
        if connection is not None:
            try:
                return self.delivery.deliver(connection, numbered)
            except DeviceGone:
                pass
        return self._offline.keep(numbered)

    def _release(self, held: Held) -> None:
        """A held push is due."""
        push = held.push
        self._store.remove(held)
        state = State.EXPIRED if push.expired(self._clock.wall()) else self._place(push)
        self._ledger.move(State.DELAYED, state)

    # -- one push for all

    async def broadcast(self, push: Push) -> Counter[State]:
        """Push to every device connected now; `push.token` does not matter.

        Each of them counts as one accepted push. Cancelled, it has reached some of them.
        """
        counts: Counter[State] = Counter()
        connections = self._directory.connections()
        for start in range(0, len(connections), SLICE):
            self._broadcast_slice(push, connections[start : start + SLICE], counts)
            await trio.lowlevel.checkpoint()
        return counts

    def _broadcast_slice(
        self, push: Push, connections: list[Connection], counts: Counter[State]
    ) -> None:
        """Encode once per transport and write to each device; the hot loop of a fan-out."""
        # A number per slice, so that pushes routed between two slices keep their order.
        self._seq += 1
        frames: dict[Transport, bytes] = {}
        delivered = 0
        for connection in connections:
            frame = frames.get(connection.transport)
            if frame is None:
                frame = frames[connection.transport] = connection.transport.frame(self._seq, push)
            if connection.mailbox is None:
                try:
                    taken = connection.send(frame)
                except WOULD_BLOCK:
                    taken = 0
                except OSError:
                    self.delivery.disconnect(connection)
                    continue
                if taken == len(frame):
                    delivered += 1
                    continue
                rest = frame[taken:]
            else:
                rest = frame
            own = Numbered(self._seq, msgspec.structs.replace(push, token=connection.token))
            state = self.delivery.queue(connection, own, rest)
            self._ledger.enter(state)
            counts[state] += 1
        self._ledger.enter(State.DELIVERED_LIVE, delivered)
        counts[State.DELIVERED_LIVE] += delivered

    # -- devices

    def attach(self, connection: Connection) -> None:
        """A device has come: it replaces an older connection and gets what is stored for it."""
        older = self._directory.get(connection.token)
        if older is not None:
            self.delivery.disconnect(older, REPLACED)
        self._directory.attach(connection)
        self._seq += 1
        self.delivery.catch_up(connection, self._seq)

    # -- what is held

    def recall(self, push_id: str) -> int:
        """End the held pushes with this id; returns how many there were."""
        return sum(self._offline.take(h, State.RECALLED) for h in self._store.with_id(push_id))

    def stored(self, token: str) -> list[Push]:
        """The pushes held for a token that are due."""
        return [held.push for held in self._store.of(token) if not held.delayed]

    def delayed(self, token: str) -> int:
        """How many pushes held for a token are not due yet."""
        return sum(held.delayed for held in self._store.of(token))

    def check_room(self, push: Push) -> None:
        """Raise Refusal when the push would have to be held and no more may be."""
        if len(self._store) < self._store_total:
            return
        if push.not_before > 0 or self._directory.get(push.token) is None:
            detail = f"{self._store_total} pushes are held, the most this node takes"
            raise Refusal(SERVICE_UNAVAILABLE, detail, retry_after_s=ROOM_RETRY_AFTER_S)

    def abandon(self) -> int:
        """The node stops and nobody will deliver what it holds: it is lost, and said to be."""
        everything = self._store.everything()
        return sum(self._offline.take(held, State.LOST) for held in everything)

    def unregister(self, token: str) -> int:
        """Refuse the token from now on, drop its device, recall what waits for it.

        Returns since when it is unregistered, in epoch milliseconds.
        """
        since = self._directory.unregister(token, int(self._clock.wall() * 1000))
        connection = self._directory.get(token)
        if connection is not None:
            self.delivery.disconnect(connection, UNREGISTERED)
        for held in self._store.of(token):
            self._offline.take(held, State.RECALLED)
        return since

    def register(self, token: str) -> None:
        """Accept the token again."""
        self._directory.register(token)

    def held(self) -> dict[State, int]:
        """What really lies in the rooms, for the books to be compared with."""
        return {
            State.DELAYED: self._store.delayed,
            State.STORED: self._store.stored,
            **self.delivery.held(),
        }
