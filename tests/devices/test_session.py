"""What WebSocket devices say and are told, through a client nobody here wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from tests.redis import redis_server
from tests.serving import serving, settle
from trio_push.push import Push, State
from trio_push.server import Server


def stored(payload: bytes, token: str = "aa", **more: Any) -> Push:
    return Push(payload.decode(), token, payload, expires_at=2_000_000_000.0, **more)


async def push(server: Server, *pushes: Push) -> None:
    await server.node.push_channel.submit(pushes)


@asynccontextmanager
async def device(server: Server, query: str = "token=aa") -> AsyncIterator[WebSocketConnection]:
    url = server.addresses.wire[0].replace("http", "ws") + f"/ws?{query}"
    async with open_websocket_url(url) as websocket:
        try:
            yield websocket
        finally:
            if websocket.closed:  # by the server: then the library leaves its socket open
                await trio.aclose_forcefully(websocket._stream)


async def say(websocket: WebSocketConnection, **message: Any) -> None:
    await websocket.send_message(orjson.dumps(message).decode())


async def hear(websocket: WebSocketConnection) -> dict[str, Any]:
    message: dict[str, Any] = orjson.loads(await websocket.get_message())
    return message


async def ids(websocket: WebSocketConnection, n: int) -> list[str]:
    return [(await hear(websocket))["id"] for _ in range(n)]


async def test_acknowledging() -> None:
    async with serving() as server, device(server) as websocket:
        await push(server, stored(b"1", wants_ack=True))
        notification = await hear(websocket)
        assert (notification["type"], notification["data"]) == ("notification", 1)
        await say(websocket, type="ack", notification_id="1")
        await settle(lambda: server.node.ledger.counts[State.ACKNOWLEDGED] == 1)
        await say(websocket, type="ack", notification_id="1")
        await say(websocket, type="ack", notification_id="never sent")
        await push(server, stored(b"2"))
        assert (await hear(websocket))["id"] == "2"  # and no complaint before it


async def test_sync_gives_what_was_missed_and_nothing_twice() -> None:
    async with serving() as server:
        async with device(server) as websocket:
            await push(server, stored(b"1"), stored(b"2"), stored(b"3"))
            first = await hear(websocket)
        await settle(lambda: len(server.node.directory) == 0)
        await push(server, stored(b"4"))
        async with device(server) as websocket:
            await push(server, stored(b"5"))
            assert await ids(websocket, 2) == ["4", "5"]
            epoch = server.node.router.epoch
            await say(websocket, type="sync", last_seen=first["seq"], epoch=epoch)
            result = await hear(websocket)
            assert result["type"] == "sync_result"
            assert (result["recovered"], result["epoch"]) == (True, epoch)
            assert result["from"] == first["seq"]
            assert await ids(websocket, 2) == ["2", "3"]
            await push(server, stored(b"6"))
            assert await ids(websocket, 1) == ["6"]


@pytest.mark.parametrize(
    ("last_seen", "epoch", "recovered", "missed"),
    [
        ("1", None, True, ["2"]),
        (0, None, True, ["1", "2"]),
        ("unknown", None, False, []),
        (0, "another", False, []),
        (10**9, None, False, []),
    ],
)
async def test_cursors(
    last_seen: int | str, epoch: str | None, recovered: bool, missed: list[str]
) -> None:
    async with serving() as server:
        async with device(server) as websocket:
            await push(server, stored(b"1"), stored(b"2"))
            await ids(websocket, 2)
        async with device(server) as websocket:
            asked = {"last_seen": last_seen} | ({"epoch": epoch} if epoch else {})
            await say(websocket, type="sync", **asked)
            assert (await hear(websocket))["recovered"] is recovered
            assert await ids(websocket, len(missed)) == missed


@pytest.mark.needs("redis-server")
async def test_sync_at_another_node() -> None:
    with redis_server() as redis:
        async with (
            serving(redis=redis.url_text, sound=False) as one,
            serving(redis=redis.url_text, sound=False) as two,
        ):
            await settle(lambda: two.node.engine.members.others)
            async with device(one) as websocket:
                await push(one, stored(b"1"), stored(b"2"))
                first = await hear(websocket)
            assert first["epoch"] == one.node.router.epoch
            for asked in (
                {"last_seen": first["seq"], "epoch": first["epoch"]},
                {"last_seen": first["seq"]},
                {"last_seen": first["id"]},
            ):
                for server in two, one:
                    async with device(server) as websocket:
                        await say(websocket, type="sync", **asked)
                        assert (await hear(websocket))["recovered"] is True
                        assert await ids(websocket, 1) == ["2"]
            for unknown in {"last_seen": first["seq"] - 1}, {"last_seen": 0}, {"last_seen": "?"}:
                async with device(two) as websocket:
                    await say(websocket, type="sync", **unknown)
                    assert (await hear(websocket))["recovered"] is False


async def test_a_cursor_in_the_query_comes_before_all_else() -> None:
    async with serving() as server:
        async with device(server) as websocket:
            await push(server, stored(b"1"), stored(b"2"))
            await ids(websocket, 2)
        cursor = f"{server.node.router.epoch}:0"
        async with device(server, f"token=aa&lastEventId={cursor}") as websocket:
            assert (await hear(websocket))["type"] == "sync_result"
            assert await ids(websocket, 2) == ["1", "2"]


async def test_read_marks_reach_the_other_devices() -> None:
    async with (
        serving() as server,
        device(server, "token=aa&user=alice") as phone,
        device(server, "token=bb&user=alice") as laptop,
    ):
        await say(phone, type="mark_read", notification_id="n1")
        news = await hear(laptop)
        assert (news["type"], news["notification_id"]) == ("mark_read", "n1")
        assert news["seq"] > 0


async def test_nonsense_is_answered_and_harms_nothing() -> None:
    async with serving() as server, device(server) as websocket:
        for said, code in [
            ("{", "invalid_json"),
            ("[]", "invalid_message"),
            ('{"type":"dance"}', "unknown_type"),
            ('{"type":"ack"}', "invalid_message"),
            ('{"type":"auth","token":"x"}', "auth_done"),
        ]:
            await websocket.send_message(said)
            answer = await hear(websocket)
            assert (answer["type"], answer["code"]) == ("error", code)
        await push(server, stored(b"1"))
        assert await ids(websocket, 1) == ["1"]
