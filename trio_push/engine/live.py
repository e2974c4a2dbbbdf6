"""Settings that are changed while the server runs: for all of its nodes, until the last ends.

A change is written among what is shared and told to the living nodes before it is answered. A
node that comes, or was cut off, reads what is set: each beat says the number of the last change.
Whoever has settings of a kind takes changes here, and makes them through `Everywhere.change`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import trio

from trio_push.engine.contract import Setting, Shared
from trio_push.engine.members import Members
from trio_push.engine.messages import Changed
from trio_push.engine.post import Post
from trio_push.errors import StoreFailed

#: Takes changes of one kind, in order: name → value. b"": there is none, not even one that the
#: node has had from its start.
Take = Callable[[Mapping[str, bytes]], None]


class Live:
    """The settings of one node. On one that is alone they are with those who take them."""

    def __init__(self) -> None:
        self._takers: dict[str, Take] = {}
        self._shared: _Shared | None = None

    def join(self, shared: Shared, members: Members, post: Post) -> None:
        """The node is one of several from now on."""
        self._shared = _Shared(shared, members, post, self._give)
        members.on_beat = self._shared.see

    def on_change(self, kind: str, take: Take) -> None:
        """`take` is called with what is changed of a kind; a kind is a word."""
        self._takers[kind] = take

    async def change(self, kind: str, values: Mapping[str, bytes], *, fresh: bool = False) -> int:
        """Change settings of a kind on all nodes; b"" takes one away. Raises StoreFailed.

        Returns how many nodes have it by now: one that does not say so in time sees it when it
        can. With `fresh` 0 is returned, and nothing done, if one of the names is set already; on
        a node that is alone who asks knows.
        """
        named = {f"{kind} {name}": value for name, value in values.items()}
        if self._shared is not None and named:
            return await self._shared.change(named, fresh=fresh)
        self._give(named)
        return 1

    async def hear(self, changed: Changed) -> None:
        """Another node says what was changed. Raises StoreFailed."""
        if self._shared is not None:
            await self._shared.hear(changed)

    async def catch_up(self) -> None:
        """Read what is set. Raises StoreFailed."""
        if self._shared is not None:
            await self._shared.catch_up()

    async def run(self) -> None:
        """Until cancelled: read what is set whenever something was missed."""
        if self._shared is not None:
            await self._shared.run()

    def _give(self, named: Mapping[str, bytes]) -> None:
        """Give changes to those who take them, in order."""
        by_kind: dict[str, dict[str, bytes]] = {}
        for full, value in named.items():
            kind, _, name = full.partition(" ")
            by_kind.setdefault(kind, {})[name] = value
        for kind, values in by_kind.items():
            if kind in self._takers:  # else a newer version has it
                self._takers[kind](values)


class _Shared:
    """What one of several nodes knows of what is set."""

    def __init__(
        self,
        shared: Shared,
        members: Members,
        post: Post,
        give: Callable[[Mapping[str, bytes]], None],
    ) -> None:
        self._shared = shared
        self._members = members
        self._post = post
        self._give = give
        #: the last change that is known here, and that of each name
        self._number = 0
        self._numbers: dict[str, int] = {}
        self._one_at_a_time = trio.Lock()
        self._is_behind = trio.Event()

    def see(self, number: int) -> None:
        """That is the number of the last change."""
        if number != self._number:
            self._is_behind.set()

    async def run(self) -> None:
        while True:
            await self._is_behind.wait()
            self._is_behind = trio.Event()
            with suppress(StoreFailed):  # the next beat says it again
                await self.catch_up()

    async def change(self, values: Mapping[str, bytes], *, fresh: bool) -> int:
        last = await self._shared.change(values, fresh=fresh)
        if not last:
            return 0
        changed, holding = Changed(last, dict(values)), 1

        async def tell(node: str) -> None:
            nonlocal holding
            holding += await self._post.ask(node, changed) is not None

        await self._members.look()  # who has come by now; who comes later reads it
        async with trio.open_nursery() as nursery:
            for node in self._members.others:
                nursery.start_soon(tell, node)
            with suppress(StoreFailed):
                await self.hear(changed)
        return holding

    async def hear(self, changed: Changed) -> None:
        first = changed.last - len(changed.values) + 1
        async with self._one_at_a_time:
            if first == self._number + 1:
                self._numbers |= zip(changed.values, range(first, changed.last + 1), strict=True)
                self._number = changed.last
                self._give(changed.values)
                return
        if changed.last > self._number:
            await self.catch_up()

    async def catch_up(self) -> None:
        async with self._one_at_a_time:
            try:
                number, settings = await self._shared.settings()
            except StoreFailed as failed:
                self._members.failed(failed)
                raise
            self._number = number
            self._take_all(settings)

    def _take_all(self, settings: Mapping[str, Setting]) -> None:
        gone = self._numbers.keys() - settings.keys()
        new = {
            name: setting
            for name, setting in settings.items()
            if setting.number != self._numbers.get(name)
        }
        self._numbers = {name: setting.number for name, setting in settings.items()}
        in_order = sorted(new, key=lambda name: new[name].number)
        self._give(dict.fromkeys(gone, b"") | {name: new[name].value for name in in_order})
