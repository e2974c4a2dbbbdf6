"""Replies wait here until what they promise outlives the process: one commit for all that wait.

The router hands in what recorded something in the journal. While one commit is under way the
next replies gather, so batches grow by themselves with load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import trio

from trio_push.config import SECONDS
from trio_push.errors import Refusal, StoreFailed
from trio_push.mailbox.journal import Journal
from trio_push.mailbox.offline import Offline
from trio_push.push import Push, State
from trio_push.router.directory import Directory
from trio_push.wire.reasons import SERVICE_UNAVAILABLE

#: where a push is that nothing but the store has
_HELD = (State.STORED, State.DELAYED, State.AWAITING_ACK)
#: time between two looks at how many numbers are used
_NUMBERS_S = 1 * SECONDS


class Settled(Protocol):
    """Pushes that came together: a Submission, or what another node sent."""

    @property
    def pushes(self) -> Sequence[Push]: ...

    def settle(self, outcomes: list[State], /) -> None: ...


class _Waiting(NamedTuple):
    submission: Settled
    outcomes: list[State]
    promised: bool


class Committer:
    """Settles submissions when the journal has them. `run` does it."""

    def __init__(self, journal: Journal, offline: Offline, directory: Directory) -> None:
        #: whether a device that is not here may be at another node
        self.is_shared = False
        self._journal = journal
        self._offline = offline
        self._directory = directory
        self._waiting: list[_Waiting] = []
        self._has_work = trio.Event()

    async def run(
        self,
        last_number: Callable[[], int],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Write the journal and settle, until cancelled; `last_number` is the last one used."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._journal.run)
            nursery.start_soon(self._settle_all)
            task_status.started()
            while self._journal.durable:
                self._journal.advance(last_number())
                await trio.sleep(_NUMBERS_S)

    async def _settle_all(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work = trio.Event()
            waiting, self._waiting = self._waiting, []
            try:
                await self._journal.commit()
            except StoreFailed:
                self._refuse(waiting)
            else:
                for submission, outcomes, _ in waiting:
                    submission.settle(outcomes)

    def _refuse(self, waiting: Sequence[_Waiting]) -> None:
        for each in waiting:
            if each.promised:
                self.settle(*each)  # it is tried again
            else:
                each.submission.settle(self._withdraw_all(each.submission.pushes, each.outcomes))

    # -- waiting for the disk

    def settle(self, submission: Settled, outcomes: list[State], promised: bool = False) -> None:
        """Settle a submission after the next commit; if `promised`, after one that succeeds.

        Nobody can be told any more that those are refused.
        """
        self._waiting.append(_Waiting(submission, outcomes, promised))
        self._has_work.set()

    async def committed(self, pushes: Sequence[Push], outcomes: Sequence[State]) -> list[State]:
        """Where these pushes are after the next commit."""
        try:
            await self._journal.commit()
        except StoreFailed:
            return self._withdraw_all(pushes, outcomes)
        return list(outcomes)

    async def commit(self) -> None:
        """Wait for the next commit. Raises Refusal when it fails; what was done stays done."""
        try:
            await self._journal.commit()
        except StoreFailed as failed:
            detail = f"done, but not written down yet: {failed}"
            raise Refusal(SERVICE_UNAVAILABLE, detail) from failed

    # -- a disk that does not take it

    def check(self, push: Push) -> None:
        """Raise Refusal when the push would have to be written and that is known to fail."""
        failure = self._journal.failure
        if failure is None:
            return
        is_away = self._directory.get(push.token) is None
        needs_store = push.wants_ack or push.not_before > 0
        if needs_store or (is_away and (push.storable or self.is_shared)):
            raise Refusal(SERVICE_UNAVAILABLE, f"the store cannot be written now: {failure}")

    def _withdraw_all(self, pushes: Sequence[Push], outcomes: Sequence[State]) -> list[State]:
        return [self._withdraw(*pair) for pair in zip(pushes, outcomes, strict=True)]

    def _withdraw(self, push: Push, state: State) -> State:
        """LOST, and held no longer, if it was at the mercy of the store; else where it is."""
        if state in _HELD:
            self._offline.withdraw(push)
            return State.LOST
        return State.LOST if state.is_open and push.wants_ack else state
