"""Servers as the swarm reaches them: an URL, the address behind it, and streams to it."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

import trio

from trio_push.errors import ConfigError, Unreachable

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """A server, looked up once: thousands of devices connect to the same address."""

    scheme: str
    host: str
    port: int
    #: path and query of the URL, "" where it has none
    path: str
    family: int
    #: what `socket.connect` takes; Any, because its form depends on the family
    address: Any

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port as in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL without its path."""
        return f"{self.scheme}://{self.authority}"

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.address[0]).is_loopback


async def look_up(url: str, flag: str) -> Target:
    """Find the address behind `url`, which was given as `flag`.

    Raises ConfigError when it is no URL of a server, Unreachable when its host is not known.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        _refuse(url, flag)
    if not parts.hostname or parts.username is not None:
        _refuse(url, flag)
    try:
        found = await trio.socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise Unreachable(f"{flag} {url}: {exc.strerror or exc}") from exc
    family, _, _, _, address = found[0]
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, port, path, family, address)


async def look_up_server(url: str, flag: str) -> Target:
    """`look_up` an URL that must name a server and no page of it, and see that it answers.

    Raises Unreachable when nothing listens there.
    """
    target = await look_up(url.rstrip("/"), flag)
    if target.path:
        raise ConfigError(f"{flag} {url}: give the server alone, {target.url}")
    stream = await open_stream(target, timeout_s=10)
    await trio.aclose_forcefully(stream)
    return target


async def open_stream(
    target: Target, *, timeout_s: float, alpn: tuple[str, ...] = ()
) -> trio.abc.Stream:
    """Connect, over TLS where the URL says https. Raises Unreachable.

    Certificates are checked against the system's authorities and those in SSL_CERT_FILE.
    """
    try:
        with trio.fail_after(timeout_s):
            sock = trio.socket.socket(target.family, socket.SOCK_STREAM)
            stream = await _connected(sock, target)
            return await _encrypted(stream, target.host, alpn) if target.tls else stream
    except trio.TooSlowError:
        raise Unreachable(f"{target.url} does not answer within {timeout_s:g} s") from None
    except (OSError, trio.BrokenResourceError) as exc:
        raise Unreachable(f"{target.url} does not answer: {describe(exc)}") from exc


def describe(exc: BaseException) -> str:
    """Why a connection failed, in few words that are the same each time: it is counted by."""
    cause = exc.__cause__ if isinstance(exc, trio.BrokenResourceError) else None
    if isinstance(cause, OSError):
        exc = cause
    if isinstance(exc, ssl.SSLError):
        return getattr(exc, "verify_message", "") or exc.reason or "TLS failed"
    if isinstance(exc, OSError) and exc.errno:
        # not exc.strerror: trio puts the address in, and it is not the same each time
        return os.strerror(exc.errno).lower()
    return str(exc) or type(exc).__name__


async def _connected(sock: trio.socket.SocketType, target: Target) -> trio.SocketStream:
    try:
        await sock.connect(target.address)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def _encrypted(
    stream: trio.SocketStream, host: str, alpn: tuple[str, ...]
) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.create_default_context()
    context.set_alpn_protocols(alpn)
    tls = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await tls.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return tls


def _refuse(url: str, flag: str) -> NoReturn:
    raise ConfigError(f"{flag} {url!r} is not the URL of a server, as http://127.0.0.1:8080 is")
