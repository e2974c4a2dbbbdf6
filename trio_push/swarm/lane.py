"""A lane: one connection that pushes are sent on, in order, whatever protocol it speaks.

The pushes of a device always take the same lane: what arrives out of order was put out of
order by the server.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import orjson
import trio

from trio_push.swarm.http1 import Answer, Http1Connection


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

    def leave_unanswered(self, to: int, n: int) -> None: ...


async def one_by_one(
    connection: Http1Connection,
    pushes: trio.MemoryReceiveChannel[Planned],
    plan: Plan,
    request: Callable[[Planned], bytes],
    settle: Callable[[Planned, Answer], None],
) -> None:
    """Be a lane that sends a push when the one before has its answer, which `settle` takes."""
    try:
        async for push in pushes:
            answer = await connection.ask(
                request(push),
                unsent=partial(plan.leave_unsent, push.to, push.n),
                unanswered=partial(plan.leave_unanswered, push.to, push.n),
            )
            if answer is not None:
                settle(push, answer)
    finally:
        connection.close()


def refusal(status: int, body: bytes) -> str:
    """Why a push was refused: the reason in Apple's JSON, or else the status."""
    try:
        reason = orjson.loads(body)["reason"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        reason = None
    return reason if isinstance(reason, str) else f"status {status}"
