"""Every code with which a WebSocket is closed here, and whether the device may come back.

One table, so that server, swarm and documentation can only agree. Codes up to 2999 are those of
RFC 6455, section 7.4.1, and of IANA's registry; from 4000 on they are our own, and there the
number says it: below 4500 the device may come back, from 4500 on it must not by itself.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class CloseCode(NamedTuple):
    """Why a connection ends. `name` is also the reason in the close frame, if it has no other."""

    code: int
    name: str
    #: whether a device that waits a moment and connects again has a chance
    comes_back: bool
    meaning: str


NORMAL: Final = CloseCode(1000, "normal", True, "the device ended the connection")
GOING_AWAY: Final = CloseCode(
    1001, "going_away", True, "the server shuts down; the reason says when to come back"
)
PROTOCOL_ERROR: Final = CloseCode(1002, "protocol_error", False, "what came is no WebSocket frame")
UNSUPPORTED_DATA: Final = CloseCode(
    1003, "unsupported_data", False, "a binary message: all messages are text"
)
INVALID_DATA: Final = CloseCode(1007, "invalid_data", False, "a text message is not UTF-8")
POLICY_VIOLATION: Final = CloseCode(
    1008, "policy_violation", False, "the device does what no other code is for"
)
TOO_BIG: Final = CloseCode(1009, "too_big", False, "a message is longer than is read")
INTERNAL_ERROR: Final = CloseCode(
    1011, "internal_error", True, "a fault of this server, which is in its log"
)
SERVICE_RESTART: Final = CloseCode(1012, "service_restart", True, "the server starts anew")
TRY_AGAIN_LATER: Final = CloseCode(
    1013, "try_again_later", True, "the server has no room for the device now"
)
TOO_SLOW: Final = CloseCode(
    4000, "too_slow", True, "the device did not take what was sent within the write timeout"
)
SILENT: Final = CloseCode(
    4001, "silent", True, "nothing was heard from the device for three keep-alive intervals"
)
FLOOD: Final = CloseCode(4002, "flood", True, "the device said too much in too short a time")
AUTH_EXPIRED: Final = CloseCode(
    4003, "auth_expired", True, "the credentials have expired: come back with new ones"
)
REPLACED: Final = CloseCode(4500, "replaced", False, "a newer connection has the same device token")
UNREGISTERED: Final = CloseCode(4501, "unregistered", False, "the device token was unregistered")
AUTH_FAILED: Final = CloseCode(4502, "auth_failed", False, "the device did not prove who it is")

CLOSE_CODES: Final = {
    entry.code: entry for entry in list(globals().values()) if isinstance(entry, CloseCode)
}


def may_come_back(code: int) -> bool:
    """What a device makes of a code, also of one that is not in the table (RFC 6455, 7.4.2)."""
    known = CLOSE_CODES.get(code)
    return code < 4500 if known is None else known.comes_back
