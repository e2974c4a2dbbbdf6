"""node's HTTP/2 client is told why its connection ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.interop.conftest import ENVIRONMENT, JS
from tests.interop.running import Running
from tests.interop.talking import Talker, talking

pytestmark = pytest.mark.needs("node")


@pytest.fixture
def connect(tool: Callable[[str], str]) -> Callable[..., AbstractContextManager[Talker]]:
    def connect(server: Running, over: str, *paths: str) -> AbstractContextManager[Talker]:
        url = server.plain if over == "plain" else server.tls
        environment = ENVIRONMENT | {"NODE_EXTRA_CA_CERTS": server.ca}
        return talking(tool("node"), JS / "http2.mjs", url, *paths, env=environment)

    return connect


Connect = Callable[..., AbstractContextManager[Talker]]


@pytest.mark.parametrize("over", ["plain", "tls"])
def test_shutdown(connect: Connect, launch: Callable[..., Running], token: str, over: str) -> None:
    server = launch(drain_s=1.0)
    with connect(server, over, f"/3/device/{token}") as client:
        assert client.hear("answer")["status"] == 200
        server.drain()
        goaway = client.hear("goaway")
        assert json.loads(goaway["data"]) == {"reason": "Shutdown"}
        assert (goaway["code"], goaway["lastStream"]) == (0, 1)
        client.hear("close")
        assert client.end() == 0


@pytest.mark.parametrize("over", ["plain", "tls"])
def test_shutdown_with_a_device_on_the_connection(
    connect: Connect, launch: Callable[..., Running], token: str, over: str
) -> None:
    server = launch(drain_s=1.0)
    with connect(server, over, f"/3/device/{token}", f"/events?token={token}") as client:
        assert client.hear("answer")["status"] == 200
        assert "event: ping" in client.hear("data")["text"]
        server.drain()
        assert client.hear("data")["text"].startswith("retry: ")
        client.hear("end")
        assert json.loads(client.hear("goaway")["data"]) == {"reason": "Shutdown"}
        client.hear("close")
        assert client.end() == 0


@pytest.mark.parametrize("over", ["plain", "tls"])
def test_idle_for_too_long(
    connect: Connect, launch: Callable[..., Running], token: str, over: str
) -> None:
    server = launch(idle_timeout_s=1.5)
    with connect(server, over, f"/3/device/{token}") as client:
        client.hear("answer")
        assert json.loads(client.hear("goaway")["data"]) == {"reason": "IdleTimeout"}
        client.hear("close")
        assert client.end() == 0
