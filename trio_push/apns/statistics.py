"""What a client has done so far, as a record that does not change."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """`taken` = accepted + refused + unanswered + unsent + `open`, at every moment."""

    #: connections that take pushes, that are being opened, that finish what they have
    connections: int
    dialing: int
    retiring: int
    #: requests taken from the channel, and those of them without a result
    taken: int
    open: int
    #: of the open ones: on a connection, waiting for another attempt, with a result nobody took
    in_flight: int
    waiting: int
    undelivered: int
    #: how many may be in flight on the connections there are
    capacity: int
    accepted: int
    refused: int
    unanswered: int
    unsent: int
    #: attempts, and those that were not the first
    sent: int
    retried: int
    sent_bytes: int
    #: connections opened, and attempts to that failed
    dialed: int
    dial_failures: int
    #: seconds that requests waited for room on a connection, and results for a taker
    input_waited_s: float
    output_waited_s: float
