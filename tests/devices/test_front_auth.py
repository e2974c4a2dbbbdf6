"""Devices with and without leave at a real server, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import trio

from tests.auth.issuer import DEVICE, SECRET, key_file, token
from tests.fakes import T0, push
from tests.serving import PATIENCE_S
from trio_push.auth.devices import Credentials
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.devices import expiry
from trio_push.push import State
from trio_push.server import Server, open_server
from trio_push.watch import logs

BAD_TOKEN = 'Bearer realm="trio-push", error="invalid_token"'


class Wall:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(key_file("HS256"))
    return path


@pytest.fixture
async def server(wall: Wall, key: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(expiry, "TICK_S", 0.01)
    settings = ServeSettings(
        listen=("127.0.0.1:0",), api="off", device_auth="jwt", jwt_key=str(key), auth_leeway_s=5
    )
    async with open_server(settings, clock=Clock(wall)) as server:
        yield server


@pytest.fixture(params=["h1", "h2"])
async def client(
    server: Server, request: pytest.FixtureRequest
) -> AsyncIterator[httpx.AsyncClient]:
    h2 = request.param == "h2"
    async with httpx.AsyncClient(
        base_url=server.addresses.wire[0], http1=not h2, http2=h2, timeout=PATIENCE_S
    ) as client:
        yield client


def bearer(jwt: bytes) -> dict[str, str]:
    return {"Authorization": f"Bearer {jwt.decode()}"}


@asynccontextmanager
async def connected(
    client: httpx.AsyncClient, server: Server, jwt: bytes, **more: Any
) -> AsyncIterator[httpx.Response]:
    """A device that is let in."""
    async with client.stream("GET", "/events", headers=bearer(jwt), **more) as response:
        assert response.status_code == 200
        with trio.fail_after(PATIENCE_S):
            while server.node.directory.get(DEVICE) is None:
                await trio.sleep(0.005)
        yield response


async def test_a_device_with_leave_gets_its_pushes(
    client: httpx.AsyncClient, server: Server
) -> None:
    async with connected(client, server, token()) as response:
        states = await server.node.push_channel.submit([push(b"hello", token=DEVICE)])
        assert states == [State.DELIVERED_LIVE]
        device = server.node.directory.get(DEVICE)
        assert device is not None
        server.node.router.delivery.disconnect(device)
        assert b"data: hello\n" in await response.aread()


@pytest.mark.parametrize(
    ("headers", "query", "status", "reason", "challenge"),
    [
        ({}, "", 401, "MissingAccessToken", 'Bearer realm="trio-push"'),
        ({}, "?token=c0ffee", 401, "MissingAccessToken", 'Bearer realm="trio-push"'),
        (
            bearer(token(exp=T0 - 5)),
            "",
            401,
            "ExpiredAccessToken",
            f'{BAD_TOKEN}, error_description="the device\'s JWT has expired"',
        ),
        (
            bearer(token(key=SECRET[::-1])),
            "",
            401,
            "InvalidAccessToken",
            f'{BAD_TOKEN}, error_description="the JWT is not valid here: its signature is wrong"',
        ),
        (bearer(token()), "?token=dead", 403, "Forbidden", None),
        ({}, "?token=dead&access_token=" + token().decode(), 403, "Forbidden", None),
    ],
)
async def test_a_device_without_leave_is_told_why(
    client: httpx.AsyncClient,
    server: Server,
    headers: dict[str, str],
    query: str,
    status: int,
    reason: str,
    challenge: str | None,
) -> None:
    response = await client.get("/events" + query, headers=headers)
    assert response.status_code == status
    assert response.json() == {"reason": reason}
    assert response.headers.get("www-authenticate") == challenge
    assert response.headers["access-control-allow-origin"] == "*"
    assert server.node.ledger.refused == {reason: 1}
    assert len(server.node.directory) == 0


async def test_strangers_learn_nothing_of_a_token(
    client: httpx.AsyncClient, server: Server
) -> None:
    server.node.router.unregister(DEVICE)
    assert (await client.get(f"/events?token={DEVICE}")).status_code == 401
    assert (await client.get("/events", headers=bearer(token()))).status_code == 410


async def test_leave_runs_out_while_connected(
    client: httpx.AsyncClient, server: Server, wall: Wall
) -> None:
    async with connected(client, server, token(exp=T0 + 60)) as response:
        wall.now = T0 + 64
        await trio.sleep(0.1)
        assert server.node.directory.get(DEVICE) is not None
        wall.now = T0 + 66
        assert b"data:" not in await response.aread()
        assert server.node.directory.get(DEVICE) is None
    # and it does not get in again by what the server remembers
    response = await client.get("/events", headers=bearer(token(exp=T0 + 60)))
    assert response.json() == {"reason": "ExpiredAccessToken"}
    assert (await server.node.push_channel.submit([push(token=DEVICE)])) == [State.STORED]


async def test_without_an_end_leave_lasts(
    client: httpx.AsyncClient, server: Server, wall: Wall
) -> None:
    async with connected(client, server, token(exp=None)):
        wall.now = T0 + 10**9
        await trio.sleep(0.1)
        assert server.node.directory.get(DEVICE) is not None
        assert len(server._expiry) == 0


async def test_a_stranger_does_not_displace_a_device(
    client: httpx.AsyncClient, server: Server
) -> None:
    """The newest connection of a token wins: of those that may have it."""
    async with connected(client, server, token()):
        mine = server.node.directory.get(DEVICE)
        for headers in ({}, bearer(token(sub="dead"))):
            async with httpx.AsyncClient(base_url=client.base_url) as stranger:
                answer = await stranger.get(f"/events?token={DEVICE}", headers=headers)
                assert answer.status_code in (401, 403)
        assert server.node.directory.get(DEVICE) is mine


async def test_a_new_key_counts_without_a_restart(
    client: httpx.AsyncClient, server: Server, key: Path
) -> None:
    old, new = token(), token(key=SECRET[::-1])
    assert (await client.get("/events", headers=bearer(new))).status_code == 401
    fresh = key.with_suffix(".new")
    fresh.write_bytes(SECRET[::-1])
    fresh.rename(key)
    with trio.fail_after(PATIENCE_S):
        while True:
            async with client.stream("GET", "/events", headers=bearer(new)) as response:
                if response.status_code == 200:
                    break
            await trio.sleep(0.1)
    assert (await client.get("/events", headers=bearer(old))).status_code == 401


async def test_a_page_of_another_origin_may_show_a_jwt(client: httpx.AsyncClient) -> None:
    answer = await client.request("OPTIONS", "/events", headers={"Origin": "https://example.com"})
    allowed = answer.headers["access-control-allow-headers"].split(",")
    assert "authorization" in [name.strip() for name in allowed]


async def raw(server: Server, request: bytes) -> bytes:
    host, port = server.addresses.wire[0].removeprefix("http://").split(":")
    answer = b""
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(request)
            async for data in stream:
                answer += data
    return answer


async def test_two_authorization_headers(server: Server) -> None:
    lines = [b"Authorization: Bearer " + jwt for jwt in (token(), token(sub="dead"))]
    for pair in (lines, lines[::-1]):
        head = b"\r\n".join([b"GET /events HTTP/1.1", b"Host: x", *pair, b"", b""])
        assert (await raw(server, head)).startswith(b"HTTP/1.1 401 Unauthorized\r\n")


async def test_a_head_full_of_jwt(server: Server) -> None:
    jwt = b"eyJhbGciOiJIUzI1NiJ9." + b"A" * 12_000 + b".AAAA"
    head = b"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + jwt + b"\r\n\r\n"
    answer = await raw(server, head)
    assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"AAAA" not in answer


async def test_the_health_paths_are_open(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/stats"):
        assert (await client.get(path)).status_code == 200


@pytest.fixture
def log() -> Iterator[io.BytesIO]:
    """All that is logged, down to what is for debugging."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.BytesIO()
    stream = io.TextIOWrapper(written)
    logs.configure("debug", "json", stream)
    yield written
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    stream.close()


async def test_no_jwt_and_no_key_in_the_log(server: Server, key: Path, log: io.BytesIO) -> None:
    for jwt in (token(), token(key=SECRET[::-1]), token()[:-1]):
        for query in ("", f"?token={jwt.decode()}", "?token=dead", "?access_token=s3cret"):
            async with (
                httpx.AsyncClient(base_url=server.addresses.wire[0]) as client,
                client.stream("GET", "/events" + query, headers=bearer(jwt)) as response,
            ):
                assert response.status_code in (200, 401, 403)
    await trio.Path(key).write_bytes(b"too short, but s3cret")
    with trio.fail_after(PATIENCE_S):
        while b"key_file_unusable" not in log.getvalue():
            server.node.device_auth.authenticate(Credentials(token(), b""))
            await trio.sleep(0.1)
    text = log.getvalue().decode()
    for secret in (token().decode(), token().split(b".")[2].decode(), "s3cret", SECRET.decode()):
        assert secret not in text
