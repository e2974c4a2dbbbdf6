"""A node's part among several: made with the node, run by the server, asked by the router.

Without it a node is alone, and asks nobody. What each part of it does:

    members       who is there, and is what is shared in reach?
    tokens        which devices are this node's
    handover      a device comes from another node: what is held for it comes with it
    recollection  what a device was sent, wherever it was
    forwarder     pushes for devices that are not here
    post          the inbox: pushes, news, questions
    chores        what is due or expired; the inboxes of the dead
    live          settings that are changed while the server runs
    local         what all of these do in the node's own rooms
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

import structlog
import trio

from trio_push.clock import Clock
from trio_push.config import SECONDS
from trio_push.devices.connection import Connection
from trio_push.engine.chores import Chores
from trio_push.engine.contract import Shared
from trio_push.engine.forwarder import Forwarder
from trio_push.engine.handover import Handover
from trio_push.engine.journal import SharedJournal
from trio_push.engine.live import Live
from trio_push.engine.local import Local
from trio_push.engine.members import BEAT_S, Members
from trio_push.engine.messages import (
    Ack,
    Acknowledged,
    Broadcast,
    Changed,
    ConnectedAt,
    Counts,
    Due,
    Expect,
    Find,
    Inquiry,
    Left,
    Message,
    Moved,
    Question,
    Recall,
    Recollect,
    Registration,
    Reply,
    Statement,
    Yield,
)
from trio_push.engine.post import Post
from trio_push.engine.recollection import Recollection
from trio_push.engine.tokens import Tokens
from trio_push.errors import Refusal, StoreFailed
from trio_push.mailbox.history import Missed
from trio_push.push import State
from trio_push.router.directory import Directory
from trio_push.router.read_marks import read_marks
from trio_push.router.router import Router
from trio_push.watch.ledger import Ledger
from trio_push.wire.cursor import Cursor

log = structlog.get_logger()

#: time that a node has at its end to let go of what it has
LEAVE_S: Final = 2 * SECONDS

#: kind of inquiry → how this node answers it
Answers: TypeAlias = Mapping[str, Callable[[bytes], Awaitable[bytes]]]
#: attaches a device, with what it missed where other nodes have a part in that
Attach: TypeAlias = Callable[[Missed | None], object]


async def _nobody(token: str, push_id: str) -> bool:
    return False


def _since_ms(connection: Connection) -> int:
    return int(connection.connected_at * 1000)


class Engine:
    """Everything a node does because it is not alone."""

    def __init__(
        self,
        shared: Shared,
        members: Members,
        journal: SharedJournal,
        router: Router,
        directory: Directory,
        ledger: Ledger,
        clock: Clock,
        live: Live,
        answers: Answers,
        *,
        per_token: int,
        per_user: int,
    ) -> None:
        self.shared = shared
        self._per_user = per_user
        self.members = members
        self._directory = directory
        self._router = router
        self._ledger = ledger
        self._clock = clock
        self._live = live
        self._answers = answers
        self.local = local = Local(
            router, router.offline, router.committer, journal, directory, ledger, clock
        )
        self.tokens = tokens = Tokens(shared, members, journal, directory, local, clock)
        self.forwarder = Forwarder(
            shared, members, tokens, local, ledger, clock, per_token=per_token
        )
        self.post = Post(shared, members, local, ledger, clock)
        self.recollection = Recollection(shared, members, local, router.history, self.post, clock)
        self._handover = Handover(members, tokens, local, self.post, self.recollection, clock)
        self.admitting = self._handover.admitting
        self.chores = Chores(shared, members, tokens, self.post, ledger, clock)
        live.join(shared, members, self.post)
        local.tokens, local.forwarder = tokens, self.forwarder
        self._has_returned = trio.Event()
        members.on_return = self._return
        journal.on_replaced = lambda n: ledger.take_over(State.COALESCED, n)
        journal.on_taken = ledger.repeat
        journal.on_moved = self._tell_owners
        tokens.on_came_from = self.recollection.note
        tokens.on_claimed = self._tell_older
        tokens.on_contested = self._contest
        tokens.on_claimed_late = self._tell_others
        tokens.on_strays = self._tell_whoever_has_them
        self.post.on_message = self._hear
        self.post.answer = self._answer
        self._nursery: trio.Nursery | None = None
        #: ends a push that a device acknowledges, whichever node holds it
        self.on_ack: Callable[[str, str], Awaitable[bool]] = _nobody
        #: push id → nodes that wait for its acknowledgement
        self._expecting: defaultdict[str, set[str]] = defaultdict(set)
        router.acks.on_told = self._tell_who_waits

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started once the node is among the others, or has tried to be."""
        async with trio.open_nursery() as self._nursery:
            try:
                await self._nursery.start(self.members.run)
                with suppress(StoreFailed):
                    await self._live.catch_up()
                self._nursery.start_soon(self._catch_up)
                for part in (self.tokens, self.forwarder, self.post, self.chores, self._live):
                    self._nursery.start_soon(part.run)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def leave(self) -> None:
        """The node ends: what it has is free for the others at once."""
        with trio.move_on_after(LEAVE_S, shield=True):
            try:
                if self.members.others:
                    with suppress(StoreFailed), trio.move_on_after(LEAVE_S / 2):
                        await self.recollection.leave_behind()
                await self.post.close()
                await self.tokens.settle()
                await self.shared.leave(self.members.name)
                await self.post.tell_at_last(Left(self.members.name))
            except StoreFailed as failed:
                log.error("redis_failed", error=str(failed))

    def _return(self) -> None:
        """What is shared can be reached (again)."""
        self._has_returned.set()

    async def _catch_up(self) -> None:
        """Each time that this node was cut off from the others: who has which device?

        Not more often than every few seconds, as a Redis Cluster may be there in part, on and off.
        """
        while True:
            await self._has_returned.wait()
            self._has_returned = trio.Event()
            self.tokens.renew_all()
            await self._learn_unregistered()
            await trio.sleep(3 * BEAT_S)
            # Until they saw it, the others may have stored what is for devices here.
            self.tokens.renew_all()

    async def _learn_unregistered(self) -> None:
        try:
            self._directory.learn_unregistered(await self.shared.unregistered())
        except StoreFailed as failed:
            self.members.failed(failed)

    # -- devices

    def admit_late(
        self, connection: Connection, user: str | None, cursor: Cursor | None, attach: Attach
    ) -> None:
        """Attach a device with what other nodes have for it, if it is still there then."""
        if self._nursery is None:
            attach(None)
        else:
            self._nursery.start_soon(self._admit_late, connection, user, cursor, attach)

    async def _admit_late(
        self, connection: Connection, user: str | None, cursor: Cursor | None, attach: Attach
    ) -> None:
        if user is not None:
            try:
                await self.shared.enrol(user, connection.token, per_user=self._per_user)
            except StoreFailed as failed:
                self.members.failed(failed)
        async with self.admitting(connection.token, cursor) as missed:
            if not connection.closed:
                attach(missed)

    def _contest(self, connection: Connection, other: str) -> None:
        """A device that connected while nobody could be told is at another node, too."""
        if self._nursery is not None:
            self._nursery.start_soon(self._settle_contest, connection, other)

    async def _settle_contest(self, connection: Connection, other: str) -> None:
        """The newest connection wins, by the clocks of the nodes."""
        reply = await self.post.ask(other, ConnectedAt(connection.token))
        theirs = reply.counts.get(0, 0) if isinstance(reply, Counts) else None
        await self._judge(connection, theirs)

    async def _judge(self, connection: Connection, theirs: int | None) -> None:
        """A device is at another node since then, too; None: nobody knows since when."""
        if self._directory.get(connection.token) is not connection:
            return
        if theirs is not None and theirs < _since_ms(connection):
            async with self.admitting(connection.token, None):
                if self._directory.get(connection.token) is connection:
                    self.local.deliver(connection)
        else:
            self.local.displace(connection)

    def resume(self, connection: Connection, last_seen: Cursor | int | str, before: int) -> bool:
        """A device that is here says what it has: False if no other node has a part in it.

        Else it is told soon what it missed. `before` is the mark of the history when it came.
        """
        if self._nursery is None:
            return False
        if isinstance(last_seen, Cursor) and not self.recollection.needs_others(
            connection.token, last_seen
        ):
            return False
        self._nursery.start_soon(self._resume, connection, last_seen, before)
        return True

    async def _resume(
        self, connection: Connection, last_seen: Cursor | int | str, before: int
    ) -> None:
        cursor, missed = await self.recollection.missed(connection.token, last_seen, before)
        if not connection.closed:
            self._router.resume(connection, cursor, before=before, missed=missed)

    def acknowledge(self, token: str, push_id: str) -> None:
        """A device says here that it has a push that another node may have sent it."""
        if self._nursery is not None:
            self._nursery.start_soon(self._acknowledge, token, push_id)

    async def _acknowledge(self, token: str, push_id: str) -> None:
        with suppress(Refusal):
            await self.on_ack(token, push_id)

    def mark_read(self, token: str, notification_id: str) -> None:
        """The user has read it on one device: tell the others, wherever they are."""
        if self._nursery is not None:
            self._nursery.start_soon(self._mark_read, token, notification_id)

    async def _mark_read(self, token: str, notification_id: str) -> None:
        try:
            user = await self.shared.user_of(token)
            tokens = [] if user is None else await self.shared.devices(user)
        except StoreFailed as failed:
            self.members.failed(failed)
            return
        others = [other for other in tokens if other != token]
        if others:
            expires_at = self._clock.wall() + self._router.default_ttl_s
            pushes = read_marks(others, notification_id, expires_at)
            self.local.submit(pushes, self._ledger.enter, lambda outcomes: None)

    # -- news

    def _tell_older(self, token: str, older: str) -> None:
        if older in self.members.living:
            self.post.tell(older, Moved([token]))

    def _tell_others(self, connections: Sequence[Connection]) -> None:
        """These were claimed late: by a claim, perhaps, whose answer and older owner got lost."""
        tokens = [connection.token for connection in connections]
        self.post.tell_others(Moved(tokens, [_since_ms(each) for each in connections]))

    def _tell_whoever_has_them(self, tokens: list[str]) -> None:
        """These are nobody's now, for all that is known: unless somebody has their devices."""
        self.post.tell_others(Due(tokens))

    def _tell_owners(self, moved: Sequence[tuple[str, str]]) -> None:
        for token, owner in moved:
            self.post.tell(owner, Due([token]))

    def _hear(self, message: Message) -> None:
        match message:
            case Moved(tokens, at_ms):
                assert self._nursery is not None
                self._nursery.start_soon(self._displace, tokens, at_ms)
            case Due(tokens):
                for token in tokens:
                    self.tokens.look_again(token)
            case Left():
                assert self._nursery is not None
                self._nursery.start_soon(self.members.look)
            case Registration(token, None):
                self._router.register(token)
            case Registration(token, since) if since is not None:
                self._router.unregister(token, since)
            case Expect(sender, push_id, is_waiting):
                if is_waiting:
                    self._expecting[push_id].add(sender)
                else:
                    self._expecting.pop(push_id, None)
            case Acknowledged(push_id):
                self._router.acks.tell(push_id)

    def _tell_who_waits(self, push_id: str) -> None:
        for node in self._expecting.pop(push_id, ()):
            self.post.tell(node, Acknowledged(push_id))

    async def _displace(self, tokens: list[str], at_ms: list[int]) -> None:
        """Devices are said to have gone to another node: unless they are back already."""
        here = [token for token in tokens if self._directory.get(token) is not None]
        try:
            mine = set(await self.tokens.still_mine(here))
        except StoreFailed as failed:
            self.members.failed(failed)
            return
        since = dict(zip(tokens, at_ms, strict=False))
        for token in here:
            connection = self._directory.get(token)
            if connection is None or token in mine or self._nursery is None:
                continue
            if token in since:
                self._nursery.start_soon(self._judge, connection, since[token])
            else:
                self.local.displace(connection)

    async def _answer(self, question: Question) -> Reply | None:
        match question:
            case Yield():
                return await self._handover.answer(question)
            case ConnectedAt(token):
                connection = self._directory.get(token)
                return Counts({0: _since_ms(connection) if connection else 0})
            case Recollect() | Find():
                return self.recollection.answer(question)
            case Recall(push_id):
                return Counts({0: self._router.recall(push_id)})
            case Ack(token, push_id):
                return Counts({0: int(self._router.acks.acknowledge(token, push_id))})
            case Broadcast(push):
                counts = await self.local.broadcast(push)
                return Counts({int(state): n for state, n in counts.items()})
            case Changed():
                try:
                    await self._live.hear(question)
                except StoreFailed:  # the next beat says it again
                    return None
                return Statement(b"")
            case Inquiry(kind, body):
                answer = self._answers.get(kind)
                return None if answer is None else Statement(await answer(body))
