"""What a rule can do, each kind a shape of its own, told apart by `kind`.

`stage` says where it happens: to a request of a provider, to a push that was accepted, to a
device that is being written to, or to a connection that comes in. Decoded from TOML and JSON;
a shape that makes no sense raises ValueError, which msgspec turns into its ValidationError.
"""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import Annotated, ClassVar, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from trio_push.faults.latency import Fixed, Latency, Seconds
from trio_push.wire.reasons import REASONS


class Stage(Enum):
    """Where a fault can happen."""

    REQUEST = "request"
    PUSH = "push"
    DEVICE = "device"
    CONNECTION = "connection"


#: RFC 9113, section 7
ErrorCode: TypeAlias = Literal[
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
]
_CODES: Final = {name: number for number, name in enumerate(get_args(ErrorCode))}


def code_of(name: ErrorCode) -> int:
    """The number of an error code of HTTP/2."""
    return _CODES[name]


_STATUSES: Final = frozenset(HTTPStatus)


class _Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    stage: ClassVar[Stage] = Stage.REQUEST
    #: whether HTTP/1.1 has nothing like it, so that the rule does not fit there
    http2_only: ClassVar[bool] = False
    #: whether this was all that happens; else the rules that follow are looked at, too
    is_last: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)


_PROCESSED = "Whether the push is accepted all the same: its sender cannot know."


class Status(_Action, frozen=True, tag="status"):
    """The request is refused."""

    reason: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9]{1,64}$", description="APNs' word for it, or any other."),
    ]
    status: Annotated[
        Annotated[int, Meta(ge=400, le=599)] | None,
        Meta(description="The HTTP status. Without it the one that goes with the reason."),
    ] = None
    since_s: Annotated[
        Seconds, Meta(description="With 410: how long ago the token became invalid, in seconds.")
    ] = 0.0
    retry_after_s: Annotated[
        Annotated[int, Meta(ge=0, le=86_400)] | None,
        Meta(description="Seconds for `Retry-After`; without it there is no such header."),
    ] = None

    def __post_init__(self) -> None:
        if self.status is not None and self.status not in _STATUSES:
            raise ValueError(f"{self.status} is no status of HTTP")
        if self.status is None and self.reason not in REASONS:
            raise ValueError(f"the reason {self.reason} has no status of its own: give one")

    @property
    def http_status(self) -> int:
        return REASONS[self.reason].status if self.status is None else self.status


class Delay(_Action, frozen=True, tag="delay"):
    """The request is kept for a while, and then served as if nothing had been."""

    is_last: ClassVar[bool] = False

    latency: Annotated[Latency, Meta(description="How long.")]


class Hold(_Action, frozen=True, tag="hold"):
    """The request gets no answer; after `for_s`, if given, it is served."""

    for_s: Annotated[
        Seconds | None,
        Meta(description="Seconds; without it as long as the connection is there."),
    ] = None


class ResetStream(_Action, frozen=True, tag="reset_stream"):
    """RST_STREAM instead of an answer."""

    http2_only: ClassVar[bool] = True

    code: Annotated[ErrorCode, Meta(description="The error code of HTTP/2.")] = "INTERNAL_ERROR"
    processed: Annotated[bool, Meta(description=_PROCESSED)] = False


class GoAway(_Action, frozen=True, tag="goaway"):
    """GOAWAY, and the connection ends when what may still be answered is answered."""

    http2_only: ClassVar[bool] = True

    reason: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9]{0,64}$", description="The reason in its JSON.")
    ] = "Shutdown"
    last_stream: Annotated[
        Literal["before", "at", "after"],
        Meta(
            description="`before`: the request and later ones are not processed, and may be sent "
            "again. `at`: it is the last that is. `after`: those on their way are, too."
        ),
    ] = "at"
    code: Annotated[ErrorCode, Meta(description="The error code of HTTP/2.")] = "NO_ERROR"


class TcpReset(_Action, frozen=True, tag="tcp_reset"):
    """The connection is reset (RST), with all that is under way on it."""

    processed: Annotated[bool, Meta(description=_PROCESSED)] = False


class MaxStreams(_Action, frozen=True, tag="max_streams"):
    """The limit on concurrent streams of the connection changes; streams beyond it are refused."""

    http2_only: ClassVar[bool] = True
    is_last: ClassVar[bool] = False

    streams: Annotated[int, Meta(ge=0, le=1000, description="The limit from now on.")]


class Lose(_Action, frozen=True, tag="lose"):
    """The push is accepted, and goes nowhere. The ledger has it as `lost_by_fault`."""

    stage: ClassVar[Stage] = Stage.PUSH


class Reorder(_Action, frozen=True, tag="reorder"):
    """The push is held back, so that later ones overtake it. The ledger has it as `delayed`."""

    stage: ClassVar[Stage] = Stage.PUSH

    by: Annotated[Latency, Meta(description="How long.")] = Fixed(0.2)


class Duplicate(_Action, frozen=True, tag="duplicate"):
    """A device that is connected gets the push twice, with the same event id."""

    stage: ClassVar[Stage] = Stage.DEVICE
    is_last: ClassVar[bool] = False


class SlowDevice(_Action, frozen=True, tag="slow_device"):
    """A device that is connected takes nothing for a while; what comes meanwhile waits.

    As with a real one that is slow, `--write-timeout` ends it.
    """

    stage: ClassVar[Stage] = Stage.DEVICE
    is_last: ClassVar[bool] = False

    latency: Annotated[Latency, Meta(description="How long.")]


class DisconnectDevice(_Action, frozen=True, tag="disconnect_device"):
    """A device that is connected loses its connection, without a word."""

    stage: ClassVar[Stage] = Stage.DEVICE

    when: Annotated[
        Literal["before", "after"], Meta(description="Before it is sent the push, or after.")
    ] = "after"


class RefuseConnection(_Action, frozen=True, tag="refuse_connection"):
    """A connection is reset (RST) as soon as it is there, before a byte is read."""

    stage: ClassVar[Stage] = Stage.CONNECTION


Action: TypeAlias = (
    Status
    | Delay
    | Hold
    | ResetStream
    | GoAway
    | TcpReset
    | MaxStreams
    | Lose
    | Reorder
    | Duplicate
    | SlowDevice
    | DisconnectDevice
    | RefuseConnection
)
