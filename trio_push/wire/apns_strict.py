"""One request under the strict profile, taken apart for the rules to look at. Pure.

Made once per push by `intake.apns_strict`, which holds it against `wire.apns_strict_rules` and
makes a push of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from trio_push.push import Push
from trio_push.wire.apns import HEADERS, Headers, expiry, is_uuid, repeated_in, token_in
from trio_push.wire.apns_strict_topics import PUSH_TYPES, PushType, bundle_id, push_type_of


class Sender(NamedTuple):
    """What a provider may do, once it has proved who it is."""

    #: where it may push to; None: everywhere
    topics: frozenset[bytes] | None = None
    #: the topic of a push that names none; b"" if it has to name one
    default_topic: bytes = b""
    by_certificate: bool = False

    def may_push_to(self, topic: bytes) -> bool:
        """A certificate lists each topic, a key the bundle ids of its apps."""
        if self.topics is None or topic in self.topics:
            return True
        return not self.by_certificate and bundle_id(topic) in self.topics


class KnownDevice(NamedTuple):
    """What is known of a device token."""

    #: the bundle ids and topics that it is for; None: any
    topics: frozenset[bytes] | None = None
    #: None: every one
    environment: str | None = None
    #: epoch milliseconds; it may be still to come
    expired_at_ms: int | None = None


class Asked:
    """A request, taken apart as far as all rules need it."""

    __slots__ = ("body", "fields", "kind", "method", "raw_token", "repeated", "sender", "topic")

    #: of the push, once the rules of requests have been kept
    sender: Sender
    topic: bytes
    kind: PushType

    def __init__(self, method: bytes, path: bytes, headers: Headers, body: bytes) -> None:
        self.method = method
        self.body = body
        self.fields = dict(headers)
        once = len(self.fields) == len(headers)
        #: headers of Apple's that were given more than once
        self.repeated = set() if once else repeated_in(headers, _HEADERS)
        #: the last part of the path; None when the others are wrong
        self.raw_token = token_in(path)

    @property
    def apns_id(self) -> str:
        """The request's own letter for letter; "" if it has none that will do."""
        given = self.fields.get(b"apns-id")
        if given and b"apns-id" not in self.repeated and is_uuid(given):
            return given.decode("ascii")
        return ""

    def send_as(self, sender: Sender) -> None:
        """Say who asks; that decides on the topic, and the topic perhaps on the type of push."""
        self.sender = sender
        self.topic = self.fields.get(b"apns-topic") or sender.default_topic
        kind = PUSH_TYPES.get(self.fields.get(b"apns-push-type", b""))
        self.kind = kind or push_type_of(self.topic)

    def push(self, apns_id: str, now: float, default_ttl_s: float) -> Push:
        """The push that is asked for, by a request that breaks no rule."""
        collapse_id = self.fields.get(b"apns-collapse-id")
        at = self.fields.get(b"apns-expiration")
        assert self.raw_token is not None
        return Push(
            id=apns_id,
            token=self.raw_token.decode().lower(),
            payload=self.body,
            topic=self.topic.decode(),
            collapse_id=str(collapse_id, "utf-8", "backslashreplace") if collapse_id else None,
            priority=int(self.fields.get(b"apns-priority") or 10),
            expires_at=expiry(int(at) if at else now + default_ttl_s, now),
            event="ping",
            newest_wins=True,
        )


class Aimed(NamedTuple):
    """A request that is right in itself, and the device that it is for."""

    topic: bytes
    device: KnownDevice
    environment: str
    #: epoch milliseconds
    now_ms: float
    #: epoch milliseconds; None: it is registered
    unregistered_at_ms: int | None
    #: counts the push, and says whether it is one too many for this device
    is_too_many: Callable[[], bool]


_HEADERS: Final = HEADERS | {b"authorization"}
