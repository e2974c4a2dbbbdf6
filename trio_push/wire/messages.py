"""What server and device say to each other over a WebSocket: JSON objects told apart by `type`.

Typed values in, bytes out, and back. Called by the WebSocket transport and by the session
behind it, and by the swarm's devices. What a device sends may be anything: `decode` answers what
is no message with the Error to send back, and raises nothing.
"""

from __future__ import annotations

import base64
from typing import Annotated, Final, NamedTuple, get_args

import msgspec
import orjson
from msgspec import Meta, Raw, Struct

from trio_push.push import MARK_READ, Push


class ErrorCode(NamedTuple):
    """What is wrong with a message, as `error` says it."""

    name: str
    meaning: str


INVALID_JSON: Final = ErrorCode("invalid_json", "the message is not JSON")
INVALID_MESSAGE: Final = ErrorCode(
    "invalid_message", "it is no object with a `type`, or a field is missing or of a wrong kind"
)
UNKNOWN_TYPE: Final = ErrorCode("unknown_type", "there is no message of this `type`")
UNSUPPORTED: Final = ErrorCode("unsupported", "this server does not act on messages of this `type`")
AUTH_DONE: Final = ErrorCode("auth_done", "the device has proved who it is, or need not")

ERROR_CODES: Final = {
    entry.name: entry for entry in list(globals().values()) if isinstance(entry, ErrorCode)
}

# -- from the server


class Notification(
    Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag="notification"
):
    """A push."""

    id: str
    #: of the store that the number is from
    epoch: str
    #: orders the notifications of one device; counted across all of them, so there are gaps
    seq: int
    topic: str
    #: the payload as it is when it is JSON, else as a string
    data: Raw
    #: the event name, for pushes that have one
    event: str | None = None
    #: "base64" when the payload is not text and `data` holds it so
    encoding: str | None = None


class ReadElsewhere(Struct, frozen=True, tag="mark_read"):
    """The user has read a notification on another device."""

    notification_id: str
    #: as in `notification`
    epoch: str
    seq: int


class SyncResult(Struct, frozen=True, rename={"from_": "from"}, tag="sync_result"):
    """The answer to `sync`; what was missed follows, if it is still there (`recovered`)."""

    recovered: bool
    epoch: str
    #: sequence numbers: after the first, up to and with the second
    from_: int
    to: int


class AuthResult(Struct, frozen=True, tag="auth_result"):
    """The answer to `auth`."""

    ok: bool


class Error(Struct, frozen=True, tag="error"):
    """The device's last message was of no use; the connection goes on."""

    #: the name of an ErrorCode
    code: str
    detail: str


# -- from the device


class Ack(Struct, frozen=True, tag="ack"):
    """The device has a notification and will not need it again."""

    notification_id: str


class Sync(Struct, frozen=True, tag="sync"):
    """The device asks for what it missed since a sequence number, or since a notification id."""

    last_seen: Annotated[int, Meta(ge=0)] | str
    #: as it came with the number
    epoch: str | None = None


class Auth(Struct, frozen=True, tag="auth"):
    """The device proves who it is."""

    token: str


class MarkRead(Struct, frozen=True, tag="mark_read"):
    """The user has read a notification on this device."""

    notification_id: str


FromDevice = Ack | Sync | MarkRead | Auth
FromServer = Notification | SyncResult | ReadElsewhere | AuthResult | Error

_TYPES: Final = tuple(str(kind.__struct_config__.tag) for kind in get_args(FromDevice))
_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[FromDevice]] = msgspec.json.Decoder(FromDevice)
_server_decoder: Final[msgspec.json.Decoder[FromServer]] = msgspec.json.Decoder(FromServer)


class _Typed(Struct):
    type: str


_type_decoder: Final = msgspec.json.Decoder(_Typed)


def encode(message: FromServer | FromDevice) -> bytes:
    """The message as JSON."""
    return _encoder.encode(message)


def decode(data: bytes) -> FromDevice | Error:
    """What a device said; an Error to answer with when it is no message."""
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError as error:
        return _misfit(data, str(error))
    except (msgspec.DecodeError, UnicodeError) as error:
        return Error(INVALID_JSON.name, str(error))
    except RecursionError:
        return Error(INVALID_JSON.name, "JSON is nested too deeply")


def decode_from_server(data: bytes) -> FromServer | None:
    """What a server said; None when it is no message, as other servers may send."""
    try:
        return _server_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _misfit(data: bytes, detail: str) -> Error:
    """What is wrong with JSON that is no message of ours."""
    try:
        name = _type_decoder.decode(data).type
    except (msgspec.MsgspecError, RecursionError):
        return Error(INVALID_MESSAGE.name, detail)
    if name not in _TYPES:
        return Error(UNKNOWN_TYPE.name, f"the types are {', '.join(_TYPES)}")
    return Error(INVALID_MESSAGE.name, detail)


def pushed(epoch: str, seq: int, push: Push) -> bytes:
    """A push as the message that it is: a notification, or the news of what the user has read."""
    if push.event == MARK_READ:
        read = orjson.loads(push.payload)["notification_id"]
        return _encoder.encode(ReadElsewhere(read, epoch, seq))
    return notification(epoch, seq, push)


def notification(epoch: str, seq: int, push: Push) -> bytes:
    """A push as JSON. The payload is looked at once, and not encoded again when it is JSON."""
    data, encoding = _data(push.payload)
    return _encoder.encode(
        Notification(
            id=push.id,
            epoch=epoch,
            seq=seq,
            topic=push.topic,
            data=Raw(data),
            event=push.event,
            encoding=encoding,
        )
    )


def _data(payload: bytes) -> tuple[bytes, str | None]:
    """The payload as a JSON value, and how it is encoded in there if it is."""
    try:
        # Strict as no other is: what it takes, every device's parser takes.
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    else:
        return payload, None
    try:
        return orjson.dumps(payload.decode()), None
    except UnicodeDecodeError:
        return orjson.dumps(base64.b64encode(payload).decode()), "base64"
