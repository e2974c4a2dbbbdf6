"""Batches of lines, without HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.api.conftest import HeldUpChannel, make_node
from tests.fakes import FakeDevice
from trio_push.api.lines import Batch
from trio_push.api.ndjson import Line
from trio_push.api.pusher import Pusher
from trio_push.config import ServeSettings
from trio_push.node import Node


async def push(pusher: Pusher, *lines: bytes | None) -> list[dict[str, Any]]:
    numbered = [Line(number, data) for number, data in enumerate(lines, 1)]
    answers = await Batch(pusher, numbered).push()
    return [json.loads(answer) for answer in answers.splitlines()]


@pytest.fixture
async def node(nursery: trio.Nursery) -> Node:
    node = make_node(ServeSettings(store_total=1000))
    await nursery.start(node.router.run, node.push_channel)
    return node


@pytest.fixture
def channel(node: Node) -> HeldUpChannel:
    assert isinstance(node.push_channel, HeldUpChannel)
    return node.push_channel


def line(token: str = "aa", **fields: Any) -> bytes:
    return json.dumps({"token": token, "payload": 1, **fields}).encode()


async def test_order_is_kept(node: Node, channel: HeldUpChannel) -> None:
    device = FakeDevice("aa")
    node.router.attach(device)
    answers = await push(Pusher(node), line(payload=1), line("bb"), line(payload=2))
    assert [answer["outcome"] for answer in answers] == ["delivered", "stored", "delivered"]
    assert device.events == [b"1", b"2"]
    assert channel.submissions == 1


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (None, {"status": 413}),
        (b"{", {"status": 400}),
        (b'{"payload":1}', {"status": 400, "reason": "MissingDeviceToken"}),
        (line("xyz"), {"status": 400, "reason": "BadDeviceToken"}),
        (line("cc"), {"status": 410, "reason": "Unregistered"}),
        (line(payload="x" * 4097), {"status": 413, "reason": "PayloadTooLarge"}),
        (line(tokens=["aa"]), {"status": 400, "field": "tokens"}),
        (line(id="i", event="a\n"), {"status": 400, "field": "event"}),
    ],
)
async def test_a_bad_line_harms_no_other(
    node: Node, bad: bytes | None, problem: dict[str, Any]
) -> None:
    node.router.unregister("cc")
    before, answer, after = await push(Pusher(node), line(), bad, line())
    assert before["outcome"] == after["outcome"] == "stored"
    assert (after["line"], answer["line"]) == (3, 2)
    assert problem.items() <= answer["error"].items()
    assert node.ledger.refused.total() == 1
    assert node.ledger.accepted == 2


async def test_ids_are_shared_with_other_requests(node: Node) -> None:
    pusher = Pusher(node)
    first, second, other = await push(pusher, line(id="i"), line(id="i"), line(id="i", payload=2))
    assert first == {"line": 1, "id": "i", "outcome": "stored"}
    assert second == {"line": 2, "id": "i", "outcome": "stored", "duplicate": True}
    assert other["error"]["status"] == 409
    (again,) = await push(pusher, line(id="i"))
    assert again["duplicate"]
    assert node.ledger.accepted == 1


async def test_two_batches_that_wait_for_each_others_ids(
    node: Node, channel: HeldUpChannel, nursery: trio.Nursery
) -> None:
    pusher = Pusher(node)
    channel.shut()
    answers: list[dict[str, Any]] = []

    async def batch(*ids: str) -> None:
        answers.extend(await push(pusher, *(line(id=id) for id in ids)))

    nursery.start_soon(batch, "i", "j")
    nursery.start_soon(batch, "j", "i", "k")
    await wait_all_tasks_blocked()
    channel.gate.set()
    await wait_all_tasks_blocked()
    assert len(answers) == 5
    assert sum(answer.get("duplicate", False) for answer in answers) == 2
    assert node.ledger.accepted == 3


async def test_when_none_is_taken_ids_are_free_again(node: Node) -> None:
    pusher = Pusher(node)
    node.phase = "draining"
    answers = await push(pusher, line(), line(id="i"), line(id="i"))
    assert [answer["error"]["status"] for answer in answers] == [503] * 3
    assert answers[0]["error"]["reason"] == "Shutdown"
    node.phase = "ready"
    (answer,) = await push(pusher, line(id="i"))
    assert answer == {"line": 1, "id": "i", "outcome": "stored"}


async def test_when_there_is_no_room_its_id_is_free_again(node: Node) -> None:
    pusher = Pusher(node)
    await push(pusher, line("ffff", id="fill"))
    await push(pusher, *(line(f"{n:04x}") for n in range(999)))
    (answer,) = await push(pusher, line(id="i"))
    assert answer["error"]["reason"] == "ServiceUnavailable"
    node.router.recall("fill")
    (answer,) = await push(pusher, line(id="i"))
    assert answer == {"line": 1, "id": "i", "outcome": "stored"}


async def test_when_it_fails_ids_are_free_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = Pusher(node)
    check = node.directory.check

    def broken(token: str) -> None:
        check(token)
        if token == "bb":
            raise RuntimeError("broken on purpose")

    monkeypatch.setattr(node.directory, "check", broken)
    with pytest.raises(RuntimeError):
        await push(pusher, line(id="i"), line("bb", id="j"))
    monkeypatch.undo()
    answers = await push(pusher, line(id="i"), line("bb", id="j"))
    assert [answer["outcome"] for answer in answers] == ["stored", "stored"]
    assert not any(answer.get("duplicate") for answer in answers)


async def test_cancelled_its_ids_are_free_again(node: Node, channel: HeldUpChannel) -> None:
    pusher = Pusher(node)
    channel.shut()
    with trio.move_on_after(0.01):
        await push(pusher, line(id="i"))
    channel.gate.set()
    (answer,) = await push(pusher, line(id="i"))
    assert "duplicate" not in answer
