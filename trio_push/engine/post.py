"""The inbox of a node, and what it puts into those of others.

What is read stays in the inbox until what it carries is in good hands: delivered, written down,
or stored; so a node that takes the inbox over finds what this one did not get done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from trio_push.clock import Clock
from trio_push.config import SECONDS
from trio_push.engine.contract import Shared
from trio_push.engine.local import Local
from trio_push.engine.members import Members
from trio_push.engine.messages import (
    ANSWER_S,
    Answer,
    Ask,
    Message,
    Pushes,
    Question,
    Reply,
    decode,
    encode,
)
from trio_push.engine.pace import rest
from trio_push.errors import StoreFailed
from trio_push.push import Push, State
from trio_push.watch.ledger import Ledger

#: time after which what could not be done is tried again
RETRY_S: Final = 1 * SECONDS


async def _no_answer(_: Question) -> Reply | None:
    return None


class Post:
    """Sends, receives, asks and answers for one node. `run` owns its tasks."""

    def __init__(
        self, shared: Shared, members: Members, local: Local, ledger: Ledger, clock: Clock
    ) -> None:
        self._shared = shared
        self._members = members
        self._local = local
        self._ledger = ledger
        self._clock = clock
        self._nursery: trio.Nursery | None = None
        #: messages to be sent, by node
        self._outgoing: defaultdict[str, list[Message]] = defaultdict(list)
        self._has_outgoing = trio.Event()
        self._reading = trio.CancelScope()
        #: entries of the inbox that were read and are still in it
        self._in_hand: set[str] = set()
        #: those to be taken out of it, and how many pushes each had
        self._done: dict[str, int] = {}
        self._has_done = trio.Event()
        #: of an inbox and its entries, pushes that were brought on and others, until it is settled
        #: who accounts for them
        self._inherited: dict[tuple[str, str], tuple[int, int]] = {}
        #: the last message with pushes from each node
        self._last: dict[str, int] = {}
        self._asked = 0
        self._answers: dict[int, tuple[trio.Event, list[Reply]]] = {}
        #: called with each message that is no post: news and questions. Returns the answer
        self.on_message: Callable[[Message], None] = lambda message: None
        self.answer: Callable[[Question], Awaitable[Reply | None]] = _no_answer

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as self._nursery:
            try:
                self._nursery.start_soon(self._send_all)
                self._nursery.start_soon(self._finish_all)
                with self._reading:
                    await self._receive_all()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def close(self) -> None:
        """Read no more, and return when all that was read is out of the inbox.

        What is delivered but still in it would be delivered again, by who takes it over.
        """
        self._reading.cancel()
        while self._in_hand:
            await trio.sleep(0.01)

    # -- out

    def tell(self, node: str, message: Message) -> None:
        """Send a message soon; it is kept until what is shared can be reached."""
        self._outgoing[node].append(message)
        self._has_outgoing.set()

    def tell_others(self, message: Message) -> None:
        """Send a message soon to each of the other nodes."""
        for node in self._members.others:
            self.tell(node, message)

    async def tell_at_last(self, message: Message) -> None:
        """Send a message to each of the others, and nothing after it. Raises StoreFailed."""
        data = encode([message])
        await self._shared.send(dict.fromkeys(self._members.others, data))

    async def ask(self, node: str, question: Question, timeout_s: float = ANSWER_S) -> Reply | None:
        """A node's answer; None when it has none, or does not give it in time."""
        self._asked += 1
        number = self._asked
        event, replies = self._answers[number] = trio.Event(), []
        self.tell(node, Ask(self._members.name, number, question))
        try:
            with trio.move_on_after(timeout_s):
                await event.wait()
        finally:
            del self._answers[number]
        return replies[0] if replies else None

    async def _send_all(self) -> None:
        while True:
            await self._has_outgoing.wait()
            self._has_outgoing = trio.Event()
            outgoing, self._outgoing = self._outgoing, defaultdict(list)
            # Who is dead reads no more; what was news to it is none to anybody else.
            messages = {
                node: encode(some)
                for node, some in outgoing.items()
                if node not in self._members.void
            }
            try:
                await self._shared.send(messages)
            except StoreFailed as failed:
                self._members.failed(failed)
                for node, later in self._outgoing.items():
                    outgoing[node] += later
                self._outgoing = outgoing
                await trio.sleep(RETRY_S)
                self._has_outgoing.set()
            await rest(self._shared, self._members)

    # -- in

    async def _receive_all(self) -> None:
        after = ""
        while True:
            try:
                entries = await self._shared.receive(self._members.name, after)
            except StoreFailed as failed:
                self._members.failed(failed)
                await trio.sleep(RETRY_S)
                continue
            for entry_id, data in entries:
                after = entry_id
                self._take_in(entry_id, data)
            await rest(self._shared, self._members)

    def _take_in(self, entry_id: str, data: bytes) -> None:
        is_done = True
        self._in_hand.add(entry_id)
        for message in decode(data):
            match message:
                case Pushes(sender, number, pushes) if number > self._last.get(sender, 0):
                    self._last[sender] = number
                    self._place(pushes, partial(self._finish, entry_id, len(pushes)))
                    is_done = False
                case Pushes():
                    pass  # sent twice, because the first time was not answered
                case Ask(sender, number, question):
                    if self._nursery is not None:
                        self._nursery.start_soon(self._reply, sender, number, question)
                case Answer(number, reply):
                    if number in self._answers:
                        event, replies = self._answers[number]
                        replies.append(reply)
                        event.set()
                case _:
                    self.on_message(message)
        if is_done:
            self._finish(entry_id)

    async def _reply(self, sender: str, number: int, question: Question) -> None:
        reply = await self.answer(question)
        if reply is not None:
            self.tell(sender, Answer(number, reply))

    def _place(self, pushes: list[Push], finish: Callable[[], None]) -> None:
        """Bring pushes to their devices; what could not be done is tried until it is."""

        def settle(outcomes: list[State]) -> None:
            lost = [p for p, state in zip(pushes, outcomes, strict=True) if state is State.LOST]
            for _ in lost:
                self._ledger.give_back(State.LOST)
            if not lost:
                finish()
            elif self._nursery is not None:
                self._nursery.start_soon(self._place_later, lost, finish)

        self._local.submit(pushes, self._ledger.take_over, settle, promised=True)

    async def _place_later(self, pushes: list[Push], finish: Callable[[], None]) -> None:
        await trio.sleep(RETRY_S)
        self._place(pushes, finish)

    def _finish(self, entry_id: str, pushes: int = 0) -> None:
        self._done[entry_id] = pushes
        self._has_done.set()

    async def _finish_all(self) -> None:
        while True:
            await self._has_done.wait()
            self._has_done = trio.Event()
            done, self._done = self._done, {}
            me = self._members.name
            try:
                taken = await self._shared.done(me, list(done), inbox=me)
            except StoreFailed as failed:
                self._members.failed(failed)
                self._done = done | self._done
                await trio.sleep(RETRY_S)
                self._has_done.set()
            else:
                self._in_hand -= done.keys()
                self._ledger.repeat(sum(done[each] for each in taken))
            await rest(self._shared, self._members)

    # -- the inbox of a node that has died

    async def take_over(self, dead: str) -> None:
        """Route what is left in its inbox, as far as it may be. Raises StoreFailed."""
        await self.settle_inherited()
        after = ""
        while entries := await self._shared.receive(dead, after, wait=False):
            for entry_id, data in entries:
                if dead not in self._members.dead:
                    return  # it was only slow, and goes on
                after = entry_id
                pushes = [
                    push
                    for message in decode(data)
                    if isinstance(message, Pushes)
                    for push in message.pushes
                ]
                await self._inherit(dead, entry_id, pushes)

    async def _inherit(self, dead: str, entry_id: str, pushes: list[Push]) -> None:
        kept = [push for push in pushes if push.storable]
        if kept:
            placed = trio.Event()
            self._place(kept, placed.set)
            await placed.wait()
        self._inherited[dead, entry_id] = len(kept), len(pushes) - len(kept)
        await self.settle_inherited()

    async def settle_inherited(self) -> None:
        """Who accounts for what was inherited? Whoever took it out of the inbox: us, or the dead.

        Raises StoreFailed; to be called again then.
        """
        for (dead, entry_id), (kept, others) in list(self._inherited.items()):
            taken = await self._shared.done(self._members.name, [entry_id], inbox=dead)
            del self._inherited[dead, entry_id]
            if taken:  # it was not dead
                self._ledger.repeat(kept)
            else:
                # At most once: the dead may have delivered it.
                self._ledger.take_over(State.DROPPED_NODE_DIED, others)
