"""Servers as the swarm reaches them: an URL, the address behind it, and connections to it."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import trio

from trio_push.errors import ConfigError, Unreachable
from trio_push.sockets import handshake

#: time that a server has to accept a connection, TLS and all
CONNECT_S: Final = 10.0

_PORTS: Final = {"http": 80, "https": 443}
#: linux/in.h. The kernel then picks the port in connect(), where it knows the destination: the
#: ports of a source address are there for each destination anew
_IP_BIND_ADDRESS_NO_PORT: Final = 24


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

    Of a host with several, as localhost often is, the first that answers. Raises ConfigError
    when it is no URL of a server, Unreachable when its host is not known.
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
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    targets = [
        Target(parts.scheme, parts.hostname, port, path, family, address)
        for family, _, _, _, address in found
    ]
    return targets[0] if len(targets) == 1 else await _first_that_answers(targets)


async def look_up_server(url: str, flag: str) -> Target:
    """`look_up` an URL that must name a server and no page of it, and see that it answers.

    Raises Unreachable when nothing listens there.
    """
    target = await look_up(url.rstrip("/"), flag)
    if target.path:
        raise ConfigError(f"{flag} {url}: give the server alone, {target.url}")
    (await open_connection(target, timeout_s=CONNECT_S)).close()
    return target


async def connect(
    target: Target, source: str | None = None, receive_bytes: int | None = None
) -> socket.socket:
    """A non-blocking socket, connected from the address `source` if given. Raises OSError.

    `receive_bytes` is what the kernel may hold of what is not read; None: as much as it likes.
    """
    sock = socket.socket(target.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if receive_bytes is not None:
            # before connecting: the window that is offered then is never taken back
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if source is not None:
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        error = sock.connect_ex(target.address)
        if error == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        sock.close()
        raise
    return sock


async def open_connection(
    target: Target, *, timeout_s: float, context: ssl.SSLContext | None = None
) -> socket.socket:
    """A connected socket, with TLS where the URL says https. Raises Unreachable.

    Without a `context` certificates are checked against the system's authorities and those in
    SSL_CERT_FILE.
    """
    try:
        with trio.fail_after(timeout_s):
            sock = await connect(target)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not target.tls:
                return sock
            return await _encrypt(sock, target.host, context or ssl.create_default_context())
    except trio.TooSlowError:
        raise Unreachable(f"{target.url} does not answer within {timeout_s:g} s") from None
    except OSError as exc:
        raise Unreachable(f"{target.url} does not answer: {describe(exc)}") from exc


def describe(exc: Exception) -> str:
    """Why a connection failed, in few words that are the same each time: it is counted by."""
    if isinstance(exc, ssl.SSLError):
        return getattr(exc, "verify_message", "") or exc.reason or "TLS failed"
    if isinstance(exc, OSError) and exc.errno:
        return os.strerror(exc.errno).lower()
    return str(exc) or type(exc).__name__


async def _first_that_answers(targets: list[Target]) -> Target:
    for target in targets:
        with trio.move_on_after(CONNECT_S), suppress(OSError):
            (await connect(target)).close()
            return target
    return targets[0]


async def _encrypt(plain: socket.socket, host: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    sock = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    try:
        await handshake(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _refuse(url: str, flag: str) -> NoReturn:
    raise ConfigError(f"{flag} {url!r} is not the URL of a server, as http://127.0.0.1:8080 is")
