"""The strict profile on real connections: what is said first, who may have how many streams."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h2.errors
import h2.settings
import hyperframe.frame
import msgspec
import pytest
import trio

from tests.api.http2_client import Http2Client
from tests.auth import provider
from tests.auth.provider import APP, TOKEN
from tests.serving import Peer, serving, tls, trust
from trio_push.faults.actions import MaxStreams
from trio_push.faults.rules import Match, Rule
from trio_push.server import Server
from trio_push.wire.apns_strict_rules import OF_THE_SERVER, Given
from trio_push.wire.http2 import MAX_STREAMS

__all__ = ["tls", "trust"]

LIMIT = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
REFUSED = h2.errors.ErrorCodes.REFUSED_STREAM


def bearer(**claims: Any) -> str:
    """A provider token that is good now."""
    token = provider.provider_token(iat=int(time.time()), **claims)
    return f"bearer {token.decode()}"


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("apns") / "apns.json"
    path.write_bytes(
        msgspec.json.encode(
            provider.credentials(certificate_authorities=[provider.authority_pem()])
        )
    )
    return str(path)


class Push(NamedTuple):
    """Makes the head of a push; `authorization` is the same for all of a test."""

    authorization: str

    def head(self, **headers: str) -> dict[str, str | bytes]:
        given = {"apns_topic": APP, "authorization": self.authorization, **headers}
        fields = {name.replace("_", "-"): value for name, value in given.items()}
        return {":method": "POST", ":path": f"/3/device/{TOKEN}", **fields}


@pytest.fixture(scope="module")
def good() -> Push:
    return Push(bearer())


@asynccontextmanager
async def strict_server(credentials: str, **settings: Any) -> AsyncIterator[Server]:
    fields = {"apns": "strict", "apns_credentials": credentials, "apns_token_rate": 0, **settings}
    async with serving(sound=False, **fields) as server:
        yield server


@asynccontextmanager
async def client_of(server: Server, context: ssl.SSLContext | None = None) -> Any:
    async with Peer.connected(server, trust=context) as peer:
        client = Http2Client(peer.stream)  # type: ignore[arg-type]
        await client.flush()
        await until(client, lambda: limit_of(client) <= MAX_STREAMS)
        yield client


async def until(client: Http2Client, done: Callable[[], bool]) -> None:
    while not done():
        assert await client.read(), "the server closed the connection"


def limit_of(client: Http2Client) -> int:
    return client.h2.remote_settings.max_concurrent_streams


async def push(client: Http2Client, head: dict[str, str | bytes], body: bytes = b"{}") -> int:
    stream_id = await begin(client, head, body)
    return await client.status(stream_id)


async def begin(client: Http2Client, head: dict[str, str | bytes], body: bytes = b"{}") -> int:
    stream_id = await client.request(head, end=False)
    client.h2.send_data(stream_id, body, end_stream=True)
    await client.flush()
    return stream_id


def ignore_limit(client: Http2Client) -> None:
    """From here on the client has as many streams as it likes."""
    client.h2.remote_settings[LIMIT] = 10**6
    client.h2.remote_settings.acknowledge()


async def test_settings_are_apples(credentials: str) -> None:
    async with strict_server(credentials) as server, client_of(server) as client:
        codes = h2.settings.SettingCodes
        told = {code: client.h2.remote_settings[code] for code in (1, 3, 4, 5, 6)}
        assert told == {
            codes.HEADER_TABLE_SIZE: 4096,
            codes.MAX_CONCURRENT_STREAMS: 1,
            codes.INITIAL_WINDOW_SIZE: 65_535,
            codes.MAX_FRAME_SIZE: 16_384,
            codes.MAX_HEADER_LIST_SIZE: 8000,
        }


async def test_one_stream_until_a_token_is_valid(credentials: str, good: Push) -> None:
    async with strict_server(credentials) as server, client_of(server) as client:
        assert await push(client, good.head(authorization="bearer x")) == 403
        assert limit_of(client) == 1
        ignore_limit(client)
        first = await client.request(good.head(), end=False)
        beyond = await client.request(good.head(), end=False)
        await until(client, lambda: beyond in client.resets)
        assert client.resets == {beyond: REFUSED}
        client.h2.send_data(first, b"{}", end_stream=True)
        await client.flush()
        assert await client.status(first) == 200
        await until(client, lambda: limit_of(client) == MAX_STREAMS)
        streams = [await client.request(good.head(), end=False) for _ in range(50)]
        for stream_id in streams:
            client.h2.send_data(stream_id, b"{}", end_stream=True)
        await client.flush()
        assert {await client.status(stream_id) for stream_id in streams} == {200}


async def test_a_certificate_has_all_streams_at_once(
    credentials: str, tls: dict[str, Any], trust: ssl.SSLContext, tmp_path: Path
) -> None:
    context = own_context(tls, tmp_path, provider.mdm_certificate().to_pem())
    async with (
        strict_server(credentials, **tls) as server,
        client_of(server, context) as client,
    ):
        await until(client, lambda: limit_of(client) == MAX_STREAMS)
        head = {":method": "POST", ":path": f"/3/device/{TOKEN}"}
        assert await push(client, head, b'{"mdm":"magic"}') == 200


def own_context(tls: dict[str, Any], folder: Path, pem: bytes) -> ssl.SSLContext:
    """Trust in the server, and a certificate of one's own."""
    context = ssl.create_default_context(cafile=str(Path(tls["tls_dev_dir"]) / "ca.pem"))
    (folder / "own.pem").write_bytes(pem)
    context.load_cert_chain(folder / "own.pem")
    return context


async def test_a_certificate_of_anybody_ends_the_handshake(
    credentials: str, tls: dict[str, Any], tmp_path: Path
) -> None:
    stranger = provider.stranger_certificate().to_pem()
    context = own_context(tls, tmp_path, stranger)
    async with (
        strict_server(credentials, **tls) as server,
        Peer.connected(server, trust=context) as peer,
    ):
        with pytest.raises(trio.BrokenResourceError):
            await peer.send(b"x")
            await peer.receive()


async def test_throttled(credentials: str, good: Push) -> None:
    """Of what came together the first that is refused is told so; behind it all is refused."""
    async with (
        strict_server(credentials, apns_throttle=True) as server,
        client_of(server) as client,
    ):
        assert await push(client, good.head()) == 200
        await until(client, lambda: limit_of(client) == MAX_STREAMS)
        together = []
        for priority in ("10", "10", "7", "10", "7"):
            stream_id = client.h2.get_next_available_stream_id()
            head = {":scheme": "https", ":authority": "x", **good.head(apns_priority=priority)}
            client.h2.send_headers(stream_id, list(head.items()))
            client.h2.send_data(stream_id, b"{}", end_stream=True)
            together.append(stream_id)
        await client.flush()
        await until(client, lambda: len(client.ended) + len(client.resets) >= 6)
        assert [client.statuses.get(stream_id) for stream_id in together] == [
            *(200, 200, 400),
            *(None, None),
        ]
        assert client.resets == dict.fromkeys(together[3:], REFUSED)
        assert limit_of(client) == 1
        assert await push(client, good.head(apns_priority="7")) == 400
        assert limit_of(client) == 1
        assert await push(client, good.head()) == 200
        await until(client, lambda: limit_of(client) == MAX_STREAMS)
        assert server.node.ledger.accepted == 4


async def test_throttled_with_requests_half_sent(credentials: str, good: Push) -> None:
    """They were begun before the refusal: the excess is refused, what comes of it later harms
    nothing."""
    async with (
        strict_server(credentials, apns_throttle=True) as server,
        client_of(server) as client,
    ):
        assert await push(client, good.head()) == 200
        await until(client, lambda: limit_of(client) == MAX_STREAMS)
        begun = [await client.request(good.head(), end=False) for _ in range(3)]
        assert await push(client, good.head(apns_priority="7")) == 400
        await until(client, lambda: len(client.resets) == 3)
        assert client.resets == dict.fromkeys(begun, REFUSED)
        # it was on the way
        late = hyperframe.frame.DataFrame(begun[0], b"{}", flags=["END_STREAM"]).serialize()
        await client.stream.send_all(late)
        assert await push(client, good.head()) == 200
        await until(client, lambda: limit_of(client) == MAX_STREAMS)
        assert server.node.ledger.accepted == 2


async def test_over_http1_everything_is_answered(credentials: str, good: Push) -> None:
    fields = {"authorization": good.authorization, "apns_topic": APP}
    async with (
        strict_server(credentials, apns_throttle=True) as server,
        Peer.connected(server) as peer,
    ):
        answers = []
        for priority in ("10", "7", "7", "10"):
            answer = await peer.push(TOKEN, **fields, apns_priority=priority)
            answers.append(answer.status)
        assert answers == [200, 400, 400, 200]


async def test_pipelined_requests_behind_a_refusal_are_answered(
    credentials: str, good: Push
) -> None:
    one = (
        f"POST /3/device/{TOKEN} HTTP/1.1\r\nhost: x\r\napns-topic: {APP}\r\ncontent-length: 2\r\n"
        f"authorization: {good.authorization}\r\napns-priority: %s\r\n\r\n{{}}"
    )
    async with (
        strict_server(credentials, apns_throttle=True) as server,
        Peer.connected(server) as peer,
    ):
        await peer.send("".join(one % p for p in ("10", "7", "7", "10")).encode())
        assert [(await peer.response()).status for _ in range(4)] == [200, 400, 400, 200]


async def test_ping_is_answered(credentials: str, good: Push) -> None:
    async with strict_server(credentials) as server, client_of(server) as client:
        client.h2.ping(b"12345678")
        await client.flush()
        await until(client, lambda: bool(client.pongs))
        assert client.pongs == [b"12345678"]
        assert await push(client, good.head()) == 200


@pytest.mark.parametrize("stream_id", ["idle", "open", "answered"])
async def test_priority_frames_are_ignored(credentials: str, good: Push, stream_id: str) -> None:
    """Those that make no sense, too: one that leans on itself."""
    async with strict_server(credentials) as server, client_of(server) as client:
        answered = await begin(client, good.head())
        assert await client.status(answered) == 200
        await until(client, lambda: limit_of(client) == MAX_STREAMS)
        opened = await client.request(good.head(), end=False)
        on = {"idle": opened + 100, "open": opened, "answered": answered}[stream_id]
        for leans_on in (0, 1, on):
            frame = hyperframe.frame.PriorityFrame(on, leans_on, 7, True)
            await client.stream.send_all(frame.serialize())
        client.h2.send_data(opened, b"{}", end_stream=True)
        await client.flush()
        assert await client.status(opened) == 200
        assert not client.goaway
        assert not client.resets


async def fall_silent(server: Server, client: Http2Client) -> None:
    """Be heard once more; from then on the server has little patience."""
    server._front._http2.idle_timeout_s = 0.1
    client.h2.ping(b"farewell")
    await client.flush()


async def test_the_last_stream_is_the_last_that_was_processed(credentials: str, good: Push) -> None:
    async with strict_server(credentials) as server, client_of(server) as client:
        assert await push(client, good.head()) == 200
        last = client.h2.highest_outbound_stream_id
        await fall_silent(server, client)
        await until(client, lambda: client.goaway)
        assert client.last_words == b'{"reason":"IdleTimeout"}'
        assert client.last_stream_id == last


@pytest.mark.parametrize("given", OF_THE_SERVER, ids=lambda given: given.reason.name)
async def test_what_the_server_says_by_itself(
    credentials: str, good: Push, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row of the table: by GOAWAY, by a refusal, or by both."""
    name, status = given.reason.name, given.reason.status
    async with strict_server(credentials) as server, client_of(server) as client:
        assert await push(client, good.head()) == 200
        if name == "InternalServerError":
            monkeypatch.setattr(server.node.router, "check_room", None)
        elif name == "ServiceUnavailable":
            server.node.router._store_total = 0
        elif name == "Shutdown":
            server.node.push_channel.close()
        if name == "IdleTimeout":
            await fall_silent(server, client)
        else:
            stream_id = await begin(client, good.head())
            assert await client.status(stream_id) == status
            assert json.loads(client.bodies[stream_id]) == {"reason": name}
        if name == "Shutdown":
            server._front.dismiss_visitors()
        if "GOAWAY" in given.trigger:
            await until(client, lambda: client.goaway)
            assert client.last_words == b'{"reason":"%b"}' % name.encode()
            assert client.last_stream_id == client.h2.highest_outbound_stream_id


async def test_in_the_development_environment_answers_have_a_unique_id(
    credentials: str, good: Push
) -> None:
    settings = {"apns_environment": "development"}
    async with strict_server(credentials, **settings) as server, Peer.connected(server) as peer:
        fields = {"authorization": good.authorization, "apns_topic": APP}
        answers = [await peer.push(TOKEN, **fields), await peer.push("ab", **fields)]
        assert [answer.status for answer in answers] == [200, 400]
        assert len({answer.headers["apns-unique-id"] for answer in answers}) == 2


async def test_a_limit_on_demand_is_not_taken_back(credentials: str, good: Push) -> None:
    """Faults come on top of the profile, which has its say when it changes its mind."""
    async with strict_server(credentials) as server, client_of(server) as client:
        assert await push(client, good.head()) == 200
        await until(client, lambda: limit_of(client) == MAX_STREAMS)
        rule = Rule(match=Match(first=1), action=MaxStreams(5))
        server.node.faults.add([rule], trio.current_time())
        for _ in range(3):
            assert await push(client, good.head()) == 200
        assert limit_of(client) == 5
