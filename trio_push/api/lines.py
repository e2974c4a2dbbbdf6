"""Lines of `POST /v1/pushes` to pushes, and what became of them back to lines.

A line that is wrong harms no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

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
    from trio_push.push import Push, State

_encoder: Final = msgspec.json.Encoder()


class Batch:
    """Some lines that are handed in together."""

    def __init__(self, pusher: Pusher, lines: Sequence[Line]) -> None:
        self._pusher = pusher
        self._lines = lines
        self._answers: dict[int, LineAnswer] = {}
        self._pushes: list[Push] = []
        #: for each push, its line and the claim on its id
        self._rows: list[tuple[int, Claim[PushAnswer] | None]] = []
        self._repeated: list[tuple[int, Claim[PushAnswer]]] = []

    async def push(self) -> bytes:
        """Push all of them; returns a line for each, in order."""
        await self._push_new()
        # After the new ones are settled, or two lines of one id would wait for each other.
        for number, claim in self._repeated:
            await self._repeat(number, claim)
        return _encoder.encode_lines([self._answers[line.number] for line in self._lines])

    async def _push_new(self) -> None:
        try:
            for line in self._lines:
                self._read(line)
            states = await self._pusher.submit(self._pushes) if self._pushes else []
        except Refusal as refusal:
            self._free_ids()
            for number, _ in self._rows:
                self._refuse(number, refusal)
        except BaseException:
            self._free_ids()
            raise
        else:
            for row, push, state in zip(self._rows, self._pushes, states, strict=True):
                self._judge(*row, push, state)

    def _judge(
        self, number: int, claim: Claim[PushAnswer] | None, push: Push, state: State
    ) -> None:
        try:
            check_kept(state)
        except Refusal as refusal:
            if claim is not None:
                self._pusher.forget(claim)
            self._refuse(number, refusal)
        else:
            self._accept(number, claim, push, state)

    def _read(self, line: Line) -> None:
        """Find out what to do with a line: push it, repeat an answer, or refuse it."""
        try:
            if line.data is None:
                raise Invalid(f"the line has more than {MAX_LINE_BYTES} bytes", status=413)
            request = decode(line_decoder, line.data)
            push = self._pusher.push_of(request, single_token(request))
            claim, is_mine = self._pusher.claim(request, push)
            if claim is not None and not is_mine:
                self._repeated.append((line.number, claim))
            else:
                self._check(push, claim)
                self._pushes.append(push)
                self._rows.append((line.number, claim))
        except (Refusal, Invalid) as error:
            self._refuse(line.number, error)

    def _check(self, push: Push, claim: Claim[PushAnswer] | None) -> None:
        try:
            self._pusher.check(push)
        except BaseException:
            if claim is not None:
                self._pusher.forget(claim)
            raise

    def _free_ids(self) -> None:
        for _, claim in self._rows:
            if claim is not None:
                self._pusher.forget(claim)

    def _accept(
        self, number: int, claim: Claim[PushAnswer] | None, push: Push, state: State
    ) -> None:
        outcome, reason = state.outcome, state.reason
        self._answers[number] = LineAnswer(number, push.id, outcome, reason)
        if claim is not None:
            result = Result(push.token, outcome, reason)
            self._pusher.settle(claim, PushAnswer(push.id, {outcome: 1}, [result]))

    async def _repeat(self, number: int, claim: Claim[PushAnswer]) -> None:
        try:
            answer = await repeated(claim)
        except Refusal as refusal:
            self._refuse(number, refusal)
        else:
            result = answer.results[0]
            self._answers[number] = LineAnswer(
                number, answer.id, result.outcome, result.reason, duplicate=True
            )

    def _refuse(self, number: int, error: Refusal | Invalid) -> None:
        self._pusher.count_refused(error)
        self._answers[number] = LineAnswer(number, error=problem_of(error))
