"""What faults on demand do to clients that nobody here wrote: each magic token, each way."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aioapns
import httpx
import pytest
import trio
from aioapns.connection import APNsProductionClientProtocol

from tests.interop.conftest import ENVIRONMENT, JS, Credentials
from tests.interop.running import Device, Running, running
from tests.interop.talking import talking
from tests.serving import PATIENCE_S
from trio_push.faults import Match, Rule
from trio_push.faults.actions import (
    Action,
    Delay,
    Duplicate,
    GoAway,
    Hold,
    MaxStreams,
    RefuseConnection,
    Status,
)
from trio_push.faults.latency import Fixed
from trio_push.faults.magic import MAGIC

Send = Callable[..., list[aioapns.common.NotificationResult]]

REFUSED = [each for each in MAGIC if isinstance(each.action, Status)]


@pytest.fixture(scope="module")
def magic(tls_dir: Path) -> Iterator[Running]:
    """One server on which every token is what it seems."""
    with running(tls_dir, scenario=("magic-tokens",)) as server:
        yield server


@pytest.fixture(params=["h1", "h2", "h2-tls"])
def client(magic: Running, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    base = magic.tls if request.param == "h2-tls" else magic.plain
    h2 = request.param != "h1"
    trust = ssl.create_default_context(cafile=magic.ca)
    options = {"verify": trust, "timeout": PATIENCE_S, "trust_env": False}
    with httpx.Client(base_url=base, http1=not h2, http2=h2, **options) as client:
        yield client


def push(client: httpx.Client, token: str) -> httpx.Response:
    return client.post(f"/3/device/{token}", content=b'{"mdm":"x"}')


def add(server: Running, action: Action, name: str = "r", **match: object) -> None:
    rule = Rule(name=name, match=Match(**match), action=action)  # type: ignore[arg-type]
    server.call(lambda: server.node.faults.add([rule], trio.current_time()))


@pytest.mark.parametrize("each", REFUSED, ids=lambda each: each.token_prefix)
def test_httpx_is_refused(client: httpx.Client, each: object) -> None:
    action = each.action  # type: ignore[attr-defined]
    answer = push(client, each.token_prefix + "00")  # type: ignore[attr-defined]
    assert (answer.status_code, answer.json()["reason"]) == (action.status, action.reason)
    assert ("timestamp" in answer.json()) == (action.status == 410)
    assert len(answer.headers["apns-id"]) == 36
    # the connection goes on
    assert push(client, "c0ffee").status_code == 200


def test_httpx_waits_for_nothing(client: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post("/3/device/fa17dead", content=b"x", timeout=0.3)
    assert push(client, "c0ffee").status_code == 200


def test_httpx_waits_a_second(client: httpx.Client) -> None:
    answer = push(client, "fa17d00100")
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= 1


@pytest.mark.parametrize("token", ["fa170007", "fa170002", "fa1790a0"])
def test_httpx_over_http2_is_cut_off(magic: Running, token: str) -> None:
    with httpx.Client(http1=False, http2=True, trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(f"{magic.plain}/3/device/{token}", content=b"x")
        assert client.post(f"{magic.plain}/3/device/c0ffee", content=b"x").status_code == 200


def test_httpx_is_reset(client: httpx.Client) -> None:
    # Python's TLS cannot tell a reset from an end: tests/intake/test_faults.py can
    with pytest.raises(httpx.TransportError):
        push(client, "fa17c105")
    assert push(client, "c0ffee").status_code == 200


def test_what_httpx_sends_is_lost(magic: Running, client: httpx.Client, token: str) -> None:
    token = "fa171057" + token[8:]
    before = magic.books()["ended"]["lost_by_fault"]
    with Device(magic, token) as device:
        assert push(client, token).status_code == 200
        magic.push(token, "over the API")
        lossy = magic.call(lambda: magic.node.faults.active)
        magic.call(magic.node.faults.clear)
        assert push(client, token).status_code == 200
        assert device.pings(1) == [b'{"mdm":"x"}']
        magic.call(lambda: magic.node.faults.add([each.rule for each in lossy], 0.0))
    assert magic.books()["ended"]["lost_by_fault"] == before + 2


def test_a_device_gets_it_twice(magic: Running, client: httpx.Client) -> None:
    with Device(magic, "fa17222200") as device:
        assert push(client, "fa17222200").status_code == 200
        first, second = device.event(), device.event()
    assert first == second


def test_a_device_is_disconnected(magic: Running, client: httpx.Client) -> None:
    with Device(magic, "fa17d15c00") as device:
        assert push(client, "fa17d15c00").status_code == 200
        assert device.pings(1) == [b'{"mdm":"x"}']
        with pytest.raises(AssertionError, match="the stream ended"):
            device.event()


@pytest.mark.needs("curl")
@pytest.mark.parametrize(
    ("way", "token", "exit_code"),
    [
        ("--http2-prior-knowledge", "fa170002", 92),  # a stream of HTTP/2 went wrong
        ("--http1.1", "fa17c105", 56),  # failure in receiving
        ("--http2-prior-knowledge", "fa17c105", 56),
        ("--http1.1", "fa17dead", 28),  # time-out
        ("--http2-prior-knowledge", "fa17dead", 28),
        ("--http1.1", "fa170410", 22),  # an HTTP error
        ("--http2-prior-knowledge", "fa170503", 22),
        ("--http2-prior-knowledge", "c0ffee", 0),
    ],
)
def test_curl(
    magic: Running, tool: Callable[[str], str], way: str, token: str, exit_code: int
) -> None:
    url = f"{magic.plain}/3/device/{token}"
    patience_s = "1" if exit_code == 28 else str(PATIENCE_S)
    command = [tool("curl"), "-sS", "-f", "--max-time", patience_s, way, "-d", "x", url]
    done = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == exit_code, done.stderr


def test_connections_are_refused(launch: Callable[..., Running]) -> None:
    server = launch()
    add(server, RefuseConnection(), first=1)
    for url in (server.plain, server.tls):
        with httpx.Client(verify=False, trust_env=False) as client:
            server.call(server.node.faults.clear)
            add(server, RefuseConnection(), first=1)
            with pytest.raises(httpx.TransportError):
                client.post(f"{url}/3/device/c0ffee", content=b"x")
            assert client.post(f"{url}/3/device/c0ffee", content=b"x").status_code == 200


@pytest.mark.filterwarnings("ignore:X509.get_subject:DeprecationWarning")
class TestAioapns:
    @pytest.fixture
    def send(
        self,
        launch: Callable[..., Running],
        credentials: Credentials,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Send:
        self.server = launch(scenario=("magic-tokens",))
        url = urlsplit(self.server.tls)
        monkeypatch.setattr(APNsProductionClientProtocol, "APNS_SERVER", url.hostname)
        monkeypatch.setattr(APNsProductionClientProtocol, "APNS_PORT", url.port)
        trust = ssl.create_default_context(cafile=self.server.ca)
        auth = {"key_id": "K" * 10, "team_id": "T" * 10, "topic": "t"}

        async def main(*tokens: str) -> list[aioapns.common.NotificationResult]:
            client = aioapns.APNs(key=credentials.token_key.read_text(), **auth, ssl_context=trust)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await asyncio.gather(
                        *(client.send_notification(request_to(token)) for token in tokens)
                    )
            finally:
                client.pool.close()
                async with asyncio.timeout(PATIENCE_S):
                    while client.pool.connections:
                        await asyncio.sleep(0.01)

        return lambda *tokens: asyncio.run(main(*tokens))

    def test_refused(self, send: Send) -> None:
        tokens = [each.token_prefix for each in REFUSED]
        results = send(*tokens, "c0ffee")
        reasons = [each.action.reason for each in REFUSED]  # type: ignore[union-attr]
        assert [each.description for each in results] == [*reasons, None]
        assert results[-1].is_successful
        gone = dict(zip(tokens, results, strict=False))["fa170410"]
        assert gone.status == "410"
        assert gone.timestamp is not None

    def test_fewer_streams(self, send: Send) -> None:
        add(self.server, MaxStreams(2), "few")
        add(self.server, Delay(latency=Fixed(0.02)), "slow")
        add(self.server, Duplicate(), "twice")
        results = send("c0ffee")
        assert all(each.is_successful for each in results)

    @pytest.mark.parametrize(("last_stream", "accepted"), [("before", 1), ("at", 2), ("after", 2)])
    def test_goaway(self, send: Send, last_stream: Any, accepted: int) -> None:
        """It sends again whatever was under way, though GOAWAY says what is being answered."""
        add(self.server, GoAway(last_stream=last_stream), first=1)
        assert [each.is_successful for each in send("c0ffee")] == [True]
        assert self.server.books()["accepted"] == accepted

    def test_held_for_a_while(self, send: Send) -> None:
        add(self.server, Hold(for_s=0.3), "hold")
        assert [each.is_successful for each in send("c0ffee")] == [True]


def request_to(token: str) -> aioapns.NotificationRequest:
    return aioapns.NotificationRequest(
        device_token=token, message={"mdm": "x"}, push_type=aioapns.PushType.MDM
    )


@pytest.mark.needs("node")
@pytest.mark.parametrize(("last_stream", "last"), [("at", 1), ("after", 2**31 - 1)])
def test_node_is_told_to_go_and_gets_its_answer(
    magic: Running, tool: Callable[[str], str], token: str, last_stream: str, last: int
) -> None:
    add(magic, GoAway(last_stream=last_stream), token_prefix=token)  # type: ignore[arg-type]
    path = f"/3/device/{token}"
    with talking(tool("node"), JS / "http2.mjs", magic.plain, path, env=ENVIRONMENT) as client:
        goaway = client.hear("goaway")
        assert (goaway["code"], goaway["lastStream"]) == (0, last)
        assert json.loads(goaway["data"]) == {"reason": "Shutdown"}
        assert client.hear("answer")["status"] == 200
        client.hear("close", past="goaway")
        assert client.end() == 0
    magic.call(lambda: magic.node.faults.remove("r"))


@pytest.mark.needs("node")
def test_node_is_told_that_nothing_was_processed(
    magic: Running, tool: Callable[[str], str], token: str
) -> None:
    path = f"/3/device/fa1790a0{token[8:]}"
    with talking(tool("node"), JS / "http2.mjs", magic.plain, path, env=ENVIRONMENT) as client:
        assert client.hear("goaway")["lastStream"] == 0
        assert client.end() == 1
