"""A device's half of a WebSocket (RFC 6455): the handshake that it asks with, and its frames.

What a server sends is read by `wire.websocket.Reader`. Used by the swarm's devices; pure.
"""

from __future__ import annotations

from wsproto.frame_protocol import FrameProtocol
from wsproto.utilities import generate_accept_token, generate_nonce


def new_key() -> bytes:
    """The key of one handshake."""
    return generate_nonce()


def handshake(
    target: str, authority: str, key: bytes, *, authorization: str | None = None
) -> bytes:
    """The request that asks for a WebSocket (section 4.1)."""
    proof = f"Authorization: {authorization}\r\n" if authorization else ""
    return (
        f"GET {target} HTTP/1.1\r\nHost: {authority}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\n{proof}"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n"
    ).encode()


def is_answer(key: bytes, accept: bytes) -> bool:
    """Whether `Sec-WebSocket-Accept` shows that the server has read the key."""
    return generate_accept_token(key) == accept


# -- frames, each a whole message; all are masked (section 5.3)


def text_frame(payload: bytes) -> bytes:
    """A text message; the payload must be UTF-8."""
    return bytes(_frames().send_data(payload.decode(), fin=True))


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping, with its payload."""
    return bytes(_frames().pong(payload))


def close_frame(code: int | None) -> bytes:
    return bytes(_frames().close(code))


def _frames() -> FrameProtocol:
    return FrameProtocol(client=True, extensions=[])
