"""Magic tokens: device tokens whose first eight digits say what happens to pushes for them.

Nothing has to be set up per test: choose the token. `fa17` says that it is one, the rest what
it does. Whatever follows is free, so a token may have any length.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trio_push.faults.actions import (
    Action,
    Delay,
    DisconnectDevice,
    Duplicate,
    GoAway,
    Hold,
    Lose,
    ResetStream,
    Status,
    TcpReset,
)
from trio_push.faults.latency import Fixed
from trio_push.faults.rules import Match, Rule

#: how each of them begins
PREFIX: Final = "fa17"


class Magic(NamedTuple):
    """How a token begins, and what happens to pushes for it."""

    token_prefix: str
    action: Action
    effect: str


def _refused(digits: str, status: int, reason: str) -> Magic:
    effect = f"{status} `{reason}`"
    if status == 410:
        effect += " with a timestamp"
    return Magic(PREFIX + digits, Status(reason=reason, status=status), effect)


MAGIC: Final = (
    _refused("0400", 400, "BadDeviceToken"),
    _refused("0401", 400, "DeviceTokenNotForTopic"),
    _refused("0402", 400, "TopicDisallowed"),
    _refused("0403", 403, "ExpiredProviderToken"),
    _refused("0404", 403, "InvalidProviderToken"),
    _refused("0410", 410, "Unregistered"),
    _refused("0411", 410, "ExpiredToken"),
    _refused("0413", 413, "PayloadTooLarge"),
    _refused("0429", 429, "TooManyRequests"),
    _refused("0430", 429, "TooManyProviderTokenUpdates"),
    _refused("0500", 500, "InternalServerError"),
    _refused("0503", 503, "ServiceUnavailable"),
    _refused("0504", 503, "Shutdown"),
    Magic(PREFIX + "d001", Delay(latency=Fixed(1.0)), "answered after 1 s"),
    Magic(PREFIX + "d010", Delay(latency=Fixed(10.0)), "answered after 10 s"),
    Magic(PREFIX + "dead", Hold(), "never answered"),
    Magic(
        PREFIX + "0007",
        ResetStream(code="REFUSED_STREAM"),
        "RST_STREAM with REFUSED_STREAM (7), over HTTP/2",
    ),
    Magic(
        PREFIX + "0002",
        ResetStream(code="INTERNAL_ERROR"),
        "RST_STREAM with INTERNAL_ERROR (2), over HTTP/2",
    ),
    Magic(
        PREFIX + "90a0",
        GoAway(last_stream="before"),
        "GOAWAY `Shutdown`, the push not processed, over HTTP/2",
    ),
    Magic(
        PREFIX + "90a1",
        GoAway(last_stream="at"),
        "GOAWAY `Shutdown`, the push processed and answered, over HTTP/2",
    ),
    Magic(PREFIX + "c105", TcpReset(), "the connection is reset"),
    Magic(PREFIX + "1057", Lose(), "200, and it never arrives"),
    Magic(PREFIX + "2222", Duplicate(), "a connected device gets it twice"),
    Magic(PREFIX + "d15c", DisconnectDevice(), "a connected device gets it and is disconnected"),
)


def magic_rules() -> tuple[Rule, ...]:
    """A rule for each of them."""
    return tuple(
        Rule(
            name=f"magic-{each.token_prefix}",
            match=Match(token_prefix=each.token_prefix),
            action=each.action,
        )
        for each in MAGIC
    )
