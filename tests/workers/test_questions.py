from __future__ import annotations

from typing import Any, NamedTuple

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_push.workers.messages import Answers, Asked, Heard, Message, Question, Reply
from trio_push.workers.questions import METRICS, Questions

TIMEOUT_S = 2.0


class FakeLink:
    """Remembers what is said; `full`: its peer does not read."""

    def __init__(self, *, full: bool = False) -> None:
        self.said: list[Message] = []
        self._full = full

    def send(self, message: Message) -> bool:
        if not self._full:
            self.said.append(message)
        return not self._full

    def asked(self) -> Asked:
        message = self.said[-1]
        assert isinstance(message, Asked)
        return message


class FakeWorker(NamedTuple):
    place: int
    row: int
    node: str
    link: Any


def crew(*links: FakeLink) -> dict[int, Any]:
    return {n: FakeWorker(n, n, f"node{n}", link) for n, link in enumerate(links, 1)}


async def put(questions: Questions, workers: dict[int, Any], kind: str = "k") -> FakeLink:
    asker = FakeLink()
    await questions.put(Question(7, kind, b"?", TIMEOUT_S), asker, workers)  # type: ignore[arg-type]
    return asker


async def answer(questions: Questions, *workers: tuple[int, FakeLink, bytes | None]) -> None:
    await wait_all_tasks_blocked()
    for key, link, body in workers:
        questions.take_reply(key, Reply(link.asked().id, body))


async def test_all_are_asked_and_who_asks_hears_all(autojump_clock: MockClock) -> None:
    questions, one, two = Questions(), FakeLink(), FakeLink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, questions, (2, two, b"2"), (1, one, b"1"))
        asker = await put(questions, crew(one, two))
    assert trio.current_time() == 0
    assert (one.asked().kind, one.asked().body) == ("k", b"?")
    assert asker.said == [Answers(7, [Heard(1, 1, "node1", b"1"), Heard(2, 2, "node2", b"2")])]


async def test_who_is_silent_is_left_out_in_time(autojump_clock: MockClock) -> None:
    questions, one, silent, deaf = Questions(), FakeLink(), FakeLink(), FakeLink(full=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, questions, (1, one, b"1"))
        asker = await put(questions, crew(one, silent, deaf))
    assert trio.current_time() == TIMEOUT_S
    [answers] = asker.said
    assert isinstance(answers, Answers)
    assert [heard.body for heard in answers.heard] == [b"1", None, None]
    questions.take_reply(2, Reply(silent.asked().id, b"late"))


async def test_who_ends_is_not_waited_for(autojump_clock: MockClock) -> None:
    questions, one, dying = Questions(), FakeLink(), FakeLink()

    async def die() -> None:
        await answer(questions, (1, one, b"1"))
        questions.forget(2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(die)
        await put(questions, crew(one, dying))
    assert trio.current_time() == 0


async def test_deaths_are_counted(autojump_clock: MockClock) -> None:
    questions, alive = Questions(), FakeLink()
    questions.count_death()
    questions.count_death()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, questions, (1, alive, b""))
        asker = await put(questions, crew(alive), METRICS)
    [answers] = asker.said
    assert isinstance(answers, Answers)
    assert b"trio_push_worker_deaths_total 2.0" in (answers.heard[-1].body or b"")


async def test_counters_of_the_dead_are_added(autojump_clock: MockClock) -> None:
    questions = Questions()
    said = b"# TYPE a_total counter\na_total 5.0\n# TYPE g gauge\ng 3.0\n"
    seen, last = FakeLink(), FakeLink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, questions, (1, seen, said), (2, last, said))
        await put(questions, crew(seen, last), METRICS)
    questions.forget(1)
    questions.take_last(2, said.replace(b"5.0", b"6.0"))
    questions.forget(2)
    alive = FakeLink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, questions, (3, alive, said))
        asker = await put(questions, {3: FakeWorker(3, 3, "node3", alive)}, METRICS)
    [answers] = asker.said
    assert isinstance(answers, Answers)
    [_, past] = answers.heard
    assert (past.place, past.node) == (0, "")
    assert past.body is not None
    assert b"a_total 11.0" in past.body
    assert b"\ng " not in past.body
