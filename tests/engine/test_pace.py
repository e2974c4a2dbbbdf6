"""How long a node rests: by how long answers take, and how many nodes there are."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_push.engine.members import Members
from trio_push.engine.memory import MemoryShared
from trio_push.engine.pace import BEATS_S, rest


def nodes(count: int, answer_s: float) -> tuple[MemoryShared, Members]:
    shared = MemoryShared()
    shared.answer_s = answer_s
    members = Members(shared, "0")
    members.living = frozenset(map(str, range(count)))
    return shared, members


@pytest.mark.parametrize(
    ("count", "answer_s", "beat_s"),
    [
        (1, 0.0, BEATS_S[0]),
        (2, 0.000_3, BEATS_S[0]),
        (2, 0.001, BEATS_S[2]),
        (16, 0.000_5, BEATS_S[4]),
        (16, 0.001_1, BEATS_S[5]),
        (100, 5.0, BEATS_S[-1]),
    ],
)
async def test_a_rest(
    autojump_clock: MockClock, count: int, answer_s: float, beat_s: float
) -> None:
    shared, members = nodes(count, answer_s)
    await rest(shared, members)
    began = trio.current_time()
    await rest(shared, members)
    assert trio.current_time() - began == pytest.approx(beat_s)


async def test_all_parts_begin_together(autojump_clock: MockClock) -> None:
    """Whenever they stopped, and also if answers took a little longer or shorter then."""
    ended = []

    async def part(stops_after_s: float, answer_s: float) -> None:
        await trio.sleep(stops_after_s)
        await rest(*nodes(16, answer_s))
        ended.append(trio.current_time())

    await trio.sleep(-trio.current_time() % BEATS_S[-1])
    async with trio.open_nursery() as nursery:
        for stops_after_s, answer_s in ((0.001, 0.001), (0.014, 0.000_6), (0.0245, 0.000_1)):
            nursery.start_soon(part, stops_after_s, answer_s)
    assert ended[0] == pytest.approx(ended[1]) == pytest.approx(ended[2])
