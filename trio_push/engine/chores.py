"""What has to be done among the shared rows now and then, by whichever node it falls to.

Delayed pushes come due, others expire, nodes die. The partitions are divided among the living
by their names: should two nodes differ on who they are, each row is still released once. The
inbox of a dead node is emptied by the one that gets hold of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import structlog
import trio

from trio_push.clock import Clock
from trio_push.config import MINUTES, SECONDS
from trio_push.engine.contract import Shared
from trio_push.engine.members import Members
from trio_push.engine.messages import Due
from trio_push.engine.post import Post
from trio_push.engine.tokens import Tokens
from trio_push.errors import StoreFailed
from trio_push.push import State
from trio_push.watch.ledger import Ledger

log = structlog.get_logger()

#: time between two looks at what is due: how late a delayed push may be
SWEEP_S: Final = 0.25 * SECONDS
#: rows released or dropped at once in a partition
AT_ONCE: Final = 500
#: time for which nobody else looks into the inbox of a dead node
HOLD_S: Final = 10 * SECONDS
#: time for which a dead node's inbox is looked into: who believed it alive may have sent more
MOURNING_S: Final = 1 * MINUTES


class Chores:
    """A node's share of the chores. `run` owns its tasks."""

    def __init__(
        self,
        shared: Shared,
        members: Members,
        tokens: Tokens,
        post: Post,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._shared = shared
        self._members = members
        self._tokens = tokens
        self._post = post
        self._ledger = ledger
        self._clock = clock
        #: when each dead node was first seen to be
        self._died: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep_all)
            nursery.start_soon(self._bury_all)

    # -- rows

    async def _sweep_all(self) -> None:
        while True:
            await trio.sleep(SWEEP_S)
            if self._members.failure is not None:
                continue
            try:
                while await self._sweep():
                    pass
            except StoreFailed as failed:
                self._members.failed(failed)

    async def _sweep(self) -> bool:
        """Returns whether there is more to do."""
        swept = await self._shared.sweep(
            self._mine(), void=self._members.void, now=self._clock.wall(), limit=AT_ONCE
        )
        self._ledger.take_over(State.EXPIRED, swept.expired)
        self._ledger.take_over(State.DISCARDED, swept.discarded)
        await self.tell(swept.due)
        return swept.more

    def _mine(self) -> Sequence[int]:
        nodes = sorted(self._members.living)
        return range(nodes.index(self._members.name), self._shared.partitions, len(nodes))

    async def tell(self, due: Sequence[tuple[str, str]]) -> None:
        """Tell the owners that there is something for their tokens. Raises StoreFailed."""
        tokens: defaultdict[str, list[str]] = defaultdict(list)
        for token, owner in due:
            tokens[owner].append(token)
        await self._members.judge(tokens)
        for owner, some in tokens.items():
            if owner == self._members.name:
                self._tokens.renew(some)
            else:
                self._post.tell(owner, Due(some))

    # -- nodes

    async def _bury_all(self) -> None:
        while True:
            await trio.sleep(1)
            try:
                await self._post.settle_inherited()
                for dead in sorted(self._members.dead):
                    await self._bury(dead)
            except StoreFailed as failed:
                self._members.failed(failed)

    async def _bury(self, dead: str) -> None:
        if not await self._shared.take_over(self._members.name, dead, HOLD_S):
            return
        if dead not in self._died:
            log.info("node_gone", node=dead)
        died = self._died.setdefault(dead, trio.current_time())
        await self._post.take_over(dead)
        if trio.current_time() > died + MOURNING_S:
            await self._shared.forget(dead)
            del self._died[dead]
