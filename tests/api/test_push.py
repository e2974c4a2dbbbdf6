"""Pushes over HTTP, to one device, to several, to all, and back again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import httpx
import pytest
import trio

from tests.api.conftest import Running, make_node
from tests.serving import PATIENCE_S
from trio_push.api.base import MAX_BODY_BYTES
from trio_push.config import ServeSettings
from trio_push.node import Node
from trio_push.push import Push, State


def assert_problem(response: httpx.Response, status: int, **members: Any) -> None:
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert {name: problem.get(name) for name in members} == members


async def push(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/push", json={"payload": {"a": 1}, **fields})


# -- what becomes of it


async def test_to_one_device(api: Running, client: httpx.AsyncClient) -> None:
    [device] = api.connect("aa")
    answer = (await push(client, token="AA", id="x", event="news", ttl_s=0)).json()
    assert answer == {
        "id": "x",
        "outcomes": {"delivered": 1},
        "results": [{"token": "aa", "outcome": "delivered"}],
    }
    assert device.fields(b"data", b"news") == [b'{"a":1}']


async def test_it_gets_an_id(api: Running, client: httpx.AsyncClient) -> None:
    ids = {(await push(client, token="aa")).json()["id"] for _ in range(2)}
    assert {len(id) for id in ids} == {36}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [({}, "stored"), ({"ttl_s": 0}, "discarded"), ({"delay_s": 5}, "delayed")],
)
async def test_to_a_device_that_is_not_there(
    api: Running, client: httpx.AsyncClient, fields: dict[str, Any], outcome: str
) -> None:
    answer = (await push(client, token="aa", **fields)).json()
    assert answer["outcomes"] == {outcome: 1}


async def test_to_several(api: Running, client: httpx.AsyncClient) -> None:
    api.connect("aa")
    since = api.node.router.unregister("cc")
    answer = (await push(client, tokens=["aa", "xyz", "CC", "dd", "aa"])).json()
    assert answer["outcomes"] == {"delivered": 2, "refused": 2, "stored": 1}
    assert answer["results"] == [
        {"token": "aa", "outcome": "delivered"},
        {"token": "xyz", "outcome": "refused", "reason": "BadDeviceToken"},
        {
            "token": "CC",
            "outcome": "refused",
            "reason": "Unregistered",
            "timestamp": since,
        },
        {"token": "dd", "outcome": "stored"},
        {"token": "aa", "outcome": "delivered"},
    ]
    assert api.node.ledger.accepted == 3
    assert api.node.ledger.refused == {"BadDeviceToken": 1, "Unregistered": 1}


async def test_to_very_many_in_slices(api: Running, client: httpx.AsyncClient) -> None:
    tokens = [f"{n:08x}" for n in range(901)]
    answer = (await push(client, tokens=tokens)).json()
    assert answer["outcomes"] == {"stored": 901}
    assert [result["token"] for result in answer["results"]] == tokens
    assert api.channel.submissions == 5


async def test_none_of_several_may_be_pushed_to(api: Running, client: httpx.AsyncClient) -> None:
    answer = (await push(client, tokens=["x"])).json()
    assert answer["outcomes"] == {"refused": 1}


async def test_to_all(api: Running, client: httpx.AsyncClient) -> None:
    devices = api.connect("aa", "bb")
    answer = (await push(client, broadcast=True, id="x")).json()
    assert answer == {"id": "x", "outcomes": {"delivered": 2}}
    assert [device.events for device in devices] == [[b'{"a":1}']] * 2


async def test_to_all_when_there_is_nobody(api: Running, client: httpx.AsyncClient) -> None:
    assert (await push(client, broadcast=True)).json()["outcomes"] == {}


# -- refusals


async def test_unregistered(api: Running, client: httpx.AsyncClient) -> None:
    since = api.node.router.unregister("aa")
    response = await push(client, token="aa")
    assert_problem(response, 410, reason="Unregistered", timestamp=since)
    assert api.node.ledger.refused == {"Unregistered": 1}
    assert api.node.ledger.accepted == 0


@pytest.mark.parametrize(
    ("fields", "status", "members"),
    [
        ({}, 400, {"reason": "MissingDeviceToken"}),
        ({"token": "xyz"}, 400, {"reason": "BadDeviceToken"}),
        ({"token": "aa", "tokens": ["aa"]}, 400, {"field": "token"}),
        ({"token": "aa", "ttl": 1}, 400, {"field": "ttl", "reason": None}),
        ({"token": "aa", "payload": ""}, 400, {"reason": "PayloadEmpty"}),
        ({"token": "aa", "payload": "x" * 4097}, 413, {"reason": "PayloadTooLarge"}),
        ({"token": "aa", "priority": 3}, 400, {"reason": "BadPriority", "field": "priority"}),
        ({"broadcast": True, "delay_s": 1}, 400, {"field": "delay_s"}),
    ],
)
async def test_refused(
    api: Running,
    client: httpx.AsyncClient,
    fields: dict[str, Any],
    status: int,
    members: dict[str, Any],
) -> None:
    assert_problem(await push(client, **fields), status, **members)
    assert sum(api.node.ledger.refused.values()) == 1
    assert api.node.ledger.accepted == 0


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_not_json(client: httpx.AsyncClient, content: bytes) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert_problem(await client.post("/v1/push", content=content, headers=headers), 400)


@pytest.mark.parametrize("path", ["/v1/push", "/v1/pushes"])
@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "\x80", ""]
)
async def test_another_type(client: httpx.AsyncClient, path: str, content_type: str) -> None:
    headers = {"Content-Type": content_type.encode("latin-1")} if content_type else {}
    assert_problem(await client.post(path, content=b"{}", headers=headers), 415)


@pytest.mark.filterwarnings("ignore:Async generator")  # it stops sending
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large(
    api: Running, client: httpx.AsyncClient, announced: bool
) -> None:
    headers = {"Content-Type": "application/json"}
    content: Any = b" " * (MAX_BODY_BYTES + 1)
    if not announced:

        async def chunks() -> Any:
            for _ in range(MAX_BODY_BYTES // 2**20 + 1):
                yield b" " * 2**20

        content = chunks()
    assert_problem(await client.post("/v1/push", content=content, headers=headers), 413)
    assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("phase", ["starting", "draining"])
async def test_not_ready(api: Running, client: httpx.AsyncClient, phase: str) -> None:
    api.node.phase = phase
    for path, content_type in (
        ("/v1/push", "application/json"),
        ("/v1/pushes", "application/x-ndjson"),
    ):
        headers = {"Content-Type": content_type}
        response = await client.post(path, content=b"", headers=headers)
        assert_problem(response, 503, reason="Shutdown")
        assert int(response.headers["retry-after"]) >= 1


async def test_the_channel_is_closed(api: Running, client: httpx.AsyncClient) -> None:
    api.node.push_channel.close()
    assert_problem(await push(client, token="aa"), 503, reason="Shutdown")


@pytest.fixture
def node() -> Node:
    return make_node(ServeSettings(drain_s=1.0, store_total=1000))


async def fill(client: httpx.AsyncClient, n: int = 1000) -> None:
    await push(client, tokens=[f"{n:08x}" for n in range(n)], id="fill")


async def test_no_room(api: Running, client: httpx.AsyncClient) -> None:
    await fill(client)
    response = await push(client, token="aa", id="x")
    assert_problem(response, 503, reason="ServiceUnavailable")
    assert int(response.headers["retry-after"]) >= 1
    await client.delete("/v1/push/fill")
    assert (await push(client, token="aa", id="x")).json().get("duplicate") is None


async def test_room_for_some(api: Running, client: httpx.AsyncClient) -> None:
    await fill(client)
    api.connect("aa")
    answer = (await push(client, tokens=["aa", "bb"])).json()
    assert answer["outcomes"] == {"delivered": 1, "refused": 1}
    assert answer["results"][1]["reason"] == "ServiceUnavailable"


async def test_the_end_comes_while_it_is_being_pushed(
    api: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_push.api.pusher.SLICE", 2)
    submit = api.channel.submit

    async def close_after(pushes: Sequence[Push]) -> list[State]:
        states = await submit(pushes)
        api.channel.close()
        return states

    monkeypatch.setattr(api.channel, "submit", close_after)
    answer = (await push(client, tokens=["aa", "bb", "cc", "dd", "ee"])).json()
    assert answer["outcomes"] == {"stored": 2, "refused": 3}
    assert {result.get("reason") for result in answer["results"]} == {None, "Shutdown"}


# -- the same again


async def test_a_repeated_id(api: Running, client: httpx.AsyncClient) -> None:
    first = (await push(client, tokens=["aa", "x"], id="i")).json()
    again = (await push(client, tokens=["aa", "x"], id="i")).json()
    assert again == {**first, "duplicate": True}
    assert api.node.ledger.accepted == 1


async def test_a_repeated_id_of_another_push(api: Running, client: httpx.AsyncClient) -> None:
    await push(client, token="aa", id="i")
    assert_problem(await push(client, token="bb", id="i"), 409)
    assert_problem(await push(client, token="aa", id="i", payload=2), 409)
    assert api.node.ledger.accepted == 1


async def test_a_refused_push_does_not_take_its_id(api: Running, client: httpx.AsyncClient) -> None:
    assert_problem(await push(client, token="xyz", id="i"), 400)
    assert (await push(client, token="aa", id="i")).status_code == 200


async def test_one_id_at_once(api: Running, client: httpx.AsyncClient) -> None:
    api.channel.shut()
    answers: list[dict[str, Any]] = []

    async def one() -> None:
        answers.append((await push(client, token="aa", id="i")).json())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one)
        await trio.sleep(0.1)
        assert answers == []
        api.channel.gate.set()
    assert sorted(answer.get("duplicate", False) for answer in answers) == [False] + 4 * [True]
    assert api.node.ledger.accepted == 1


async def test_who_hangs_up_can_ask_again(api: Running, client: httpx.AsyncClient) -> None:
    api.channel.shut()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(push, client, token="aa", id="i"))
        while not api.channel.waiting:
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    api.channel.gate.set()
    again = await push(client, token="aa", id="i")
    assert again.json()["outcomes"] == {"stored": 1}
    assert again.json()["duplicate"]
    assert api.node.ledger.accepted == 1


async def test_a_fault_is_told_as_a_problem(
    api: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(api.node.directory, "check", broken)
    assert_problem(await push(client, token="aa", id="i"), 500)
    assert_problem(await client.get("/v1/devices/aa"), 500)


# -- back again


async def test_recall(api: Running, client: httpx.AsyncClient) -> None:
    await push(client, tokens=["aa", "bb"], id="i", delay_s=100)
    await push(client, token="aa", id="j")
    assert (await client.delete("/v1/push/i")).json() == {"id": "i", "recalled": 2}
    assert (await client.delete("/v1/push/j")).json() == {"id": "j", "recalled": 1}
    assert api.node.ledger.counts[State.RECALLED] == 3
    assert_problem(await client.delete("/v1/push/i"), 404)


# -- what Hypercorn and Quart answer by themselves


async def test_no_error_is_html(api: Running, client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/nowhere"), 404)
    assert_problem(await client.get("/v1/push/"), 404)
    response = await client.get("/v1/push")
    assert_problem(response, 405)
    assert response.headers["allow"] == "OPTIONS, POST"


# -- acknowledgements and users


async def test_it_wants_an_acknowledgement(api: Running, client: httpx.AsyncClient) -> None:
    api.connect("aa")
    answer = (await push(client, token="aa", id="x", ack=True)).json()
    assert answer["outcomes"] == {"awaiting_ack": 1}
    assert api.node.router.acks.acknowledge("aa", "x")


async def test_waiting_for_the_acknowledgement(api: Running, client: httpx.AsyncClient) -> None:
    api.connect("aa")
    answers: list[httpx.Response] = []

    async def push_and_wait() -> None:
        body = {"token": "aa", "id": "x", "ack": True, "payload": 1}
        answers.append(await client.post("/v1/push?wait=ack", json=body))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(push_and_wait)
        while not api.node.router.acks.acknowledge("aa", "x"):
            await trio.sleep(0.01)
    assert answers[0].status_code == 200
    assert answers[0].json()["results"] == [{"token": "aa", "outcome": "acknowledged"}]
    with trio.fail_after(PATIENCE_S):
        await push_and_wait()
    assert answers[1].json()["duplicate"]


async def test_no_acknowledgement_in_time(api: Running, client: httpx.AsyncClient) -> None:
    api.connect("aa")
    body = {"token": "aa", "id": "x", "ack": True, "payload": 1}
    answer = await client.post("/v1/push?wait=ack&timeout_s=0.05", json=body)
    assert_problem(answer, 408)
    assert api.node.router.is_held("x")


@pytest.mark.parametrize(
    ("query", "fields", "field"),
    [
        ("?wait=ack", {"token": "aa"}, "ack"),
        ("?wait=ack", {"tokens": ["aa"], "ack": True}, "ack"),
        ("?wait=forever", {"token": "aa", "ack": True}, "wait"),
        ("?wait=ack&timeout_s=0", {"token": "aa", "ack": True}, "timeout_s"),
        ("", {"token": "aa", "ack": True, "ttl_s": 0}, "ack"),
        ("", {"broadcast": True, "ack": True}, "ack"),
        ("", {"token": "aa", "event": "mark_read"}, "event"),
        ("", {"token": "aa", "user": "alice"}, "token"),
    ],
)
async def test_what_cannot_be_acknowledged(
    api: Running, client: httpx.AsyncClient, query: str, fields: dict[str, Any], field: str
) -> None:
    answer = await client.post(f"/v1/push{query}", json={"payload": 1, **fields})
    assert_problem(answer, 400, field=field)


async def test_to_all_devices_of_a_user(api: Running, client: httpx.AsyncClient) -> None:
    [phone] = api.connect("aa")
    for token in "aa", "bb":
        api.node.router.users.enrol("alice", token)
    answer = (await push(client, user="alice")).json()
    assert answer["results"] == [
        {"token": "aa", "outcome": "delivered"},
        {"token": "bb", "outcome": "stored"},
    ]
    assert phone.events == [b'{"a":1}']
    assert_problem(await push(client, user="bob"), 404, field="user")
