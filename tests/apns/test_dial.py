from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trustme

from trio_push.apns.dial import Host, client_context, dialer, host_of
from trio_push.errors import ConfigError, Unreachable


@pytest.mark.parametrize(
    ("url", "host", "authority"),
    [
        ("https://api.push.apple.com", Host("https", "api.push.apple.com", 443), None),
        ("https://a.b:2197/", Host("https", "a.b", 2197), "a.b:2197"),
        ("http://[::1]:80", Host("http", "::1", 80), "[::1]"),
    ],
)
def test_hosts(url: str, host: Host, authority: str | None) -> None:
    assert host_of(url) == host
    assert host.authority == (authority or host.name)


@pytest.mark.parametrize("url", ["", "apple.com", "ftp://a", "http://a/b", "http://a?b", "http://"])
def test_no_hosts(url: str) -> None:
    with pytest.raises(ConfigError, match="no host to push to"):
        host_of(url)


async def test_nobody_listens() -> None:
    dial = dialer(host_of("http://127.0.0.1:1"), "h2", None, 5)
    with pytest.raises(
        Unreachable, match=r"^http://127\.0\.0\.1:1 does not answer: Connection ref"
    ):
        await dial()


async def test_no_answer_in_time() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    dial = dialer(host_of(f"https://127.0.0.1:{port}"), "h2", client_context(), 0.05)
    with pytest.raises(Unreachable, match=r"within 0\.05 s"):
        await dial()
    await listener.aclose()


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--ca .* cannot be used: No such file"):
        client_context(ca=str(tmp_path / "ca"))
    with pytest.raises(ConfigError, match=r"--cert .* cannot be used: No such file"):
        client_context(certificate=str(tmp_path / "cert"))


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"--cert .* cannot be used: "):
        client_context(certificate=str(tmp_path / "cert"))
    assert isinstance(client_context(), ssl.SSLContext)


async def test_a_certificate_is_shown(tmp_path: Path, nursery: trio.Nursery) -> None:
    """To a host that insists on one, as Apple's does where there is no provider token."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    authority.configure_trust(context)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    push = authority.issue_cert(common_name="com.apple.mgmt.External.1")
    push.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "push.pem"))
    push.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    push.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    names: list[str] = []

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.do_handshake()
            names.append(dict(field[0] for field in stream.getpeercert()["subject"])["commonName"])
            await stream.receive_some()

    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handle, listeners)
    port = listeners[0].transport_listener.socket.getsockname()[1]
    host = host_of(f"https://localhost:{port}")
    ca = str(tmp_path / "ca.pem")
    for files in (
        {"certificate": str(tmp_path / "push.pem")},
        {"certificate": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")},
    ):
        wire = await dialer(host, "h2", client_context(ca=ca, **files), 5)()
        assert wire.is_h2
        await wire.stream.send_all(b"x")
        await wire.stream.aclose()
    while len(names) < 2:
        await trio.sleep(0.01)
    assert names == ["com.apple.mgmt.External.1"] * 2
    nursery.cancel_scope.cancel()


async def test_a_host_that_chooses_http1(nursery: trio.Nursery) -> None:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    server.set_alpn_protocols(["http/1.1"])
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    listeners = await trio.open_ssl_over_tcp_listeners(0, server, host="127.0.0.1")

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()

    nursery.start_soon(trio.serve_listeners, handle, listeners)
    port = listeners[0].transport_listener.socket.getsockname()[1]
    wire = await dialer(host_of(f"https://localhost:{port}"), "any", client, 5)()
    assert not wire.is_h2
    await wire.stream.aclose()
    nursery.cancel_scope.cancel()
