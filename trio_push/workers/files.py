"""Open files handed from one process to another, beside a message (SCM_RIGHTS)."""

from __future__ import annotations

import socket
from collections.abc import Sequence

#: more than the kernel has room for in one message, 208 KiB by default
MAX_BYTES = 2**18
#: as many as the kernel passes at once (SCM_MAX_FD)
MAX_FILES = 253


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends between which the kernel keeps messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send_files(sock: socket.socket, data: bytes, files: Sequence[int]) -> None:
    """Send a message with files beside it, which stay open here. Raises OSError."""
    socket.send_fds(sock, [data], list(files))


def receive_files(sock: socket.socket) -> tuple[bytes, list[int]]:
    """The next message with its files; b"" when the other end is closed."""
    try:
        data, files, flags, _ = socket.recv_fds(sock, MAX_BYTES, MAX_FILES)
    except ConnectionResetError:
        return b"", []
    assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
    return data, files
