"""Requests with an id at several nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
import trio

from tests.engine.nodes import Nodes, OneNode, until
from tests.serving import PATIENCE_S
from trio_push.api.lines import Batch
from trio_push.api.models import PushAnswer
from trio_push.api.ndjson import Line
from trio_push.api.problems import Invalid
from trio_push.api.pusher import Pusher
from trio_push.api.requests import request_decoder
from trio_push.engine.memory import MemoryShared
from trio_push.errors import Refusal
from trio_push.push import Push, State


class Door:
    """The API's way in at one node."""

    def __init__(self, node: OneNode) -> None:
        node.node.phase = "ready"
        self.node = node
        self.pusher = Pusher(node.node)
        self.gate = trio.Event()
        self.gate.set()
        self._submit = node.node.push_channel.submit

    async def submit(self, pushes: Sequence[Push]) -> list[State]:
        """In place of the channel's: as slow as the gate."""
        await self.gate.wait()
        return await self._submit(pushes)

    async def push(self, **fields: Any) -> PushAnswer:
        body = {"id": "x", "token": "aa", "payload": 1, **fields}
        return await self.pusher.push(request_decoder.decode(msgspec.json.encode(body)))

    async def lines(self, *ids: str, **fields: Any) -> list[dict[str, Any]]:
        bodies = [{"id": id, "token": "aa", "payload": 1, **fields} for id in ids]
        lines = [Line(i, msgspec.json.encode(body)) for i, body in enumerate(bodies)]
        answers = (await Batch(self.pusher, lines).push()).splitlines()
        return [msgspec.json.decode(answer) for answer in answers]


class Doors:
    def __init__(self, shared: MemoryShared, a: Door, b: Door) -> None:
        self.shared, self.a, self.b = shared, a, b

    @property
    def accepted(self) -> int:
        return sum(door.node.node.ledger.accepted for door in (self.a, self.b))


@pytest.fixture
async def doors(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Doors:
    shared = MemoryShared()
    nodes = Nodes(shared, nursery)
    a, b = Door(await nodes.start()), Door(await nodes.start())
    await until(lambda: len(a.node.engine.members.living) == 2)
    for door in (a, b):
        monkeypatch.setattr(door.node.node.push_channel, "submit", door.submit)
    return Doors(shared, a, b)


async def test_a_repeated_id(doors: Doors) -> None:
    first = await doors.a.push(tokens=["aa", "x"], token=None)
    for door in (doors.b, doors.b, doors.a):
        again = await door.push(tokens=["aa", "x"], token=None)
        assert again == msgspec.structs.replace(first, duplicate=True)
    assert doors.accepted == 1


async def test_a_repeated_id_of_another_push(doors: Doors) -> None:
    await doors.a.push()
    for _ in range(2):
        with pytest.raises(Invalid, match="used for a different push") as caught:
            await doors.b.push(payload=2)
        assert caught.value.status == 409
    assert (await doors.b.push()).duplicate
    assert doors.accepted == 1


async def test_one_id_at_once(doors: Doors) -> None:
    doors.a.gate = trio.Event()
    answers: list[PushAnswer] = []

    async def push(door: Door) -> None:
        answers.append(await door.push())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(push, doors.a)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(push, doors.b)
        nursery.start_soon(push, doors.b)
        await trio.sleep(0.2)
        assert answers == []
        doors.a.gate.set()
    assert sorted(answer.duplicate for answer in answers) == [False, True, True]
    assert doors.accepted == 1


async def test_when_the_first_fails_the_id_is_free(doors: Doors) -> None:
    doors.a.gate = trio.Event()
    raised: list[Exception] = []

    async def push(door: Door) -> None:
        try:
            await door.push()
        except Refusal as refusal:
            raised.append(refusal)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(push, doors.a)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(push, doors.b)
        await trio.sleep(0.1)
        doors.a.node.node.push_channel.close()
        doors.a.gate.set()
    assert len(raised) == 2
    assert "the request that had this id first failed: send it again" in map(str, raised)
    assert not (await doors.b.push()).duplicate
    assert doors.accepted == 1


async def test_a_refused_push_does_not_take_its_id(doors: Doors) -> None:
    with pytest.raises(Refusal):
        await doors.a.push(token="xyz")
    assert not (await doors.b.push()).duplicate


async def test_lines(doors: Doors) -> None:
    doors.b.gate = trio.Event()
    await doors.a.push(id="1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(doors.b.lines, "2")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(open_later, doors.b)
        first, second, third, fourth = await doors.a.lines("2", "1", "3", "2")
    assert doors.accepted == 3
    assert [line.get("duplicate", False) for line in (first, second, third, fourth)] == [
        *(True, True, False, True)
    ]
    again = await doors.b.lines("3", "1", payload=2)
    assert [line["error"]["status"] for line in again] == [409, 409]
    assert doors.accepted == 3


async def open_later(door: Door) -> None:
    await trio.sleep(0.1)
    door.gate.set()


async def test_lines_that_cross_do_not_wait_for_each_other(doors: Doors) -> None:
    doors.a.gate = doors.b.gate = trio.Event()
    answers: list[dict[str, Any]] = []

    async def push(door: Door, *ids: str) -> None:
        answers.extend(await door.lines(*ids))

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push, doors.a, "1")
            nursery.start_soon(push, doors.b, "2")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(push, doors.a, "3", "2")
            nursery.start_soon(push, doors.b, "4", "1")
            await trio.sleep(0.1)
            doors.a.gate.set()
    assert sorted(line.get("duplicate", False) for line in answers) == 4 * [False] + 2 * [True]
    assert doors.accepted == 4


@pytest.mark.parametrize(
    "push", [lambda door: door.push(), lambda door: door.push(tokens=["aa"], token=None)]
)
async def test_nobody_can_say_whether_it_is_new(doors: Doors, push: Callable[[Door], Any]) -> None:
    """What the nodes share is away: a push without an id goes on to a device that is here."""
    device = await doors.a.node.connect("aa")
    doors.shared.away = "away"
    with pytest.raises(Refusal, match="away") as caught:
        await push(doors.a)
    assert caught.value.status == 503
    with_id, without = await doors.a.lines("x"), await doors.a.lines("", id=None)
    assert with_id[0]["error"]["status"] == 503
    assert without[0]["outcome"] == "delivered"
    assert b"data: 1\n" in device.taken
    doors.shared.away = ""
    assert not (await push(doors.a)).duplicate
