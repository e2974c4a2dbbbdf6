"""A request on its way, and what one attempt at it came to. Internal to the client.

A session (HTTP/2 or HTTP/1.1) takes flights and returns fates; the client makes results of them,
or tries again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import orjson

from trio_push.apns.request import Outcome, Request

if TYPE_CHECKING:
    from trio_push.apns.connection import Connection

#: the longest body of an answer that is kept: Apple's have 60 bytes
MAX_ANSWER_BYTES: Final = 16 * 1024


class Flight:
    """A request that was taken and has no result yet."""

    __slots__ = ("attempts", "began_at", "connection", "last", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        #: how often it was sent
        self.attempts = 0
        #: the connection that it is on, the time it went there
        self.connection: Connection | None = None
        self.began_at = 0.0
        #: what the last attempt came to
        self.last: Fate | None = None


class Fate(NamedTuple):
    """What came of an attempt."""

    flight: Flight
    outcome: Outcome
    status: int = 0
    reason: str = ""
    id: str | None = None
    timestamp_ms: int | None = None
    retry_after_s: float | None = None


class Session(Protocol):
    """The protocol of one connection: flights and bytes in, bytes and fates out. No I/O.

    Take `data_to_send` after every call.
    """

    #: no more flights are taken: the peer or we are leaving
    closing: bool
    #: why the connection ends, as far as the peer said
    farewell: str
    #: flights without a fate, the oldest first
    flights: dict[int, Flight]

    @property
    def room(self) -> int:
        """How many flights may be started now."""

    @property
    def capacity(self) -> int:
        """How many there may be at once."""

    def start(self, flight: Flight, authorization: bytes | None) -> None:
        """Send a request. Only where there is `room`."""

    def drop(self, flight: Flight) -> None:
        """Want no answer any more: the flight has no fate here."""

    def receive(self, data: bytes) -> list[Fate]:
        """Take what the peer sent; b"" is its end. Raises ProtocolError."""

    def data_to_send(self) -> bytes: ...

    def ping(self) -> None:
        """Ask whether the peer is there, if the protocol can."""

    def close(self) -> None:
        """Say that we are leaving; what is open is still answered."""


def answered(flight: Flight, status: int, body: bytes, id: str | None, retry: str | None) -> Fate:
    """The fate that an answer says."""
    if status == 200:
        return Fate(flight, Outcome.ACCEPTED, 200, "", id)
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    reason = said.get("reason") if isinstance(said, dict) else None
    since = said.get("timestamp") if isinstance(said, dict) else None
    return Fate(
        flight,
        Outcome.REFUSED,
        status,
        reason if isinstance(reason, str) else f"status {status}",
        id,
        since if isinstance(since, int) else None,
        float(retry) if retry is not None and retry.isascii() and retry.isdigit() else None,
    )
