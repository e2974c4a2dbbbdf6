"""A node whose devices are dictionaries: real ledger, settings and push channel, and a router
that does at once what the real one promises."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace

import trio

from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.errors import Refusal
from trio_push.push import Push, State
from trio_push.router.channel import PushChannel
from trio_push.watch.ledger import Ledger
from trio_push.wire.reasons import UNREGISTERED


@dataclass
class FakeConnection:
    token: str
    connected_at: float = 1_700_000_000.0
    transport: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(name="sse"))
    remote: str = "127.0.0.1:40000"
    queued: int = 0


class FakeDirectory:
    def __init__(self) -> None:
        self.connections: dict[str, FakeConnection] = {}
        self.unregistered: dict[str, int] = {}

    def get(self, token: str) -> FakeConnection | None:
        return self.connections.get(token)

    def check(self, token: str) -> None:
        if token in self.unregistered:
            raise Refusal(UNREGISTERED, timestamp_ms=self.unregistered[token])

    def __len__(self) -> int:
        return len(self.connections)

    def tokens(self, after: str | None, limit: int) -> list[str]:
        return [t for t in sorted(self.connections) if after is None or t > after][:limit]


class FakeRouter:
    epoch = "e90c"

    def __init__(self, clock: Clock, ledger: Ledger, directory: FakeDirectory) -> None:
        self.clock = clock
        self.ledger = ledger
        self.directory = directory
        #: what devices received, and what is held
        self.received: dict[str, list[Push]] = defaultdict(list)
        self.waiting: dict[State, list[Push]] = {State.STORED: [], State.DELAYED: []}
        self.room = 1_000_000
        #: ids said to be on their way
        self.on_their_way: set[str] = set()
        #: set to hold up routing
        self.gate = trio.Event()
        self.gate.set()
        self.submissions = 0

    async def run(self, channel: PushChannel) -> None:
        async for submission in channel.receive_end:
            self.submissions += 1
            await self.gate.wait()
            submission.settle([self._route(push) for push in submission.pushes])

    def _route(self, push: Push) -> State:
        state = State.DISCARDED
        if push.not_before > self.clock.wall():
            state = State.DELAYED
        elif self.directory.get(push.token):
            state = State.DELIVERED_LIVE
            self.received[push.token].append(push)
        elif push.storable:
            state = State.STORED
        if state in self.waiting:
            self.waiting[state].append(push)
        self.ledger.enter(state)
        return state

    async def broadcast(self, push: Push) -> Counter[State]:
        await self.gate.wait()
        for token in self.directory.connections:
            self.received[token].append(push)
        n = len(self.directory.connections)
        self.ledger.enter(State.DELIVERED_LIVE, n)
        return Counter({State.DELIVERED_LIVE: n})

    def recall(self, id: str) -> int:
        recalled = 0
        for state, pushes in self.waiting.items():
            kept = [push for push in pushes if push.id != id]
            recalled += len(pushes) - len(kept)
            self.ledger.move(state, State.RECALLED, len(pushes) - len(kept))
            self.waiting[state] = kept
        return recalled

    def is_open(self, id: str) -> bool:
        return id in self.on_their_way

    def unregister(self, token: str) -> int:
        self.directory.connections.pop(token, None)
        self.directory.unregistered[token] = 1_700_000_000_123
        return 1_700_000_000_123

    def register(self, token: str) -> None:
        self.directory.unregistered.pop(token, None)

    def stored(self, token: str) -> list[Push]:
        return [push for push in self.waiting[State.STORED] if push.token == token]

    def delayed(self, token: str) -> int:
        return sum(push.token == token for push in self.waiting[State.DELAYED])

    def has_room(self, n: int = 1) -> bool:
        return self.room >= n

    def held(self) -> Counter[State]:
        return Counter({state: len(pushes) for state, pushes in self.waiting.items()})


class FakeNode:
    def __init__(self, settings: ServeSettings | None = None) -> None:
        self.settings = settings or ServeSettings(drain_s=1.0)
        self.clock = Clock()
        self.ledger = Ledger()
        self.directory = FakeDirectory()
        self.router = FakeRouter(self.clock, self.ledger, self.directory)
        self.push_channel = PushChannel()
        self.id = "n0de"
        self.phase = "ready"

    def connect(self, *tokens: str) -> None:
        for token in tokens:
            self.directory.connections[token] = FakeConnection(token)
