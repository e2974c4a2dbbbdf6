from __future__ import annotations

import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from tests.serving import PATIENCE_S
from trio_push.commands.client import base_url, open_client, reaching, reason_in
from trio_push.errors import ConfigError, Unreachable


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://push.example.com", "https://push.example.com"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_base_url_has_no_slash_at_its_end(text: str, url: str) -> None:
    assert base_url(text) == url


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no server's address: write http://127.0.0.1:8080"),
        ("127.0.0.1:8080", "is no server's address"),
        ("localhost:8080", "is no server's address"),
        ("ftp://localhost", "is no server's address"),
        ("http://localhost:99999", "is no server's address"),
        ("http://localhost:x", "Invalid port"),
        ("http://localhost/3/device", "has a path: leave it out"),
        ("http://localhost?a=b", "has a path"),
    ],
)
def test_what_is_no_base_url(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        base_url(text)


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"--ca .*ca.pem cannot be used: "):
        open_client(ca=str(file), timeout=httpx.Timeout(1))


async def test_a_name_that_nobody_has() -> None:
    async with open_client(ca=None, timeout=httpx.Timeout(PATIENCE_S)) as client:
        problem = pytest.raises(Unreachable, match=r"^http://x\.invalid does not answer: \w")
        with problem, reaching("http://x.invalid"):
            await client.get("http://x.invalid/")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"reason":"Unregistered","detail":"d"}', "Unregistered"),
        (b'{"detail":"d","title":"t"}', "d"),
        (b'{"title":"t"}', "t"),
        (b'{"reason":5}', "Gone"),
        (b"", "Gone"),
        (b"\xff", "Gone"),
    ],
)
def test_why_a_server_refused(body: bytes, reason: str) -> None:
    assert reason_in(httpx.Response(410, content=body)) == reason


async def test_a_certificate_that_nobody_vouches_for(nursery: trio.Nursery) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    async def handshake(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.do_handshake()

    listeners = await nursery.start(
        partial(trio.serve_ssl_over_tcp, handshake, 0, context, host="127.0.0.1")
    )
    url = f"https://localhost:{listeners[0].transport_listener.socket.getsockname()[1]}"
    async with open_client(ca=None, timeout=httpx.Timeout(PATIENCE_S)) as client:
        with pytest.raises(Unreachable, match="--ca says whom else to trust"), reaching(url):
            await client.get(url)
    nursery.cancel_scope.cancel()
