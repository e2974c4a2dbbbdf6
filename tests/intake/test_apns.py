"""Requests that came together: each is answered for itself, and all of them at once."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

from tests.fakes import FakeDevice
from trio_push.intake.apns import RETRY_AFTER_S
from trio_push.intake.apns_mdm import MdmProfile
from trio_push.node import Node
from trio_push.push import Push, State

ID = b"0b2f2b2e-1e1e-4e4e-8e8e-abcdefabcdef"
GIVEN_ID = [(b"apns-id", ID)]


class Request(NamedTuple):
    target: bytes
    body: bytes = b"x"
    headers: list[tuple[bytes, bytes]] = GIVEN_ID
    method: bytes = b"POST"


async def test_good_and_bad_together(autojump_clock: MockClock, node: Node) -> None:
    node.router.attach(device := FakeDevice())
    node.router.unregister("dead")
    answers = await MdmProfile(node).answer(
        [
            Request(b"/3/device/AA", b"1"),
            Request(b"/3/device/xyz"),
            Request(b"/3/device/dead"),
            Request(b"/3/device/bb", b""),
            Request(b"/3/device/aa", b"2", headers=[]),
            Request(b"/nope"),
        ]
    )
    assert [answer.status for answer in answers] == [200, 400, 410, 400, 200, 404]
    assert [answer.apns_id == ID for answer in answers] == [True] * 4 + [False, True]
    assert [json.loads(a.body)["reason"] for a in answers if a.body] == [
        "BadDeviceToken",
        "Unregistered",
        "PayloadEmpty",
        "BadPath",
    ]
    assert device.events == [b"1", b"2"]
    assert node.ledger.accepted == 2
    assert sum(node.ledger.refused.values()) == 4


async def test_none_is_good(autojump_clock: MockClock, node: Node) -> None:
    answers = await MdmProfile(node).answer([Request(b"/nope"), Request(b"/nope")])
    assert [answer.status for answer in answers] == [404, 404]
    assert node.ledger.refused == {"BadPath": 2}


async def test_a_fault_of_ours_ends_one_push(
    autojump_clock: MockClock, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: MdmProfile, request: Request, now: float) -> Push:
        if request.body == b"bad luck":
            raise ZeroDivisionError
        return original(self, request, now)

    original = MdmProfile.read
    monkeypatch.setattr(MdmProfile, "read", read)
    good, bad = Request(b"/3/device/aa"), Request(b"/3/device/aa", b"bad luck")
    with capture_logs() as logs:
        answers = await MdmProfile(node).answer([good, bad, good])
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert json.loads(answers[1].body) == {"reason": "InternalServerError"}
    assert [(each["event"], each["error"]) for each in logs] == [
        ("push_failed", "ZeroDivisionError()")
    ]
    assert node.ledger.refused == {"InternalServerError": 1}


async def test_shutting_down(autojump_clock: MockClock, node: Node) -> None:
    """What was wrong is told all the same; what was right may be tried again elsewhere."""
    node.push_channel.close()
    right, wrong = await MdmProfile(node).answer([Request(b"/3/device/aa"), Request(b"/nope")])
    assert (right.status, right.apns_id, right.retry_after_s) == (503, ID, RETRY_AFTER_S)
    assert (wrong.status, wrong.retry_after_s) == (404, None)
    assert node.ledger.refused == {"Shutdown": 1, "BadPath": 1}
    assert node.ledger.accepted == 0


@pytest.mark.parametrize(("expiration", "status"), [(b"9999999999", 503), (b"0", 200)])
async def test_a_full_store_refuses_what_it_would_have_to_hold(
    autojump_clock: MockClock, node: Node, expiration: bytes, status: int
) -> None:
    node.router._store_total = 0
    headers = [(b"apns-expiration", expiration)]
    [answer] = await MdmProfile(node).answer([Request(b"/3/device/aa", headers=headers)])
    assert answer.status == status
    assert node.ledger.counts[State.DISCARDED] == (status == 200)
