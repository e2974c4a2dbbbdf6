"""What the nodes share: who holds which device, what is held for the others, and inboxes.

Two implementations pass one suite of tests: Redis, and memory for nodes in one process. A
node's engine is the only caller. Every call raises StoreFailed when what is shared cannot be
reached; then it may have happened or not. Calls take many tokens at a time, because a round
trip costs more than what it carries.

A token has at most one owner: the node that its device is connected to. The owner's memory
has what is held for the token, and the rows here are its journal. Of a token without an owner
only the rows exist. A node is `void` once its lease has lapsed, and so is its ownership.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from trio_push.push import Push, State

#: seconds after which the owner of a token is told again of a push that has come due for it
NOTE_AGAIN_S = 5.0


#: seconds for which, at least, it is known who let go of a token last
LEFT_S = 600

#: seconds for which it is kept what a node that ended remembered; its devices come back sooner
BEHIND_S = 120

#: none of the nodes was asked in vain
NO_ONE: Final[Mapping[str, str]] = MappingProxyType({})

#: number of a row that has not been sent
NOT_YET = "-"


class HeldRow(NamedTuple):
    """A push that is held."""

    #: node and number that first wrote the row, "node:7"; stays, whoever holds it later
    uid: str
    push: Push
    #: DELAYED, STORED or AWAITING_ACK
    state: State
    #: of one that AWAITS its ACK, node and number in the id of the event; else NOT_YET
    number: str

    @property
    def field(self) -> str:
        """Its place among the rows of its token: pushes in one slot replace each other."""
        slot = self.push.slot
        return f"#{self.uid}" if slot is None else "=" + "\0".join(slot)

    @property
    def order(self) -> tuple[int, str]:
        """Rows are delivered in this order: numbers follow the clock of the node."""
        node, _, seq = self.uid.partition(":")
        return int(seq), node


#: uid of a drop that takes out whatever delayed push lies in a slot
ANY_DELAYED = "*"


class Drop(NamedTuple):
    """A row that is to go, if it is still the one with this uid."""

    token: str
    field: str
    uid: str


class Beat(NamedTuple):
    """The nodes as they are now."""

    #: whether the lease of the node that asks was still running
    was_alive: bool
    living: frozenset[str]
    #: nodes whose lease has lapsed and whose inbox may still have something
    dead: frozenset[str]
    #: the number of the last change of a setting
    changed: int = 0


class Setting(NamedTuple):
    """What was set under a name, and the number of that change; an empty value is none."""

    number: int
    value: bytes


class Claim(NamedTuple):
    """What a node gets with a token."""

    #: who owned it before, if another node did
    older: str | None = None
    #: the token stays with `older`: only a claim that renews is refused
    refused: bool = False
    #: what is held for it, in order; delayed pushes stay where they are
    rows: Sequence[HeldRow] = ()
    #: who had its device last, if another node did within LEFT_S and that long again
    last: str | None = None


class Stored(NamedTuple):
    """What became of a push for a token that nobody was thought to own."""

    #: STORED, DELAYED, DISCARDED or DROPPED_MAILBOX_FULL; None: it has an owner
    state: State | None
    owner: str | None = None
    #: an older push in its slot was put out
    replaced: bool = False


class Written(NamedTuple):
    """What became of a journal's changes."""

    #: delayed pushes in whose slot a row was put, or for which a slot was to be vacated
    replaced: int = 0
    #: tokens of rows that another living node owns by now, and that node
    moved: Sequence[tuple[str, str]] = ()
    #: uids of rows that another node took over when this one could not be asked for them
    taken: Collection[str] = ()


class Swept(NamedTuple):
    """What time did to rows: counts of those that are no owner's."""

    expired: int = 0
    discarded: int = 0
    #: tokens with something due for them, and their owners
    due: Sequence[tuple[str, str]] = ()
    #: there may be more to do
    more: bool = False


class Taken(NamedTuple):
    """Rows that were taken out, and the owners who have more in their memory."""

    pushes: int
    owners: frozenset[str] = frozenset()


class RequestId(NamedTuple):
    """The id that a caller gave a request."""

    id: str
    #: the same for the same request
    fingerprint: bytes
    #: None: it is not answered yet
    answer: bytes | None = None


class Shared(Protocol):
    """What all nodes see. `void` names nodes that are known to be dead."""

    #: sweeping is divided by it: partition numbers are below
    partitions: int

    @property
    def answer_s(self) -> float:
        """Seconds that an answer takes, of late: many when it, or this machine, is busy."""

    # -- nodes and their inboxes

    async def beat(self, node: str, lease_s: float, *, begins: bool = False) -> Beat:
        """Renew the lease of a node, or enter it, and see who else is there.

        When it `begins` and nobody else lives, the settings of those before it are forgotten.
        """

    async def leave(self, node: str) -> None:
        """End the lease of a node: what is left in its inbox is anybody's."""

    async def send(self, messages: Mapping[str, bytes]) -> None:
        """Put a message into the inbox of each node named."""

    async def receive(self, node: str, after: str, *, wait: bool = True) -> list[tuple[str, bytes]]:
        """Messages in the inbox behind that one ("" is the beginning), and their ids.

        With `wait`, waits a while when there are none.
        """

    async def done(self, node: str, ids: Sequence[str], *, inbox: str) -> Collection[str]:
        """Take messages out of an inbox: what they carry is in good hands. Idempotent.

        Returns those that another node had taken out: one of the two is to account for each.
        """

    async def take_over(self, node: str, dead: str, hold_s: float) -> bool:
        """Whether this node is the one to empty the inbox of a dead one, for `hold_s`."""

    async def forget(self, dead: str) -> None:
        """A dead node's inbox is empty and stays so."""

    async def leave_behind(
        self, node: str, memories: Mapping[str, bytes], *, others: bytes | None = None
    ) -> None:
        """What a node that ends remembers of these tokens, and of all others; for BEHIND_S."""

    async def left_behind(self, node: str, token: str) -> bytes | None:
        """What such a node remembered of a token, if it is still there."""

    # -- settings that hold for all nodes, while one of them lives

    async def change(self, values: Mapping[str, bytes], *, fresh: bool) -> int:
        """Set each name to its value, in order and at one moment; the number of the last change.

        Changes are numbered one by one. With `fresh`, when one of the names has a value already,
        nothing is changed and 0 is returned.
        """

    async def settings(self) -> tuple[int, dict[str, Setting]]:
        """The number of the last change, and what is set."""

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
        """The node owns the tokens from now on. `renew` only where no living node does.

        An owner that is void, or `silent` when it was asked for a token, learns from `write`
        which rows were taken from it.
        """

    async def let_go(self, node: str, tokens: Sequence[str], *, now: float) -> None:
        """The node owns the tokens no more, where it still did."""

    async def owners(self, tokens: Sequence[str]) -> list[str | None]:
        """Who owns each token; may name a node that is dead."""

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
        """Hold pushes for tokens without an owner; with `force` for any.

        One that must not be stored is DISCARDED. Idempotent by the uid of the rows.
        """

    async def write(
        self,
        node: str,
        drops: Sequence[Drop],
        rows: Sequence[HeldRow],
        *,
        void: Collection[str],
        now: float,
    ) -> Written:
        """An owner's journal: rows that are gone, then rows as they are now. Idempotent."""

    async def sweep(
        self, partitions: Sequence[int], *, void: Collection[str], now: float, limit: int
    ) -> Swept:
        """Release what is due in partitions, drop what has expired; at most `limit` in each.

        May be done by several nodes at a time: each row is released or dropped once.
        """

    async def rows(self, tokens: Sequence[str]) -> list[list[HeldRow]]:
        """All that is held for each token, delayed pushes too."""

    async def take(self, push_id: str, token: str | None, *, void: Collection[str]) -> Taken:
        """Take out the rows with this id (of this token), delayed or without an owner."""

    # -- tokens that get no pushes, and users

    async def unregister(self, token: str, at_ms: int, *, void: Collection[str]) -> Taken:
        """The token is unregistered since then, and its rows are taken out as by `take`."""

    async def register(self, token: str) -> None: ...

    async def unregistered(self) -> dict[str, int]:
        """All unregistered tokens, and since when."""

    async def enrol(self, user: str, token: str, *, per_user: int) -> bool:
        """The token is the user's from now on; False when the user has too many."""

    async def leave_user(self, token: str) -> None: ...

    async def devices(self, user: str) -> list[str]:
        """The user's tokens, in order."""

    async def user_of(self, token: str) -> str | None: ...

    # -- ids of requests

    async def take_ids(
        self, node: str, ids: Sequence[RequestId], *, void: Collection[str], hold_s: float
    ) -> list[RequestId | None]:
        """The node answers what has these ids, within `hold_s`. Of those that others have: what."""

    async def answer_ids(self, ids: Sequence[RequestId], *, keep_s: float) -> None:
        """How requests were answered, for whoever repeats them; without an answer, not at all."""
