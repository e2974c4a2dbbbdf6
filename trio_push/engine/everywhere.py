"""What is asked of the server as a whole, whichever node is asked: recalling, users, broadcasts.

On a node that is alone it is the router that answers. Among several it is the router, what is
shared, and where need be the other nodes. Called by the API and by devices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final, NamedTuple

import trio

from trio_push.engine.contract import RequestId, Taken
from trio_push.engine.engine import Answers, Engine
from trio_push.engine.live import Live
from trio_push.engine.messages import (
    Ack,
    Broadcast,
    Counts,
    Expect,
    Inquiry,
    Question,
    Recall,
    Registration,
    Statement,
    encode,
)
from trio_push.errors import Refusal, StoreFailed
from trio_push.push import Push, State
from trio_push.router.router import Router
from trio_push.watch.ledger import Ledger
from trio_push.wire.reasons import SERVICE_UNAVAILABLE, TOO_MANY_DEVICES

#: time that a node has to write to all of its devices: half a minute for a million
BROADCAST_S: Final = 60.0
#: time that a node has to answer a request that has an id, before another may carry it out
HOLD_S: Final = 60.0


class Waiting(NamedTuple):
    """How many pushes wait for a device."""

    stored: int
    delayed: int


class Everywhere:
    """Answers for all nodes. What cannot be reached now raises Refusal(SERVICE_UNAVAILABLE)."""

    def __init__(
        self,
        router: Router,
        ledger: Ledger,
        engine: Engine | None,
        live: Live,
        answers: Answers,
        *,
        per_user: int,
    ) -> None:
        self._router = router
        self._ledger = ledger
        self._engine = engine
        self._live = live
        self._answers = answers
        self._per_user = per_user

    # -- held pushes

    async def recall(self, push_id: str) -> int:
        """End the held pushes with this id; returns how many there were."""
        recalled = self._router.recall(push_id)
        if self._engine is not None:
            void = self._engine.members.void
            with _promised():
                taken = await self._engine.shared.take(push_id, None, void=void)
                recalled += await self._ask_owners(taken.owners, Recall(push_id))
            recalled += self._count(State.RECALLED, taken)
        await self._router.commit()
        return recalled

    async def waiting(self, token: str) -> Waiting:
        """How many pushes are held for a token, due and not due."""
        if self._engine is None:
            return Waiting(len(self._router.stored(token)), self._router.delayed(token))
        await self._router.commit()
        with _promised():
            [rows] = await self._engine.shared.rows([token])
        delayed = sum(row.state is State.DELAYED for row in rows)
        return Waiting(len(rows) - delayed, delayed)

    async def is_held(self, push_id: str, token: str) -> bool:
        """Whether a push with this id is held for a token."""
        if self._engine is None or self._router.is_held(push_id):
            return self._router.is_held(push_id)
        with _promised():
            [rows] = await self._engine.shared.rows([token])
        return any(row.push.id == push_id for row in rows)

    # -- acknowledgements

    async def acknowledge(self, token: str, push_id: str) -> bool:
        """The device has the push; False when nothing with that id awaits its word."""
        if self._router.acks.acknowledge(token, push_id):
            return True
        if self._engine is None:
            return False
        shared, members = self._engine.shared, self._engine.members
        with _promised():
            taken = await shared.take(push_id, token, void=members.void)
            # Its owner may have sent the push just now, and not written it down yet.
            [owner] = await shared.owners([token])
            count = 0
            if owner is not None:
                count = await self._ask_owners(frozenset({owner}), Ack(token, push_id))
        return count + self._count(State.ACKNOWLEDGED, taken) > 0

    @asynccontextmanager
    async def expected(self, push_id: str) -> AsyncIterator[trio.Event]:
        """An event that is set when a push with this id is acknowledged, at whichever node."""
        with self._router.acks.expected(push_id) as event:
            if self._engine is None:
                yield event
                return
            me, nodes = self._engine.members.name, self._engine.members.others
            # Now and not soon: it has to be there before the push is.
            expect = encode([Expect(me, push_id)])
            with _promised():
                await self._engine.shared.send(dict.fromkeys(nodes, expect))
            try:
                yield event
            finally:
                for node in nodes:
                    self._engine.post.tell(node, Expect(me, push_id, is_waiting=False))

    # -- all devices

    async def broadcast(self, push: Push) -> Counter[State]:
        """Push to every device connected now. A node that does not answer in time is left out."""
        if self._engine is None:
            return await self._router.broadcast(push)
        counts: Counter[State] = Counter()

        async def at(node: str) -> None:
            assert self._engine is not None
            reply = await self._engine.post.ask(node, Broadcast(push), BROADCAST_S)
            if isinstance(reply, Counts):
                counts.update({State(state): n for state, n in reply.counts.items()})

        async with trio.open_nursery() as nursery:
            for node in self._engine.members.others:
                nursery.start_soon(at, node)
            counts.update(await self._engine.local.broadcast(push))
        return counts

    # -- tokens and users

    async def unregister(self, token: str) -> int:
        """Refuse the token from now on; returns since when it is so, in epoch milliseconds."""
        since = self._router.unregister(token)
        if self._engine is not None:
            void = self._engine.members.void
            with _promised():
                taken = await self._engine.shared.unregister(token, since, void=void)
                await self._engine.shared.leave_user(token)
            self._count(State.RECALLED, taken)
            self._engine.post.tell_others(Registration(token, since))
        await self._router.commit()
        return since

    async def register(self, token: str) -> None:
        """Accept the token again."""
        self._router.register(token)
        if self._engine is not None:
            with _promised():
                await self._engine.shared.register(token)
            self._engine.post.tell_others(Registration(token))
        await self._router.commit()

    async def enrol(self, user: str, token: str) -> None:
        """The token is the user's from now on. Raises Refusal."""
        if self._engine is None:
            self._router.users.enrol(user, token)
            return
        with _promised():
            if not await self._engine.shared.enrol(user, token, per_user=self._per_user):
                raise Refusal(TOO_MANY_DEVICES)

    async def devices(self, user: str) -> Sequence[str]:
        """The user's devices; none for a user who is not known."""
        if self._engine is None:
            return self._router.users.tokens(user)
        with _promised():
            return await self._engine.shared.devices(user)

    # -- settings, and what any node can be asked

    async def change(self, kind: str, values: Mapping[str, bytes], *, fresh: bool = False) -> int:
        """Change settings of all nodes, also of those that come later: see `Live.change`."""
        with _promised():
            return await self._live.change(kind, values, fresh=fresh)

    async def catch_up(self) -> None:
        """See what other nodes have changed up to now."""
        with _promised():
            await self._live.catch_up()

    async def ask(self, kind: str, body: bytes = b"") -> list[bytes]:
        """What each node answers (`Node.answers`), this one first, without those that do not."""
        heard = [await self._answers[kind](body)]
        if self._engine is None:
            return heard

        async def at(node: str) -> None:
            assert self._engine is not None
            reply = await self._engine.post.ask(node, Inquiry(kind, body))
            if isinstance(reply, Statement):
                heard.append(reply.body)

        await self._engine.members.look()
        async with trio.open_nursery() as nursery:
            for node in self._engine.members.others:
                nursery.start_soon(at, node)
        return heard

    # -- ids that callers gave their requests

    async def take_ids(self, ids: Sequence[RequestId]) -> Sequence[RequestId | None]:
        """Of each id what another node knows of it; those with None are this node's to answer."""
        if self._engine is None or not ids:
            return [None] * len(ids)
        members = self._engine.members
        with _promised():
            return await self._engine.shared.take_ids(
                members.name, ids, void=members.void, hold_s=HOLD_S
            )

    async def answer_ids(self, ids: Sequence[RequestId], *, keep_s: float) -> None:
        """Tell the other nodes, if they can be told, how requests were answered, or that not."""
        if self._engine is not None and ids:
            try:
                await self._engine.shared.answer_ids(ids, keep_s=keep_s)
            except StoreFailed as failed:
                self._engine.members.failed(failed)

    # -- inside

    def _count(self, state: State, taken: Taken) -> int:
        self._ledger.take_over(state, taken.pushes)
        return taken.pushes

    async def _ask_owners(self, owners: frozenset[str], question: Question) -> int:
        assert self._engine is not None
        count = 0
        for node in owners & frozenset(self._engine.members.others):
            reply = await self._engine.post.ask(node, question)
            count += reply.counts.get(0, 0) if isinstance(reply, Counts) else 0
        return count


@contextmanager
def _promised() -> Iterator[None]:
    try:
        yield
    except StoreFailed as failed:
        raise Refusal(SERVICE_UNAVAILABLE, f"try again: {failed}") from failed
