"""Devices on real sockets that come back, acknowledge, and belong to users."""

from __future__ import annotations

from pathlib import Path

import httpx
import jwt as pyjwt
import orjson
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from tests.redis import redis_server
from tests.serving import PATIENCE_S, Peer, serving, settle
from trio_push.push import Push
from trio_push.server import Server


async def push(server: Server, *pushes: Push) -> None:
    await server.node.push_channel.submit(pushes)


def stored(payload: bytes, token: str = "aa", **more: object) -> Push:
    expires_at = 2_000_000_000.0
    return Push(payload.decode(), token, payload, expires_at=expires_at, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["header", "query"])
async def test_a_device_goes_on_where_it_was(where: str) -> None:
    async with serving() as server:
        async with Peer.connected(server) as device:
            await device.listen("aa")
            await push(server, stored(b"1"), stored(b"2"))
            seen = await device.event()
        async with Peer.connected(server) as device:
            if where == "header":
                await device.listen("aa", last_event_id=seen.id)
            else:
                await device.listen("aa", f"&lastEventId={seen.id}")
            told = await device.event()
            answer = orjson.loads(told.data)
            assert (told.event, answer["recovered"]) == ("sync_result", True)
            assert answer["epoch"] == server.node.router.epoch
            await push(server, stored(b"3"))
            assert [(await device.event()).data for _ in range(2)] == ["2", "3"]


@pytest.mark.parametrize("cursor", ["another:1", "nonsense", "%e2%98%83"])
async def test_a_cursor_that_is_not_ours(cursor: str) -> None:
    async with serving() as server, Peer.connected(server) as device:
        await device.listen("aa", f"&lastEventId={cursor}")
        assert orjson.loads((await device.event()).data)["recovered"] is False


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("http2", [False, True])
async def test_a_device_goes_on_at_another_node(http2: bool) -> None:
    with redis_server() as redis:
        async with (
            serving(redis=redis.url_text, sound=False) as a,
            serving(redis=redis.url_text, sound=False) as b,
            httpx.AsyncClient(http1=not http2, http2=http2, timeout=PATIENCE_S) as client,
        ):
            await settle(lambda: b.node.engine.members.others)
            pushes = [stored(b"1"), stored(b"2"), stored(b"3")]
            first, *_ = await hear(client, a, pushes, events=3)
            told, *missed = await hear(client, b, [], events=3, last_event_id=first.id)
    assert (told.event, orjson.loads(told.data)["recovered"]) == ("sync_result", True)
    assert [event.data for event in missed] == ["2", "3"]


async def hear(
    client: httpx.AsyncClient,
    server: Server,
    pushes: list[Push],
    *,
    events: int,
    last_event_id: str = "",
) -> list[ServerSentEvent]:
    """What a device gets until it has so many events; then the server lets it go."""
    url = f"{server.addresses.wire[0]}/events?token=aa"
    headers = {"last-event-id": last_event_id} if last_event_id else {}
    seen = []
    async with aconnect_sse(client, "GET", url, headers=headers) as source:
        await push(server, *pushes)
        async for event in source.aiter_sse():
            seen.append(event)
            if len(seen) == events:
                for device in server.node.directory.connections():
                    server.node.router.delivery.disconnect(device)
    return seen


@pytest.mark.parametrize("http2", [False, True])
async def test_acknowledging_by_post(http2: bool) -> None:
    async with serving() as server, Peer.connected(server) as device:
        await device.listen("aa")
        await push(server, stored(b"x", wants_ack=True))
        await device.event()
        url = f"{server.addresses.wire[0]}/events/ack"
        async with httpx.AsyncClient(http1=not http2, http2=http2) as client:
            ack = {"token": "AA", "notification_id": "x"}
            first = await client.post(url, json=ack)
            again = await client.post(url, json=ack)
            assert (first.status_code, first.json()) == (200, {"acknowledged": True})
            assert (again.status_code, again.json()) == (404, {"acknowledged": False})
            assert (await client.get(url)).status_code == 405
            assert (await client.post(url, content=b"{")).status_code == 400
            bad = await client.post(url, json={**ack, "token": "nope"})
            assert (bad.status_code, bad.json()["reason"]) == (400, "BadDeviceToken")


async def test_users() -> None:
    async with serving(devices_per_user=2) as server:
        for token in "aa", "bb":
            async with Peer.connected(server) as device:
                await device.listen(token, "&user=alice%20b")
        assert server.node.router.users.tokens("alice b") == ["aa", "bb"]
        for query, reason in [
            ("user=alice%20b", "TooManyDevices"),
            ("user=%ff", "BadUser"),
            ("user=%0a", "BadUser"),
            (f"user={'x' * 256}", "BadUser"),
        ]:
            async with Peer.connected(server) as device:
                response = await device.request("GET", f"/events?token=cc&{query}")
                assert (response.status, orjson.loads(response.body)["reason"]) == (400, reason)


async def test_who_has_to_prove_who_it_is_cannot_say_whose(tmp_path: Path) -> None:
    """With device authentication the user and the acknowledging device are those of the JWT."""
    secret = "s" * 32
    (tmp_path / "key").write_text(secret)
    jwt = pyjwt.encode({"sub": "aa", "user": "alice"}, secret, "HS256")
    auth = {"device_auth": "jwt", "jwt_key": str(tmp_path / "key")}
    async with serving(sound=False, **auth) as server:
        users = server.node.router.users
        async with Peer.connected(server) as device:
            await device.listen("aa", "&user=bob", authorization=f"Bearer {jwt}")
            assert (users.tokens("alice"), users.tokens("bob")) == (["aa"], [])
            await push(server, stored(b"x", wants_ack=True), stored(b"y", "bb", wants_ack=True))
        url = f"{server.addresses.wire[0]}/events/ack"
        async with httpx.AsyncClient() as client:
            assert (await client.post(url, json={"notification_id": "x"})).status_code == 401
            shown = {"Authorization": f"Bearer {jwt}"}
            stranger = {"token": "bb", "notification_id": "y"}
            assert (await client.post(url, json=stranger, headers=shown)).status_code == 403
            mine = {"notification_id": "x"}
            assert (await client.post(url, json=mine, headers=shown)).status_code == 200
