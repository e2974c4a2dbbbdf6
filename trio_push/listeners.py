"""The listening sockets of a server, opened before all else; the workers of one share them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from trio_push.address import Address
from trio_push.config import ServeSettings
from trio_push.sockets import listen


@dataclass(frozen=True, slots=True)
class Listeners:
    """Sockets that listen already, and are closed by whoever made them."""

    plain: tuple[socket.socket, ...]
    tls: tuple[socket.socket, ...]
    api: socket.socket | None

    @classmethod
    def open(cls, settings: ServeSettings, files: ExitStack) -> Listeners:
        """Those of `settings`, closed with `files`. Raises ConfigError."""
        return cls(
            tuple(_open(address, files, settings) for address in settings.listen),
            tuple(_open(address, files, settings) for address in settings.tls_listen),
            None if settings.api == "off" else _open(settings.api, files, settings),
        )

    @classmethod
    def inherit(cls, fds: list[int], plain: int, tls: int, files: ExitStack) -> Listeners:
        """Those that another process has opened: so many plain ones, then TLS, then the API's."""
        socks = [files.enter_context(socket.socket(fileno=fd)) for fd in fds]
        api = socks[plain + tls] if len(socks) > plain + tls else None
        return cls(tuple(socks[:plain]), tuple(socks[plain : plain + tls]), api)

    def __iter__(self) -> Iterator[socket.socket]:
        """All, in the order in which they are inherited."""
        yield from (*self.plain, *self.tls)
        if self.api is not None:
            yield self.api


def url_of(scheme: str, sock: socket.socket) -> str:
    """Where a socket listens."""
    host, port = sock.getsockname()[:2]
    return f"{scheme}://{Address(host, port)}"


def _open(address: str, files: ExitStack, settings: ServeSettings) -> socket.socket:
    host, port = Address.parse(address)
    # Devices are written to by the heartbeat, and providers that say nothing are not kept.
    sock = listen(host, port, probes=settings.keepalive_s == 0)
    files.callback(sock.close)
    return sock
