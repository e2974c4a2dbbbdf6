"""The nodes, their inboxes and what holds for all of them, when they are in one process.

One half of what the nodes share in memory; the other is about tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import trio

from trio_push.engine.contract import Beat, Setting
from trio_push.errors import StoreFailed

#: time to wait for a message
WAIT_S = 1.0


class MemoryNodes:
    """Its half of the contract; `away` says why nothing can be reached, if so."""

    def __init__(self) -> None:
        self.away = ""
        self._leases: dict[str, float] = {}
        self._inboxes: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
        self._arrived: defaultdict[str, trio.Event] = defaultdict(trio.Event)
        self._sent = 0
        self._takers: dict[str, tuple[str, float]] = {}
        #: who took a message out of another's inbox
        self._took_out: dict[tuple[str, str], str] = {}
        self._settings: dict[str, Setting] = {}
        self._changed = 0
        #: (node, token) → what it left behind of the token
        self._memories: dict[tuple[str, str], bytes] = {}

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.away:
            raise StoreFailed(self.away)

    # -- nodes and their inboxes

    async def beat(self, node: str, lease_s: float, *, begins: bool = False) -> Beat:
        await self._reach()
        now = trio.current_time()
        living = {each for each, end in self._leases.items() if end > now}
        was_alive = node in living
        if begins and not living - {node} and self._settings:
            self._settings.clear()
            self._changed += 1
        living.add(node)
        self._leases[node] = now + lease_s
        dead = frozenset(self._leases.keys() - living)
        return Beat(was_alive, frozenset(living), dead, self._changed)

    async def leave(self, node: str) -> None:
        await self._reach()
        self._leases[node] = 0.0

    async def send(self, messages: Mapping[str, bytes]) -> None:
        await self._reach()
        for node, data in messages.items():
            self._sent += 1
            self._inboxes[node][self._sent] = data
            self._arrived.pop(node, trio.Event()).set()

    async def receive(self, node: str, after: str, *, wait: bool = True) -> list[tuple[str, bytes]]:
        await self._reach()
        last = int(after or 0)
        if wait and not any(number > last for number in self._inboxes[node]):
            with trio.move_on_after(WAIT_S):
                await self._arrived[node].wait()
        return [(str(n), data) for n, data in self._inboxes[node].items() if n > last]

    async def done(self, node: str, ids: Sequence[str], *, inbox: str) -> Collection[str]:
        await self._reach()
        for each in ids:
            if self._inboxes[inbox].pop(int(each), None) is not None:
                self._took_out[inbox, each] = node
        return [each for each in ids if self._took_out.get((inbox, each), inbox) != node]

    async def take_over(self, node: str, dead: str, hold_s: float) -> bool:
        await self._reach()
        now = trio.current_time()
        holder, until = self._takers.get(dead, (node, 0.0))
        if holder != node and until > now:
            return False
        self._takers[dead] = node, now + hold_s
        return True

    async def forget(self, dead: str) -> None:
        await self._reach()
        self._inboxes.pop(dead, None)
        self._leases.pop(dead, None)

    async def leave_behind(
        self, node: str, memories: Mapping[str, bytes], *, others: bytes | None = None
    ) -> None:
        await self._reach()
        self._memories.update({(node, token): data for token, data in memories.items()})
        if others is not None:
            self._memories[node, ""] = others

    async def left_behind(self, node: str, token: str) -> bytes | None:
        await self._reach()
        return self._memories.get((node, token), self._memories.get((node, "")))

    # -- settings

    async def change(self, values: Mapping[str, bytes], *, fresh: bool) -> int:
        await self._reach()
        if fresh and any(name in self._settings and self._settings[name].value for name in values):
            return 0
        for name, value in values.items():
            self._changed += 1
            self._settings[name] = Setting(self._changed, value)
        return self._changed

    async def settings(self) -> tuple[int, dict[str, Setting]]:
        await self._reach()
        return self._changed, dict(self._settings)
