"""Faults on demand of requests, as the frames and bytes show them, under both profiles."""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.auth import provider
from tests.frames import FrameClient, Said
from tests.serving import Peer, nothing_left, serving, settle
from trio_push.faults import Match, Rule
from trio_push.faults.actions import (
    Action,
    Delay,
    GoAway,
    Hold,
    Lose,
    MaxStreams,
    RefuseConnection,
    ResetStream,
    Status,
    TcpReset,
)
from trio_push.faults.book import Fault
from trio_push.faults.latency import Fixed, LogNormal, Uniform
from trio_push.intake.faults import Fate, fate_of
from trio_push.push import State
from trio_push.server import Server

#: include/net/tcp_states.h of Linux: after RST; after FIN
TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8

BAD, GOOD = "badbad", "c0ffee"


def befall(server: Server, *actions: Action, **match: Any) -> None:
    """Faults of pushes to BAD, unless `match` says otherwise."""
    rules = [Rule(match=Match(**(match or {"token_prefix": BAD})), action=a) for a in actions]
    server.node.faults.add(rules, trio.current_time())


def was_reset(peer: Peer) -> bool:
    """Whether RST came and not FIN; over TLS, Python takes both for an end."""
    state = peer.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    assert state in (TCP_CLOSE, TCP_CLOSE_WAIT)
    return state == TCP_CLOSE


@pytest.fixture(params=["plain", "tls", "strict"])
async def over(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class StrictClient(FrameClient):
    """A provider that may push, to tokens of the length that is asked for."""

    def begin(self, token: str, **headers: str) -> int:
        fields = {"apns_topic": provider.APP, "authorization": bearer(), **headers}
        return super().begin(full(token), **fields)


def full(token: str) -> str:
    return token.ljust(64, "0")


@cache
def bearer() -> str:
    return "bearer " + provider.provider_token(iat=int(time.time())).decode()


@pytest.fixture(scope="session")
def strict(tls: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a server of the strict profile."""
    path = tmp_path_factory.mktemp("apns") / "apns.json"
    path.write_bytes(msgspec.json.encode(provider.credentials()))
    of_apns = {"apns": "strict", "apns_credentials": str(path), "apns_token_rate": 0}
    return {**tls, **of_apns, "sound": False}


#: opens a server with faults, and a client to it
Open = Callable[..., AbstractAsyncContextManager[tuple[Server, FrameClient]]]


@pytest.fixture
def h2_to(over: str, tls: dict[str, Any], strict: dict[str, Any], trust: ssl.SSLContext) -> Open:
    kind = StrictClient if over == "strict" else FrameClient
    how = {} if over == "plain" else {"trust": trust}

    @asynccontextmanager
    async def open_both(*actions: Action) -> AsyncIterator[tuple[Server, FrameClient]]:
        async with serving(**(strict if over == "strict" else tls)) as server:
            async with kind.connected(server, **how) as client:
                if over == "strict":
                    await show_token(server, client)
                else:
                    assert await client.hear() == Said("streams", 0, 1000)
                befall(server, *actions)
                yield server, client
            await settle(lambda: nothing_left(server))
            server.node.faults.clear()

    return open_both


async def show_token(server: Server, client: FrameClient) -> None:
    """Be refused for what is pushed, and no more for who pushes it."""
    assert await client.hear() == Said("streams", 0, 1)
    client.add(GOOD, b"")
    await client.flush()
    said = {each.kind: each for each in [await client.hear() for _ in range(3)]}
    assert said["body"].text["reason"] == "PayloadEmpty"
    assert said["streams"].value == 1000
    server.node.ledger.refused.clear()


@pytest.mark.parametrize(
    ("actions", "fate"),
    [
        ([Delay(latency=Fixed(1)), Delay(latency=Fixed(2))], Fate(wait_s=3)),
        ([Delay(latency=Uniform(0, 1))], Fate(wait_s=0.5)),
        ([Delay(latency=LogNormal(0.25, 1))], Fate(wait_s=0.25)),
        ([Delay(latency=Fixed(1)), Hold(for_s=2)], Fate(wait_s=3)),
        ([Hold()], Fate(wait_s=float("inf"))),
        ([MaxStreams(1), TcpReset()], Fate(max_streams=1, end=TcpReset())),
    ],
)
def test_fates(actions: list[Action], fate: Fate) -> None:
    assert fate_of([Fault(action, 0.5) for action in actions]) == fate


@pytest.mark.parametrize("processed", [False, True])
@pytest.mark.parametrize("action", [TcpReset, ResetStream])
def test_processed(action: Any, processed: bool) -> None:
    assert fate_of([Fault(action(processed=processed), 0.0)]).is_processed is processed


class TestHttp2:
    """Each over plain text and over TLS."""

    async def test_status(self, h2_to: Open) -> None:
        gone = Status(reason="Unregistered", status=410, since_s=60)
        busy = Status(reason="OutToLunch", status=503, retry_after_s=7)
        async with h2_to(gone) as (server, client):
            befall(server, busy, token_prefix="b0")
            apns_id = "0D0A3F6C-0000-4000-8000-0123456789ab"
            await client.push(BAD.upper(), apns_id=apns_id)
            answer, body = await client.hear(), await client.hear()
            assert (answer.value, answer.text["apns-id"]) == (410, apns_id)
            assert body.text["reason"] == "Unregistered"
            assert 60 <= time.time() - body.text["timestamp"] / 1000 < 120
            await client.push("b0")
            answer, body = await client.hear(), await client.hear()
            assert (answer.value, answer.text["retry-after"]) == (503, "7")
            assert body.text == {"reason": "OutToLunch"}
            await client.push(GOOD)
            assert (await client.hear()).value == 200
            assert server.node.ledger.refused == {"Unregistered": 1, "OutToLunch": 1}
            assert server.node.ledger.accepted == 1

    async def test_delay(self, h2_to: Open) -> None:
        async with h2_to(Delay(latency=Fixed(0.3))) as (server, client):
            slow, quick = client.add(BAD), client.add(GOOD)
            began = trio.current_time()
            await client.flush()
            first = await client.hear()
            assert (first.stream_id, first.value) == (quick, 200)
            assert server.node.ledger.accepted == 1
            second = await client.hear()
            assert (second.stream_id, second.value) == (slow, 200)
            assert trio.current_time() - began >= 0.3
            assert server.node.ledger.accepted == 2

    async def test_hold(self, h2_to: Open) -> None:
        async with h2_to(Hold()) as (server, client):
            await client.push(BAD)
            good = await client.push(GOOD)
            assert (await client.hear()).stream_id == good
            with trio.move_on_after(0.3) as waiting:
                await client.hear()
            assert waiting.cancelled_caught
            assert server.node.ledger.accepted == 1

    async def test_hold_ends_when_nobody_waits_any_more(self) -> None:
        async with serving() as server:
            befall(server, Hold(for_s=0.3))
            async with FrameClient.connected(server) as client:
                await client.hear()
                tasks = trio.lowlevel.current_statistics().tasks_living
                streams = [client.add(BAD) for _ in range(5)]
                await client.flush()
                await settle(lambda: trio.lowlevel.current_statistics().tasks_living == tasks + 5)
                for stream in streams[:-1]:
                    client.h2.reset_stream(stream)
                await client.flush()
                await settle(lambda: trio.lowlevel.current_statistics().tasks_living == tasks + 1)
                assert (await client.hear()).stream_id == streams[-1]
                assert server.node.ledger.accepted == 1
            server.node.faults.clear()

    async def test_hold_for_longer_than_a_peer_may_be_silent(self) -> None:
        async with serving() as server:
            befall(server, Hold(for_s=1))
            async with FrameClient.connected(server) as client:
                assert (await client.hear()).kind == "streams"
                http2 = server._front._http2
                http2.head_timeout_s = http2.idle_timeout_s = 0.1
                await client.push(BAD)
                assert (await client.hear()).value == 200
            server.node.faults.clear()

    @pytest.mark.parametrize("processed", [False, True])
    async def test_reset_stream(self, h2_to: Open, processed: bool) -> None:
        action = ResetStream(code="REFUSED_STREAM", processed=processed)
        async with h2_to(action) as (server, client):
            bad = await client.push(BAD)
            assert await client.hear() == Said("reset", bad, 7)
            assert (await client.hear_after(GOOD)).value == 200
            assert server.node.ledger.accepted == 1 + processed

    async def test_goaway_before(self, h2_to: Open) -> None:
        async with h2_to(GoAway(last_stream="before")) as (server, client):
            streams = [client.add(token) for token in (GOOD, BAD, GOOD)]
            await client.flush()
            goaway = Said("goaway", 0, 0, {"reason": "Shutdown"}, streams[0])
            assert await client.hear() == goaway
            answer = await client.hear()
            assert (answer.stream_id, answer.value) == (streams[0], 200)
            assert await client.hear() == Said("end")
            assert server.node.ledger.accepted == 1

    async def test_goaway_before_anything(self) -> None:
        async with serving() as server:
            befall(server, GoAway(reason="ServiceUnavailable", last_stream="before"))
            async with FrameClient.connected(server) as client:
                await client.hear()
                said = await client.hear_after(BAD)
                assert said == Said("goaway", 0, 0, {"reason": "ServiceUnavailable"}, 0)
                assert await client.hear() == Said("end")
            server.node.faults.clear()

    async def test_goaway_at(self, h2_to: Open) -> None:
        action = GoAway(last_stream="at", code="ENHANCE_YOUR_CALM")
        async with h2_to(action) as (server, client):
            streams = [client.add(token) for token in (GOOD, BAD, GOOD)]
            await client.flush()
            goaway = Said("goaway", 0, 11, {"reason": "Shutdown"}, streams[1])
            assert await client.hear() == goaway
            answers = [await client.hear(), await client.hear()]
            assert [(each.stream_id, each.value) for each in answers] == [
                (streams[0], 200),
                (streams[1], 200),
            ]
            assert await client.hear() == Said("end")
            assert server.node.ledger.accepted == 2

    async def test_goaway_after(self, h2_to: Open) -> None:
        async with h2_to(GoAway(last_stream="after")) as (server, client):
            befall(server, Delay(latency=Fixed(0.2)), token_prefix="51")
            streams = [client.add(token) for token in (GOOD, BAD, "51")]
            await client.flush()
            goaway = Said("goaway", 0, 0, {"reason": "Shutdown"}, 2**31 - 1)
            assert await client.hear() == goaway
            assert {(await client.hear()).stream_id for _ in range(2)} == {*streams[:2]}
            # new streams are served until nothing is under way
            assert (await client.hear_after(GOOD)).value == 200
            assert (await client.hear()).stream_id == streams[2]
            # what RFC 9113, section 6.8, asks for before the end
            assert (await client.hear()).last_stream_id == streams[2] + 2
            assert await client.hear() == Said("end")
            assert server.node.ledger.accepted == 4

    async def test_what_comes_just_as_a_goaway_is_through(self, mock_clock: MockClock) -> None:
        """It is answered or left behind, whatever the server sees first: the time, or the push."""
        async with serving() as server:
            befall(server, GoAway(last_stream="after"))
            befall(server, Hold(for_s=1), token_prefix="51")
            for _ in range(20):
                async with FrameClient.connected(server) as client:
                    await client.hear()
                    waiting = {client.add("51"), client.add(BAD)}
                    await client.flush()
                    assert (await client.hear()).kind == "goaway"
                    waiting.remove((await client.hear()).stream_id)
                    await wait_all_tasks_blocked()
                    waiting.add(client.add("51"))
                    os.write(client.peer.sock.fileno(), client.h2.data_to_send())
                    mock_clock.jump(1)
                    while (said := await client.hear()).kind == "answer":
                        waiting.remove(said.stream_id)
                        await wait_all_tasks_blocked()
                        mock_clock.jump(1)
                    assert said.last_stream_id is not None
                    assert all(stream_id > said.last_stream_id for stream_id in waiting)
                    assert await client.hear() == Said("end")
            server.node.faults.clear()

    async def test_a_late_goaway(self, h2_to: Open) -> None:
        actions = Delay(latency=Fixed(0.1)), GoAway(last_stream="before")
        async with h2_to(*actions) as (_, client):
            bad = await client.push(BAD)
            # none of its own, and of the strict profile the one before it
            assert (await client.hear()).last_stream_id == max(bad - 2, 0)
            assert await client.hear() == Said("end")

    async def test_what_a_goaway_leaves_behind_is_not_processed(self) -> None:
        async with serving() as server:
            befall(server, Delay(latency=Fixed(0.1)), token_prefix="51")
            befall(server, GoAway(last_stream="before"))
            async with FrameClient.connected(server) as client:
                await client.hear()
                first = client.begin(BAD)
                client.add(GOOD)
                client.add("51")
                client.h2.send_data(first, b"x", end_stream=True)
                await client.flush()
                assert (await client.hear()).last_stream_id == 0
                assert await client.hear() == Said("end")
            await settle(lambda: not server._front.visitors)
            assert server.node.ledger.accepted == 0
            server.node.faults.clear()

    async def test_what_was_delayed_when_a_goaway_leaves_it_behind(self) -> None:
        async with serving() as server:
            befall(server, Delay(latency=Fixed(0.1)), token_prefix="51")
            befall(server, GoAway(last_stream="before"))
            async with FrameClient.connected(server) as client:
                await client.hear()
                slow, bad = client.add("51"), client.begin(BAD)
                await client.push("51")
                client.h2.send_data(bad, b"x", end_stream=True)
                await client.flush()
                assert (await client.hear()).last_stream_id == slow
                answer = await client.hear()
                assert (answer.stream_id, answer.value) == (slow, 200)
                assert await client.hear() == Said("end")
            assert server.node.ledger.accepted == 1
            server.node.faults.clear()

    async def test_what_was_under_way_at_a_goaway_is_served(self) -> None:
        async with serving() as server:
            befall(server, Delay(latency=Fixed(0.1)), token_prefix="51")
            befall(server, GoAway(last_stream="before"), share=1.0)
            async with FrameClient.connected(server) as client:
                await client.hear()
                slow = client.add("51")
                client.add(BAD)
                await client.flush()
                assert (await client.hear()).last_stream_id == slow
                answer = await client.hear()
                assert (answer.stream_id, answer.value) == (slow, 200)
                assert await client.hear() == Said("end")
            server.node.faults.clear()

    @pytest.mark.parametrize("processed", [False, True])
    @pytest.mark.parametrize("delay_s", [0.0, 0.1])
    async def test_tcp_reset(
        self,
        h2_to: Open,
        processed: bool,
        delay_s: float,
    ) -> None:
        actions = Delay(latency=Fixed(delay_s)), TcpReset(processed=processed)
        async with h2_to(*actions) as (server, client):
            await client.push(BAD)
            with pytest.raises(trio.BrokenResourceError):
                await client.hear()
            assert was_reset(client.peer)
            await settle(lambda: server.node.ledger.accepted == processed)

    async def test_max_streams(self, h2_to: Open) -> None:
        async with h2_to(MaxStreams(1), Hold(for_s=0.2)) as (_, client):
            client.add(BAD)
            await client.flush()
            assert await client.hear() == Said("streams", 0, 1)
            second = await client.push(GOOD)
            assert await client.hear() == Said("reset", second, 7)
            assert (await client.hear()).value == 200
            assert (await client.hear_after(GOOD)).value == 200

    async def test_max_streams_told_once(self) -> None:
        async with serving() as server:
            befall(server, MaxStreams(5))
            async with FrameClient.connected(server) as client:
                await client.hear()
                assert await client.hear_after(BAD) == Said("streams", 0, 5)
                assert (await client.hear()).value == 200
                assert (await client.hear_after(BAD)).value == 200
            server.node.faults.clear()

    async def test_lost(self, h2_to: Open) -> None:
        async with h2_to(Lose()) as (server, client):
            assert (await client.hear_after(BAD)).value == 200
            assert server.node.ledger.counts[State.LOST_BY_FAULT] == 1

    async def test_a_topic(self) -> None:
        async with serving() as server:
            befall(server, Status(reason="BadTopic", status=400), topic="com.example.app")
            async with FrameClient.connected(server) as client:
                await client.hear()
                await client.push(BAD, apns_topic="com.example.app")
                assert [(await client.hear()).value, (await client.hear()).kind] == [400, "body"]
                await client.push(BAD, apns_topic="com.example.other")
                assert (await client.hear()).value == 200
            server.node.faults.clear()

    async def test_other_paths_are_left_alone(self) -> None:
        async with serving() as server, Peer.connected(server) as peer:
            befall(server, Status(reason="Shutdown"), share=1.0)
            assert (await peer.request("GET", "/healthz")).status == 200
            assert (await peer.request("POST", "/3/devices/aa", b"x")).status == 404
            server.node.faults.clear()


class TestHttp1:
    async def test_the_strict_profile(self, strict: dict[str, Any], trust: ssl.SSLContext) -> None:
        asked = {"apns_topic": provider.APP, "authorization": bearer()}
        async with (
            serving(**strict) as server,
            Peer.connected(server, trust=trust) as peer,
            Peer.connected(server, trust=trust) as stranger,
        ):
            befall(server, Status(reason="Unregistered", status=410), token_prefix="00")
            befall(server, Delay(latency=Fixed(0.2)), TcpReset(processed=True), token_prefix="c5")
            befall(server, Hold(for_s=0.2), token_prefix="d0")
            # a fault does not ask who it is that asks
            for each, fields in ((peer, asked), (stranger, {})):
                gone = await each.push(full("00"), **fields)
                assert (gone.status, json.loads(gone.body)["reason"]) == (410, "Unregistered")
            assert (await peer.push(full(GOOD), **asked)).status == 200
            began = trio.current_time()
            assert (await peer.push(full("d0"), **asked)).status == 200
            assert (await stranger.push(full("d0"))).status == 403
            assert trio.current_time() - began >= 0.4
            assert server.node.ledger.accepted == 2
            with pytest.raises(trio.BrokenResourceError):
                await peer.push(full("c5"), **asked)
            assert was_reset(peer)
            assert server.node.ledger.accepted == 3
            server.node.faults.clear()

    async def test_status(self) -> None:
        async with serving() as server, Peer.connected(server) as peer:
            befall(server, Status(reason="TooManyRequests", status=429))
            bad, good = await peer.push(BAD), await peer.push(GOOD)
            assert (bad.status, json.loads(bad.body)) == (429, {"reason": "TooManyRequests"})
            assert len(bad.headers["apns-id"]) == 36
            assert good.status == 200

    async def test_pipelined_answers_keep_their_order(self) -> None:
        async with serving() as server, Peer.connected(server) as peer:
            befall(server, Delay(latency=Fixed(0.2)))
            began = trio.current_time()
            head = "POST /3/device/{} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
            await peer.send("".join(head.format(each) for each in (GOOD, BAD, GOOD)).encode())
            assert [(await peer.response()).status for _ in range(3)] == [200, 200, 200]
            assert trio.current_time() - began >= 0.2

    async def test_hold(self) -> None:
        async with serving() as server, Peer.connected(server) as peer:
            befall(server, Hold(for_s=0.2))
            assert (await peer.push(BAD)).status == 200

    async def test_a_peer_that_does_not_wait_for_ever(
        self, tls: dict[str, Any], trust: ssl.SSLContext
    ) -> None:
        # when the block is through, nothing is left of them
        async with serving(**tls) as server:
            befall(server, Hold())
            for how in ({}, {"trust": trust}):
                async with Peer.connected(server, **how) as peer:
                    head = f"POST /3/device/{BAD} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
                    await peer.send(2 * head.encode())
                    await settle(lambda: server.node.ledger.faults["hold-1", "hold"])
                    server.node.ledger.faults.clear()
            server.node.faults.clear()

    @pytest.mark.parametrize("processed", [False, True])
    async def test_tcp_reset(self, processed: bool) -> None:
        async with serving() as server, Peer.connected(server) as peer:
            befall(server, TcpReset(processed=processed))
            with pytest.raises(trio.BrokenResourceError):
                await peer.push(BAD)
            assert was_reset(peer)
            assert server.node.ledger.accepted == processed

    async def test_what_only_http2_has_is_left_out(self) -> None:
        async with serving() as server, Peer.connected(server) as peer:
            befall(server, ResetStream(), GoAway(), MaxStreams(1))
            assert (await peer.push(BAD)).status == 200
            assert not server.node.ledger.faults


class TestConnections:
    async def test_refused(self, tls: dict[str, Any], trust: ssl.SSLContext) -> None:
        async with serving(**tls) as server:
            befall(server, RefuseConnection(), first=2)
            async with Peer.connected(server) as peer:
                with pytest.raises(trio.BrokenResourceError):
                    await peer.push(GOOD)
                assert was_reset(peer)
            async with Peer.connected(server, trust=trust) as peer:
                with pytest.raises(trio.BrokenResourceError):
                    await peer.push(GOOD)
                assert was_reset(peer)
            async with Peer.connected(server) as peer:
                assert (await peer.push(GOOD)).status == 200
            assert server.node.ledger.faults == {("refuse_connection-1", "refuse_connection"): 2}


@pytest.mark.parametrize("seed", range(25))
async def test_every_request_meets_its_fate(seed: int) -> None:
    """Whatever befalls many at once: each is answered, reset, or left behind by a GOAWAY."""
    dice = random.Random(seed)
    choices: list[Action] = [
        Status(reason="TooManyRequests", status=429),
        Delay(latency=Uniform(0.0, 0.05)),
        Hold(for_s=0.05),
        ResetStream(processed=dice.random() < 0.5),
        MaxStreams(dice.choice([1, 5, 1000])),
        GoAway(last_stream=dice.choice(["before", "at", "after"])),
        TcpReset(processed=dice.random() < 0.5),
        Lose(),
    ]
    async with serving() as server:
        for action in dice.sample(choices, 4):
            befall(server, action, share=dice.choice([0.05, 0.3]))
        for _ in range(5):
            async with FrameClient.connected(server) as client:
                await talk(client, dice)
        await settle(lambda: not server._front.visitors)
        server.node.faults.clear()


async def talk(client: FrameClient, dice: random.Random) -> None:
    """Push now and then, until everything has an answer or the connection ends."""
    waiting: set[int] = set()
    last = 2**31 - 1
    try:
        for _ in range(dice.randint(1, 4)):
            waiting |= {client.add(GOOD) for _ in range(dice.randint(1, 10))}
            await client.flush()
            await trio.sleep(dice.choice([0, 0.01]))
        while waiting:
            said = await client.hear()
            if said.kind == "end":
                break
            if said.kind in ("answer", "reset"):
                assert said.stream_id <= last or said.kind == "reset"
                waiting.remove(said.stream_id)
            if said.kind == "goaway":
                assert said.last_stream_id is not None
                assert said.last_stream_id <= last
                last = said.last_stream_id
        assert all(stream_id > last for stream_id in waiting)
    except trio.BrokenResourceError:
        assert was_reset(client.peer)


async def test_the_server_stops_though_requests_are_held() -> None:
    async with serving(sound=False, drain_s=0.1) as server:
        befall(server, Hold())
        async with Peer.connected(server) as peer, FrameClient.connected(server) as client:
            await peer.send(
                b"POST /3/device/badbad HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
            )
            await client.push(BAD)
            await settle(lambda: server.node.ledger.faults["hold-1", "hold"] == 2)
            await server.drain()
            assert server.node.ledger.accepted == 0
