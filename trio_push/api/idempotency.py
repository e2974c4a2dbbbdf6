"""The ids that callers gave their pushes, remembered so that a repeated request pushes once.

Used by the pusher. Bounded: the last REMEMBERED outcomes, for no longer than REMEMBERED_S.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import trio

from trio_push.api.problems import Invalid
from trio_push.config import HOURS

#: outcomes remembered, one for each device of a request: some 40 MB at most
REMEMBERED: Final = 200_000
REMEMBERED_S: Final = 1 * HOURS

A = TypeVar("A")


class Claim(Generic[A]):
    """An id, and the answer to the request that had it first."""

    __slots__ = ("_done", "answer", "at", "fingerprint", "id", "outcomes")

    def __init__(self, id: str, fingerprint: bytes) -> None:
        self.id = id
        self.fingerprint = fingerprint
        #: None until settled, and when nothing came of it
        self.answer: A | None = None
        self.outcomes = 0
        #: when it was settled
        self.at = 0.0
        self._done = trio.Event()

    def end(self) -> None:
        self._done.set()

    async def wait_answer(self) -> A | None:
        """The answer to the first request, or None when nothing was pushed."""
        await self._done.wait()
        return self.answer


class Ids(Generic[A]):
    """Which ids are taken. `now` is any clock that only goes forward, in seconds."""

    def __init__(self, capacity: int = REMEMBERED, ttl_s: float = REMEMBERED_S) -> None:
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._pending: dict[str, Claim[A]] = {}
        #: in the order of settling, so that the first is the oldest
        self._settled: dict[str, Claim[A]] = {}
        self._outcomes = 0

    def __len__(self) -> int:
        return len(self._pending) + len(self._settled)

    def claim(self, id: str, fingerprint: bytes, now: float) -> tuple[Claim[A], bool]:
        """The claim on an id, and whether it is the caller's.

        Who owns it settles or forgets it; others wait for the answer. Raises Invalid when the
        id belongs to a different request.
        """
        self._expire(now)
        claim = self._pending.get(id) or self._settled.get(id)
        if claim is None:
            claim = self._pending[id] = Claim(id, fingerprint)
            return claim, True
        if claim.fingerprint != fingerprint:
            raise Invalid(f"the id {id!r} was used for a different push", status=409)
        return claim, False

    def settle(self, claim: Claim[A], answer: A, now: float, *, outcomes: int = 1) -> None:
        """Remember the answer, at the cost of so many outcomes."""
        claim.answer, claim.outcomes, claim.at = answer, outcomes, now
        self._settled[claim.id] = self._pending.pop(claim.id)
        self._outcomes += outcomes
        while self._outcomes > self._capacity and len(self._settled) > 1:
            self._drop_oldest()
        claim.end()

    def forget(self, claim: Claim[A]) -> None:
        """Nothing was pushed: the id is free again. A claim that was settled stays."""
        if self._pending.get(claim.id) is claim:
            del self._pending[claim.id]
        claim.end()

    def _expire(self, now: float) -> None:
        while self._settled and self._oldest().at <= now - self._ttl_s:
            self._drop_oldest()

    def _oldest(self) -> Claim[A]:
        return next(iter(self._settled.values()))

    def _drop_oldest(self) -> None:
        claim = self._oldest()
        del self._settled[claim.id]
        self._outcomes -= claim.outcomes
