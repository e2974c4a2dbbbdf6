"""Lines of `POST /v1/pushes` to pushes, and what became of them back to lines.

A line that is wrong harms no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from trio_push.api.models import LineAnswer, PushAnswer, Result
from trio_push.api.ndjson import MAX_LINE_BYTES, Line
from trio_push.api.problems import Invalid, problem_of
from trio_push.api.pusher import Pusher, repeated
from trio_push.api.requests import decode, line_decoder, single_token
from trio_push.errors import Refusal
from trio_push.router.channel import check_kept

if TYPE_CHECKING:
    from trio_push.api.idempotency import Claim
    from trio_push.engine.contract import RequestId
    from trio_push.push import Push, State

_encoder: Final = msgspec.json.Encoder()


class _Row(NamedTuple):
    """A line that is to be pushed, and the claim on its id if it has one."""

    number: int
    push: Push
    claim: Claim[PushAnswer] | None


class Batch:
    """Some lines that are handed in together."""

    def __init__(self, pusher: Pusher, lines: Sequence[Line]) -> None:
        self._pusher = pusher
        self._lines = lines
        self._answers: dict[int, LineAnswer] = {}
        #: lines with ids that were claimed before, here or at another node
        self._repeated: list[tuple[int, Claim[PushAnswer]]] = []
        self._repeated_elsewhere: list[tuple[_Row, RequestId]] = []

    async def push(self) -> bytes:
        """Push all of them; returns a line for each, in order."""
        rows = [row for line in self._lines if (row := self._read(line)) is not None]
        await self._push_new(await self._new_everywhere(rows))
        # After the new ones are settled, or two lines of one id would wait for each other.
        for row, known in self._repeated_elsewhere:
            assert row.claim is not None
            await self._repeat(row.number, self._pusher.elsewhere.repeated(row.claim, known))
        for number, claim in self._repeated:
            await self._repeat(number, repeated(claim))
        return _encoder.encode_lines([self._answers[line.number] for line in self._lines])

    def _read(self, line: Line) -> _Row | None:
        """What is to be pushed, unless the line is refused, or repeats another."""
        try:
            if line.data is None:
                raise Invalid(f"the line has more than {MAX_LINE_BYTES} bytes", status=413)
            request = decode(line_decoder, line.data)
            push = self._pusher.push_of(request, single_token(request))
            claim, is_mine = self._pusher.claim(request, push)
        except (Refusal, Invalid) as error:
            self._refuse(line.number, error)
            return None
        if claim is not None and not is_mine:
            self._repeated.append((line.number, claim))
            return None
        return _Row(line.number, push, claim)

    async def _new_everywhere(self, rows: list[_Row]) -> list[_Row]:
        """Those that no other node has had."""
        claims = [row.claim for row in rows if row.claim is not None]
        if not claims:
            return rows
        try:
            known = dict(zip(claims, await self._pusher.elsewhere.take(claims), strict=True))
        except Refusal as refusal:
            for row in rows:
                if row.claim is not None:
                    self._refuse(row.number, refusal)
            return [row for row in rows if row.claim is None]
        new = []
        for row in rows:
            if row.claim is not None and (found := known[row.claim]) is not None:
                self._repeated_elsewhere.append((row, found))
            else:
                new.append(row)
        return new

    async def _push_new(self, rows: list[_Row]) -> None:
        claims = [row.claim for row in rows if row.claim is not None]
        try:
            rows = [row for row in rows if self._passes(row)]
            states = await self._pusher.submit([row.push for row in rows]) if rows else []
        except Refusal as refusal:
            for row in rows:
                self._drop(row, refusal)
        except BaseException:
            for claim in claims:
                self._pusher.forget(claim)
            raise
        else:
            for row, state in zip(rows, states, strict=True):
                self._judge(row, state)
        await self._pusher.elsewhere.tell(claims)

    def _passes(self, row: _Row) -> bool:
        try:
            self._pusher.check(row.push)
        except Refusal as refusal:
            self._drop(row, refusal)
            return False
        return True

    def _judge(self, row: _Row, state: State) -> None:
        try:
            check_kept(state)
        except Refusal as refusal:
            self._drop(row, refusal)
        else:
            self._accept(row, state)

    def _drop(self, row: _Row, refusal: Refusal) -> None:
        if row.claim is not None:
            self._pusher.forget(row.claim)
        self._refuse(row.number, refusal)

    def _accept(self, row: _Row, state: State) -> None:
        outcome, reason, push = state.outcome, state.reason, row.push
        self._answers[row.number] = LineAnswer(row.number, push.id, outcome, reason)
        if row.claim is not None:
            result = Result(push.token, outcome, reason)
            self._pusher.settle(row.claim, PushAnswer(push.id, {outcome: 1}, [result]))

    async def _repeat(self, number: int, answered: Awaitable[PushAnswer]) -> None:
        try:
            answer = await answered
        except (Refusal, Invalid) as error:
            self._refuse(number, error)
        else:
            result = answer.results[0]
            self._answers[number] = LineAnswer(
                number, answer.id, result.outcome, result.reason, duplicate=True
            )

    def _refuse(self, number: int, error: Refusal | Invalid) -> None:
        self._pusher.count_refused(error)
        self._answers[number] = LineAnswer(number, error=problem_of(error))
