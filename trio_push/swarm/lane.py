"""A lane: one connection that pushes are sent on, in order, whatever protocol it speaks.

The pushes of a device always take the same lane: what arrives out of order was put out of
order by the server.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import orjson
import trio


class Planned(NamedTuple):
    """A push to send: the `n`th for the device `to`."""

    to: int
    n: int
    token: str
    payload: bytes


class Lane(Protocol):
    """Sends pushes and tells the audit the fate of each one."""

    #: how long the server is asked to hold each push
    delay_s: float

    async def run(self, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        """Send until `pushes` ends. Opens its connection itself, and again when it broke.

        Cancelled, those on the way are reported unanswered; what is left in `pushes` is not.
        """


class Plan(Protocol):
    """Where the driver plans its pushes: the audit, or what stands before it."""

    def plan(self, to: int) -> int:
        """Plan one more push and return its number."""

    def leave_unsent(self, to: int, n: int) -> None: ...


def refusal(status: int, body: bytes) -> str:
    """Why a push was refused: the reason in Apple's JSON, or else the status."""
    try:
        reason = orjson.loads(body)["reason"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        reason = None
    return reason if isinstance(reason, str) else f"status {status}"
