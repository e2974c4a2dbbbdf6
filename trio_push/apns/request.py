"""A push as a provider asks for it, and what became of it.

Made by whoever uses the client, and by the client in answer. Both are frozen.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec

#: the largest payload that is sent: one frame of HTTP/2, and far beyond what APNs takes, so that
#: a host can be made to say PayloadTooLarge
MAX_PAYLOAD_BYTES: Final = 16 * 1024
#: what a header may hold: with anything else a value could end its line and begin another
_is_plain: Final = re.compile(r"[\x20-\x7e]*").fullmatch
_is_token: Final = re.compile(r"[\x21-\x7e]*").fullmatch


class Request(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One push. What is None is not said, and the host decides.

    Nothing is checked that the host should check: a wrong token is a way to get
    `BadDeviceToken`. Raises ValueError for what no header can carry, and for a payload over
    MAX_PAYLOAD_BYTES.
    """

    token: str
    payload: bytes
    topic: str | None = None
    push_type: str | None = None
    #: the apns-id
    id: str | None = None
    priority: int | None = None
    #: epoch seconds; 0: now or never
    expiration: int | None = None
    collapse_id: str | None = None
    #: comes back with the result, and is looked at by nobody
    context: object = None

    def __post_init__(self) -> None:
        if not _is_token(self.token):
            raise ValueError(f"{self.token!r} cannot stand in a path")
        for text in (self.topic, self.push_type, self.id, self.collapse_id):
            if text is not None and not _is_plain(text):
                raise ValueError(f"{text!r} cannot stand in a header")
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"a payload of {len(self.payload)} bytes: {MAX_PAYLOAD_BYTES} at most")


class Outcome(StrEnum):
    """What is known of a push in the end."""

    #: the host has taken it
    ACCEPTED = "accepted"
    #: the host has said no, and why
    REFUSED = "refused"
    #: it was sent and no answer came: the host may have taken it or not
    UNANSWERED = "unanswered"
    #: the host has not taken it: it was not sent, or the host said that it did not look at it
    UNSENT = "unsent"


class Result(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What became of a request. Each request has exactly one."""

    request: Request
    outcome: Outcome
    #: HTTP status; 0: no answer
    status: int = 0
    #: APNs's reason, or what happened to the connection; "" for what was accepted
    reason: str = ""
    #: by which the host knows the push, if it said so
    id: str | None = None
    #: since when the token is gone, in epoch milliseconds
    timestamp_ms: int | None = None
    #: how often it was sent
    attempts: int = 0

    @property
    def is_accepted(self) -> bool:
        return self.outcome is Outcome.ACCEPTED
