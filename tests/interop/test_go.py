"""Go's net/http: NanoMDM's (and so Fleet's) way of pushing, and Fleet's simulated hosts."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import find_tool
from tests.interop.conftest import ENVIRONMENT, Credentials, run
from tests.interop.running import Device, Running
from tests.interop.talking import talking

pytestmark = pytest.mark.needs("go")

SOURCE = Path(__file__).parent / "go"
PROTOCOL = {"plain": "HTTP/1.1", "tls": "HTTP/2.0"}

#: pushes to each token, over plain or TLS: what came of each
Push = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the Go programs are, built."""
    go = find_tool("go")
    folder = tmp_path_factory.mktemp("go")
    cache = {"GOCACHE": str(folder / "cache")} if "HOME" not in ENVIRONMENT else {}
    environment = ENVIRONMENT | cache | {"GOFLAGS": "", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    command = [str(go), "build", "-o", f"{folder}/", "./..."]
    subprocess.run(command, cwd=SOURCE, env=environment, check=True)
    return folder


@pytest.fixture
def push(programs: Path, credentials: Credentials) -> Push:
    def push(server: Running, over: str, *tokens: str) -> list[dict[str, Any]]:
        base = server.plain if over == "plain" else server.tls
        options = ["-url", base, "-ca", server.ca, "-cert", credentials.certificate]
        results: list[dict[str, Any]] = json.loads(run(programs / "provider", *options, *tokens))
        return results

    return push


@pytest.mark.parametrize("over", PROTOCOL)
def test_pushes_and_refusals(push: Push, server: Running, token: str, over: str) -> None:
    gone = token[::-1]
    since = server.unregister(gone)
    with Device(server, token) as device:
        results = push(server, over, token, "xyz", gone)
        assert device.pings(1) == [f'{{"mdm":"magic-{token}"}}'.encode()]
    assert {result["proto"] for result in results} == {PROTOCOL[over]}
    assert {len(result["id"]) for result in results} == {36}
    assert [(r["status"], r["reason"], r["timestamp"], r["error"]) for r in results] == [
        (200, "", 0, ""),
        (400, "BadDeviceToken", 0, ""),
        (410, "Unregistered", since, ""),
    ]


@pytest.mark.parametrize("over", PROTOCOL)
def test_a_batch_of_five_workers(push: Push, server: Running, token: str, over: str) -> None:
    results = push(server, over, *(f"{token}{n:04x}" for n in range(2000)))
    assert {(r["status"], r["proto"], r["error"]) for r in results} == {(200, PROTOCOL[over], "")}
    assert len({result["id"] for result in results}) == 2000


@pytest.mark.parametrize("over", PROTOCOL)
def test_a_shutdown_in_the_midst(
    push: Push, launch: Callable[..., Running], token: str, over: str
) -> None:
    """Every push is answered, or its connection is closed properly: nothing is garbled."""
    server = launch(drain_s=0.2)
    results: list[dict[str, Any]] = []
    pushing = threading.Thread(
        target=lambda: results.extend(push(server, over, *[token] * 20_000)), name="pushing"
    )
    pushing.start()
    while server.books()["accepted"] < 100:
        server.sleep(0.01)
    server.drain()
    pushing.join()
    answered = {(r["status"], r["reason"]) for r in results if r["status"]}
    assert (200, "") in answered
    assert answered <= {(200, ""), (503, "Shutdown")}
    ends = ("connection refused", "closed idle connection", "EOF", "connection reset", "GOAWAY")
    faults = {r["error"] for r in results if not r["status"]}
    assert not {fault for fault in faults if not any(end in fault for end in ends)}
    accepted = server.books()["accepted"]
    assert sum(r["status"] == 200 for r in results) == accepted < 20_000


def test_a_device_of_fleets(programs: Path, launch: Callable[..., Running], token: str) -> None:
    server = launch(keepalive_s=0.1, drain_s=1.0)
    url = f"{server.plain}/events?token={token}"
    with talking(programs / "device", url, env=ENVIRONMENT) as device:
        assert device.hear("open")["text"] == "text/event-stream"
        server.connection(token)
        server.push(token, '{"mdm":"magic"}', event="ping")
        assert device.hear("ping")["text"] == '{"mdm":"magic"}'
        assert device.hear("comment")["text"] == ": keepalive"
        server.push(token, "m" * 4096)
        assert device.hear("ping", past="comment")["text"] == "m" * 4096
        server.drain()
        device.hear("retry", past="comment")
        device.hear("end")
        assert device.end() == 0
