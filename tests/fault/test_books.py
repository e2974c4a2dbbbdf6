"""The books cannot be unbalanced: a node against the model, step by step, under a mock clock.

Whatever providers, devices and time do, after every step each accepted push is where the model
has it, and the devices have read what the model's have: each push once, in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakes import T0, FakeDevice, push
from tests.fault.model import Mode, Model
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.devices.farewell import farewell
from trio_push.node import Node
from trio_push.push import Push, State

SETTINGS = ServeSettings(mailbox_capacity=2, store_per_token=3, write_timeout_s=3.25)
TOKENS = ("aa", "bb")

#: Steps happen half past a second, what falls due does so a little later, what expires later
#: still: then it is plain what comes before what.
STEP_AT_S, DUE_AT_S, EXPIRES_AT_S = 0.5, 0.625, 0.875


class MoodyDevice(FakeDevice):
    """A device that takes what its mode says."""

    def __init__(self, token: str, mode: Mode) -> None:
        super().__init__(token)
        self.mode = mode

    def set_mode(self, mode: Mode) -> None:
        self.mode = mode
        self._wake()

    def die(self) -> None:
        self.gone = True
        self._wake()

    def send(self, data: bytes) -> int:
        if self.mode == "open" or self.is_closed or self.gone:
            return super().send(data)
        if self.mode == "tear":
            self.mode = "shut"
            if len(data) > 1:
                self.taken += data[:1]
                return 1
        raise BlockingIOError

    async def wait_writable(self) -> None:
        while self.mode == "shut" and not self.is_closed and not self.gone:
            await self._changed.wait()
        if self.is_closed:
            raise trio.ClosedResourceError


class Real:
    """A node, and all the devices that ever were connected to it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.delivery = node.router.delivery
        self.devices: list[MoodyDevice] = []

    def device(self, token: str) -> Any:
        return self.node.directory.get(token)

    async def submit(self, pushes: Sequence[Push]) -> None:
        await self.node.push_channel.submit(pushes)

    async def broadcast(self, push: Push) -> None:
        counts = await self.node.router.broadcast(push)
        assert sum(counts.values()) <= len(TOKENS)

    async def recall(self, push_id: str) -> None:
        self.node.router.recall(push_id)

    async def connect(self, token: str, mode: Mode) -> None:
        self.devices.append(MoodyDevice(token, mode))
        self.node.router.attach(self.devices[-1])

    async def set_mode(self, token: str, mode: Mode) -> None:
        if device := self.device(token):
            device.set_mode(mode)

    async def die(self, token: str) -> None:
        if device := self.device(token):
            device.die()

    async def leave(self, token: str) -> None:
        if device := self.device(token):
            self.delivery.disconnect(device)

    async def whisper(self, token: str) -> None:
        if device := self.device(token):
            self.delivery.whisper(device, device.transport.keepalive)

    async def unregister(self, token: str) -> None:
        self.node.router.unregister(token)
        self.node.router.register(token)

    async def wait(self, seconds: int) -> None:
        await trio.sleep(seconds)

    # -- what is true at any moment

    def read(self, token: str) -> list[bytes]:
        return [event for d in self.devices if d.token == token for event in d.events]

    def check(self) -> None:
        books = self.node.ledger.snapshot(self.node.router.held())
        assert books["balanced"], books
        assert books["ended"]["delivered"] == sum(len(device.events) for device in self.devices)
        for token in TOKENS:
            assert max(Counter(self.read(token)).values(), default=1) == 1
            seqs = [n for d in self.devices if d.token == token for n in _whole(d)]
            assert all(a < b for a, b in pairwise(seqs)), seqs
            for device in self.devices:
                assert device.closed or self.device(device.token) is device

    def check_against(self, model: Model) -> None:
        counts = {state: n for state, n in zip(State, self.node.ledger.counts, strict=True) if n}
        assert counts == dict(model.counts)
        for token in TOKENS:
            assert self.read(token) == model.read.get(token, [])
            assert (self.device(token) is not None) == (token in model.devices)
            assert self.node.router.delayed(token) == len(model.held(token, State.DELAYED))
            stored = model.held(token, State.STORED)
            assert self.node.router.stored(token) == [entry.push for entry in stored]


def _whole(device: MoodyDevice) -> list[int]:
    """The numbers of the events that a device has read to their end."""
    return device.seqs[: len(device.events)]


# -- steps


Step = tuple[str, dict[str, Any]]

tokens = st.sampled_from(TOKENS)
modes = st.sampled_from(["open", "open", "tear", "shut"])
ids = st.sampled_from(["r1", "r2"])
fields = st.fixed_dictionaries(
    {
        "token": tokens,
        "id": ids,
        "ttl_s": st.sampled_from([0, 2, 4, 30]),
        "topic": st.sampled_from(["", "t"]),
        "collapse_id": st.sampled_from([None, None, "c"]),
        "newest_wins": st.booleans(),
        "after_s": st.sampled_from([0, 0, 0, 1, 3, 5]),
    }
)


def step(name: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


steps = st.lists(
    st.one_of(
        step("submit", pushes=st.lists(fields, min_size=1, max_size=4)),
        step("submit", pushes=st.lists(fields, min_size=1, max_size=1)),
        step("broadcast", push=fields),
        step("recall", push_id=ids),
        step("connect", token=tokens, mode=modes),
        step("set_mode", token=tokens, mode=modes),
        step("die", token=tokens),
        step("leave", token=tokens),
        step("whisper", token=tokens),
        step("unregister", token=tokens),
        step("wait", seconds=st.integers(1, 4)),
    ),
    max_size=25,
)


class Payloads:
    """Gives each push of a run a payload of its own."""

    def __init__(self, node: Node) -> None:
        self._wall = node.clock.wall
        self._made = 0

    def fill(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if "pushes" in arguments:
            return {"pushes": [self._push(**fields) for fields in arguments["pushes"]]}
        if "push" in arguments:
            return {"push": self._push(**{**arguments["push"], "after_s": 0})}
        return arguments

    def _push(self, after_s: int, ttl_s: int, **fields: Any) -> Push:
        self._made += 1
        second = int(self._wall())
        return push(
            b"%d" % self._made,
            ttl_s=ttl_s and second - T0 + ttl_s + EXPIRES_AT_S,
            not_before=after_s and second + after_s + DUE_AT_S,
            **fields,
        )


async def run(steps: Sequence[Step], *, settled: bool) -> None:
    """Do the steps to a node and to the model, and compare."""
    node = Node.make(SETTINGS, Clock(wall=lambda: T0 + trio.current_time()))
    async with trio.open_nursery() as nursery:
        await nursery.start(node.router.run, node.push_channel)
        await trio.sleep(STEP_AT_S)
        model = Model(
            SETTINGS.write_timeout_s,
            SETTINGS.mailbox_capacity,
            SETTINGS.store_per_token,
            now=node.clock.wall(),
        )
        real, payloads = Real(node), Payloads(node)
        for name, arguments in steps:
            arguments = payloads.fill(arguments)
            await getattr(real, name)(**arguments)
            real.check()
            if settled:
                getattr(model, name)(**arguments)
                await wait_all_tasks_blocked()
                real.check()
                real.check_against(model)
        await shut_down(real)
        nursery.cancel_scope.cancel()


async def shut_down(real: Real) -> None:
    """After the farewell nothing is open, and what was held is lost, and said to be."""
    node = real.node
    node.push_channel.close()
    await farewell(node.directory, node.router.delivery, drain_s=1)
    assert len(node.directory) == 0
    node.router.abandon()
    real.check()
    assert sum(node.router.held().values()) == 0
    assert not node.router.delivery.waiting


@settings(max_examples=250)
@given(steps)
def test_every_push_is_where_the_model_has_it(steps: Sequence[Step]) -> None:
    trio.run(lambda: run(steps, settled=True), clock=MockClock(autojump_threshold=0))


@settings(max_examples=150)
@given(steps)
def test_balanced_also_while_tasks_are_on_their_way(steps: Sequence[Step]) -> None:
    trio.run(lambda: run(steps, settled=False), clock=MockClock(autojump_threshold=0))
