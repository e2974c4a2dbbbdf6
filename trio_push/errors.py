"""The one error tree.

PushError
├── ConfigError         a setting is wrong: names the setting and the remedy; exit code 2
├── Refusal             a push or a device was refused: carries status and reason
├── ProtocolError       the peer broke the protocol: the connection ends, nothing else does
├── StoreFailed         the durable store cannot be written now: what needs it is refused
└── Unreachable         a server we were told to talk to does not answer; exit code 2
"""

from __future__ import annotations

from collections.abc import Iterator

from trio_push.wire.reasons import Reason


class PushError(Exception):
    """Root of everything that trio-push raises on purpose."""


class ConfigError(PushError):
    """A setting cannot be used; the message names the setting and says what to do."""


class Refusal(PushError):
    """A push or a device is refused; nothing of it was accepted.

    `timestamp_ms` (epoch milliseconds) is set with `Unregistered` and says since when;
    `retry_after_s` is set where trying again later makes sense.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        *,
        timestamp_ms: int | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail or reason.trigger)
        self.reason = reason
        self.timestamp_ms = timestamp_ms
        self.retry_after_s = retry_after_s

    @property
    def status(self) -> int:
        return self.reason.status


class ProtocolError(PushError):
    """The peer sent what its protocol does not allow.

    `status` is the HTTP status to answer with while an answer is still possible.
    """

    def __init__(self, detail: str, *, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


class StoreFailed(PushError):
    """The durable store cannot be written; the message says why. It is tried again."""


class Unreachable(PushError):
    """A server does not answer; the message names its address."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups; of what is no group, itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error
