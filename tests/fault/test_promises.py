"""What was promised is kept, whenever the process is killed, whatever the disk does.

A node on a SQLite file and a list of what it has replied. Nothing that was promised is missing
in the end; nothing that was recalled or acknowledged, and replied to, comes back; the file has
what it should at every quiet moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.contract.world import World
from tests.fakes import T0, push
from tests.fault.model import Mode
from tests.fault.test_books import MoodyDevice, Step, modes, step, tokens
from trio_push.config import ServeSettings
from trio_push.errors import Refusal
from trio_push.push import Push, State
from trio_push.wire.cursor import Cursor

SETTINGS = ServeSettings(
    mailbox_capacity=2, store_per_token=1000, write_timeout_s=3.25, ack_timeout_s=4
)
TOKENS = ("aa", "bb")
HELD = (State.STORED, State.DELAYED, State.AWAITING_ACK)


@dataclass(eq=False)
class Promise:
    """A push that was handed in, and what its sender and its device have been told."""

    push: Push
    #: the reply; None: there was none
    state: State | None = None
    #: recalled, acknowledged or its token unregistered, and the reply to that was sent
    is_over: bool = False

    @property
    def holds(self) -> bool:
        """Whether the reply has promised that it comes, come what may."""
        if self.state is None or self.is_over or not self.push.storable:
            return False
        return self.state in HELD or (self.state.is_open and self.push.wants_ack)


class Promises:
    """Does the steps to a world and notes what it promises."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._promises: list[Promise] = []
        self._devices: list[MoodyDevice] = []
        #: read once and written down, so that a crash cannot bring it back
        self._settled: set[bytes] = set()
        #: how often a push without acknowledgement may have come
        self._allowed: Counter[bytes] = Counter()

    # -- pushes

    async def submit(self, pushes: list[dict[str, Any]]) -> None:
        promises = self._make(pushes)
        states = await self._world.submit(*(promise.push for promise in promises))
        for promise, state in zip(promises, states, strict=True):
            promise.state = state

    async def submit_to_a_full_disk(self, pushes: list[dict[str, Any]]) -> None:
        self._world.disk.is_full = True
        await self.submit(pushes)
        self._world.disk.is_full = False

    async def submit_and_die(self, pushes: list[dict[str, Any]]) -> None:
        self._world.disk.stall()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.submit, pushes)
            await wait_all_tasks_blocked()
            await self.kill()
            nursery.cancel_scope.cancel()

    def _make(self, pushes: list[dict[str, Any]]) -> list[Promise]:
        made = [self._push(len(self._promises) + n, **each) for n, each in enumerate(pushes)]
        promises = [Promise(push) for push in made]
        self._promises += promises
        return promises

    def _push(self, n: int, after_s: int, ttl_s: int, **fields: Any) -> Push:
        now = self._world.clock.wall() - T0
        not_before = after_s and T0 + now + after_s
        return push(b"%d" % n, ttl_s=ttl_s and now + ttl_s, not_before=not_before, **fields)

    async def recall(self, of: int) -> None:
        if not self._promises:
            return
        promise = self._promises[of % len(self._promises)]
        if self._world.router.recall(promise.push.id):
            await self._over([promise])

    async def _over(self, promises: Sequence[Promise]) -> None:
        """They have ended, and whoever ended them is told so when it is written down."""
        with suppress(Refusal):
            await self._world.router.commit()
            for promise in promises:
                promise.is_over = True
                self._allowed[promise.push.payload] = self._read()[promise.push.payload]

    # -- devices

    async def connect(self, token: str, mode: Mode) -> None:
        self._attach(token, mode, None)

    async def resume(self, token: str, mode: Mode) -> None:
        """A device comes back and says what it has: that is what it has read."""
        seen = max((n for d in self._devices if d.token == token for n in d.seqs), default=0)
        if not seen:
            return
        await self.leave(token)
        waiting = self._world.router._store.of(token, State.STORED, State.AWAITING_ACK)
        acknowledged = [
            self._promises[int(held.push.payload)] for held in waiting if held.seq <= seen
        ]
        for promise in acknowledged:
            was_read = promise.push.payload in self._read()
            assert was_read or self._may_be_missing(promise), promise
        self._attach(token, mode, Cursor(self._world.router.epoch, seen))
        await self._over(acknowledged)

    def _attach(self, token: str, mode: Mode, cursor: Cursor | None) -> None:
        with suppress(Refusal):
            self._world.node.directory.check(token)
            self._devices.append(MoodyDevice(token, mode))
            self._world.router.attach(self._devices[-1], cursor)

    async def set_mode(self, token: str, mode: Mode) -> None:
        if device := self._device(token):
            device.set_mode(mode)

    async def leave(self, token: str) -> None:
        if device := self._device(token):
            self._world.disconnect(device)

    async def acknowledge(self, token: str) -> None:
        """The devices of a token acknowledge everything that they have read."""
        read = {payload for d in self._devices if d.token == token for payload in d.events}
        acknowledged = [
            promise
            for promise in self._promises
            if promise.push.wants_ack
            and promise.push.payload in read
            and self._world.router.acks.acknowledge(token, promise.push.id)
        ]
        await self._over(acknowledged)

    async def unregister(self, token: str) -> None:
        self._world.router.unregister(token)
        self._world.router.register(token)
        await self._over([each for each in self._promises if each.push.token == token])

    def _device(self, token: str) -> Any:
        return self._world.node.directory.get(token)

    # -- time, and the end of it

    async def wait(self, seconds: int) -> None:
        await trio.sleep(seconds)

    async def settle(self) -> None:
        """A quiet moment: what was delivered is written down."""
        with suppress(Refusal):
            await self._world.router.commit()
            await self._world.check_file()
            self._settled = set(self._read())

    async def kill(self) -> None:
        for payload in self._read().keys() - self._settled:
            self._allowed[payload] += 1
        await self._restart("kill")

    async def stop(self) -> None:
        await self._restart("stop")
        assert self._world.lost == 0

    async def _restart(self, how: str) -> None:
        self._world.disk.is_full = False
        await self._world.restart(how)
        numbers = [n for device in self._devices for n in device.seqs]
        assert self._world.router.seq >= max(numbers, default=0)

    # -- what is true

    def _read(self) -> Counter[bytes]:
        """How often each push was read, by all devices there ever were."""
        return Counter(payload for device in self._devices for payload in device.events)

    def check(self) -> None:
        self._world.check()
        read = self._read()
        for promise in self._promises:
            payload = promise.push.payload
            if promise.is_over:
                assert read[payload] <= self._allowed[payload], promise
            elif not promise.push.wants_ack:
                assert read[payload] <= 1 + self._allowed[payload], promise

    async def check_all_came(self) -> None:
        """Every device comes and takes what there is."""
        await self.kill()
        for token in TOKENS:
            await self.connect(token, "open")
        await trio.sleep(20)
        self.check()
        finally_read = {payload for d in self._devices[-len(TOKENS) :] for payload in d.events}
        for promise in self._promises:
            came = finally_read if promise.push.wants_ack else self._read()
            assert (
                not promise.holds or self._may_be_missing(promise) or (promise.push.payload in came)
            ), promise

    def _may_be_missing(self, promise: Promise) -> bool:
        """Expired, or replaced by a newer push."""
        mine = promise.push
        if mine.expired(self._world.clock.wall()):
            return True
        newer = self._promises[int(mine.payload) + 1 :]
        return mine.slot is not None and any(
            (each.push.token, each.push.slot) == (mine.token, mine.slot) for each in newer
        )


pushes = st.lists(
    st.fixed_dictionaries(
        {
            "token": tokens,
            "ttl_s": st.sampled_from([0, 3, 1000, 1000]),
            "collapse_id": st.sampled_from([None, None, None, "c"]),
            "wants_ack": st.booleans(),
            "after_s": st.sampled_from([0, 0, 0, 2, 5]),
        }
    ),
    min_size=1,
    max_size=3,
)
steps = st.lists(
    st.one_of(
        step("submit", pushes=pushes),
        step("submit", pushes=pushes),
        step("submit_to_a_full_disk", pushes=pushes),
        step("submit_and_die", pushes=pushes),
        step("recall", of=st.integers(0, 20)),
        step("connect", token=tokens, mode=modes),
        step("resume", token=tokens, mode=modes),
        step("set_mode", token=tokens, mode=modes),
        step("leave", token=tokens),
        step("acknowledge", token=tokens),
        step("unregister", token=tokens),
        step("wait", seconds=st.integers(1, 4)),
        step("settle"),
        step("kill"),
        step("stop"),
    ),
    max_size=25,
)


async def run(steps: Sequence[Step], path: Path) -> None:
    async with trio.open_nursery() as nursery:
        world = World(path, nursery, SETTINGS)
        await world.start()
        promises = Promises(world)
        for name, arguments in steps:
            await getattr(promises, name)(**arguments)
            promises.check()
        await promises.settle()
        await promises.check_all_came()
        await world.check_file()
        await world.kill()  # which closes its file
        nursery.cancel_scope.cancel()


@settings(max_examples=300)
@given(steps)
def test_what_was_promised_is_kept(steps: Sequence[Step]) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "pushes.db"
        trio.run(run, steps, path, clock=MockClock(autojump_threshold=0))
