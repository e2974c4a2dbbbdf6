"""HTTP/1.1 on real sockets: who is answered what, and how long each may take."""

from __future__ import annotations

import json

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.serving import Peer, flood, nothing_left, request, serving, settle

TIMES = {"head_timeout_s": 10, "idle_timeout_s": 60}
PUSH = request("POST", "/3/device/aa", b"x", apns_id="0B2F2B2E-1e1e-4e4e-8e8e-abcdefabcdef")


async def test_keep_alive_and_pipelining() -> None:
    async with serving() as server, Peer.connected(server) as peer:
        for _ in range(3):
            assert (await peer.push("aa")).status == 200
        await peer.send(PUSH + request("GET", "/healthz") + PUSH + request("GET", "/nope"))
        answers = [await peer.response() for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 404]
        assert answers[0].headers["apns-id"] == "0B2F2B2E-1e1e-4e4e-8e8e-abcdefabcdef"
        assert answers[1].body == b"ok\n"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/stats", 200),
        ("GET", "/memstats", 200),
        ("OPTIONS", "/events?token=aa", 204),
        ("GET", "/nope", 404),
        ("HEAD", "/nope", 404),
        ("HEAD", "/events?token=aa", 404),
        ("POST", "/events?token=aa", 404),
        ("GET", "/3/device/aa", 405),
        ("HEAD", "/3/device/aa", 405),
        ("OPTIONS", "/3/device/aa", 405),
        ("CONNECT", "example.org:443", 404),
        ("POST", "/3/device/xyz", 400),
    ],
)
async def test_answers(method: str, target: str, status: int) -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.send(request(method, target, connection="close"))
        head, _, body = (await peer.read_to_end()).partition(b"\r\n\r\n")
        assert int(head.split()[1]) == status
        assert bool(body) == (method != "HEAD" and status != 204)


async def test_http_1_0_ends_after_one_answer() -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await peer.read_to_end()).endswith(b"\r\nConnection: close\r\n\r\nok\n")


async def test_expect_100_continue() -> None:
    async with serving() as server, Peer.connected(server) as peer:
        head, _, body = PUSH.partition(b"\r\n\r\n")
        await peer.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert await peer.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await peer.send(body)
        assert (await peer.response()).status == 200


async def test_half_close_after_a_request_is_answered() -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.send(PUSH * 3)
        peer.end()
        assert (await peer.read_to_end()).count(b"200 OK") == 3


async def test_garbage_after_answers_is_told_and_ends_the_connection() -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.push("aa")
        await peer.send(b"garbage\r\n\r\n")
        answer = await peer.response()
        assert answer.status == 400
        assert json.loads(answer.body)["reason"] == "BadRequest"
        assert await peer.read_to_end() == b""


async def test_pushes_before_a_device_on_the_same_connection_are_answered_first() -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.send(PUSH + request("GET", "/events?token=aa") + PUSH)
        assert (await peer.response()).status == 200
        assert (await peer.response()).headers["content-type"] == "text/event-stream"
        await peer.send(b"a device has nothing to say, and what it says is ignored" * 1000)
        assert (await peer.event()).data == "x"
        assert server.node.ledger.accepted == 1


# -- slow peers, under a clock that the test moves


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"P", id="as HTTP/2 begins too"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n", id="stalled preface"),
        pytest.param(PUSH[:30], id="head"),
        pytest.param(PUSH[:-1], id="body"),
        pytest.param(PUSH + PUSH[:-1], id="second request"),
    ],
)
async def test_a_request_that_is_begun_ends_within_the_head_timeout(
    mock_clock: MockClock, sent: bytes
) -> None:
    async with serving(**TIMES) as server, Peer.connected(server) as peer:
        await peer.send(sent)
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(10)
        assert (await peer.read_to_end()).count(b"200 OK") == sent.count(PUSH)


@pytest.mark.parametrize("before", [b"", PUSH], ids=["first", "second"])
async def test_a_request_that_comes_byte_by_byte_has_no_longer(
    mock_clock: MockClock, before: bytes
) -> None:
    """Slowloris: each byte in time, the whole never."""
    async with serving(**TIMES) as server, Peer.connected(server) as peer:
        await peer.send(before)
        await wait_all_tasks_blocked(0.01)
        for byte in PUSH[:5]:
            await peer.send(bytes([byte]))
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(2.5)
        assert (await peer.read_to_end()).count(b"200 OK") == before.count(PUSH)


async def test_an_idle_provider_is_kept_for_the_idle_timeout(mock_clock: MockClock) -> None:
    async with serving(**TIMES) as server, Peer.connected(server) as peer:
        for _ in range(3):
            assert (await peer.push("aa")).status == 200
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(56)  # the deadline is exact to 5 %
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(7)
        assert await peer.read_to_end() == b""


async def test_each_pipelined_request_has_its_own_time(mock_clock: MockClock) -> None:
    async with serving(**TIMES) as server, Peer.connected(server) as peer:
        await peer.send(PUSH[:20])
        for _ in range(4):
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(8)
            await peer.send(PUSH[20:] + PUSH[:20])
            assert (await peer.response()).status == 200


async def test_a_provider_that_does_not_read_is_given_up(mock_clock: MockClock) -> None:
    async with (
        serving(small_buffers=True, **TIMES) as server,
        Peer.connected(server, small_buffers=True) as peer,
    ):
        await flood(peer, request("GET", "/stats") * 100)
        mock_clock.jump(60)
        await settle(lambda: nothing_left(server))
