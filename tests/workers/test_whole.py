from __future__ import annotations

import os
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_push.config import ServeSettings
from trio_push.errors import Refusal
from trio_push.push import State
from trio_push.watch.ledger import Ledger
from trio_push.watch.whole import Answer
from trio_push.workers.messages import Answers, Fork, Heard, Message, Question
from trio_push.workers.scoreboard import Column, Scoreboard, bury
from trio_push.workers.whole import Workers

ORDER = Fork(key=1, place=1, row=1, rows=3, whole="all", settings=ServeSettings(), plain=1, tls=0)


class FakeLink:
    def __init__(self) -> None:
        self.said: list[Message] = []
        self.open = True

    def send(self, message: Message) -> bool:
        self.said.append(message)
        return self.open


@pytest.fixture
def board() -> Scoreboard:
    board, fd = Scoreboard.create(3)
    os.close(fd)
    for row in board.rows[1:]:
        row[Column.TAKEN] = 1
    return board


def whole_of(board: Scoreboard, link: FakeLink) -> Workers:
    faked: Any = link
    return Workers(ORDER, faked, board)


async def test_what_all_say_comes_back_to_who_asked(board: Scoreboard) -> None:
    link = FakeLink()
    whole = whole_of(board, link)
    Ledger(board.rows[2].counts).enter(State.STORED, 3)
    found: dict[str, Any] = {}

    async def ask(kind: str) -> None:
        found[kind] = await whole.ask(kind, b"?")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "a")
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, "b")
        await wait_all_tasks_blocked()
        first, second = link.said
        assert isinstance(first, Question)
        assert isinstance(second, Question)
        whole.take_answers(Answers(second.id, []))
        whole.take_answers(Answers(first.id, [Heard(1, 1, "n1", b"1"), Heard(2, 2, "n2", None)]))
    assert found["b"].heard == []
    assert found["a"].heard == [Answer(1, "n1", b"1")]
    [silent] = found["a"].silent
    assert silent.accepted == silent.counts[State.STORED] == 3


async def test_without_a_parent_nothing_is_known(
    board: Scoreboard, autojump_clock: MockClock
) -> None:
    link = FakeLink()
    whole = whole_of(board, link)
    with pytest.raises(Refusal, match="parent"):
        await whole.ask("k", timeout_s=1)
    assert trio.current_time() == 2
    assert isinstance(link.said[0], Question)
    whole.take_answers(Answers(link.said[0].id, []))  # too late
    link.open = False
    with pytest.raises(Refusal, match="parent"):
        await whole.ask("k", timeout_s=1)
    assert trio.current_time() == 2


def test_figures_are_those_of_the_scoreboard(board: Scoreboard) -> None:
    whole = whole_of(board, FakeLink())
    for row, n in zip(board.rows[1:], (1, 2), strict=True):
        Ledger(row.counts).enter(State.DELIVERED_LIVE, n)
        row[Column.DEVICES] = 10 * n
    assert [(each.devices, each.accepted) for each in whole.figures()] == [(10, 1), (20, 2)]
    bury(board.rows[2], board.past)
    assert len(whole.figures()) == 1
    assert whole.past().accepted == 2
