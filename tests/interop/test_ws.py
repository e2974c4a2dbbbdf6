"""npm's ws: a WebSocket device in Node, plain and over TLS."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.interop.conftest import ENVIRONMENT, JS
from tests.interop.running import Running
from tests.interop.talking import Talker, talking
from trio_push.devices import farewell

pytestmark = pytest.mark.needs("node", "npm-packages")


@pytest.fixture
def listen(tool: Callable[[str], str]) -> Callable[..., AbstractContextManager[Talker]]:
    def listen(server: Running, token: str, over: str = "plain") -> AbstractContextManager[Talker]:
        base = getattr(server, over).replace("http", "ws")
        environment = ENVIRONMENT | {"NODE_EXTRA_CA_CERTS": server.ca}
        return talking(tool("node"), JS / "socket.mjs", f"{base}/ws?token={token}", env=environment)

    return listen


Listen = Callable[..., AbstractContextManager[Talker]]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("over", ["plain", "tls"])
def test_messages(listen: Listen, launch: Callable[..., Running], token: str, over: str) -> None:
    server = launch(keepalive_s=0.1)
    server.push(token, "stored")
    with listen(server, token, over) as device:
        assert device.hear("upgrade")["extensions"] is None
        device.hear("open")
        first = device.hear("message")
        assert not first["isBinary"]
        assert json.loads(first["data"])["data"] == "stored"
        server.wait_pongs(token)
        device.hear("ping")
        server.push(token, '{"mdm": "mágic"}')
        second = json.loads(device.hear("message", past="ping")["data"])
        assert second["data"] == {"mdm": "mágic"}
        assert second["seq"] > json.loads(first["data"])["seq"]
        device.tell("send nonsense")
        assert json.loads(device.hear("message", past="ping")["data"])["code"] == "invalid_json"
        device.tell("ping there?")
        assert device.hear("pong", past="ping")["data"] == "there?"
        device.tell("close 4321")
        assert device.hear("close", past="ping") == {"kind": "close", "code": 4321, "reason": ""}
        assert device.end() == 0


@pytest.mark.parametrize("over", ["plain", "tls"])
def test_it_is_told_why_it_is_closed(
    listen: Listen,
    launch: Callable[..., Running],
    token: str,
    over: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farewell, "RETRY_MS", (600, 600))
    server = launch()
    with listen(server, token, over) as older, listen(server, token[::-1], over) as unregistered:
        for device in (older, unregistered):
            device.hear("upgrade")
            device.hear("open")
        with listen(server, token, over) as newer:
            closed = older.hear("close")
            assert (closed["code"], closed["reason"]) == (4500, "replaced")
            server.unregister(token[::-1])
            closed = unregistered.hear("close")
            assert (closed["code"], closed["reason"]) == (4501, "unregistered")
            newer.hear("upgrade")
            newer.hear("open")
            server.drain()
            closed = newer.hear("close")
            assert (closed["code"], closed["reason"]) == (1001, "retry: 600")


def test_refusals(listen: Listen, server: Running, token: str) -> None:
    since = server.unregister(token)
    with listen(server, token) as device:
        refusal = device.hear("refusal")
    assert refusal["status"] == 410
    assert json.loads(refusal["body"]) == {"reason": "Unregistered", "timestamp": since}
