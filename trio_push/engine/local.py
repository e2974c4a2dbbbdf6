"""What the engine does in the rooms of its own node.

Pushes for devices that are here are placed by the router as on a lone node. What is held for a
device comes into this node's memory when the device does, and leaves it when the device goes:
then it lies among the shared rows only, until somebody owns the token again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from trio_push.clock import Clock
from trio_push.devices.connection import Connection
from trio_push.engine.contract import HeldRow
from trio_push.engine.forwarder import Item, Parcel
from trio_push.engine.journal import SharedJournal
from trio_push.mailbox.offline import Offline
from trio_push.push import Push, State
from trio_push.router.committer import Committer
from trio_push.router.directory import Directory
from trio_push.watch.ledger import Ledger
from trio_push.wire.close_codes import REPLACED
from trio_push.wire.cursor import Cursor

if TYPE_CHECKING:
    from trio_push.engine.forwarder import Forwarder
    from trio_push.engine.tokens import Tokens
    from trio_push.router.router import Router


class Arrival:
    """Pushes that came together, and who is told where they got to."""

    __slots__ = ("pushes", "settle")

    def __init__(self, pushes: Sequence[Push], settle: Callable[[list[State]], None]) -> None:
        self.pushes = pushes
        self.settle = settle


class Local:
    """This node's side of the engine. Never waits."""

    forwarder: Forwarder
    tokens: Tokens

    def __init__(
        self,
        router: Router,
        offline: Offline,
        committer: Committer,
        journal: SharedJournal,
        directory: Directory,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._router = router
        self._offline = offline
        self._committer = committer
        self._journal = journal
        self._directory = directory
        self._ledger = ledger
        self._clock = clock

    def next_number(self) -> int:
        self.advance(self._clock.wall())
        self._router.seq += 1
        return self._router.seq

    def advance(self, now: float) -> None:
        """Numbers of all nodes keep the order of time: to be called before any is given."""
        self._router.seq = max(self._router.seq, int(now * 1_000_000))

    # -- pushes

    def submit(
        self,
        pushes: Sequence[Push],
        enter: Callable[[State], None],
        settle: Callable[[list[State]], None],
        *,
        promised: bool = False,
    ) -> None:
        """Bring pushes to their devices, or towards them; `enter` writes the ledger's line.

        Those that were `promised` by another node stay here while they cannot be written down.
        """
        if not pushes:
            settle([])
            return
        recorded = self._journal.recorded

        def finish(outcomes: list[State]) -> None:
            if self._journal.recorded == recorded:
                settle(outcomes)
            else:
                self._committer.settle(Arrival(pushes, settle), outcomes, promised)

        parcel = Parcel(pushes, enter, finish)
        now = self._clock.wall()
        self.advance(now)
        elsewhere = []
        for place, push in enumerate(pushes):
            item = Item(parcel, place)
            if push.not_before > now or self._directory.get(push.token) is None:
                elsewhere.append(item)
            else:
                self._place(item)
        if elsewhere:
            self.forwarder.forward(elsewhere)

    def bring(self, item: Item) -> None:
        """A push that is due: to its device, if that is here (still)."""
        if self._directory.get(item.push.token) is None:
            self.forwarder.forward([item])
        else:
            self._place(item)

    def _place(self, item: Item) -> None:
        push = item.push
        then = self._router.faulty.befall_device(push)
        if self._directory.get(push.token) is None:
            self.forwarder.forward([item])
            return
        if push.collapse_id is not None:
            self._journal.vacate(push)
        state = self._router.place(push)
        item.put(state)
        then(state)
        self.check_out(push.token)

    async def broadcast(self, push: Push) -> Counter[State]:
        """See `Router.broadcast`."""
        self.advance(self._clock.wall())
        return await self._router.broadcast(push)

    # -- devices

    def check_out(self, token: str) -> None:
        """The device may have proved to be gone: then nothing is held for it here."""
        if self._directory.get(token) is None:
            self.evict(token)

    def evict(self, token: str) -> None:
        """The token is not this node's any more, and what is held for it is not either."""
        is_unregistered = self._directory.unregistered_at_ms(token) is not None
        for held in self._offline.store.of(token):
            if is_unregistered:
                self._offline.take(held, State.RECALLED)
            elif held.push.storable:
                self._offline.hand_over(held)
                self._journal.forget(held.seq, token)
            else:
                self._offline.take(held, State.DISCARDED)
        self.tokens.left(token)

    def adopt(self, token: str, rows: Sequence[HeldRow], cursor: Cursor | None = None) -> int:
        """Hold what is held for a token that is this node's now; returns how many are new.

        With the cursor of its device, what that has already is acknowledged by it.
        """
        now = self._clock.wall()
        adopted = 0
        for row in rows:
            if self._journal.knows(row):
                continue
            seq = self.next_number()
            self._journal.adopt(seq, row)
            state = State.STORED
            if cursor is not None and _has(cursor, row):
                state = State.ACKNOWLEDGED
                self._router.acks.tell(row.push.id)
            elif row.push.expired(now):
                state = State.EXPIRED
            elif self._offline.store.displaced_by(row.push) is not None:
                state = State.COALESCED
            self._ledger.take_over(state)
            if state is State.STORED:
                self._offline.adopt(seq, row.push)
                adopted += 1
            else:
                self._journal.drop(seq, token)
        return adopted

    def deliver(self, connection: Connection) -> None:
        """Something new is held for a device that is here."""
        if connection.mailbox is None:
            self._router.delivery.catch_up(connection, 0)

    def displace(self, connection: Connection) -> None:
        """The device has connected to another node."""
        self._router.delivery.disconnect(connection, REPLACED)

    def give_up(self, token: str) -> None:
        """A device has gone to another node."""
        connection = self._directory.get(token)
        if connection is not None:
            self.displace(connection)


def _has(cursor: Cursor, row: HeldRow) -> bool:
    """Whether a device has the event with the number of this row."""
    node, _, seq = row.number.partition(":")
    return node == cursor.epoch and int(seq) <= cursor.seq
