from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.swarm.test_keep_connected import population
from trio_push.swarm.conversation import Conversation
from trio_push.swarm.population import Population


def message(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


def notification(seq: int = 1) -> bytes:
    return message("notification", id="i1", epoch="e", seq=seq, topic="", data={"tp": [1, "ü"]})


async def test_notifications_are_received() -> None:
    people = population()
    conversation = Conversation(0, people)
    assert conversation.begin() is None
    assert not conversation.hear(notification())
    assert conversation.received == 1
    assert people.audit.deliveries.foreign == 1
    assert people.audit.deliveries.acknowledged == 0


async def test_acknowledges_where_it_is_to() -> None:
    people = population(ack=True)
    answer = Conversation(0, people).hear(notification())
    assert answer == [b'{"type":"ack","notification_id":"i1"}']
    assert people.audit.deliveries.acknowledged == 1


async def test_asks_for_what_it_missed_and_takes_the_answer_for_no_push() -> None:
    people = population()
    conversation = Conversation(0, people)
    assert conversation.begin() is None
    conversation.hear(notification(7))
    sync = conversation.begin()
    assert sync is not None
    assert json.loads(sync) == {"type": "sync", "last_seen": 7, "epoch": "e"}
    for recovered in (True, False, False):
        result = message("sync_result", recovered=recovered, epoch="e", **{"from": 7, "to": 9})
        assert not conversation.hear(result)
    assert (people.connections.resumes, people.connections.not_recovered) == (1, 2)
    assert (conversation.received, people.audit.deliveries.received) == (0, 1)


async def test_marks_as_read_what_it_is_to_and_acknowledges_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marked = []
    monkeypatch.setattr(Population, "received", lambda *_: True)
    monkeypatch.setattr(Population, "mark_read", lambda _, *mark: marked.append(mark))
    people = population(ack=True)
    assert Conversation(0, people).hear(notification()) == [
        b'{"type":"mark_read","notification_id":"i1"}',
        b'{"type":"ack","notification_id":"i1"}',
    ]
    assert marked == [(0, "i1")]


async def test_read_marks_are_deliveries_and_no_pushes_of_others() -> None:
    people = population()
    Conversation(0, people).hear(message("mark_read", notification_id="i1", epoch="e", seq=2))
    deliveries = people.audit.deliveries
    assert (deliveries.read_marks, deliveries.foreign, deliveries.received) == (1, 0, 1)


@pytest.mark.parametrize("data", [b"hello", b"{}", b"\xff", b'{"type":"other"}', b"[" * 10_000])
async def test_what_is_no_message_is_no_push(data: bytes) -> None:
    people = population()
    assert not Conversation(0, people).hear(data)
    assert people.audit.deliveries.received == 0


@pytest.mark.parametrize(
    ("code", "reason", "name", "wait_s"),
    [
        (1001, "retry: 2500", "going_away", 2.5),
        (1001, "bye", "going_away", 0),
        (4000, "too_slow", "too_slow", 0),
        (4500, "replaced", "replaced", math.inf),
        (4321, "", "4321", 0),
        (4999, "", "4999", math.inf),
    ],
)
async def test_codes_say_whether_to_come_back(
    code: int, reason: str, name: str, wait_s: float
) -> None:
    people = population()
    conversation = Conversation(0, people)
    conversation.end(code, reason)
    assert people.connections.closes == {name: 1}
    assert conversation.retry_s == wait_s


class TestEventsOfAStream:
    """The same over server-sent events, where names of events tell them apart."""

    @pytest.mark.parametrize(
        ("event", "data", "is_push"),
        [
            ("message", "x", True),
            ("news", "x", True),
            ("mark_read", '{"notification_id":"i"}', True),
            ("sync_result", '{"recovered":true}', False),
            ("sync_result", "nonsense", False),
        ],
    )
    async def test_heard(self, event: str, data: str, is_push: bool) -> None:
        people: Population = population()
        assert people.heard(0, event, data) is is_push
        assert people.audit.deliveries.received == is_push
        assert people.audit.deliveries.foreign == (event in ("message", "news"))
        resumes = people.connections.resumes, people.connections.not_recovered
        assert resumes == ("true" in data, data == "nonsense")
