from __future__ import annotations

import ssl
from typing import Any

import pytest
import trio
import trustme

from tests.serving import PATIENCE_S
from tests.swarm.fake_server import serving, unused_target
from trio_push.errors import ConfigError, Unreachable
from trio_push.sockets import receive_some, send_all
from trio_push.swarm.target import look_up, look_up_server, open_connection


@pytest.mark.parametrize(
    ("url", "server", "authority", "path"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080", ""),
        ("http://127.0.0.1", "http://127.0.0.1", "127.0.0.1", ""),
        ("https://127.0.0.1:443/a?b=c", "https://127.0.0.1", "127.0.0.1", "/a?b=c"),
        ("http://[::1]:99/", "http://[::1]:99", "[::1]:99", "/"),
    ],
)
async def test_look_up(url: str, server: str, authority: str, path: str) -> None:
    target = await look_up(url, "--url")
    assert (target.url, target.authority, target.path) == (server, authority, path)
    assert target.is_loopback
    assert target.tls is url.startswith("https")


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://x:99999", "http://u:p@h"]
)
async def test_no_url_of_a_server(url: str) -> None:
    with pytest.raises(ConfigError, match="--url"):
        await look_up(url, "--url")


async def test_unknown_host() -> None:
    with pytest.raises(Unreachable, match=r"--url http://nobody\.invalid:1"):
        await look_up("http://nobody.invalid:1", "--url")


class TwoAddresses(trio.abc.HostnameResolver):
    """A host with two addresses, as localhost often has."""

    async def getaddrinfo(self, host: object, port: object, *rest: object) -> list[Any]:
        kind = trio.socket.SOCK_STREAM
        return [
            (trio.socket.AF_INET6, kind, 6, "", ("::1", port, 0, 0)),
            (trio.socket.AF_INET, kind, 6, "", ("127.0.0.1", port)),
        ]

    async def getnameinfo(self, sockaddr: object, flags: object) -> tuple[str, str]:
        raise NotImplementedError


async def test_the_address_that_answers_is_taken() -> None:
    async with serving(silent) as target:
        trio.socket.set_custom_hostname_resolver(TwoAddresses())
        both = await look_up(f"http://two.test:{target.port}", "--url")
    assert both.address == ("127.0.0.1", target.port)
    nobody = await look_up(f"http://two.test:{target.port}", "--url")
    assert nobody.address[0] == "::1"


async def silent(stream: trio.SocketStream, request: bytes) -> None:
    pass


async def test_server_that_answers() -> None:
    async with serving(silent) as target:
        assert await look_up_server(target.url + "/", "--url") == target
        with pytest.raises(ConfigError, match=f"give the server alone, {target.url}$"):
            await look_up_server(target.url + "/events", "--url")


async def test_server_that_does_not() -> None:
    target = await unused_target()
    with pytest.raises(Unreachable, match=f"^{target.url} does not answer: connection refused$"):
        await look_up_server(target.url, "--url")


async def test_server_that_hangs(autojump_clock: trio.testing.MockClock) -> None:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        target = await look_up(f"https://127.0.0.1:{sock.getsockname()[1]}", "--url")
        with pytest.raises(Unreachable, match="does not answer within 10 s"):
            await open_connection(target, timeout_s=10)


@pytest.mark.parametrize("trust", ["by SSL_CERT_FILE", "by a context", "no"])
async def test_tls(trust: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(server)
    with ca.cert_pem.tempfile() as path:
        context = ssl.create_default_context(cafile=path) if trust == "by a context" else None
        if trust == "by SSL_CERT_FILE":
            monkeypatch.setenv("SSL_CERT_FILE", path)

        async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
            try:
                await stream.receive_some()
                await stream.send_all(b"hello")
            except trio.BrokenResourceError:
                await trio.aclose_forcefully(stream)

        async with trio.open_nursery() as nursery:
            listeners = await trio.open_ssl_over_tcp_listeners(0, server, host="127.0.0.1")
            port = listeners[0].transport_listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, handle, listeners)
            target = await look_up(f"https://127.0.0.1:{port}", "--url")
            if trust != "no":
                with await open_connection(target, timeout_s=PATIENCE_S, context=context) as sock:
                    await send_all(sock, b"?")
                    assert await receive_some(sock) == b"hello"
            else:
                with pytest.raises(Unreachable, match="unable to get local issuer certificate"):
                    await open_connection(target, timeout_s=PATIENCE_S)
            nursery.cancel_scope.cancel()
