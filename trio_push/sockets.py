"""Non-blocking sockets, plain or TLS, with the few waits that the wire listeners need.

The standard library's sockets and not trio's streams: a push is written from the router's
task without waiting, and both kinds of socket then have the same `send`. Everything here is
cancel-safe unless it says otherwise.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from typing import Final

import trio

from trio_push.errors import ConfigError

#: What a non-blocking operation raises when the kernel (or TLS) wants to be waited for.
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

#: seconds of silence after which the kernel asks a peer whether it is still there, and between
#: two such probes: three may be lost before USER_TIMEOUT_MS is over and the connection with it
PROBE_S = 30
PROBE_AGAIN_S = 10
#: milliseconds after which unacknowledged data means that the peer is gone
USER_TIMEOUT_MS = 60_000
#: bytes read at a time
RECEIVE_BYTES = 65_536
#: time that a peer has to take our last words, and bytes that we still read from it meanwhile
LINGER_S = 2.0
LINGER_BYTES = 65_536

#: include/net/tcp_states.h of Linux
_TCP_ESTABLISHED: Final = 1


def listen(host: str, port: int, *, probes: bool = True, backlog: int = 65_535) -> socket.socket:
    """A listening socket whose accepted ones inherit what a long-lived connection needs.

    Without `probes` the kernel asks no silent peer: for connections on which something is written
    now and then. The probes of very many go out at one moment, more than the queue of a network
    interface takes, and a peer whose probes are dropped is taken for gone.

    Raises ConfigError when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, probes)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Without these a dead peer is noticed after 15 minutes if something is sent to it,
            # and else after two hours. Inherited by accept on Linux.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_AGAIN_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    sock.setblocking(False)
    return sock


async def receive_some(sock: socket.socket, size: int = RECEIVE_BYTES) -> bytes:
    """What has arrived, b"" at the end. Raises OSError. A checkpoint."""
    if isinstance(sock, ssl.SSLSocket):
        # TLS may have read more than it gave us: then there is nothing to wait for.
        await trio.lowlevel.checkpoint()
    else:
        # A request is hardly ever there before its peer has our answer to the last one: to
        # try first would be a system call for nothing, each time.
        await trio.lowlevel.wait_readable(sock)
    while True:
        try:
            return sock.recv(size)
        except ssl.SSLWantWriteError:
            wait = trio.lowlevel.wait_writable
        except WOULD_BLOCK:
            wait = trio.lowlevel.wait_readable
        await wait(sock)


async def receive_first(sock: socket.socket) -> bytes:
    """What has arrived on a new connection. Raises OSError. A checkpoint only when it waits.

    Who connects speaks first, and has as a rule by the time that somebody listens: to be told so
    by the kernel before reading it would be a tenth of a connect.
    """
    try:
        return sock.recv(RECEIVE_BYTES)
    except WOULD_BLOCK:
        return await receive_some(sock)


async def send_all(sock: socket.socket, data: bytes) -> None:
    """Send everything. Raises OSError. A checkpoint only when it waits; cancelled, part is sent."""
    while data:
        try:
            data = data[sock.send(data) :]
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        except WOULD_BLOCK:
            await trio.lowlevel.wait_writable(sock)


async def handshake(sock: ssl.SSLSocket) -> None:
    """Do the TLS handshake of an accepted socket. Raises OSError when it fails."""
    while True:
        # An error that is kept would keep its frame and be kept by it: garbage in a cycle.
        try:
            return sock.do_handshake()
        except ssl.SSLWantWriteError:
            wait = trio.lowlevel.wait_writable
        except WOULD_BLOCK:
            wait = trio.lowlevel.wait_readable
        await wait(sock)


def peer_certificate(sock: socket.socket) -> bytes | None:
    """The client certificate (DER) that was shown in the TLS handshake, if one was."""
    return sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None


def close(sock: socket.socket) -> None:
    """Close without waiting; over TLS the peer is told first, or it would take it for a cut."""
    _say_closed(sock)
    sock.close()


def stop_reading(sock: socket.socket) -> None:
    """Read what has arrived, then the end. Raises OSError when the peer is gone."""
    # Of an SSLSocket's own shutdown nothing that follows would be encrypted.
    socket.socket.shutdown(sock, socket.SHUT_RD)


async def close_gently(sock: socket.socket) -> None:
    """Close so that the peer gets our last words: unread data would turn the close into a reset.

    Takes LINGER_S at most.
    """
    with trio.move_on_after(LINGER_S):
        try:
            _say_closed(sock)
            socket.socket.shutdown(sock, socket.SHUT_WR)
            read = 0
            while read < LINGER_BYTES and (data := await receive_some(sock)):
                read += len(data)
                await trio.lowlevel.checkpoint()
        except OSError:
            pass
    sock.close()


def reset(sock: socket.socket) -> None:
    """Close so that the peer gets RST; whoever waits for the socket gets ClosedResourceError."""
    if sock.fileno() < 0:
        return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    trio.lowlevel.notify_closing(sock)
    sock.close()


def has_left(sock: socket.socket) -> bool:
    """Whether the peer has ended the connection, also behind what it sent and nobody has read."""
    try:
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return True
    return state != _TCP_ESTABLISHED


def _say_closed(sock: socket.socket) -> None:
    """The closure alert of TLS (RFC 8446, section 6.1), if there is room for it."""
    if isinstance(sock, ssl.SSLSocket):
        with contextlib.suppress(OSError, ValueError):
            sock.unwrap()
