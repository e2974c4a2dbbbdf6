"""What a device was sent, wherever it was since the last event that it has.

A node remembers what it sent a device, and which node had that before: so whoever a device comes
to can ask them one after the other, back to the one that its last event is from. Asked by the
handover for a device that comes, and by the engine for one that says later what it has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain
from operator import itemgetter
from sys import intern
from typing import Final, TypeAlias

import msgspec

from trio_push.clock import Clock
from trio_push.engine.contract import Shared
from trio_push.engine.local import Local
from trio_push.engine.members import Members
from trio_push.engine.messages import Find, Found, Recollect, SentSince
from trio_push.engine.post import Post
from trio_push.errors import StoreFailed
from trio_push.mailbox.history import CameFrom, History, Missed, Shelf
from trio_push.push import Numbered, Push
from trio_push.wire.cursor import Cursor

#: times that a node is asked that is there and does not answer in time, as it may in a storm, when
#: the device is connected meanwhile
LATE_TRIES: Final = 4

#: bytes that a node leaves behind, and tokens at once
BEHIND_BYTES: Final = 2**24
ROUND: Final = 500

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Shelf).decode

#: node → its answer, or None: it gave none
Told: TypeAlias = dict[str, SentSince | None]


class Recollection:
    """Both ends of it, for one node."""

    def __init__(
        self,
        shared: Shared,
        members: Members,
        local: Local,
        history: History,
        post: Post,
        clock: Clock,
    ) -> None:
        self._shared = shared
        self._members = members
        self._local = local
        self._history = history
        self._post = post
        self._clock = clock

    # -- a device comes

    def note(self, token: str, node: str) -> None:
        """A device has come, and was at another node before."""
        self._history.add(token, CameFrom(self._local.next_number(), intern(node)))

    def needs_others(self, token: str, cursor: Cursor) -> bool:
        """Whether others can have sent the device something since."""
        if cursor.epoch == self._members.name:
            return bool(self._history.origins(token, cursor.seq))
        return cursor.epoch != ""

    async def ask(self, token: str, cursor: Cursor, told: Told, *, tries: int = 1) -> None:
        """Ask each node that had the device since `cursor` what it was sent there.

        `told` is what they have said already (None: nothing), and then all that they say. No
        more are asked once one does not answer.
        """
        to_ask = self._others([cursor.epoch, *told, *self._history.origins(token, cursor.seq)])
        for node in to_ask:
            answer = told.get(node)
            if answer is None:
                question, in_vain = Recollect(token, cursor.seq), node in told
                reply = await self._ask(node, question, tries=0 if in_vain else tries)
                assert reply is None or isinstance(reply, SentSince)
                answer = told[node] = reply
            if answer is None:
                break
            to_ask += self._others(answer.origins, to_ask)

    def _others(self, nodes: Iterable[str], known: Collection[str] = ()) -> list[str]:
        """Each of them once, without this one and those that are known."""
        return [n for n in dict.fromkeys(nodes) if n != self._members.name and n not in known]

    def join(self, token: str, cursor: Cursor, told: Told, *, before: int | None = None) -> Missed:
        """What a device was sent after the event at `cursor`, to be sent it now, in order.

        With `before`, what it was sent here after that mark of the history it has been sent.
        """
        if cursor.epoch != self._members.name and told[cursor.epoch] is None:
            return Missed([], complete=False)
        now = self._clock.wall()
        own = self._history.since(token, cursor.seq, now)
        due = self._history.since(token, cursor.seq, now, before=before).events
        answers = [answer for answer in told.values() if answer is not None]
        complete = len(answers) == len(told) and all(answer.complete for answer in answers)
        for push in _news(answers, own.events):
            due.append(Numbered(self._local.next_number(), push))
            self._history.add(token, due[-1])
        if complete:
            # Whoever asks here after this need not ask them.
            self._history.know_after(token, cursor.seq)
        return Missed(due, own.complete and complete)

    async def missed(
        self, token: str, last_seen: Cursor | int | str, before: int
    ) -> tuple[Cursor, Missed]:
        """The same for a device that is connected meanwhile, and the event that it has last.

        It may name that by its number alone, or by the id of the push.
        """
        cursor = await self._find(token, last_seen)
        if cursor is None:
            return Cursor("", 0), Missed([], complete=False)
        told: Told = {}
        await self.ask(token, cursor, told, tries=LATE_TRIES)
        return cursor, self.join(token, cursor, told, before=before)

    async def _find(self, token: str, last_seen: Cursor | int | str) -> Cursor | None:
        """The event that a device means; None when nobody knows it."""
        if isinstance(last_seen, Cursor):
            return last_seen
        seq = self._history.find(token, last_seen)
        if seq is not None:
            return Cursor(self._members.name, seq)
        to_ask = self._others(self._history.origins(token, 0))
        for node in to_ask:
            reply = await self._ask(node, Find(token, last_seen))
            if isinstance(reply, Found):
                if reply.seq is not None:
                    return Cursor(node, reply.seq)
                to_ask += self._others(reply.origins, to_ask)
        return None

    async def _ask(
        self, node: str, question: Recollect | Find, tries: int = 1
    ) -> SentSince | Found | None:
        """A node's answer, also of one that has ended, if that left it behind."""
        while tries and node in self._members.living:
            reply = await self._post.ask(node, question)
            if isinstance(reply, SentSince | Found):
                return reply
            tries -= 1
        if self._members.failure is not None:
            return None
        try:
            data = await self._shared.left_behind(node, question.token)
        except StoreFailed as failed:
            self._members.failed(failed)
            return None
        if data is None:
            return None
        return self._answer(History.of(question.token, _decode(data)), question)

    # -- another node asks

    def answer(self, question: Recollect | Find) -> SentSince | Found:
        """What this node knows."""
        return self._answer(self._history, question)

    def _answer(self, history: History, question: Recollect | Find) -> SentSince | Found:
        if isinstance(question, Find):
            found = history.find(question.token, question.last_seen)
            return Found(found, history.origins(question.token, 0))
        return _sent_since(history, question.token, question.seq, self._clock.wall())

    def sent_since(self, token: str, seq: int) -> SentSince:
        """What this node sent to a device after a number."""
        return _sent_since(self._history, token, seq, self._clock.wall())

    async def leave_behind(self) -> None:
        """This node ends, and its devices come back to others: they find what it remembers.

        The latest first, BEHIND_BYTES of it. Raises StoreFailed.
        """
        memories: dict[str, bytes] = {}
        room = BEHIND_BYTES
        nothing = _encode(self._history.shelf(""))
        for token in self._history.tokens():
            memories[token] = data = _encode(self._history.shelf(token))
            room -= len(data)
            if len(memories) == ROUND or room < 0:
                await self._shared.leave_behind(self._members.name, memories)
                memories = {}
            if room < 0:
                return
        await self._shared.leave_behind(self._members.name, memories, others=nothing)


def _sent_since(history: History, token: str, seq: int, now: float) -> SentSince:
    missed = history.since(token, seq, now)
    return SentSince(
        [numbered.push for numbered in missed.events],
        missed.complete,
        numbers=[numbered.seq for numbered in missed.events],
        origins=history.origins(token, seq),
    )


def _news(answers: Iterable[SentSince], known: Iterable[Numbered]) -> list[Push]:
    """The pushes of the answers in their order, each once, without those that are known."""
    ids = {numbered.push.id for numbered in known}
    told = chain.from_iterable(zip(each.numbers, each.pushes, strict=True) for each in answers)
    pushes: dict[str, Push] = {}
    for _, push in sorted(told, key=itemgetter(0)):
        pushes.setdefault(push.id, push)
    return [push for push in pushes.values() if push.id not in ids]
