"""A page in a real browser, from another origin: EventSource (over TLS, HTTP/2) and WebSocket."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.interop.conftest import ENVIRONMENT
from tests.interop.running import Running
from tests.serving import PATIENCE_S
from trio_push.devices import farewell
from trio_push.devices.stream import StreamConnection

PAGE = Path(__file__).with_name("page.html").read_bytes()
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root in a container may have no other
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--no-proxy-server",
    "--ignore-certificate-errors",
    "--remote-debugging-port=0",  # or it would end as soon as the page is there
)


class PageServer(ThreadingHTTPServer):
    """Serves the page and takes what it tells."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _PageHandler)
        self._told: defaultdict[str, queue.Queue[dict[str, Any]]] = defaultdict(queue.Queue)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def take(self, told: dict[str, Any]) -> None:
        self._told[told.pop("source")].put(told)

    def hear(self, source: str, kind: str) -> dict[str, Any]:
        """The next thing told of that source, which must be of that kind."""
        told = self._told[source].get(timeout=PATIENCE_S)
        assert told["kind"] == kind, told
        return told


class _PageHandler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        self._answer(PAGE)

    def do_POST(self) -> None:
        self.server.take(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[PageServer]:
    with PageServer() as server:
        thread = threading.Thread(target=server.serve_forever, name="page", args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(PATIENCE_S)


@contextmanager
def browsing(chromium: str, profile: Path, url: str) -> Iterator[None]:
    command = [chromium, *FLAGS, f"--user-data-dir={profile}", url]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # In a session of its own: what it has started ends with it.
    with subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True, **quiet) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@pytest.mark.needs("chromium")
def test_event_sources(
    tool: Callable[[str], str],
    launch: Callable[..., Running],
    page: PageServer,
    token: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farewell, "RETRY_MS", (500, 500))
    server = launch(keepalive_s=0.1, drain_s=1.0)
    tokens = {"plain": token, "tls": token[::-1], "gone": "dead", "missing": ""}
    server.unregister("dead")
    bases = dict.fromkeys(tokens, server.plain) | {"tls": server.tls}
    urls = {name: f"{bases[name]}/events?token={tokens[name]}" for name in tokens}
    with browsing(tool("chromium"), tmp_path, f"{page.url}?{urlencode(urls)}"):
        for source in ("plain", "tls"):
            page.hear(source, "open")
            receive_both_kinds(server, page, source, tokens[source])
        assert isinstance(server.connection(tokens["tls"]), StreamConnection)
        refused(page, "gone", 410, "Unregistered")
        refused(page, "missing", 400, "MissingDeviceToken")

        server.drain()
        addresses = {
            "listen": (server.plain.removeprefix("http://"),),
            "tls_listen": (server.tls.removeprefix("https://").replace("localhost", "127.0.0.1"),),
        }
        after = launch(**addresses)
        for source in ("plain", "tls"):
            page.hear(source, "reconnecting")
            page.hear(source, "open")
            receive_both_kinds(after, page, source, tokens[source])


def receive_both_kinds(server: Running, page: PageServer, source: str, token: str) -> None:
    url = f"{server.plain}/3/device/{token}"
    httpx.post(url, content='{"mdm":"mágic"}'.encode(), trust_env=False)
    ping = page.hear(source, "ping")
    assert ping["data"] == '{"mdm":"mágic"}'
    server.push(token, "lines\nof ours")
    message = page.hear(source, "message")
    assert message["data"] == "lines\nof ours"
    (epoch, seq), (epoch2, seq2) = (told["lastEventId"].split(":") for told in (ping, message))
    assert epoch == epoch2
    assert int(seq) < int(seq2)


def refused(page: PageServer, source: str, status: int, reason: str) -> None:
    """The page may read why, although it is of another origin."""
    page.hear(source, "closed")
    refusal = page.hear(source, "refusal")
    assert (refusal["status"], refusal["body"]["reason"]) == (status, reason)


@pytest.mark.needs("chromium")
@pytest.mark.usefixtures("patient")
def test_websockets(
    tool: Callable[[str], str],
    launch: Callable[..., Running],
    page: PageServer,
    token: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farewell, "RETRY_MS", (500, 500))
    server = launch(keepalive_s=0.1, drain_s=1.0)
    tokens = {"plain": token, "tls": token[::-1], "gone": "dead", "doomed": "ab"}
    server.unregister("dead")
    bases = dict.fromkeys(tokens, server.plain) | {"tls": server.tls}
    urls = {name: f"{bases[name].replace('http', 'ws')}/ws?token={tokens[name]}" for name in tokens}
    with browsing(tool("chromium"), tmp_path, f"{page.url}?{urlencode(urls)}"):
        for source in ("plain", "tls", "doomed"):
            assert page.hear(source, "open")["extensions"] == ""
            assert json.loads(page.hear(source, "message")["data"])["code"] == "invalid_json"
        for source in ("plain", "tls"):
            server.wait_pongs(tokens[source])
            server.push(tokens[source], '{"mdm": "mágic"}')
            assert json.loads(page.hear(source, "message")["data"])["data"] == {"mdm": "mágic"}
        assert page.hear("gone", "close")["code"] == 1006  # a page is not told the status
        server.unregister("ab")
        assert closed(page, "doomed") == (4501, "unregistered")
        server.drain()
        assert closed(page, "plain") == closed(page, "tls") == (1001, "retry: 500")


def closed(page: PageServer, source: str) -> tuple[int, str]:
    """Code and reason of a connection that was closed as it should be."""
    told = page.hear(source, "close")
    assert told["wasClean"]
    return told["code"], told["reason"]
