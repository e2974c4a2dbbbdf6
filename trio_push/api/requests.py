"""From the JSON of a request to pushes: all that can be said without asking anybody.

Called by the pusher. Pure: raises Invalid or Refusal, and takes `now`.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec

from trio_push.api.models import MAX_DELAY_S, PushLine, PushRequest
from trio_push.api.problems import Invalid, invalid_from
from trio_push.config import MAX_TTL_S
from trio_push.errors import Refusal
from trio_push.push import MARK_READ, NOW_OR_NEVER, Push
from trio_push.wire.apns import MAX_COLLAPSE_ID_BYTES, MAX_PAYLOAD_BYTES
from trio_push.wire.reasons import MISSING_DEVICE_TOKEN, PAYLOAD_EMPTY, PAYLOAD_TOO_LARGE
from trio_push.wire.tokens import parse_token

#: what ends a field on an event stream, or the stream for some of its readers
_BREAKS_A_LINE: Final = re.compile(r"[\r\n\0]")
_COMPACT: Final = -1
#: events that mean something between server and device
RESERVED_EVENTS: Final = (MARK_READ, "sync_result")

T = TypeVar("T", bound=msgspec.Struct)

line_decoder: Final = msgspec.json.Decoder(PushLine)
request_decoder: Final = msgspec.json.Decoder(PushRequest)
_text_decoder: Final = msgspec.json.Decoder(str)


def decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Raises Invalid for what is not JSON in UTF-8 of the decoder's shape."""
    try:
        if not data.isascii():
            data.decode()  # the payload is passed on as it is, so nobody else would look
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise invalid_from(exc) from exc


def single_token(request: PushLine) -> str:
    """The one token of a line. Raises Refusal."""
    return parse_token(request.token or "")


def check_addressing(request: PushRequest) -> None:
    """Raises Invalid unless there is exactly one of token, tokens, user and broadcast."""
    named = sum(way is not None for way in (request.token, request.tokens, request.user))
    ways = named + request.broadcast
    if ways == 0:
        raise Refusal(MISSING_DEVICE_TOKEN, "one of token, tokens, user and broadcast is needed")
    if ways > 1:
        raise Invalid("token, tokens, user and broadcast exclude each other", field="token")
    if request.broadcast:
        _check_broadcast(request)


def _check_broadcast(request: PushRequest) -> None:
    for field in ("delay_s", "not_before", "ack"):
        if getattr(request, field):
            raise Invalid(
                f"a broadcast goes to those connected now: it cannot have {field}", field=field
            )


def push_of(
    request: PushLine, push_id: str, token: str, *, now: float, default_ttl_s: float
) -> Push:
    """The push to one token; raises Invalid or Refusal.

    A time to live that is given counts from `now`, the default one from when the push is due.
    """
    _check_fields(request)
    not_before = _due(request, now)
    if request.ttl_s is None:
        expires_at = max(now, not_before) + default_ttl_s
    elif request.ttl_s == 0:
        expires_at = NOW_OR_NEVER
    else:
        expires_at = now + min(request.ttl_s, MAX_TTL_S)
    return Push(
        id=push_id,
        token=token,
        payload=payload_bytes(request.payload),
        topic=request.topic,
        collapse_id=request.collapse_id,
        priority=request.priority,
        expires_at=expires_at,
        not_before=not_before,
        event=request.event,
        wants_ack=request.ack,
    )


def payload_bytes(raw: msgspec.Raw) -> bytes:
    """What the device gets for a JSON value; raises Refusal."""
    payload = msgspec.json.format(bytes(raw), indent=_COMPACT)
    if payload.startswith(b'"'):
        payload = _text_decoder.decode(payload).encode()
    if not payload:
        raise Refusal(PAYLOAD_EMPTY, "the payload is an empty string")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Refusal(
            PAYLOAD_TOO_LARGE,
            f"the payload has {len(payload)} bytes; {MAX_PAYLOAD_BYTES} are allowed",
        )
    return payload


def fingerprint(request: PushLine, push: Push) -> bytes:
    """The same for the same request, however its JSON is written."""
    same = msgspec.structs.replace(request, id=None, payload=msgspec.Raw(push.payload))
    return blake2b(msgspec.json.encode(same), digest_size=16).digest()


def _check_fields(request: PushLine) -> None:
    collapse_id = request.collapse_id
    if collapse_id is not None and not 1 <= len(collapse_id.encode()) <= MAX_COLLAPSE_ID_BYTES:
        raise Invalid("collapse_id has 1 to 64 bytes", field="collapse_id")
    if request.event is not None and _BREAKS_A_LINE.search(request.event):
        raise Invalid("an event's name has no line breaks and no NUL", field="event")
    if request.event in RESERVED_EVENTS:
        raise Invalid(f"{request.event!r} is an event of the server's own", field="event")
    if request.ack and request.ttl_s == 0:
        raise Invalid("a push that is now or never cannot wait for its ack", field="ack")
    if request.delay_s is not None and request.not_before is not None:
        raise Invalid("delay_s and not_before exclude each other", field="not_before")


def _due(request: PushLine, now: float) -> float:
    """When the push is to be delivered; 0 is at once."""
    if request.delay_s:
        return now + request.delay_s
    if request.not_before is None or request.not_before <= now:
        return 0.0
    if request.not_before > now + MAX_DELAY_S:
        raise Invalid("not_before is more than 30 days away", field="not_before")
    return request.not_before
