"""curl: requests as people type them, the ways of getting to HTTP/2, and an endless download."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.conftest import ENVIRONMENT, run
from tests.interop.running import Device, Running
from tests.serving import PATIENCE_S

pytestmark = pytest.mark.needs("curl")

#: way → the option for it, and the version of HTTP that comes of it
WAYS = {
    "http1.1": ("--http1.1", "1.1"),
    "upgrade": ("--http2", "1.1"),
    "h2c": ("--http2-prior-knowledge", "2"),
    "tls-http1.1": ("--http1.1", "1.1"),
    "tls-h2": ("--http2", "2"),
}
MAGIC = '{"mdm":"magic"}'


@pytest.fixture
def command(tool: Callable[[str], str], server: Running) -> list[str]:
    return [tool("curl"), "-sS", "--max-time", f"{PATIENCE_S}", "--cacert", server.ca]


def base(server: Running, way: str) -> str:
    return server.tls if way.startswith("tls") else server.plain


@pytest.mark.parametrize("way", WAYS)
def test_pushes_on_one_connection(
    command: list[str], server: Running, token: str, way: str
) -> None:
    option, version = WAYS[way]
    # curl 7.88 cannot use an h2c connection twice, be it ours or that of nginx.
    pushes = 1 if way == "h2c" else 3
    urls = [f"{base(server, way)}/3/device/{token}"] * pushes
    with Device(server, token) as device:
        report = "%{http_code} %{http_version} %{num_connects}\n"
        out = run(*command, option, "-d", MAGIC, "-w", report, *urls)
        assert out == f"200 {version} 1\n" + f"200 {version} 0\n" * (pushes - 1)
        assert device.pings(pushes) == [MAGIC.encode()] * pushes


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [4097, 100_000, 1_100_000])
@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"], ids=["expect", "at-once"])
def test_a_body_that_is_too_large(
    command: list[str],
    server: Running,
    token: str,
    tmp_path: Path,
    way: str,
    size: int,
    expect: str,
) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"m" * size)
    url = f"{base(server, way)}/3/device/{token}"
    option, _ = WAYS[way]
    report = "%{http_code} %header{apns-id}"
    patience = ("--expect100-timeout", "0.1")
    upload = ("-H", expect, *patience, "--data-binary", f"@{body}")
    out = run(*command, option, *upload, "-w", report, url)
    answer, status = out.split("\n")
    assert json.loads(answer) == {"reason": "PayloadTooLarge"}
    code, apns_id = status.split(" ")
    assert (code, len(apns_id)) == ("413", 36)


def test_a_body_that_is_worth_waiting_for(command: list[str], server: Running, token: str) -> None:
    with Device(server, token) as device:
        url = f"{server.plain}/3/device/{token}"
        out = run(*command, "-i", "-H", "Expect: 100-continue", "-d", MAGIC, url)
        assert out.startswith("HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\napns-id: ")
        assert device.pings(1) == [MAGIC.encode()]


@pytest.mark.parametrize("way", WAYS)
def test_head(command: list[str], server: Running, token: str, way: str) -> None:
    option, _ = WAYS[way]
    url = base(server, way)
    for path, answer in ((f"/3/device/{token}", "405"), ("/healthz", "200")):
        out = run(*command, option, "-I", "-w", "%{http_code} %{size_download}", url + path)
        assert out.splitlines()[-1] == f"{answer} 0"


@contextmanager
def downloading(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("way", WAYS)
def test_an_event_stream(
    command: list[str], launch: Callable[..., Running], token: str, way: str
) -> None:
    server = launch(keepalive_s=0.1)
    option, _ = WAYS[way]
    url = f"{base(server, way)}/events?token={token}"
    with downloading(*command, "-N", option, url) as curl:
        assert curl.stdout is not None
        server.connection(token)
        server.push(token, "one")
        lines = iter(curl.stdout.readline, b"")
        first = next(line for line in lines if line not in (b": keepalive\n", b"\n"))
        assert first.startswith(b"id: ")
        assert [next(lines), next(lines)] == [b"data: one\n", b"\n"]
        assert [next(lines), next(lines)] == [b": keepalive\n", b"\n"]
        server.push(token, "two")
        server.drop(token)
        assert b"data: two\n\n" in curl.stdout.read()
        assert curl.wait(PATIENCE_S) == 0


def test_the_head_of_an_event_stream(
    command: list[str], launch: Callable[..., Running], token: str
) -> None:
    """Fleet's mock writes these bytes, and no others."""
    server = launch()
    with downloading(*command, "-N", "-i", f"{server.plain}/events?token={token}") as curl:
        server.connection(token)
        server.push(token, "one", event="ping")
        server.drop(token)
        assert curl.stdout is not None
        head, _, body = curl.stdout.read().partition(b"\r\n\r\n")
    assert head == (
        b"HTTP/1.1 200 OK\r\n"
        b"Content-Type: text/event-stream\r\n"
        b"Cache-Control: no-cache\r\n"
        b"Connection: close"
    )
    assert body.partition(b"\n")[2] == b"event: ping\ndata: one\n\n"


def test_an_event_stream_that_is_refused(command: list[str], server: Running, token: str) -> None:
    since = server.unregister(token)
    out = run(*command, "-N", "-w", "%{http_code}", f"{server.plain}/events?token={token}")
    assert out == f'{{"reason":"Unregistered","timestamp":{since}}}\n410'
