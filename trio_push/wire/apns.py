"""The rules of APNs for one push request: from method, path, headers and body to a Push.

Called by the HTTP/1.1 and the HTTP/2 intake, once per push; pure, and counted in microseconds.
The profile is MDM's: the checks of Fleet's APNs mock in its order (headers, token, body), and
those of Apple's that it leaves out. What is decided where Apple's text is silent:

- the path is compared as it stands: a query, a further slash or another spelling is `BadPath`,
  and percent signs or bytes beyond ASCII in the token are `BadDeviceToken`;
- the path is judged first, then the method, then repeated headers, then the rest;
- a header with an empty value is as good as absent, as it is to Go's servers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from trio_push.config import MAX_TTL_S
from trio_push.errors import Refusal
from trio_push.push import NOW_OR_NEVER, Push
from trio_push.wire.reasons import (
    BAD_COLLAPSE_ID,
    BAD_EXPIRATION_DATE,
    BAD_MESSAGE_ID,
    BAD_PATH,
    BAD_PRIORITY,
    DUPLICATE_HEADERS,
    INVALID_PUSH_TYPE,
    METHOD_NOT_ALLOWED,
    PAYLOAD_EMPTY,
    PAYLOAD_TOO_LARGE,
)
from trio_push.wire.tokens import parse_token

#: Apple's limit for every push type but VoIP
MAX_PAYLOAD_BYTES: Final = 4096
#: Apple's limit
MAX_COLLAPSE_ID_BYTES: Final = 64
#: as many digits as fit 64 bits; Python refuses to read numbers of thousands of digits
_MAX_EXPIRATION_DIGITS: Final = 19

#: what the path of a push begins with; the device token follows
PUSHES: Final = b"/3/device/"
#: what a push may say of itself
HEADERS: Final = frozenset(
    [
        b"apns-collapse-id",
        b"apns-expiration",
        b"apns-id",
        b"apns-priority",
        b"apns-push-type",
        b"apns-topic",
    ]
)
_PRIORITIES: Final = {None: 10, b"": 10, b"10": 10, b"5": 5, b"1": 1}
#: an apns-id
is_uuid: Final = re.compile(
    rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
).fullmatch


Headers = Sequence[tuple[bytes, bytes]]


class PushRefused(Refusal):
    """A push request breaks the rules; `apns_id` is what its response carries."""

    apns_id: str

    @classmethod
    def of(cls, refusal: Refusal, apns_id: str) -> PushRefused:
        """The same refusal, told to the one who asked for this push."""
        refused = cls(
            refusal.reason,
            str(refusal),
            timestamp_ms=refusal.timestamp_ms,
            retry_after_s=refusal.retry_after_s,
        )
        refused.apns_id = apns_id
        return refused


def read_push(
    method: bytes,
    path: bytes,
    headers: Headers,
    body: bytes,
    *,
    now: float,
    default_ttl_s: float,
    new_id: Callable[[], str],
) -> Push:
    """The push that a request asks for. Names of headers come in lower case.

    The id of the push is its `apns-id` letter for letter, or a new one. Raises PushRefused,
    which carries that id too (a bad one is not echoed: then it is a new one).
    """
    fields = dict(headers)
    repeated = set() if len(fields) == len(headers) else repeated_in(headers, HEADERS)
    given_id = fields.get(b"apns-id")
    bad_id = given_id and not is_uuid(given_id)
    if given_id and not bad_id and b"apns-id" not in repeated:
        apns_id = given_id.decode("ascii")
    else:
        apns_id = new_id()
    try:
        raw_token = token_in(path)
        if raw_token is None:
            raise Refusal(BAD_PATH)
        if method != b"POST":
            raise Refusal(METHOD_NOT_ALLOWED)
        if repeated:
            raise Refusal(DUPLICATE_HEADERS)
        if bad_id:
            raise Refusal(BAD_MESSAGE_ID)
        return _read_fields(apns_id, raw_token, fields, body, now, default_ttl_s)
    except Refusal as refusal:
        raise PushRefused.of(refusal, apns_id) from None


def repeated_in(headers: Headers, names: frozenset[bytes]) -> set[bytes]:
    """Which of the names are there more than once."""
    counts = Counter(name for name, _ in headers if name in names)
    return {name for name, count in counts.items() if count > 1}


def token_in(path: bytes) -> bytes | None:
    """The last segment of the path, empty if it is not there; None if the others are wrong."""
    if path.startswith(PUSHES):
        token = path[len(PUSHES) :]
        return None if b"/" in token or b"?" in token else token
    return b"" if path == PUSHES[:-1] else None


def _read_fields(
    apns_id: str,
    raw_token: bytes,
    fields: dict[bytes, bytes],
    body: bytes,
    now: float,
    default_ttl_s: float,
) -> Push:
    if fields.get(b"apns-push-type", b"mdm") not in (b"mdm", b""):
        raise Refusal(INVALID_PUSH_TYPE)
    expires_at = _expires_at(fields.get(b"apns-expiration"), now, default_ttl_s)
    priority = _PRIORITIES.get(fields.get(b"apns-priority"))
    if priority is None:
        raise Refusal(BAD_PRIORITY)
    collapse_id = fields.get(b"apns-collapse-id")
    if collapse_id and len(collapse_id) > MAX_COLLAPSE_ID_BYTES:
        raise Refusal(BAD_COLLAPSE_ID)
    token = parse_token(raw_token)
    if not body:
        raise Refusal(PAYLOAD_EMPTY)
    if len(body) > MAX_PAYLOAD_BYTES:
        raise Refusal(PAYLOAD_TOO_LARGE)
    return Push(
        id=apns_id,
        token=token,
        payload=body,
        topic=_text(fields.get(b"apns-topic", b"")),
        collapse_id=_text(collapse_id) if collapse_id else None,
        priority=priority,
        expires_at=expires_at,
        event="ping",
        newest_wins=True,
    )


def _expires_at(value: bytes | None, now: float, default_ttl_s: float) -> float:
    """Epoch seconds."""
    if not value:
        at: float = now + default_ttl_s
    else:
        digits = value[1:] if value[0] in b"+-" else value
        if not digits.isdigit() or len(digits) > _MAX_EXPIRATION_DIGITS:
            raise Refusal(BAD_EXPIRATION_DATE)
        at = int(value)
    return expiry(at, now)


def expiry(at: float, now: float) -> float:
    """When a push expires that is to be kept until `at`, both in epoch seconds.

    NOW_OR_NEVER for 0 and every moment that is past.
    """
    return min(at, now + MAX_TTL_S) if at > now else NOW_OR_NEVER


def _text(value: bytes) -> str:
    """Any bytes as text; never fails, and different bytes stay different."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode(errors="backslashreplace")
