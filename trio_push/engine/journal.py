"""The journal of a node whose held pushes are shared: the rows of the tokens that it owns.

What the node's memory holds for a device is written here too, so that another node has it when
the device comes there, or this one dies. Nothing is read at the start: rows come with the
devices. Made with the engine, run by the router.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from trio_push.clock import Clock
from trio_push.engine.contract import ANY_DELAYED, NOT_YET, Drop, HeldRow, Shared
from trio_push.engine.members import Members
from trio_push.errors import StoreFailed
from trio_push.mailbox.group_commit import GroupCommit
from trio_push.mailbox.journal import Row
from trio_push.push import Push, State

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})  # Any: empty, it is a mapping to anything


class _Changes:
    """The last word on each row, by token and uid."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], Drop | HeldRow] = {}

    def follow(self, failed: _Changes) -> None:
        self.rows = failed.rows | self.rows


class SharedJournal:
    """A journal among what is shared. Numbers follow the clock, so that rows have an order."""

    durable = True
    #: the epoch is that of the process
    floor = 0

    def __init__(self, shared: Shared, members: Members, clock: Clock) -> None:
        self._shared = shared
        self._members = members
        self._clock = clock
        self.epoch = members.name
        self.seq = int(clock.wall() * 1_000_000)
        #: number and token → uid and place of the row
        self._kept: dict[tuple[int, str], tuple[str, str]] = {}
        #: token and uid of each of them, and of those whose end may not have been read yet
        self._uids: set[tuple[str, str]] = set()
        self._ended: set[tuple[str, str]] = set()
        self._commits = GroupCommit(_Changes, self._write)
        self.commit = self._commits.commit
        self.run = self._commits.run
        #: told of tokens that another node owns by now, for whom there are rows
        self.on_moved: Callable[[Sequence[tuple[str, str]]], None] = lambda moved: None
        #: rows that another node took over before this one could write what it did with them
        self._taken: set[str] = set()
        #: told how many of them there are more by now
        self.on_taken: Callable[[int], None] = lambda taken: None
        #: told how many delayed pushes newer ones have replaced
        self.on_replaced: Callable[[int], None] = lambda replaced: None

    @property
    def recorded(self) -> int:
        return self._commits.recorded

    @property
    def failure(self) -> str | None:
        return self._commits.failure or self._members.failure

    # -- what earlier runs left is nobody's yet

    def rows(self) -> Iterator[Row]:
        return iter(())

    def unregistered(self) -> Mapping[str, int]:
        return _NONE

    def users(self) -> Mapping[str, str]:
        return _NONE

    # -- what happens now

    def keep(self, seq: int, push: Push, state: State) -> None:
        own = f"{self.epoch}:{seq}"
        known = self._kept.get((seq, push.token))
        # What only waits may get another number, at this node or another, before it is sent.
        number = own if state is State.AWAITING_ACK else NOT_YET
        row = HeldRow(own if known is None else known[0], push, state, number)
        if known is None:
            self._know(seq, push.token, row)
        self._record(push.token, row.uid, row)

    def drop(self, seq: int, token: str) -> None:
        known = self._kept.pop((seq, token), None)
        if known is not None:
            uid, field = known
            self._record(token, uid, Drop(token, field, uid))

    def vacate(self, push: Push) -> None:
        """A push was accepted in whose slot a delayed one may lie, which then goes."""
        field = HeldRow("", push, State.DELAYED, "").field
        self._record(push.token, ANY_DELAYED, Drop(push.token, field, ANY_DELAYED), field)

    def adopt(self, seq: int, row: HeldRow) -> None:
        """A row that was there is held in memory too, under this number."""
        self._know(seq, row.push.token, row)

    def knows(self, row: HeldRow) -> bool:
        """Whether it is in this node's memory, or was written from it."""
        return (row.push.token, row.uid) in self._uids

    def forget(self, seq: int, token: str) -> None:
        """It is not in memory any more; the row stays, for whoever owns the token next."""
        known = self._kept.pop((seq, token), None)
        if known is not None:
            self._uids.discard((token, known[0]))

    def unregister(self, token: str, at_ms: int) -> None:
        """The engine writes down who is unregistered, and whose a device is."""

    def register(self, token: str) -> None:
        """See `unregister`."""

    def enrol(self, user: str, token: str) -> None:
        """See `unregister`."""

    def leave(self, token: str) -> None:
        """See `unregister`."""

    def advance(self, seq: int) -> None:
        """The next node has another name, and so other numbers."""

    def _know(self, seq: int, token: str, row: HeldRow) -> None:
        self._kept[seq, token] = row.uid, row.field
        self._uids.add((token, row.uid))
        self._taken.discard(row.uid)

    def _record(self, token: str, uid: str, change: Drop | HeldRow, field: str = "") -> None:
        self._commits.record().rows[token, uid, field] = change

    async def _write(self, changes: _Changes) -> None:
        drops = [change for change in changes.rows.values() if isinstance(change, Drop)]
        rows = [change for change in changes.rows.values() if isinstance(change, HeldRow)]
        try:
            written = await self._shared.write(
                self.epoch, drops, rows, void=self._members.void, now=self._clock.wall()
            )
        except StoreFailed as failed:
            self._members.failed(failed)
            raise
        # A row that goes may still be in the answer to a claim: it is known for one batch more.
        self._uids -= self._ended
        self._ended = {(drop.token, drop.uid) for drop in drops}
        self._note_taken(written.taken)
        self.on_replaced(written.replaced)
        self.on_moved(written.moved)

    def _note_taken(self, uids: Collection[str]) -> None:
        """Each once, however often it is written: it is as if it were another's from then on."""
        more = set(uids) - self._taken
        self._taken |= more
        self.on_taken(len(more))
