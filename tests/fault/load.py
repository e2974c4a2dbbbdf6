"""Load under faults, and both books of it: what was told and read, and what the ledgers say.

Devices that stay and devices that come and go, at any of several servers, and providers that push
to them. Of what was answered with 200, all that may be stored has to arrive; what may not is read
once at most; and what the servers say they delivered is what was read.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import trio

from tests.fault.process import serve
from tests.redis import RedisServer
from tests.serving import Peer
from tests.workers.running import Crew, until
from trio_push.watch.summing import settle_between, sum_books
from trio_push.wire.sse_parser import Event

TOKENS = [f"d{n:03x}" for n in range(12)]
#: pushes that each server has accepted when the load has begun
BEGUN = 30
#: seconds of load before, between and after faults
CALM_S = 0.5
#: seconds after which the two books must agree: leases have lapsed, and all was tried again
SETTLED_S = 90
PROVIDERS = 4
#: pushes that a server has in hand, at most, when it is killed: those of a quarter of a second
IN_HAND = 50
#: time between two pushes of a provider, and between two attempts of whoever was refused
PACE_S = 0.02
#: what a test and an end of its connection raise when the other end is gone
GONE = (AssertionError, OSError, trio.BrokenResourceError)


class Account:
    """What the providers were told and what the devices have read."""

    def __init__(self) -> None:
        self._number = 0
        #: answered with 200: what may be stored, and what may not
        self.kept: set[int] = set()
        self.live: set[int] = set()
        self.refused: set[int] = set()
        #: by where: pushes that were answered with 200, or not at all, and events that were read
        self.accepted: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.read: Counter[int] = Counter()

    def next(self) -> int:
        self._number += 1
        return self._number

    @property
    def doubles(self) -> int:
        return self.read.total() - len(self.read)

    @property
    def read_in_spite(self) -> int:
        """Pushes that a device took while they were refused, because they could not be written."""
        return len(self.refused & self.read.keys())

    def missing(self) -> set[int]:
        return self.kept - self.read.keys()


class Load:
    """Devices that listen, and providers that push to them, until cancelled."""

    def __init__(self, *urls: str, tokens: Sequence[str] = TOKENS) -> None:
        #: where devices and providers go, in turn
        self.urls = list(urls)
        self.tokens = tokens
        self.account = Account()
        self._pushing = trio.CancelScope()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for n, token in enumerate(self.tokens):
                listen = self._stay if n % 2 else self._come_and_go
                nursery.start_soon(again_and_again, listen, token)
            with self._pushing:
                async with trio.open_nursery() as providers:
                    for n in range(PROVIDERS):
                        providers.start_soon(again_and_again, self._push, n)

    def stop_pushing(self) -> None:
        self._pushing.cancel()

    def _note(self, url: str, event: Event) -> None:
        self.account.read[json.loads(event.data)["n"]] += 1
        self.account.events[url] += 1

    async def _stay(self, token: str) -> None:
        url = random.choice(self.urls)
        async with Peer.connected(url) as peer:
            await peer.listen(token)
            while True:
                self._note(url, await peer.event())

    async def _come_and_go(self, token: str) -> None:
        url = random.choice(self.urls)
        async with Peer.connected(url) as peer:
            await peer.listen(token)
            with trio.move_on_after(random.uniform(0.2, 1.0)):
                while True:
                    self._note(url, await peer.event())
            # It leaves politely: what is on the way to it is still read.
            peer.end()
            for event in await peer.events(may_be_reset=True):
                self._note(url, event)
        await trio.sleep(random.uniform(0, 0.5))

    async def _push(self, n: int) -> None:
        url = self.urls[n % len(self.urls)]
        async with Peer.connected(url) as peer:
            while url in self.urls:
                await self._push_one(url, peer)
                await trio.sleep(PACE_S)

    async def _push_one(self, url: str, peer: Peer) -> None:
        number = self.account.next()
        may_be_stored = number % 4 != 0
        headers: dict[str, Any] = {
            # a topic of its own, or a newer push would replace it
            "apns_topic": f"t{number}",
            "apns_expiration": str(int(time.time()) + 3600) if may_be_stored else "0",
        }
        body = json.dumps({"n": number}).encode()
        status = 0
        try:
            status = (await peer.push(random.choice(self.tokens), body, **headers)).status
        finally:
            self.account.unanswered[url] += status == 0
        assert status in (200, 503), status
        if status == 503:
            self.account.refused.add(number)
        else:
            self.account.accepted[url] += 1
            (self.account.kept if may_be_stored else self.account.live).add(number)


async def again_and_again(work: Callable[..., Awaitable[None]], *args: object) -> None:
    """A peer that connects again whenever its server is gone."""
    while True:
        with suppress(*GONE):
            await work(*args)
        await trio.sleep(PACE_S)


async def hold(
    server: Crew, token: str, *, task_status: trio.TaskStatus[Peer] = trio.TASK_STATUS_IGNORED
) -> None:
    """A device that stays until cancelled."""
    async with Peer.connected(server.url) as peer:
        await peer.listen(token)
        task_status.started(peer)
        await trio.sleep_forever()


# -- both books


async def books_of(*servers: Crew) -> dict[str, Any]:
    """The ledgers of servers that are one, as one."""
    all_books = []
    for server in servers:
        books = await server.get("/v1/ledger")
        all_books.append({k: v for k, v in books.items() if k not in ("node", "epoch", "version")})
    summed = sum_books(all_books)
    settle_between(summed)
    return summed


def disagreements(
    books: dict[str, Any],
    account: Account,
    urls: Collection[str],
    *,
    in_hand: int = 0,
    doubles: int | None = None,
) -> list[str]:
    """What the books of the servers at `urls`, the survivors, say against the account.

    Of servers that were killed `in_hand` pushes may be in the books wrongly. So many `doubles` are
    within the promise; without it, as many as the servers know of: what is repeated, and what was
    under way when a store failed.
    """
    ended, lost = books["ended"], books["ended"]["lost"]
    accepted, unanswered, read = (
        sum(counts[url] for url in urls)
        for counts in (account.accepted, account.unanswered, account.events)
    )
    most_accepted = accepted + unanswered + account.read_in_spite + lost + in_hand
    most_doubles = books["repeated"] + lost if doubles is None else doubles
    between = {
        "what was handed over was taken over": ended["handed_over"] <= in_hand,
        "and once, but for what was lost": books["taken_over"] <= lost + in_hand,
    }
    # What others that are no more handed over or took over, nobody knows.
    all_are_there = urls >= account.accepted.keys()
    checks = {
        **(between if all_are_there else {}),
        "balanced": books["balanced"],
        "nobody is silent": books["silent"] == 0,
        "nothing is open": sum(books["open"].values()) == 0,
        "nothing is missing": not account.missing(),
        "nothing is dropped": ended["dropped"] == books["dropped"]["node_died"],
        "live ones are read once": all(account.read[n] <= 1 for n in account.live),
        "what was accepted": accepted - in_hand <= books["accepted"] <= most_accepted,
        "what was delivered is what was read": abs(ended["delivered"] - read) <= in_hand,
        "doubles are within the promise": account.doubles <= most_doubles,
    }
    return [name for name, is_true in checks.items() if not is_true]


async def agree(load: Load, *servers: Crew, **allowed: int) -> dict[str, Any]:
    """Push no more, and wait until both books say the same; returns the servers'."""
    load.stop_pushing()
    found: list[str] = []
    books: dict[str, Any] = {}
    with trio.move_on_after(SETTLED_S):
        while True:
            books = await books_of(*servers)
            urls = {server.url for server in servers}
            found = disagreements(books, load.account, urls, **allowed)
            if not found:
                break
            await trio.sleep(0.2)
    account = load.account
    told = account.accepted, account.unanswered, len(account.refused), account.read_in_spite
    seen = account.events, account.doubles, sorted(account.missing())[:20]
    assert not found, (found, books, told, seen)
    return books


# -- servers


@asynccontextmanager
async def nodes(*redis_urls: str, **options: Any) -> AsyncIterator[list[Crew]]:
    """A node for each URL: they are one server, if the URLs lead to one Redis."""
    async with AsyncExitStack() as stack:
        found: list[Crew] = []
        for url in redis_urls:
            opened = serve("--redis", url, "--drain", "1s", api="127.0.0.1:0", kind=Crew, **options)
            node = await stack.enter_async_context(opened)
            assert isinstance(node, Crew)
            found.append(node)
        yield found


@asynccontextmanager
async def loaded(*servers: Crew, tokens: Sequence[str] = TOKENS) -> AsyncIterator[Load]:
    """Load on all of the servers, which has begun, while the block runs."""
    load = Load(*(server.url for server in servers), tokens=tokens)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        await until(lambda: all(load.account.accepted[url] >= BEGUN for url in load.urls))
        yield load
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def two_nodes_on(redis: RedisServer) -> AsyncIterator[list[Crew]]:
    """Two nodes under load, from before the block until, after it, both books agree."""
    url = redis.url_text
    async with nodes(url, url) as both, loaded(*both) as load:
        await trio.sleep(CALM_S)
        yield both
        await trio.sleep(4 * CALM_S)
        await agree(load, *both)
