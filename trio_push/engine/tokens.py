"""Which tokens are this node's: claimed when their devices come, let go when they leave.

Batched, and never refreshed: a token belongs to the node for as long as the node's lease runs.
While a device is being admitted, what is pushed to it waits here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from trio_push.clock import Clock
from trio_push.devices.connection import Connection
from trio_push.engine.contract import NO_ONE, Claim, Shared
from trio_push.engine.journal import SharedJournal
from trio_push.engine.members import Members
from trio_push.engine.pace import rest
from trio_push.errors import StoreFailed
from trio_push.router.directory import Directory

if TYPE_CHECKING:
    from trio_push.engine.forwarder import Item
    from trio_push.engine.local import Local

#: tokens in one round
ROUND: Final = 500
#: time after which a round that failed is tried again
RETRY_S: Final = 1.0


class _Wish:
    """A claim that somebody waits for."""

    __slots__ = ("claim", "done", "renew", "silent", "token")

    def __init__(self, token: str, silent: str | None, *, renew: bool) -> None:
        self.token = token
        self.silent = silent
        self.renew = renew
        self.done = trio.Event()
        self.claim: Claim | None = None


class Admission:
    """A token whose devices are being admitted."""

    __slots__ = ("devices", "is_to_renew", "parked", "turn", "waits_for", "yielded")

    def __init__(self) -> None:
        #: pushes that wait for that
        self.parked: list[Item] = []
        #: how many devices that are
        self.devices = 0
        #: who claims the token: one after the other, as what comes with it is all for the first
        self.turn = trio.Lock()
        #: it is to be looked at again when they are there
        self.is_to_renew = False
        #: the node that has been asked to yield it, if one has
        self.waits_for = ""
        #: times that another node, which claimed it later, has asked for it meanwhile
        self.yielded = 0


class Tokens:
    """The tokens of one node. `run` talks to what is shared."""

    def __init__(
        self,
        shared: Shared,
        members: Members,
        journal: SharedJournal,
        directory: Directory,
        local: Local,
        clock: Clock,
    ) -> None:
        self._shared = shared
        self._members = members
        self._journal = journal
        self._directory = directory
        self._local = local
        self._clock = clock
        self._admitting: dict[str, Admission] = {}
        self._wishes: list[_Wish] = []
        #: tokens whose devices have gone → a number for each time that one has
        self._leaving: dict[str, int] = {}
        self._gone = 0
        #: connected tokens to be claimed where nobody else has them, or looked at again
        self._renewing: dict[str, None] = {}
        #: connected tokens that could not be claimed when their devices came
        self._unclaimed: set[str] = set()
        #: tokens that are not this node's, and that another may have lost to it all the same, by a
        #: claim that was given up and was carried out later
        self._strays: set[str] = set()
        self._has_work = trio.Event()
        self._one_at_a_time = trio.Lock()
        #: rounds of what is shared that were begun and done, by number
        self._begun = self._done = 0
        #: told of tokens that came from other nodes, by the node
        self.on_claimed: Callable[[str, str], None] = lambda token, older: None
        #: told of tokens whose devices were at another node before, and at which
        self.on_came_from: Callable[[str, str], None] = lambda token, node: None
        #: told of devices that could not be claimed in time, and of the node that has them, too
        self.on_contested: Callable[[Connection, str], None] = lambda connection, other: None
        #: told of tokens that another may have lost to this node, once they are nobody's
        self.on_strays: Callable[[list[str]], None] = lambda tokens: None
        #: told of devices that could not be claimed in time, and are now
        self.on_claimed_late: Callable[[list[Connection]], None] = lambda connections: None

    # -- devices

    @contextmanager
    def admitting(self, token: str) -> Iterator[Admission]:
        """Around the claim of a token and the attaching of its device: pushes to it wait."""
        admission = self._admitting.setdefault(token, Admission())
        admission.devices += 1
        try:
            yield admission
        finally:
            admission.devices -= 1
            if not admission.devices:
                self._end_admission(token, admission)

    def give_way(self, token: str) -> str:
        """Another node claims the token: which one its devices that are being admitted wait for."""
        admission = self._admitting.get(token)
        if admission is None:
            return ""
        admission.yielded += 1
        return admission.waits_for

    async def claim(
        self, token: str, silent: str | None = None, *, renew: bool = False
    ) -> Claim | None:
        """The token is this node's from now on, whoever had it; to be called while admitting.

        `silent` is who had it and did not answer. With `renew` it stays with a node that has
        claimed it meanwhile.

        None when what is shared is away: then it is claimed when that is back. An older
        connection of the device here proves nothing: it may have been elsewhere since.
        """
        self._unclaimed.add(token)
        if self._members.failure is not None:
            return None
        wish = _Wish(token, silent, renew=renew)
        self._wishes.append(wish)
        self._has_work.set()
        await wish.done.wait()
        if wish.claim is not None:
            self._unclaimed.discard(token)
        return wish.claim

    def _end_admission(self, token: str, admission: Admission) -> None:
        del self._admitting[token]
        if self._directory.get(token) is None:
            self._local.evict(token)
        elif admission.is_to_renew:
            self.renew((token,))
        for item in admission.parked:
            self._local.bring(item)

    def left(self, token: str) -> None:
        """The device of a token has gone."""
        if token in self._unclaimed:
            self._unclaimed.discard(token)
            self._strays.add(token)
        self._gone += 1
        self._leaving[token] = self._gone
        self._has_work.set()

    def disown(self, token: str) -> None:
        """What is shared says that a token is this node's, and its device is not here.

        It is about to hear of it; or it has carried out a claim that was given up.
        """
        if self.has_left(token):
            self._strays.add(token)
            self.left(token)

    def takes(self, item: Item) -> bool:
        """Whether a push is for a device here, or one that is coming; then it goes its way."""
        if item.push.token in self._admitting:
            self._admitting[item.push.token].parked.append(item)
        elif self._directory.get(item.push.token) is not None:
            self._local.bring(item)
        else:
            return False
        return True

    def look_again(self, token: str) -> None:
        """There may be new rows for a token, if its device is here."""
        if token in self._admitting or self._directory.get(token) is not None:
            self.renew((token,))

    def renew(self, tokens: Iterable[str]) -> None:
        """See to it that these are this node's, unless another has them, with all their rows.

        Not while their devices are admitted: the rows are not this node's before its claim is done.
        """
        for token in tokens:
            if token in self._admitting:
                self._admitting[token].is_to_renew = True
            else:
                self._renewing[token] = None
        if self._renewing:
            self._has_work.set()

    def renew_all(self) -> None:
        """What the others know of this node may be wrong: tell them anew."""
        self.renew(connection.token for connection in self._directory.connections())

    # -- what is shared

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._has_work.wait()
            self._has_work = trio.Event()
            try:
                await self.settle()
            except StoreFailed as failed:
                self._members.failed(failed)
                self._give_up()
                await trio.sleep(RETRY_S)
                self._has_work.set()
            await rest(self._shared, self._members)

    def _give_up(self) -> None:
        """Devices that wait are let in; they are claimed when what is shared is back."""
        wishes, self._wishes = self._wishes, []
        for wish in wishes:
            wish.done.set()

    async def settle_one(self, token: str) -> None:
        """What others should know of a token whose device is not here. Raises StoreFailed."""
        if self.has_left(token):
            await self._journal.commit()
        else:
            await self.settle()

    async def settle(self) -> None:
        """Do all that waits to be done. Raises StoreFailed."""
        needed = self._begun + 1
        async with self._one_at_a_time:
            if self._done >= needed:
                return  # begun and done since, for somebody else
            self._begun = number = self._begun + 1
            # Rows of a device that left must be there before another node may have the token: who
            # leaves during the commit may have been given something that is not in it.
            leaving = dict(self._leaving)
            await self._journal.commit()
            await self._let_go(leaving)
            while self._wishes:
                wishes, self._wishes = self._wishes[:ROUND], self._wishes[ROUND:]
                await self._claim(wishes)
            while self._renewing:
                await self._renew(list(self._renewing)[:ROUND])
            self._done = number

    async def _let_go(self, leaving: Mapping[str, int]) -> None:
        free = [token for token in leaving if self._is_free(token)]
        if free:
            await self._shared.let_go(self._members.name, free, now=self._clock.wall())
        if strays := self._strays.intersection(free):
            self._strays -= strays
            self.on_strays(list(strays))
        for token, number in leaving.items():
            # Not who came and went again meanwhile: what that was given is not written down yet.
            if self._leaving[token] == number:
                del self._leaving[token]
        # Who came back meanwhile may have been let go of just now.
        self.renew(token for token in free if self._directory.get(token) is not None)

    def has_left(self, token: str) -> bool:
        """Whether there is nothing of a token here that others may not know of yet."""
        return self._is_free(token) and token not in self._leaving

    def _is_free(self, token: str) -> bool:
        return token not in self._admitting and self._directory.get(token) is None

    async def _claim(self, wishes: Sequence[_Wish]) -> None:
        try:
            for renew in (False, True):
                await self._fulfil([wish for wish in wishes if wish.renew is renew], renew=renew)
        finally:
            # Without a claim, too, a device is let in.
            for wish in wishes:
                wish.done.set()

    async def _fulfil(self, wishes: Sequence[_Wish], *, renew: bool) -> None:
        silent = {wish.token: wish.silent for wish in wishes if wish.silent is not None}
        claims = await self._ask([wish.token for wish in wishes], silent, renew=renew)
        for wish, claim in zip(wishes, claims, strict=True):
            wish.claim = claim
            if claim.last is not None:
                self.on_came_from(wish.token, claim.last)
            if claim.older is not None and not renew:
                self.on_claimed(wish.token, claim.older)

    async def _renew(self, tokens: Sequence[str]) -> None:
        # What there is to look at from now on is not in this answer.
        for token in tokens:
            del self._renewing[token]
        self.renew(token for token in tokens if token in self._admitting)
        here = [token for token in tokens if self._is_settled_here(token)]
        try:
            claims = await self._ask(here, renew=True)
        except StoreFailed:
            self.renew(here)
            raise
        late = []
        for token, claim in zip(here, claims, strict=True):
            connection = self._directory.get(token)
            if connection is None:
                continue
            if not claim.refused and token in self._unclaimed:
                late.append(connection)
            if claim.refused and token in self._unclaimed and claim.older is not None:
                self.on_contested(connection, claim.older)
                continue
            self._unclaimed.discard(token)
            if claim.last is not None:
                self.on_came_from(token, claim.last)
            if claim.refused:
                self._local.displace(connection)
            elif self._local.adopt(token, claim.rows):
                self._local.deliver(connection)
        if late:
            self.on_claimed_late(late)

    def _is_settled_here(self, token: str) -> bool:
        return token not in self._admitting and self._directory.get(token) is not None

    async def _ask(
        self, tokens: Sequence[str], silent: Mapping[str, str] = NO_ONE, *, renew: bool
    ) -> list[Claim]:
        if not tokens:
            return []
        void, now = self._members.void, self._clock.wall()
        claims = await self._shared.claim(
            self._members.name, tokens, void=void, renew=renew, now=now, silent=silent
        )
        others = {c.older for c in claims} | {c.last for c in claims}
        await self._members.judge(name for name in others if name is not None)
        if renew and any(c.refused and c.older in self._members.void for c in claims):
            return await self._ask(tokens, renew=True)
        return claims

    async def still_mine(self, tokens: Sequence[str]) -> list[str]:
        """Those of the tokens that no other node owns. Raises StoreFailed."""
        owners = await self._shared.owners(tokens)
        mine = (None, self._members.name)
        return [token for token, owner in zip(tokens, owners, strict=True) if owner in mine]
