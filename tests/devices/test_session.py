"""What WebSocket devices say and are told, through a client nobody here wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt as pyjwt
import orjson
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from tests.serving import Peer, serving, settle
from trio_push.push import Push, State
from trio_push.server import Server

SECRET = "s" * 32


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


@pytest.fixture
def auth(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "key").write_text(SECRET)
    return {"device_auth": "jwt", "jwt_key": str(tmp_path / "key")}


def token_of(**claims: Any) -> str:
    return pyjwt.encode(claims, SECRET, "HS256")


async def test_proving_who_it_is_in_the_first_message(auth: dict[str, Any]) -> None:
    async with serving(sound=False, **auth) as server, device(server, "token=aa") as websocket:
        await push(server, stored(b"1"))
        await say(websocket, type="ack", notification_id="1")
        assert (await hear(websocket))["code"] == "auth_required"
        assert len(server.node.directory) == 0
        await say(websocket, type="auth", token=token_of(sub="aa", user="alice"))
        assert await hear(websocket) == {"type": "auth_result", "ok": True}
        assert await ids(websocket, 1) == ["1"]
        assert server.node.router.users.tokens("alice") == ["aa"]


@pytest.mark.parametrize("shown", ["nonsense", token_of(sub="bb"), token_of(sub="aa", exp=1)])
async def test_failing_to(auth: dict[str, Any], shown: str) -> None:
    async with serving(sound=False, **auth) as server, device(server, "token=aa") as websocket:
        await say(websocket, type="auth", token=shown)
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.get_message()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 4502
        await settle(lambda: not server._front.visitors)
        assert not server._front._unproved


async def test_who_never_proves_it_is_let_go(auth: dict[str, Any]) -> None:
    async with (
        serving(sound=False, head_timeout_s=0.3, **auth) as server,
        device(server, "token=aa") as websocket,
    ):
        with trio.fail_after(10), pytest.raises(ConnectionClosed) as closed:
            await websocket.get_message()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 4502
        await settle(lambda: not server._front.visitors)


async def test_a_refused_jwt_in_the_request_is_an_http_answer(auth: dict[str, Any]) -> None:
    async with serving(sound=False, **auth) as server, Peer.connected(server) as peer:
        answer = await peer.request(
            "GET",
            "/ws?token=aa&access_token=nonsense",
            connection="Upgrade",
            upgrade="websocket",
            sec_websocket_version="13",
            sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
        )
        assert answer.status == 401
