"""A device comes from another node: what is held for it comes with it, to one node and once.

Who claims a token last has it. Until whoever had it before has written down what its device took,
and let go of the rest, the rows are not the new one's: so it claims, asks the older one to yield,
and claims again, unless somebody has claimed the token meanwhile. Asked by the engine, which also
brings the questions of other nodes here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from trio_push.clock import Clock
from trio_push.engine.contract import Claim
from trio_push.engine.local import Local
from trio_push.engine.members import Members
from trio_push.engine.messages import ANSWER_S, SentSince, Yield
from trio_push.engine.post import Post
from trio_push.engine.recollection import Recollection, Told
from trio_push.engine.tokens import Admission, Tokens
from trio_push.errors import StoreFailed
from trio_push.mailbox.history import Missed
from trio_push.wire.cursor import Cursor


class Handover:
    """Both ends of it, for one node."""

    def __init__(
        self,
        members: Members,
        tokens: Tokens,
        local: Local,
        post: Post,
        recollection: Recollection,
        clock: Clock,
    ) -> None:
        self._members = members
        self._tokens = tokens
        self._local = local
        self._post = post
        self._recollection = recollection
        self._clock = clock

    # -- a device comes

    @asynccontextmanager
    async def admitting(self, token: str, cursor: Cursor | None) -> AsyncIterator[Missed | None]:
        """Around the attaching of a device: brings what other nodes have for it.

        Yields what it missed since the last event that it has, if others have a part in it.
        """
        with self._tokens.admitting(token) as admission:
            told: Told = {}
            if cursor is not None and cursor.epoch in self._members.others:
                # First, so that what was sent there is out of the rows when they are claimed.
                told[cursor.epoch] = await self._ask_to_yield(cursor.epoch, token, cursor.seq)
            async with admission.turn:
                claim = await self._claim(token, cursor, told, admission)
            missed = None
            if cursor is not None and told:
                # What it was sent already comes before what is held for it.
                missed = self._recollection.join(token, cursor, told)
            if claim is not None and claim.refused:
                # It is let in, and sees soon that it has lost.
                self._tokens.renew((token,))
            elif claim is not None:
                self._local.adopt(token, claim.rows, cursor)
            self._local.advance(self._clock.wall())
            yield missed

    async def _claim(
        self, token: str, cursor: Cursor | None, told: Told, admission: Admission
    ) -> Claim | None:
        """Have a token with all that is held for it; None when what is shared is away.

        Who had it since `cursor` is known then, and `told` gets what they sent it.
        """
        silent = next((node for node, said in told.items() if said is None), None)
        yielded = admission.yielded
        claim = await self._tokens.claim(token, silent)
        if claim is not None and claim.older in self._members.living and claim.older != silent:
            silent = await self._wait_for_older(claim.older, token, admission)
            yielded = admission.yielded
            claim = await self._tokens.claim(token, silent, renew=True)
        if cursor is not None and self._recollection.needs_others(token, cursor):
            await self._recollection.ask(token, cursor, told)
        while claim is not None and not claim.refused and yielded != admission.yielded:
            # Another has asked for the token meanwhile: with these rows, perhaps.
            yielded = admission.yielded
            claim = await self._tokens.claim(token, renew=True)
        return claim

    async def _wait_for_older(self, older: str, token: str, admission: Admission) -> str | None:
        """Until who had the token has yielded, and who it waited for; who has not, if any."""
        asked = {self._members.name}
        silent, node = None, older
        while node in self._members.living and node not in asked:
            asked.add(node)
            admission.waits_for = node
            reply = await self._ask_to_yield(node, token, None)
            if reply is None:
                silent = node
                break
            node = reply.waits_for
        admission.waits_for = ""
        return silent

    async def _ask_to_yield(self, node: str, token: str, seq: int | None) -> SentSince | None:
        reply = await self._post.ask(node, Yield(token, self._clock.wall(), seq))
        return reply if isinstance(reply, SentSince) else None

    # -- it goes

    async def answer(self, question: Yield) -> SentSince | None:
        """Give a device up, and answer when all is written down. None: it cannot be, or is late."""
        token, asked_at, seq = question.token, question.asked_at, question.seq
        if self._clock.wall() > asked_at + ANSWER_S:
            return None
        self._local.give_up(token)
        sent = SentSince([], True) if seq is None else self._recollection.sent_since(token, seq)
        waits_for = self._tokens.give_way(token)
        try:
            await self._tokens.settle_one(token)
        except StoreFailed as failed:
            self._members.failed(failed)
            return None
        return msgspec.structs.replace(sent, waits_for=waits_for)
