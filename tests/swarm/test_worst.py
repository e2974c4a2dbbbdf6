from __future__ import annotations

import pytest

from trio_push.swarm.audit import Audit
from trio_push.swarm.stamp import Stamp
from trio_push.swarm.worst import NAMED, Worst, worst_among, worst_of

TOKENS = ["aa", "bb", "cc"]


def audited(*received: list[int]) -> Audit:
    """Of three pushes to each device, the numbers that it received."""
    audit = Audit(len(received))
    for device, numbers in enumerate(received):
        for _ in range(3):
            audit.plan(device)
            audit.accept()
        for n in numbers:
            audit.receive(device, Stamp(device, n, 0.0), 0.0)
    return audit


@pytest.mark.parametrize(
    ("received", "lost", "expected"),
    [
        (([1, 2, 3], [1, 2, 3], [1, 2, 3]), 0, []),
        (([1, 2, 3], [1, 1, 3, 2, 2], [1, 2, 3, 3]), 0, [("bb", 0, 2, 1), ("cc", 0, 1, 0)]),
        # without losses the ledger has explained what was not seen
        (([], [1], [1, 2, 3]), 0, []),
        (([], [1], [1, 2, 3]), 1, [("aa", 3, 0, 0), ("bb", 2, 0, 0)]),
        (([1, 2, 3], [1], [1, 3, 2, 1, 1]), 2, [("cc", 0, 2, 1), ("bb", 2, 0, 0)]),
    ],
)
def test_worst(
    received: tuple[list[int], ...], lost: int, expected: list[tuple[str, int, int, int]]
) -> None:
    found = worst_of(audited(*received), TOKENS, lost=lost, missing_marks={})
    assert found == [Worst(*each) for each in expected]


def test_marks_that_were_not_heard_of_are_unseen_too() -> None:
    audit = audited([1, 2], [1, 2, 3])
    found = worst_of(audit, TOKENS, lost=3, missing_marks={0: 1, 1: 1})
    assert found == [Worst("aa", 2, 0, 0), Worst("bb", 1, 0, 0)]
    assert worst_of(audit, TOKENS, lost=0, missing_marks={0: 1}) == []


def test_a_few_are_named() -> None:
    found = worst_among(Worst(f"{n:02x}", 0, n, 0) for n in range(50))
    assert [each.duplicate for each in found] == list(range(49, 49 - NAMED, -1))
