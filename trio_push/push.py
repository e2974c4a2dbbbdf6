"""The push and what can become of it: the values that travel through every room.

Made by intake, routed by the router, written by connections, counted by the ledger.
Nothing here does I/O or knows a clock.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

import msgspec

#: `expires_at` of a push that is delivered at once or not at all (``apns-expiration: 0``).
NOW_OR_NEVER: Final = 0.0

#: `event` of a push that tells a device what its user has read on another
MARK_READ: Final = "mark_read"


class Push(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One push for one device token.

    A msgspec struct and not a dataclass because intake makes one per request: it is built in
    0.3 µs (a frozen slotted dataclass takes 2), is not tracked by the garbage collector, and
    a million of them can be held. Encoded by name in a durable store: a field may be added
    where it has a default, and none may change its meaning.
    """

    #: the apns-id (a UUID) or the id the caller of the API chose; echoed, recalled by
    id: str
    #: the device token, lower-case hex
    token: str
    #: delivered to the device byte for byte
    payload: bytes
    #: apns-topic; part of the storage key
    topic: str = ""
    #: a newer push with the same token, topic and collapse id replaces one not yet delivered
    collapse_id: str | None = None
    #: 10 at once, 5 and 1 considerate of power; carried, not acted upon
    priority: int = 10
    #: epoch seconds; NOW_OR_NEVER is never stored
    expires_at: float = NOW_OR_NEVER
    #: epoch seconds before which the push is held; 0 is at once
    not_before: float = 0.0
    #: name of the event on the event stream; None leaves the ``event:`` field out
    event: str | None = None
    #: at most one push per (token, topic) is stored and the newest wins, as at Apple
    newest_wins: bool = False
    #: it is delivered again until the device acknowledges it, or it expires
    wants_ack: bool = False

    @property
    def slot(self) -> tuple[str, str] | None:
        """Where the push lies among those stored for its token; None: a place of its own."""
        if self.collapse_id is not None:
            return (self.topic, self.collapse_id)
        return (self.topic, "") if self.newest_wins else None

    @property
    def storable(self) -> bool:
        """Whether the push may wait for a device that is not there."""
        return self.expires_at > NOW_OR_NEVER

    def expired(self, now: float) -> bool:
        """Whether it is too late for the push at `now` (epoch seconds)."""
        return NOW_OR_NEVER < self.expires_at <= now


class Numbered(NamedTuple):
    """A push on its way to the device, with the sequence number that its event id carries."""

    seq: int
    push: Push
    #: its sender was told that it is kept (or is to be): the journal has it until it has arrived
    promised: bool = False


class State(IntEnum):
    """Where a push is (open) or how it ended; the ledger counts every one of them."""

    DELAYED = 0
    QUEUED = 1
    STORED = 2
    IN_FLIGHT = 3
    AWAITING_ACK = 4
    DELIVERED_LIVE = 5
    DELIVERED_ON_CONNECT = 6
    ACKNOWLEDGED = 7
    COALESCED = 8
    EXPIRED = 9
    DISCARDED = 10
    RECALLED = 11
    DROPPED_MAILBOX_FULL = 12
    DROPPED_DEVICE_TOO_SLOW = 13
    LOST = 14
    LOST_BY_FAULT = 15
    #: this node is through with it: another has it, or what the nodes share
    HANDED_OVER = 16
    DROPPED_NODE_DIED = 17

    @property
    def is_open(self) -> bool:
        return self <= State.AWAITING_ACK

    @property
    def outcome(self) -> str:
        """The word of the API for it: `delivered`, `stored`, `dropped` and so on."""
        return _OUTCOMES.get(self, self.name.lower())

    @property
    def reason(self) -> str | None:
        """Why a push was dropped, for the states that have a reason."""
        if self.name.startswith("DROPPED_"):
            return self.name.removeprefix("DROPPED_").lower()
        return None


_OUTCOMES: Final = {
    State.DELIVERED_LIVE: "delivered",
    State.DELIVERED_ON_CONNECT: "delivered",
    State.DROPPED_MAILBOX_FULL: "dropped",
    State.DROPPED_DEVICE_TOO_SLOW: "dropped",
    State.DROPPED_NODE_DIED: "dropped",
}
