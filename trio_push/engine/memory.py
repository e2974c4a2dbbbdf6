"""What the nodes share, when they are in one process: the contract in plain words.

For tests, and to read next to the Lua scripts. One loop runs all nodes, so that whatever is
done without giving way is done at one moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from zlib import crc32

import trio

from trio_push.engine.contract import (
    ANY_DELAYED,
    NO_ONE,
    NOTE_AGAIN_S,
    Claim,
    Drop,
    HeldRow,
    RequestId,
    Stored,
    Swept,
    Taken,
    Written,
)
from trio_push.engine.memory_nodes import MemoryNodes
from trio_push.push import State

#: in place of the node that is to answer a request
ANSWERED = "-"


class MemoryShared(MemoryNodes):
    """The whole contract."""

    partitions = 2
    answer_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._owners: dict[str, str] = {}
        #: who let go of a token last
        self._left: dict[str, str] = {}
        #: rows that were taken from a node
        self._taken: defaultdict[str, set[str]] = defaultdict(set)
        self._rows: defaultdict[str, dict[str, HeldRow]] = defaultdict(dict)
        #: when a row is to be looked at
        self._at: dict[tuple[str, str], float] = {}
        self._gone: dict[str, int] = {}
        self._user: dict[str, str] = {}
        self._devices: defaultdict[str, list[str]] = defaultdict(list)
        #: until when each id is known, and who is to answer it
        self._ids: dict[str, tuple[float, str, RequestId]] = {}

    # -- tokens

    async def claim(
        self,
        node: str,
        tokens: Sequence[str],
        *,
        void: Collection[str],
        renew: bool,
        now: float,
        silent: Mapping[str, str] = NO_ONE,
    ) -> list[Claim]:
        await self._reach()
        return [
            self._claim(node, token, silent.get(token), void, renew=renew, now=now)
            for token in tokens
        ]

    def _claim(
        self,
        node: str,
        token: str,
        silent: str | None,
        void: Collection[str],
        *,
        renew: bool,
        now: float,
    ) -> Claim:
        older = self._living_owner(token, {node, *void})
        if older is not None and renew:
            return Claim(older, refused=True)
        rows = [row for row in self._rows[token].values() if row.state is not State.DELAYED]
        for row in rows:
            self._take_from_void(row, {*void} - {node})
            if silent is not None:
                self._taken[silent].add(row.uid)
            self._taken[node].discard(row.uid)
            self._at[token, row.field] = row.push.expires_at if row.push.storable else now + 60
        last = self._owners.get(token, self._left.get(token))
        self._owners[token] = node
        rows.sort(key=lambda row: row.order)
        return Claim(older, rows=tuple(rows), last=None if last == node else last)

    async def let_go(self, node: str, tokens: Sequence[str], *, now: float) -> None:
        await self._reach()
        for token in tokens:
            if self._owners.get(token) == node:
                self._left[token] = self._owners.pop(token)

    async def owners(self, tokens: Sequence[str]) -> list[str | None]:
        await self._reach()
        return [self._owners.get(token) for token in tokens]

    def _living_owner(self, token: str, void: Collection[str]) -> str | None:
        owner = self._owners.get(token)
        return None if owner in void else owner

    def _take_from_void(self, row: HeldRow, void: Collection[str]) -> None:
        """A node that cannot be asked may still have the row in its memory: it is to learn."""
        owner = self._owners.get(row.push.token)
        if owner is not None and owner in void and row.state is not State.DELAYED:
            self._taken[owner].add(row.uid)

    # -- rows

    async def store(
        self,
        node: str,
        rows: Sequence[HeldRow],
        *,
        void: Collection[str],
        per_token: int,
        force: bool,
        now: float,
    ) -> list[Stored]:
        await self._reach()
        return [self._store(node, row, void, per_token, force=force) for row in rows]

    def _store(
        self, node: str, row: HeldRow, void: Collection[str], per_token: int, *, force: bool
    ) -> Stored:
        owner = self._living_owner(row.push.token, void)
        if owner is not None and not force:
            return Stored(None, owner)
        if row.state is not State.DELAYED and not row.push.storable:
            return Stored(State.DISCARDED)
        old = self._rows[row.push.token].get(row.field)
        if old is None and len(self._rows[row.push.token]) >= per_token:
            return Stored(State.DROPPED_MAILBOX_FULL)
        is_other = old is not None and old.uid != row.uid
        if old is not None and is_other:
            self._take_from_void(old, {*void} - {node})
        self._put(row, row.push.expires_at)
        return Stored(row.state, replaced=is_other)

    def _put(self, row: HeldRow, at: float) -> None:
        self._rows[row.push.token][row.field] = row
        due = row.state is State.DELAYED
        self._at[row.push.token, row.field] = row.push.not_before if due else at

    def _drop(self, row: HeldRow) -> None:
        del self._rows[row.push.token][row.field]
        del self._at[row.push.token, row.field]

    async def write(
        self,
        node: str,
        drops: Sequence[Drop],
        rows: Sequence[HeldRow],
        *,
        void: Collection[str],
        now: float,
    ) -> Written:
        await self._reach()
        replaced = 0
        taken = self._taken[node] & {*(drop.uid for drop in drops), *(row.uid for row in rows)}
        for token, field, uid in drops:
            found = self._rows[token].get(field)
            if found is None:
                continue
            is_any = uid == ANY_DELAYED and found.state is State.DELAYED
            if found.uid == uid or is_any:
                self._drop(found)
                replaced += is_any
        for row in rows:
            old = self._rows[row.push.token].get(row.field)
            replaced += old is not None and old.state is State.DELAYED
            self._put(row, row.push.expires_at if row.push.storable else now + 60)
        moved = {row.push.token: self._living_owner(row.push.token, void) for row in rows}
        return Written(
            replaced,
            tuple((token, o) for token, o in moved.items() if o is not None and o != node),
            tuple(taken),
        )

    async def sweep(
        self, partitions: Sequence[int], *, void: Collection[str], now: float, limit: int
    ) -> Swept:
        await self._reach()
        here = [key for key, at in self._at.items() if at <= now and self._is_in(key, partitions)]
        here = sorted(here, key=self._at.__getitem__)[:limit]
        expired = discarded = 0
        due: list[tuple[str, str]] = []
        for token, field in here:
            row, owner = self._rows[token][field], self._living_owner(token, void)
            is_delayed = row.state is State.DELAYED
            if row.push.expired(now):
                self._take_from_void(row, void)
                self._drop(row)
                expired += is_delayed or owner is None
            elif owner is None and not row.push.storable:
                self._take_from_void(row, void)
                self._drop(row)
                discarded += 1
            else:
                self._put(row._replace(state=State.STORED) if is_delayed else row, 0)
                self._at[token, field] = (
                    row.push.expires_at if owner is None else now + NOTE_AGAIN_S
                )
                due += [] if owner is None else [(token, owner)]
        return Swept(expired, discarded, tuple(due), more=len(here) == limit)

    def _is_in(self, key: tuple[str, str], partitions: Collection[int]) -> bool:
        return crc32(key[0].encode()) % self.partitions in partitions

    async def rows(self, tokens: Sequence[str]) -> list[list[HeldRow]]:
        await self._reach()
        return [sorted(self._rows[token].values(), key=lambda row: row.order) for token in tokens]

    async def take(self, push_id: str, token: str | None, *, void: Collection[str]) -> Taken:
        await self._reach()
        rows = [row for rows in self._rows.values() for row in rows.values()]
        return self._take(
            [r for r in rows if r.push.id == push_id and token in (None, r.push.token)], void
        )

    def _take(self, rows: Sequence[HeldRow], void: Collection[str]) -> Taken:
        owners = set()
        for row in rows:
            owner = self._living_owner(row.push.token, void)
            if owner is None or row.state is State.DELAYED:
                self._take_from_void(row, void)
                self._drop(row)
            else:
                owners.add(owner)
        left = sum(row.push.token in self._rows and self._is_held(row) for row in rows)
        return Taken(len(rows) - left, frozenset(owners))

    def _is_held(self, row: HeldRow) -> bool:
        return self._rows[row.push.token].get(row.field) is row

    # -- tokens that get no pushes, and users

    async def unregister(self, token: str, at_ms: int, *, void: Collection[str]) -> Taken:
        await self._reach()
        self._gone.setdefault(token, at_ms)
        owner, rows = self._living_owner(token, void), list(self._rows[token].values())
        taken = [row for row in rows if owner is None or row.state is State.DELAYED]
        for row in rows:
            self._take_from_void(row, void)
            self._drop(row)
        return Taken(len(taken), frozenset() if owner is None else frozenset({owner}))

    async def register(self, token: str) -> None:
        await self._reach()
        self._gone.pop(token, None)

    async def unregistered(self) -> dict[str, int]:
        await self._reach()
        return dict(self._gone)

    async def enrol(self, user: str, token: str, *, per_user: int) -> bool:
        await self._reach()
        if self._user.get(token) == user:
            return True
        if len(self._devices[user]) >= per_user:
            return False
        await self.leave_user(token)
        self._user[token] = user
        self._devices[user].append(token)
        return True

    async def leave_user(self, token: str) -> None:
        await self._reach()
        user = self._user.pop(token, None)
        if user is not None:
            self._devices[user].remove(token)

    async def devices(self, user: str) -> list[str]:
        await self._reach()
        return list(self._devices[user])

    async def user_of(self, token: str) -> str | None:
        await self._reach()
        return self._user.get(token)

    # -- ids of requests

    async def take_ids(
        self, node: str, ids: Sequence[RequestId], *, void: Collection[str], hold_s: float
    ) -> list[RequestId | None]:
        await self._reach()
        now, found = trio.current_time(), []
        for each in ids:
            until, holder, known = self._ids.get(each.id, (0.0, "", each))
            is_free = until <= now or holder in {node, *void}
            if is_free:
                self._ids[each.id] = now + hold_s, node, each
            found.append(None if is_free else known)
        return found

    async def answer_ids(self, ids: Sequence[RequestId], *, keep_s: float) -> None:
        await self._reach()
        for each in ids:
            if each.answer is None:
                self._ids.pop(each.id, None)
            else:
                self._ids[each.id] = trio.current_time() + keep_s, ANSWERED, each
