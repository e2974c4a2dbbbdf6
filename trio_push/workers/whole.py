"""The workers of one parent as one server, seen from one of them (see `watch/whole.py`).

Questions go through the parent, which asks every worker; figures stand on the scoreboard.
"""

from __future__ import annotations

from itertools import count

import trio

from trio_push.errors import Refusal
from trio_push.watch.whole import ANSWER_TIMEOUT_S, Answer, Figures
from trio_push.watch.whole import Answers as WholeAnswers
from trio_push.wire.reasons import SERVICE_UNAVAILABLE
from trio_push.workers.link import Link
from trio_push.workers.messages import Answers, Fork, Question
from trio_push.workers.scoreboard import Column, Row, Scoreboard


class Workers:
    """All workers of the parent."""

    def __init__(self, order: Fork, link: Link, board: Scoreboard) -> None:
        self.id = order.whole
        #: set when the parent lets this worker begin
        self.ready = False
        self._link = link
        self._board = board
        self._ids = count()
        self._waiting: dict[int, trio.MemorySendChannel[Answers]] = {}

    async def ask(
        self, kind: str, body: bytes = b"", *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> WholeAnswers:
        """Ask every worker, this one too. Raises Refusal when there is no parent to do so."""
        question = Question(next(self._ids), kind, body, timeout_s)
        send, receive = trio.open_memory_channel[Answers](1)
        self._waiting[question.id] = send
        try:
            # The parent has the answers in time; it may itself be slow to say so.
            with trio.fail_after(2 * timeout_s):
                if not self._link.send(question):
                    raise trio.TooSlowError
                answers = await receive.receive()
        except trio.TooSlowError:
            detail = "the parent of the workers does not answer"
            raise Refusal(SERVICE_UNAVAILABLE, detail) from None
        finally:
            del self._waiting[question.id]
        return WholeAnswers(
            [Answer(h.place, h.node, h.body) for h in answers.heard if h.body is not None],
            [_figures(self._board.rows[h.row]) for h in answers.heard if h.body is None],
        )

    def take_answers(self, answers: Answers) -> None:
        """The parent has asked; called by who hears the parent."""
        if answers.id in self._waiting:
            self._waiting[answers.id].send_nowait(answers)

    def figures(self) -> list[Figures]:
        return [_figures(row) for row in self._board.taken()]

    def past(self) -> Figures:
        return _figures(self._board.past)


def _figures(row: Row) -> Figures:
    return Figures(row[Column.DEVICES], tuple(row.counts), tuple(row.origins))
