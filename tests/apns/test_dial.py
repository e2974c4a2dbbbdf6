from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio

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
