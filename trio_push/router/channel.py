"""The push channel: the one way from intake to the router.

While nothing waits in it a submission is written through: routed in its caller's turn, which
costs a third of waking the router's task and being woken by it. A slice at a time; then
submissions queue until everybody else has had a turn. Bounded, so that a provider is slowed
down and not buffered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from trio_push.errors import Refusal
from trio_push.push import Push, State
from trio_push.wire.reasons import SERVICE_UNAVAILABLE, SHUTDOWN

#: submissions, each one read from one provider's connection. Beyond it providers wait: at
#: 25 µs a push this is a few tens of milliseconds of work.
CAPACITY = 1024
#: pushes routed before other tasks get a turn: 2 ms
SLICE = 200


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

    __slots__ = ("_waiting", "outcomes", "pushes")

    def __init__(self, pushes: Sequence[Push]) -> None:
        self.pushes = pushes
        #: where each push got to, in order, once that is what was promised
        self.outcomes: list[State] | None = None
        self._waiting: trio.lowlevel.Task | None = None

    def settle(self, outcomes: list[State]) -> None:
        """Called by the router, once: the promised level is reached for every push."""
        self.outcomes = outcomes
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)

    async def wait_settled(self) -> list[State]:
        """Where each push got to, in order."""
        if self.outcomes is None:
            self._waiting = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._give_up)
        assert self.outcomes is not None
        return self.outcomes

    def _give_up(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED


#: routes a submission without waiting, and settles it then or later
Route = Callable[[Submission], None]


class PushChannel:
    """Takes pushes from every intake; the router serves the other end."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Submission](CAPACITY)
        self._closed = False
        self._route: Route | None = None
        #: pushes that may still be written through before others get a turn
        self._budget = 0

    async def serve(self, route: Route) -> None:
        """Route what is submitted, in order, until the channel is closed and empty."""
        self._route = route
        try:
            while True:
                await self._route_waiting(route)
                self._budget = SLICE
                route(await self._receive.receive())
        except trio.EndOfChannel:
            return
        finally:
            self._budget = 0

    async def _route_waiting(self, route: Route) -> None:
        """Empty the channel; what is submitted meanwhile queues behind it."""
        routed = 0
        with suppress(trio.WouldBlock):
            while True:
                submission = self._receive.receive_nowait()
                route(submission)
                routed += len(submission.pushes)
                if routed >= SLICE:
                    routed = 0
                    await trio.lowlevel.checkpoint()

    async def submit(self, pushes: Sequence[Push]) -> list[State]:
        """Hand in pushes and wait until each is where the reply promises it to be.

        Returns a State per push, in order; LOST for one that is to be refused: see
        `check_kept`. Raises Refusal(SHUTDOWN) once closed. Cancelled
        while it waits for room, nothing was accepted; cancelled later, all of it was. A
        checkpoint only when it waits.
        """
        if self._closed:
            raise Refusal(SHUTDOWN)
        submission = Submission(pushes)
        if self._budget > 0:
            assert self._route is not None
            self._budget -= len(pushes)
            self._route(submission)
        else:
            await self._queue(submission)
        return submission.outcomes or await submission.wait_settled()

    async def _queue(self, submission: Submission) -> None:
        try:
            self._send.send_nowait(submission)
        except trio.WouldBlock:
            try:
                await self._send.send(submission)
            except trio.ClosedResourceError:
                raise Refusal(SHUTDOWN) from None

    def close(self) -> None:
        """Accept nothing more; what was handed in is still routed."""
        self._closed = True
        self._send.close()
