"""The strict profile's rules for one request: each of Apple's reasons, and what causes it. Pure.

Three ordered tables, and one of what the server says by itself. A request is held against them
from the top; the first rule that it breaks is its answer. Between the first two the provider proves
who it is (`auth.apns_session` has the rules of that), and before the third the device token is
looked up. `intake.apns_strict` puts them together. Where Apple's pages say nothing, which is so for
the whole order, it is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from trio_push.errors import Refusal
from trio_push.wire.apns import MAX_COLLAPSE_ID_BYTES, is_uuid
from trio_push.wire.apns_strict import Aimed, Asked
from trio_push.wire.apns_strict_topics import PUSH_TYPES, bundle_id, is_topic
from trio_push.wire.reasons import (
    BAD_COLLAPSE_ID,
    BAD_DEVICE_TOKEN,
    BAD_EXPIRATION_DATE,
    BAD_MESSAGE_ID,
    BAD_PATH,
    BAD_PRIORITY,
    BAD_TOPIC,
    DEVICE_TOKEN_NOT_FOR_TOPIC,
    DUPLICATE_HEADERS,
    EXPIRED_TOKEN,
    FORBIDDEN,
    IDLE_TIMEOUT,
    INTERNAL_SERVER_ERROR,
    INVALID_PUSH_TYPE,
    METHOD_NOT_ALLOWED,
    MISSING_DEVICE_TOKEN,
    MISSING_TOPIC,
    PAYLOAD_EMPTY,
    PAYLOAD_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    SHUTDOWN,
    TOO_MANY_REQUESTS,
    TOPIC_DISALLOWED,
    UNREGISTERED,
    Reason,
)

T = TypeVar("T")

#: Apple's pages, by the names that the rules have for them
PAGES: Final = {
    "sending": "sending-notification-requests-to-apns",
    "responses": "handling-notification-responses-from-apns",
    "token": "establishing-a-token-based-connection-to-apns",
    "certificate": "establishing-a-certificate-based-connection-to-apns",
}


class Rule(NamedTuple, Generic[T]):
    """What a request must not be, and how it is answered if it is."""

    reason: Reason
    trigger: str
    #: the page of Apple's that tells of it: a key of PAGES
    page: str
    broken_by: Callable[[T], object]


class Given(NamedTuple):
    """A reason that no request is the cause of, and when it is given."""

    reason: Reason
    trigger: str
    page: str


def first_broken(rules: Sequence[Rule[T]], subject: T) -> Rule[T] | None:
    """The first rule that `subject` breaks."""
    for rule in rules:
        if rule.broken_by(subject):
            return rule
    return None


def check(rules: Sequence[Rule[T]], subject: T) -> None:
    """Raise Refusal for the first rule that `subject` breaks."""
    broken = first_broken(rules, subject)
    if broken is not None:
        raise Refusal(broken.reason, broken.trigger)


def check_device(aimed: Aimed) -> None:
    """Raise Refusal for the first of DEVICE_RULES that is broken; with 410 it says since when."""
    broken = first_broken(DEVICE_RULES, aimed)
    if broken is not None:
        since = {
            UNREGISTERED: aimed.unregistered_at_ms,
            EXPIRED_TOKEN: aimed.device.expired_at_ms,
        }
        raise Refusal(broken.reason, broken.trigger, timestamp_ms=since.get(broken.reason))


_is_token: Final = re.compile(rb"[0-9a-fA-F]{64}").fullmatch
#: as many digits as fit 64 bits; Python refuses to read numbers of thousands of digits
_is_epoch: Final = re.compile(rb"[+-]?[0-9]{1,19}").fullmatch
_PRIORITIES: Final = {b"10": 10, b"5": 5, b"1": 1}


def _names_bad_id(asked: Asked) -> bool:
    given = asked.fields.get(b"apns-id")
    return bool(given) and not is_uuid(given)  # type: ignore[arg-type]  # it is not None


def _has_misfitting_type(asked: Asked) -> bool:
    name = asked.fields.get(b"apns-push-type")
    return bool(name) and (name not in PUSH_TYPES or not asked.kind.fits(asked.topic))


def _has_bad_expiration(asked: Asked) -> bool:
    value = asked.fields.get(b"apns-expiration")
    return bool(value) and not _is_epoch(value)  # type: ignore[arg-type]  # it is not None


def _has_bad_priority(asked: Asked) -> bool:
    value = asked.fields.get(b"apns-priority")
    return bool(value) and _PRIORITIES.get(value or b"") not in asked.kind.priorities


def _has_no_payload(asked: Asked) -> bool:
    """Nor one of JSON: an object, which is what devices read."""
    try:
        return not asked.body or not isinstance(_decode(asked.body), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True


#: any JSON: Any, because nothing is asked of it
_decode: Final[Callable[[bytes], Any]] = msgspec.json.Decoder().decode


def _is_other_app(aimed: Aimed) -> bool:
    topics = aimed.device.topics
    return topics is not None and not {aimed.topic, bundle_id(aimed.topic)} & topics


def _is_expired(aimed: Aimed) -> bool:
    at = aimed.device.expired_at_ms
    return at is not None and at <= aimed.now_ms


OF_THE_SERVER: Final = (
    Given(IDLE_TIMEOUT, "in GOAWAY: no request came for --idle-timeout", "responses"),
    Given(INTERNAL_SERVER_ERROR, "a fault of this server, which is logged", "responses"),
    Given(
        SERVICE_UNAVAILABLE,
        "as much is held as may be, or the store cannot be written",
        "responses",
    ),
    Given(SHUTDOWN, "the server stops: in GOAWAY, and for what comes after it", "responses"),
)

REQUEST_RULES: Final[tuple[Rule[Asked], ...]] = (
    Rule(
        BAD_PATH,
        "the path is not /3/device/<token>",
        "responses",
        lambda asked: asked.raw_token is None,
    ),
    Rule(
        METHOD_NOT_ALLOWED,
        "the method is not POST",
        "responses",
        lambda asked: asked.method != b"POST",
    ),
    Rule(
        DUPLICATE_HEADERS,
        "an apns-* header, or authorization, is given twice",
        "responses",
        lambda asked: asked.repeated,
    ),
    Rule(BAD_MESSAGE_ID, "apns-id is not a UUID", "sending", _names_bad_id),
)

PUSH_RULES: Final[tuple[Rule[Asked], ...]] = (
    Rule(
        MISSING_TOPIC,
        "there is no apns-topic, and no certificate with one topic",
        "sending",
        lambda asked: not asked.topic,
    ),
    Rule(
        BAD_TOPIC,
        "apns-topic has other characters than a bundle id, or more than 255",
        "responses",
        lambda asked: not is_topic(asked.topic),
    ),
    Rule(
        INVALID_PUSH_TYPE,
        "apns-push-type is unknown, or does not go with the topic",
        "sending",
        _has_misfitting_type,
    ),
    Rule(
        FORBIDDEN,
        "a location push, which needs a provider token, by certificate",
        "sending",
        lambda asked: asked.sender.by_certificate and not asked.kind.by_certificate,
    ),
    Rule(
        TOPIC_DISALLOWED,
        "the key, its team or the certificate is for other topics",
        "responses",
        lambda asked: not asked.sender.may_push_to(asked.topic),
    ),
    Rule(
        BAD_EXPIRATION_DATE, "apns-expiration is not epoch seconds", "sending", _has_bad_expiration
    ),
    Rule(
        BAD_PRIORITY,
        "apns-priority is not 10, 5 or 1, or is 10 for a background push",
        "sending",
        _has_bad_priority,
    ),
    Rule(
        BAD_COLLAPSE_ID,
        f"apns-collapse-id is over {MAX_COLLAPSE_ID_BYTES} bytes",
        "sending",
        lambda asked: len(asked.fields.get(b"apns-collapse-id", b"")) > MAX_COLLAPSE_ID_BYTES,
    ),
    Rule(
        MISSING_DEVICE_TOKEN,
        "the path ends before the device token",
        "responses",
        lambda asked: not asked.raw_token,
    ),
    Rule(
        BAD_DEVICE_TOKEN,
        "the device token is not 64 hex digits",
        "responses",
        lambda asked: not _is_token(asked.raw_token or b""),
    ),
    Rule(
        PAYLOAD_TOO_LARGE,
        "the body is over 4096 bytes, or 5120 for VoIP",
        "sending",
        lambda asked: len(asked.body) > asked.kind.max_payload_bytes,
    ),
    Rule(PAYLOAD_EMPTY, "the body is empty, or no JSON object", "responses", _has_no_payload),
)

DEVICE_RULES: Final[tuple[Rule[Aimed], ...]] = (
    Rule(
        BAD_DEVICE_TOKEN,
        "the device token is known to be of the other environment",
        "responses",
        lambda aimed: aimed.device.environment not in (None, aimed.environment),
    ),
    Rule(
        DEVICE_TOKEN_NOT_FOR_TOPIC,
        "the device token is known to be for other topics",
        "responses",
        _is_other_app,
    ),
    Rule(
        UNREGISTERED,
        "the device token was unregistered",
        "responses",
        lambda aimed: aimed.unregistered_at_ms is not None,
    ),
    Rule(
        EXPIRED_TOKEN,
        "the device token has expired",
        "responses",
        _is_expired,
    ),
    Rule(
        TOO_MANY_REQUESTS,
        "more pushes to one device token than --apns-token-rate",
        "responses",
        lambda aimed: aimed.is_too_many(),
    ),
)
