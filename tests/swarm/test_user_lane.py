"""Pushes to users against small servers that answer, refuse, hang and break."""

from __future__ import annotations

import json

import pytest
import trio

from tests.swarm.fake_server import serving, unused_target
from tests.swarm.test_lanes import answering, fates, run_lane
from trio_push.swarm.audit import Audit
from trio_push.swarm.lane import Planned
from trio_push.swarm.target import Target
from trio_push.swarm.user_lane import UNKNOWN_DEVICE, UserLane
from trio_push.swarm.users import UserPlan, Users

TOKENS = ["aa", "BB", "cc"]


async def send(target: Target, *, gives_up: bool = False, ack: bool = False) -> Audit:
    """Send a push to a user with three devices."""
    audit = Audit(3)
    plan = UserPlan(audit, Users(3, 3, "u"))
    lane = UserLane(target, plan, TOKENS, "a.topic", ack=ack, api_key="the-key" if ack else None)
    planned, pushes = trio.open_memory_channel[Planned](1)
    planned.send_nowait(Planned(0, plan.plan(0), "u0", b'{"n": 1.0}'))
    planned.close()
    await run_lane(lane, pushes, gives_up=gives_up)
    return audit


def response(status: str, body: object) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def results(**outcomes: str) -> bytes:
    found = [{"token": token, "outcome": outcome} for token, outcome in outcomes.items()]
    return response("200 OK", {"id": "x", "outcomes": {}, "results": found})


@pytest.mark.parametrize(
    ("answer", "expected", "reasons"),
    [
        (results(aa="delivered", bb="stored", cc="delivered"), (3, 0, 0, 0), {}),
        (results(cc="delivered", aa="delivered"), (2, 1, 0, 0), {UNKNOWN_DEVICE: 1}),
        (results(aa="delivered", bb="refused", cc="queued"), (2, 1, 0, 0), {"refused": 1}),
        (response("404 x", {"type": "https://x/e#not-found"}), (0, 3, 0, 0), {"not-found": 3}),
        (response("503 x", b"busy"), (0, 3, 0, 0), {"status 503": 3}),
        (response("401 x", {"detail": "no"}), (0, 3, 0, 0), {"status 401": 3}),
        (response("200 OK", b"nonsense"), (0, 0, 3, 0), {}),
    ],
)
async def test_fates(
    answer: bytes, expected: tuple[int, int, int, int], reasons: dict[str, int]
) -> None:
    async with serving(answering(answer)) as target:
        audit = await send(target)
    assert fates(audit) == expected
    assert audit.pushes.reasons == reasons
    assert audit.unseen() == expected[0]


async def test_request() -> None:
    requests: list[bytes] = []
    async with serving(answering(results(aa="stored"), requests=requests)) as target:
        await send(target, ack=True)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/push HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer the-key" in head
    # the payload as it is: 1.0 and not 1
    assert body == b'{"user":"u0","payload":{"n": 1.0},"topic":"a.topic","ack":true}'


async def test_no_answer() -> None:
    async def hang_up(stream: trio.SocketStream, request: bytes) -> None: ...

    async def hang(stream: trio.SocketStream, request: bytes) -> None:
        await trio.sleep_forever()

    async with serving(hang_up) as target:
        assert fates(await send(target)) == (0, 0, 3, 0)
    async with serving(hang) as target:
        assert fates(await send(target, gives_up=True)) == (0, 0, 3, 0)
    assert fates(await send(await unused_target(), gives_up=True)) == (0, 0, 0, 3)
