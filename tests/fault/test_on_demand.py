"""Faults on demand of devices on real sockets; and whatever is asked for, the books balance."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.frame_protocol import Opcode

from tests.devices.test_websocket_front import Device as WebSocketDevice
from tests.fakes import T0, FakeDevice, push
from tests.serving import Peer, request, serving, settle
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.faults import Match, Rule
from trio_push.faults.actions import (
    Action,
    DisconnectDevice,
    Duplicate,
    Lose,
    Reorder,
    SlowDevice,
)
from trio_push.faults.latency import Fixed, Uniform
from trio_push.node import Node
from trio_push.push import State
from trio_push.server import Server

#: the data of the next push
Next = Callable[[], Awaitable[str]]


@asynccontextmanager
async def device_of(server: Server, transport: str, **how: Any) -> AsyncIterator[Next]:
    async with Peer.connected(server, **how) as peer:
        if transport == "sse":
            await peer.listen("aa")

            async def next_event() -> str:
                return (await peer.event()).data

            yield next_event
            return
        device = await WebSocketDevice.upgraded(peer)

        async def next_message() -> str:
            while (heard := await device.hear())[0] is not Opcode.TEXT:
                pass
            return str(json.loads(heard[1])["data"])

        yield next_message


@asynccontextmanager
async def misbehaving(
    tls: dict[str, Any], *actions: Action, first: int | None = None
) -> AsyncIterator[Server]:
    async with serving(**tls) as server:
        rules = [Rule(match=Match(token_prefix="aa", first=first), action=a) for a in actions]
        server.node.faults.add(rules, trio.current_time())
        yield server
        server.node.faults.clear()


async def send(server: Server, *payloads: str) -> None:
    """Push them in one go, so that none is late; each is accepted."""
    async with Peer.connected(server) as provider:
        asked = (request("POST", "/3/device/aa", payload.encode()) for payload in payloads)
        await provider.send(b"".join(asked))
        for _ in payloads:
            assert (await provider.response()).status == 200


@pytest.fixture(params=["plain", "tls"])
def how(request: pytest.FixtureRequest, trust: ssl.SSLContext) -> dict[str, Any]:
    return {"trust": trust} if request.param == "tls" else {}


@pytest.mark.parametrize("transport", ["sse", "ws"])
class TestOnSockets:
    async def test_slow(self, tls: dict[str, Any], how: dict[str, Any], transport: str) -> None:
        async with (
            misbehaving(tls, SlowDevice(latency=Fixed(0.4)), first=1) as server,
            device_of(server, transport, **how) as device,
        ):
            began = trio.current_time()
            await send(server, "1", "2")
            assert [await device(), await device()] == ["1", "2"]
            assert trio.current_time() - began >= 0.4
            await send(server, "3")
            assert await device() == "3"

    async def test_duplicate(
        self, tls: dict[str, Any], how: dict[str, Any], transport: str
    ) -> None:
        async with (
            misbehaving(tls, Duplicate(), first=1) as server,
            device_of(server, transport, **how) as device,
        ):
            await send(server, "1", "2")
            assert [await device() for _ in range(3)] == ["1", "1", "2"]

    async def test_reorder(self, tls: dict[str, Any], how: dict[str, Any], transport: str) -> None:
        async with (
            misbehaving(tls, Reorder(by=Fixed(0.3)), first=1) as server,
            device_of(server, transport, **how) as device,
        ):
            await send(server, "1", "2")
            assert [await device(), await device()] == ["2", "1"]

    async def test_lose(self, tls: dict[str, Any], how: dict[str, Any], transport: str) -> None:
        async with (
            misbehaving(tls, Lose(), first=1) as server,
            device_of(server, transport, **how) as device,
        ):
            await send(server, "1", "2")
            assert await device() == "2"

    @pytest.mark.parametrize(("when", "seen"), [("before", []), ("after", ["1"])])
    async def test_disconnect(
        self, tls: dict[str, Any], how: dict[str, Any], transport: str, when: Any, seen: list[str]
    ) -> None:
        async with misbehaving(tls, DisconnectDevice(when), first=1) as server:
            async with device_of(server, transport, **how) as device:
                await send(server, "1")
                for payload in seen:
                    assert await device() == payload
                with pytest.raises((AssertionError, trio.BrokenResourceError)):
                    await device()
            await settle(lambda: not len(server.node.directory))
            async with device_of(server, transport, **how) as device:
                await send(server, "2")
                expected = ["1", "2"][len(seen) :]
                assert [await device() for _ in expected] == expected


ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.just(Lose()),
    st.just(Duplicate()),
    st.builds(Reorder, by=st.builds(Fixed, st.sampled_from([0.0, 0.5, 20.0]))),
    st.builds(SlowDevice, latency=st.just(Uniform(0.0, 12.0))),
    st.builds(DisconnectDevice, when=st.sampled_from(["before", "after"])),
)
MATCHES = st.builds(
    Match,
    share=st.sampled_from([None, 0.5]),
    token_prefix=st.sampled_from([None, "aa", "bb"]),
    for_s=st.sampled_from([None, 5.0]),
    first=st.sampled_from([None, 2]),
)
RULES = st.lists(st.builds(Rule, match=MATCHES, action=ACTIONS, seed=st.integers(0, 9)), max_size=4)
TOKENS = st.sampled_from(["aa", "bb"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), TOKENS, st.sampled_from([0, 3600])),
        st.tuples(st.just("connect"), TOKENS, st.sampled_from([None, 0, 30])),
        st.tuples(st.just("make_room"), TOKENS, st.sampled_from([None, 10])),
        st.tuples(st.just("broadcast"), st.none(), st.none()),
        st.tuples(st.just("sleep"), st.none(), st.sampled_from([0.5, 11.0])),
    ),
    max_size=25,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(rules=RULES, steps=STEPS)
def test_the_books_balance(rules: list[Rule], steps: list[tuple[str, Any, Any]]) -> None:
    """After each step, whatever befalls whom: every push is in one place, and lies there."""

    async def main() -> None:
        wall = Clock(wall=lambda: T0 + trio.current_time())
        node = Node.make(ServeSettings(mailbox_capacity=2, store_per_token=3), wall)
        node.faults.add(rules, trio.current_time())
        async with trio.open_nursery() as nursery:
            await nursery.start(node.router.run, node.push_channel)
            devices: dict[str, FakeDevice] = {}
            for number, (step, who, what) in enumerate(steps):
                await _take(node, devices, number, step, who, what)
                await wait_all_tasks_blocked()
                books = node.ledger.snapshot(node.router.held())
                assert books["balanced"], books
            nursery.cancel_scope.cancel()
        lost = sum(n for (_, kind), n in node.ledger.faults.items() if kind == "lose")
        assert node.ledger.counts[State.LOST_BY_FAULT] == lost

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def _take(
    node: Node, devices: dict[str, FakeDevice], number: int, step: str, who: Any, what: Any
) -> None:
    match step:
        case "push":
            await node.push_channel.submit([push(b"%d" % number, who, ttl_s=what)])
        case "connect":
            devices[who] = FakeDevice(who, what)
            node.router.attach(devices[who])
        case "make_room" if who in devices:
            devices[who].make_room(what)
        case "broadcast":
            await node.router.broadcast(push(b"%d" % number))
        case "sleep":
            await trio.sleep(what)
