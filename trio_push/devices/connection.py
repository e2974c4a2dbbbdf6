"""One connected device: its socket, and what waits for it when it cannot take more.

The router writes to it without waiting; its own task only reads. Made by the front door,
found through the directory.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Protocol

import trio

from trio_push.push import Push
from trio_push.sockets import WOULD_BLOCK, close
from trio_push.wire.close_codes import CloseCode

#: bytes read from a device at a time
HEARD = 4096

if TYPE_CHECKING:
    from trio_push.mailbox.mailbox import Mailbox


class Transport(Protocol):
    """How pushes look on the wire; one object per transport and node, so it can be a key."""

    name: str
    keepalive: bytes

    def frame(self, seq: int, push: Push) -> bytes: ...

    def sync_result(self, since: int, until: int, *, recovered: bool) -> bytes:
        """What a device gets first when it says from where it wants to go on."""
        ...

    def farewell(self, why: CloseCode, retry_ms: int | None = None) -> bytes:
        """The last words: why the connection ends, and when to come back; b"" for none."""
        ...


class Connection:
    """A device on a socket of its own, plain or TLS.

    There may be a million: no attribute here that not every one needs.
    """

    __slots__ = ("connected_at", "mailbox", "sock", "token", "transport")

    def __init__(
        self, token: str, sock: socket.socket, transport: Transport, connected_at: float
    ) -> None:
        self.token = token
        self.sock = sock
        self.transport = transport
        #: epoch seconds
        self.connected_at = connected_at
        #: what waits for the device; None while it takes everything at once
        self.mailbox: Mailbox | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.transport.name} {self.token[:8]} queued={self.queued}>"

    @property
    def queued(self) -> int:
        """Pushes that wait in memory for the device to take more."""
        return 0 if self.mailbox is None else self.mailbox.queued

    @property
    def remote(self) -> str:
        """Address of the peer, or "" when it is gone."""
        try:
            host, port = self.sock.getpeername()[:2]
        except OSError:
            return ""
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def closed(self) -> bool:
        return self.sock.fileno() < 0

    @property
    def joins(self) -> bool:
        """Whether events may be joined into one write, and others be tried when it would block.

        TLS goes on with what it was handed first, whatever it is handed then.
        """
        return not isinstance(self.sock, ssl.SSLSocket)

    def silent_s(self, now: float) -> float:
        """Seconds since it was last heard, `now` in trio's; 0 for one that need not speak."""
        return 0.0

    def take_in(self) -> bool:
        """Read what has come from the device: False at its end. Raises OSError. Never blocks.

        What a device says that need not say anything is ignored.
        """
        try:
            return bool(self.sock.recv(HEARD))
        except WOULD_BLOCK:
            return True

    def send(self, data: bytes) -> int:
        """Hand over as much as goes at once: the bytes taken.

        Raises one of WOULD_BLOCK when nothing goes, another OSError when the device is gone.
        """
        return self.sock.send(data)

    async def wait_writable(self) -> None:
        """Until `send` is worth trying again. Raises trio.ClosedResourceError once closed."""
        if self.closed:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_writable(self.sock)

    def close(self) -> None:
        """Drop the connection. Its tasks wake with trio.ClosedResourceError."""
        if not self.closed:
            trio.lowlevel.notify_closing(self.sock)
            close(self.sock)
