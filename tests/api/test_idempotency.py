from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_push.api.idempotency import Ids
from trio_push.api.problems import Invalid


def remember(ids: Ids[str], id: str, now: float = 0, outcomes: int = 1) -> None:
    claim, is_mine = ids.claim(id, b"f", now)
    assert is_mine
    ids.settle(claim, f"answer to {id}", now, outcomes=outcomes)


def is_free(ids: Ids[str], id: str, now: float = 0) -> bool:
    claim, is_mine = ids.claim(id, b"f", now)
    if is_mine:
        ids.forget(claim)
    return is_mine


async def test_a_repeated_id_gets_the_first_answer() -> None:
    ids: Ids[str] = Ids()
    remember(ids, "a")
    claim, is_mine = ids.claim("a", b"f", 1)
    assert not is_mine
    assert await claim.wait_answer() == "answer to a"


async def test_meanwhile_others_wait(nursery: trio.Nursery) -> None:
    ids: Ids[str] = Ids()
    answers: list[str | None] = []

    async def repeat() -> None:
        claim, is_mine = ids.claim("a", b"f", 0)
        assert not is_mine
        answers.append(await claim.wait_answer())

    claim, _ = ids.claim("a", b"f", 0)
    nursery.start_soon(repeat)
    await wait_all_tasks_blocked()
    assert answers == []
    ids.settle(claim, "answer", 0)
    await wait_all_tasks_blocked()
    assert answers == ["answer"]


async def test_what_failed_is_forgotten(nursery: trio.Nursery) -> None:
    ids: Ids[str] = Ids()
    claim, _ = ids.claim("a", b"f", 0)
    waiting, _ = ids.claim("a", b"f", 0)
    ids.forget(claim)
    assert await waiting.wait_answer() is None
    assert is_free(ids, "a")
    assert len(ids) == 0


@pytest.mark.parametrize("settled", [False, True])
def test_a_different_request_with_the_id_is_a_conflict(settled: bool) -> None:
    ids: Ids[str] = Ids()
    claim, _ = ids.claim("a", b"f", 0)
    if settled:
        ids.settle(claim, "answer", 0)
    with pytest.raises(Invalid, match="different") as caught:
        ids.claim("a", b"g", 0)
    assert caught.value.status == 409


def test_the_oldest_go_first() -> None:
    ids: Ids[str] = Ids(capacity=3)
    for id in "abcd":
        remember(ids, id)
    assert is_free(ids, "a")
    assert not is_free(ids, "b")
    remember(ids, "e", outcomes=2)
    assert [is_free(ids, id) for id in "bcde"] == [True, True, False, False]
    remember(ids, "f", outcomes=1000)
    assert not is_free(ids, "f"), "the latest is kept, however many devices it had"
    assert len(ids) == 1


def test_they_go_in_time() -> None:
    ids: Ids[str] = Ids(ttl_s=60)
    remember(ids, "a", now=0)
    remember(ids, "b", now=30)
    assert not is_free(ids, "a", now=59.9)
    assert is_free(ids, "a", now=60)
    assert not is_free(ids, "b", now=60)
    assert is_free(ids, "b", now=90)
    assert len(ids) == 0
