"""Brings pushes to where their devices are, or leaves them where the devices will find them.

Pushes for tokens that are not connected here gather while a round is under way, and go out
together: owners are looked up once per partition, each owning node gets one message, and what
has no owner is stored in one script per partition, which makes sure of that once more. So
batches grow by themselves with load. Fed by the router; run by the engine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from trio_push.clock import Clock
from trio_push.engine.contract import NOT_YET, HeldRow, Shared, Stored
from trio_push.engine.members import Members
from trio_push.engine.messages import Pushes, encode
from trio_push.engine.pace import rest
from trio_push.engine.tokens import Tokens
from trio_push.errors import StoreFailed
from trio_push.push import Push, State
from trio_push.watch.ledger import Ledger

if TYPE_CHECKING:
    from trio_push.engine.local import Local

#: pushes in one round: a message to a node has at most so many, some hundreds of KiB
ROUND: Final = 1000
#: times that a device may move while its push is on its way
MOVES: Final = 5


class Parcel:
    """Pushes of one submission, and the way back to it."""

    __slots__ = ("_enter", "_left", "_settle", "outcomes", "pushes")

    def __init__(
        self,
        pushes: Sequence[Push],
        enter: Callable[[State], None],
        settle: Callable[[list[State]], None],
    ) -> None:
        self.pushes = pushes
        self.outcomes = [State.LOST] * len(pushes)
        self._left = len(pushes)
        #: writes the ledger's line
        self._enter = enter
        self._settle = settle

    def put(self, place: int, outcome: State, state: State | None = None) -> None:
        """A push has got somewhere: what its sender is told, and the ledger if it differs."""
        self.outcomes[place] = outcome
        self._enter(outcome if state is None else state)
        self._left -= 1
        if not self._left:
            self._settle(self.outcomes)


class Item:
    """One push of a parcel, on its way."""

    __slots__ = ("parcel", "place", "push")

    def __init__(self, parcel: Parcel, place: int) -> None:
        self.parcel = parcel
        self.place = place
        self.push = parcel.pushes[place]

    def put(self, outcome: State, state: State | None = None) -> None:
        self.parcel.put(self.place, outcome, state)


#: pushes of a round that are in no other hands yet, in order
Mine: TypeAlias = dict[Item, None]


class Forwarder:
    """`forward` takes pushes in; `run` brings them on."""

    def __init__(
        self,
        shared: Shared,
        members: Members,
        tokens: Tokens,
        local: Local,
        ledger: Ledger,
        clock: Clock,
        *,
        per_token: int,
    ) -> None:
        self._shared = shared
        self._members = members
        self._tokens = tokens
        self._local = local
        self._ledger = ledger
        self._clock = clock
        self._per_token = per_token
        self._waiting: list[Item] = []
        self._has_work = trio.Event()
        #: messages sent to each node
        self._sent: Counter[str] = Counter()

    def forward(self, items: Sequence[Item]) -> None:
        self._waiting += items
        self._has_work.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._has_work.wait()
            items, self._waiting = self._waiting[:ROUND], self._waiting[ROUND:]
            if not self._waiting:
                self._has_work = trio.Event()
            await self._bring(items)
            await rest(self._shared, self._members)

    async def _bring(self, items: list[Item]) -> None:
        mine = dict.fromkeys(items)
        for _ in range(MOVES):
            try:
                await self._pass(mine)
            except StoreFailed as failed:
                self._members.failed(failed)
                break
            if not mine:
                return
        for item in mine:
            item.put(State.LOST)

    async def _pass(self, mine: Mine) -> None:
        """Bring pushes one step on; left are those whose device has moved meanwhile.

        Raises StoreFailed; then those are left that are in no other hands yet.
        """
        now = self._clock.wall()
        delayed = [item for item in mine if item.push.not_before > now]
        due = [item for item in mine if item.push.not_before <= now]
        await self._store(delayed, mine, now, force=True)
        absent, nodes = await self._find(due, mine)
        await self._send(nodes, mine)
        await self._store(absent, mine, now, force=False)

    async def _find(
        self, items: list[Item], mine: Mine
    ) -> tuple[list[Item], dict[str, list[Item]]]:
        """Those that nobody owns, and the others by node; what is for here goes its way."""
        if not items:
            return [], {}
        owners = await self._shared.owners([item.push.token for item in items])
        await self._members.judge(owner for owner in owners if owner is not None)
        absent: list[Item] = []
        nodes: defaultdict[str, list[Item]] = defaultdict(list)
        for item, owner in zip(items, owners, strict=True):
            if self._tokens.takes(item):
                del mine[item]
            elif owner is None or owner in self._members.void:
                absent.append(item)
            elif owner == self._members.name:
                self._tokens.disown(item.push.token)
                absent.append(item)
            else:
                nodes[owner].append(item)
        return absent, nodes

    async def _send(self, nodes: dict[str, list[Item]], mine: Mine) -> None:
        if not nodes:
            return
        messages = {}
        for node, items in nodes.items():
            self._sent[node] += 1
            pushes = [item.push for item in items]
            messages[node] = encode([Pushes(self._members.name, self._sent[node], pushes)])
        await self._shared.send(messages)
        for items in nodes.values():
            for item in items:
                del mine[item]
                item.put(State.QUEUED, State.HANDED_OVER)

    async def _store(self, items: list[Item], mine: Mine, now: float, *, force: bool) -> None:
        """Store pushes that nobody owns; left are those that somebody does own by now."""
        if not items:
            return
        # Owned by this node, but not connected here: the registry is about to hear that.
        void = {*self._members.void, self._members.name}
        stored = await self._shared.store(
            self._members.name,
            [self._row(item.push, now) for item in items],
            void=void,
            per_token=self._per_token,
            force=force,
            now=now,
        )
        await self._members.judge(each.owner for each in stored if each.owner is not None)
        for item, each in zip(items, stored, strict=True):
            if each.state is not None:
                del mine[item]
                self._note(item, each, each.state)

    def _row(self, push: Push, now: float) -> HeldRow:
        uid = f"{self._members.name}:{self._local.next_number()}"
        state = State.DELAYED if push.not_before > now else State.STORED
        return HeldRow(uid, push, state, NOT_YET)

    def _note(self, item: Item, stored: Stored, state: State) -> None:
        """What became of a push."""
        if stored.replaced:
            self._ledger.take_over(State.COALESCED)
        if state.is_open:
            item.put(state, State.HANDED_OVER)
            # A device that came here meanwhile may have been given its rows before this one.
            self._tokens.look_again(item.push.token)
        else:
            item.put(state)
