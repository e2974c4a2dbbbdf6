"""The push channel: the one way from intake to the router.

Bounded, so that a provider is slowed down and not buffered. The router takes all that waits
at once: batches grow by themselves with load.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from trio_push.errors import Refusal
from trio_push.push import Push, State
from trio_push.wire.reasons import SERVICE_UNAVAILABLE, SHUTDOWN

#: submissions, each one read from one provider's connection. Beyond it providers wait: at
#: 25 µs a push this is a few tens of milliseconds of work.
CAPACITY = 1024


def check_kept(state: State) -> None:
    """Raise Refusal(SERVICE_UNAVAILABLE) for a push that was lost before it was promised.

    The store could not be written. To be asked of each state that `submit` returns.
    """
    if state is State.LOST:
        raise Refusal(SERVICE_UNAVAILABLE, "the store cannot be written now: send it again")


class Submission:
    """Pushes that one caller handed in together, and the way back to it.

    One task waits, so parking it costs half of what a trio.Event would, at every request.
    """

    __slots__ = ("_outcomes", "_waiting", "pushes")

    def __init__(self, pushes: Sequence[Push]) -> None:
        self.pushes = pushes
        self._outcomes: list[State] | None = None
        self._waiting: trio.lowlevel.Task | None = None

    def settle(self, outcomes: list[State]) -> None:
        """Called by the router when the promised level is reached for every push."""
        self._outcomes = outcomes
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)

    async def wait_settled(self) -> list[State]:
        """Where each push got to, in order."""
        if self._outcomes is None:
            self._waiting = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._give_up)
        assert self._outcomes is not None
        return self._outcomes

    def _give_up(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED


class PushChannel:
    """Takes pushes from every intake; the router holds the other end."""

    def __init__(self) -> None:
        self._send, self.receive_end = trio.open_memory_channel[Submission](CAPACITY)
        self._closed = False

    async def submit(self, pushes: Sequence[Push]) -> list[State]:
        """Hand in pushes and wait until each is where the reply promises it to be.

        Returns a State per push, in order; LOST for one that is to be refused: see
        `check_kept`. Raises Refusal(SHUTDOWN) once closed. Cancelled
        while it waits for room, nothing was accepted; cancelled later, all of it was.
        """
        if self._closed:
            raise Refusal(SHUTDOWN)
        submission = Submission(pushes)
        try:
            self._send.send_nowait(submission)
        except trio.WouldBlock:
            try:
                await self._send.send(submission)
            except trio.ClosedResourceError:
                raise Refusal(SHUTDOWN) from None
        return await submission.wait_settled()

    def close(self) -> None:
        """Accept nothing more; what was handed in is still routed."""
        self._closed = True
        self._send.close()
