from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.swarm.audit import LATE_S, Audit
from trio_push.swarm.stamp import Stamp

AT = 1_700_000_000.0


def receive(audit: Audit, device: int, *numbers: int, after_s: float = 0.1) -> None:
    for n in numbers:
        audit.receive(device, Stamp(device, n, AT), AT + after_s)


def with_accepted(*, device: int = 0, count: int, devices: int = 2) -> Audit:
    audit = Audit(devices)
    for _ in range(count):
        audit.plan(device)
        audit.accept()
    return audit


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        #           distinct, duplicate, out_of_order, unseen
        ([1, 2, 3], (3, 0, 0, [])),
        ([], (0, 0, 0, [1, 2, 3])),
        ([1, 2], (2, 0, 0, [3])),
        ([1, 3], (2, 0, 0, [2])),
        ([3], (1, 0, 0, [1, 2])),
        ([1, 3, 2], (3, 0, 1, [])),
        ([3, 2, 1], (3, 0, 2, [])),
        ([1, 1, 2, 3], (3, 1, 0, [])),
        ([1, 2, 3, 1, 2, 3], (3, 3, 0, [])),
        ([3, 1, 1], (2, 1, 1, [2])),
    ],
)
def test_three_accepted_pushes(
    received: list[int], expected: tuple[int, int, int, list[int]]
) -> None:
    audit = with_accepted(count=3)
    receive(audit, 0, *received)
    seen = audit.deliveries
    unseen = [n for _, n in audit.unseen_pushes()]
    assert (seen.distinct, seen.duplicate, seen.out_of_order, unseen) == expected
    assert audit.unseen() == len(unseen)


def test_devices_are_counted_apart() -> None:
    audit = with_accepted(device=0, count=2)
    assert audit.plan(1) == 1
    audit.accept()
    receive(audit, 1, 1)
    assert list(audit.unseen_pushes()) == [(0, 1), (0, 2)]


def test_refused_and_unsent_pushes_need_not_arrive() -> None:
    audit = Audit(1)
    audit.refuse(0, audit.plan(0), "ServiceUnavailable")
    audit.leave_unsent(0, audit.plan(0))
    audit.plan(0)
    audit.accept()
    receive(audit, 0, 3)
    assert audit.unseen() == 0
    assert list(audit.unseen_pushes()) == []
    assert audit.pushes.reasons == {"ServiceUnavailable": 1}
    assert (audit.pushes.planned, audit.pushes.sent) == (3, 2)


def test_unanswered_push_may_arrive_or_not() -> None:
    audit = Audit(1)
    for _ in range(2):
        audit.leave_unanswered(0, audit.plan(0))
    audit.plan(0)
    audit.accept()
    receive(audit, 0, 2)
    assert audit.deliveries.distinct == 1
    assert audit.unseen() == 1
    assert list(audit.unseen_pushes()) == [(0, 3)]


def test_pushes_on_the_way() -> None:
    audit = Audit(1)
    audit.plan(0)
    assert audit.pushes.on_the_way == 1
    audit.accept()
    assert audit.pushes.on_the_way == 0


def test_late_is_more_than_a_second() -> None:
    audit = with_accepted(count=2)
    receive(audit, 0, 1, after_s=LATE_S)
    assert audit.deliveries.late == 0
    receive(audit, 0, 2, after_s=LATE_S + 0.01)
    assert audit.deliveries.late == 1
    assert audit.latency.count == 2


def test_a_duplicate_has_no_latency() -> None:
    audit = with_accepted(count=1)
    receive(audit, 0, 1, 1, after_s=5)
    assert (audit.latency.count, audit.deliveries.late) == (1, 1)


def test_pushes_of_others() -> None:
    audit = Audit(1)
    audit.receive(0, None, AT)
    assert (audit.deliveries.foreign, audit.deliveries.received) == (1, 1)
    assert audit.latency.count == 0


@pytest.mark.parametrize("stamp", [Stamp(1, 1, AT), Stamp(0, 2, AT), Stamp(9, 1, AT)])
def test_misdelivered(stamp: Stamp) -> None:
    audit = with_accepted(count=1)
    audit.receive(0, stamp, AT)
    assert (audit.deliveries.misdelivered, audit.deliveries.received) == (1, 0)
    assert audit.unseen() == 1


fates = st.lists(st.sampled_from(["accept", "refuse", "unanswered", "unsent"]), max_size=12)


@given(fates, st.data())
def test_agrees_with_a_plain_list(fates: list[str], data: st.DataObject) -> None:
    audit = Audit(1)
    settle = {
        "accept": lambda n: audit.accept(),
        "refuse": lambda n: audit.refuse(0, n, "why"),
        "unanswered": lambda n: audit.leave_unanswered(0, n),
        "unsent": lambda n: audit.leave_unsent(0, n),
    }
    for fate in fates:
        settle[fate](audit.plan(0))
    numbers = range(1, len(fates) + 1)
    received = data.draw(st.lists(st.sampled_from(numbers), max_size=20) if fates else st.just([]))
    receive(audit, 0, *received)

    counts = Counter(received)
    assert audit.deliveries.distinct == len(counts)
    assert audit.deliveries.duplicate == sum(counts.values()) - len(counts)
    accepted = [n for n in numbers if fates[n - 1] == "accept"]
    unseen = [n for n in accepted if n not in counts]
    assert list(audit.unseen_pushes()) == [(0, n) for n in unseen]
    assert audit.unseen() == len(unseen)
    assert audit.pushes.on_the_way == 0


@given(
    fates=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["accept", "refuse", "unanswered", "unsent"])),
        max_size=20,
    ),
    received=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 6)), max_size=30
    ),
    cut=st.integers(0, 6),
    seen_before_the_plan=st.integers(0, 30),
)
def test_audits_of_shares_add_up_to_one_of_all(
    fates: list[tuple[int, str]],
    received: list[tuple[int, int, int]],
    cut: int,
    seen_before_the_plan: int,
) -> None:
    """Whatever comes, and when: lost, duplicate and misdelivered are those of one process."""
    whole, driver = Audit(6), Audit(6)
    for audit in (whole, driver):
        settle = {
            "accept": lambda to, n, audit=audit: audit.accept(),
            "refuse": lambda to, n, audit=audit: audit.refuse(to, n, "why"),
            "unanswered": audit.leave_unanswered,
            "unsent": audit.leave_unsent,
        }
        for to, fate in fates:
            settle[fate](to, audit.plan(to))
    shares = [range(cut), range(cut, 6)]
    parts = [Audit(len(share), planned_elsewhere=True) for share in shares]

    def learn() -> None:
        for part, plan in zip(parts, driver.plans_of(shares), strict=True):
            part.learn(*plan)

    for i, (device, to, n) in enumerate(received):
        if i == seen_before_the_plan:
            learn()
        whole.receive(device, Stamp(to, n, AT), AT)
        part, first = (parts[0], 0) if device < cut else (parts[1], cut)
        part.receive(device - first, Stamp(to - first, n, AT), AT)
    if seen_before_the_plan >= len(received):
        learn()
    for part in parts:
        part.count_exempt()
    for name in ("distinct", "foreign", "late", "misdelivered", "exempt"):
        total = sum(getattr(part.deliveries, name) for part in parts)
        setattr(driver.deliveries, name, total)
    assert driver.unseen() == whole.unseen()
    made_up = sum(n > [to for to, _ in fates].count(to) for _, to, n in received)
    if not made_up:
        assert driver.deliveries.misdelivered == whole.deliveries.misdelivered
        duplicates = sum(part.deliveries.duplicate for part in parts)
        assert duplicates == whole.deliveries.duplicate


def test_numbers_beyond_the_plan_are_misdelivered() -> None:
    driver = with_accepted(count=2)
    audit = Audit(1, planned_elsewhere=True)
    receive(audit, 0, 1, 2, 4, 7)
    [plan] = driver.plans_of([range(1)])
    audit.learn(*plan)
    assert (audit.deliveries.distinct, audit.deliveries.misdelivered) == (2, 2)
