from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from trio_push.push import State
from trio_push.swarm.audit import Audit
from trio_push.swarm.books import (
    FaultCount,
    Reading,
    audit_alone,
    gained,
    parse_reading,
    reconcile,
    still_to_come,
    together,
    unheard_acks,
)
from trio_push.swarm.stamp import Stamp
from trio_push.watch.ledger import Ledger


def reading(
    accepted: int = 0,
    delivered: int = 0,
    *,
    stored: int = 0,
    balanced: bool = True,
    epoch: str = "e1",
    **ended: int,
) -> Reading:
    ends = dict.fromkeys(("coalesced", "expired", "discarded", "recalled", "lost", "dropped"), 0)
    return Reading(
        node="n1",
        epoch=epoch,
        accepted=accepted,
        open={"delayed": 0, "queued": 0, "stored": stored, "in_flight": 0},
        ended={"delivered": delivered, **ends, **ended},
        balanced=balanced,
    )


def audited(
    accepted: int = 0, received: int = 0, *, unanswered: int = 0, foreign: int = 0
) -> Audit:
    """One device that got the first `received` of its pushes, and `foreign` ones of others."""
    audit = Audit(1)
    for _ in range(accepted):
        audit.plan(0)
        audit.accept()
    for _ in range(unanswered):
        audit.leave_unanswered(0, audit.plan(0))
    for n in range(1, received + 1):
        audit.receive(0, Stamp(0, n, 0.0), 0.0)
    for _ in range(foreign):
        audit.receive(0, None, 0.0)
    return audit


#: what the server has seen in earlier runs
BEFORE = reading(100, 90, stored=4, coalesced=6)


def after(accepted: int, delivered: int, *, stored: int = 0, **more: Any) -> Reading:
    more["coalesced"] = more.get("coalesced", 0) + 6
    return reading(100 + accepted, 90 + delivered, stored=4 + stored, **more)


@pytest.mark.parametrize(
    ("now", "audit", "lost"),
    [
        (after(0, 0), audited(), 0),
        (after(10, 10), audited(10, 10), 0),
        # told by the ledger to have ended otherwise, or to be still open
        (after(10, 7, coalesced=2, expired=1), audited(10, 7), 0),
        (after(10, 7, discarded=1, dropped=1, recalled=1), audited(10, 7), 0),
        (after(10, 7, stored=3), audited(10, 7), 0),
        # no answer came: the server may have accepted it or not
        (after(10, 10), audited(10, 10, unanswered=2), 0),
        (after(11, 11), audited(10, 11, unanswered=2), 0),
        (after(12, 11, stored=1), audited(10, 11, unanswered=2), 0),
        # stored in an earlier run and delivered in this one
        (after(10, 12, stored=-2), audited(10, 10, foreign=2), 0),
        # we only listen; others push
        (after(50, 20, stored=30), audited(foreign=20), 0),
    ],
)
def test_balanced(now: Reading, audit: Audit, lost: int) -> None:
    books = reconcile(BEFORE, now, audit, audit.deliveries.received)
    assert (books.balanced, books.reasons, books.lost) == (True, (), lost)


ACCEPTED = "the server's ledger shows {} accepted pushes, its answers to us {}"
DELIVERED = "the server delivered {} pushes, the devices received {}; are other devices connected?"


@pytest.mark.parametrize(
    ("now", "audit", "lost", "reasons"),
    [
        (
            after(10, 10),
            audited(10, 8),
            2,
            [
                DELIVERED.format(10, 8),
                "2 pushes reached no device and nobody accounts for them",
            ],
        ),
        (
            after(10, 8),
            audited(10, 8),
            2,
            ["2 pushes reached no device and nobody accounts for them"],
        ),
        (
            after(10, 8, lost=2, balanced=True),
            audited(10, 8),
            2,
            ["2 pushes reached no device and nobody accounts for them"],
        ),
        (
            after(9, 10),
            audited(10, 10),
            0,
            [ACCEPTED.format(9, 10)],
        ),
        (
            after(13, 10, stored=3),
            audited(10, 10, unanswered=2),
            0,
            [ACCEPTED.format(13, "10 (2 unanswered); does somebody else push, too?")],
        ),
        (
            after(10, 9),
            audited(10, 10),
            0,
            ["the server delivered 9 pushes, the devices received 10"],
        ),
        (
            after(10, 10, balanced=False),
            audited(10, 10),
            0,
            ["the server's own ledger does not balance"],
        ),
        (
            after(50, 20),
            audited(foreign=18),
            2,
            [
                DELIVERED.format(20, 18),
                "2 pushes reached no device and nobody accounts for them",
            ],
        ),
        (
            reading(10, 10, epoch="e2"),
            audited(10, 10),
            0,
            ["the server was restarted during the run"],
        ),
    ],
)
def test_not_balanced(now: Reading, audit: Audit, lost: int, reasons: list[str]) -> None:
    books = reconcile(BEFORE, now, audit, audit.deliveries.received)
    assert (books.balanced, books.lost, list(books.reasons)) == (False, lost, reasons)


@pytest.mark.parametrize(
    ("delivered", "twice", "balanced"), [(10, 2, True), (12, 2, True), (13, 2, False)]
)
def test_what_a_server_brought_twice(delivered: int, twice: int, balanced: bool) -> None:
    """A node died, and another did again what the first may have done."""
    audit = audited(10, 10)
    for n in range(twice):
        audit.receive(0, Stamp(0, n + 1, 0.0), 0.0)
    assert reconcile(BEFORE, after(10, delivered), audit, 10).balanced is balanced


@pytest.mark.parametrize(
    ("accepted", "lost", "arrived", "balanced"),
    [
        (11, 1, 0, True),
        (11, 0, 1, True),
        (12, 1, 1, True),
        (12, 2, 2, True),
        (11, 0, 0, False),
        (13, 3, 0, False),
    ],
)
def test_what_was_under_way_when_a_store_failed(
    accepted: int, lost: int, arrived: int, balanced: bool
) -> None:
    """Two pushes were refused; the server had begun with them, and some of them arrived."""
    audit = audited(10, 10)
    refused = [audit.plan(0) for _ in range(2)]
    for n in refused:
        audit.refuse(0, n, "ServiceUnavailable")
    for n in refused[:arrived]:
        audit.receive(0, Stamp(0, n, 0.0), 0.0)
    received = audit.deliveries.received
    books = reconcile(BEFORE, after(accepted, received, lost=lost), audit, received)
    assert books.balanced is balanced


def test_misdelivered_pushes_unbalance() -> None:
    audit = audited(10, 10)
    audit.receive(0, Stamp(5, 1, 0.0), 0.0)
    books = reconcile(BEFORE, after(10, 10), audit, 10)
    assert books.reasons == ("1 pushes reached another device than theirs",)


@pytest.mark.parametrize(
    ("delivered", "balanced"), [(17, False), (18, True), (19, True), (20, True), (21, False)]
)
def test_while_others_go_on_pushing(delivered: int, balanced: bool) -> None:
    """The devices had 18 pushes when the ledger was asked, and have 20 after its answer."""
    books = reconcile(BEFORE, after(50, delivered), audited(foreign=20), 18)
    assert books.balanced is balanced


def test_a_ledger_that_has_gone_does_not_balance() -> None:
    books = reconcile(BEFORE, None, audited(10, 8), 8)
    assert (books.balanced, books.lost) == (False, 2)
    assert books.reasons == ("the server's ledger does not answer any more",)


def test_both_sides_are_shown() -> None:
    books = reconcile(BEFORE, after(10, 7, coalesced=2, stored=1), audited(10, 7), 7)
    assert books.as_json() == {
        "balanced": True,
        "server": {
            "accepted": 10,
            "delivered": 7,
            "coalesced": 2,
            "expired": 0,
            "discarded": 0,
            "recalled": 0,
            "lost": 0,
            "dropped": 0,
            "open": 1,
            "balanced": True,
        },
        "swarm": {"accepted": 10, "unanswered": 0, "received": 7, "lost": 0},
        "faults": {},
        "reasons": [],
    }


def test_alone() -> None:
    books = audit_alone(audited(10, 8), "no ledger")
    assert (books.balanced, books.server, books.lost) == (None, None, 2)
    assert books.as_json()["reasons"] == ["no ledger"]
    assert books.as_json()["faults"] == {}


def test_faults_on_demand_are_no_loss() -> None:
    before = structs.replace(BEFORE, faults=[FaultCount("a", "lose", 5)])
    counts = [
        FaultCount("a", "lose", 7),
        FaultCount("b", "lose", 1),
        FaultCount("c", "duplicate", 4),
        FaultCount("d", "delay", 0),
    ]
    now = structs.replace(after(10, 7, lost_by_fault=3), faults=counts)
    books = reconcile(before, now, audited(10, 7), 7)
    assert (books.balanced, books.lost) == (True, 0)
    assert books.as_json()["faults"] == {"lose": 3, "duplicate": 4}
    assert still_to_come(before, now, audited(10, 7)) == 0


def test_a_real_loss_is_one_beside_faults() -> None:
    books = reconcile(BEFORE, after(10, 7, lost_by_fault=2), audited(10, 7), 7)
    assert (books.balanced, books.lost) == (False, 1)


@pytest.mark.parametrize(
    ("now", "audit", "expected"),
    [
        (after(10, 10), audited(10, 10), 0),
        (after(10, 10), audited(10, 8), 2),
        (after(10, 8), audited(10, 8), 2),
        (after(10, 8, coalesced=2), audited(10, 8), 0),
        (after(10, 8, stored=2), audited(10, 8), 2),
        (after(20, 20), audited(foreign=15), 5),
        (after(20, 15, stored=5), audited(foreign=15), 0),
    ],
)
def test_still_to_come(now: Reading, audit: Audit, expected: int) -> None:
    assert still_to_come(BEFORE, now, audit) == expected


def test_reads_the_servers_ledger() -> None:
    ledger = Ledger()
    ledger.enter(State.DELIVERED_LIVE, 3)
    ledger.enter(State.STORED, 2)
    ledger.enter(State.DROPPED_MAILBOX_FULL)
    ledger.enter(State.COALESCED)
    held = {state: ledger.counts[state] for state in State if state.is_open}
    page = ledger.snapshot(held) | {"node": "n1", "epoch": "e1", "version": "1"}
    now = parse_reading(json.dumps(page).encode())
    assert now is not None
    assert now.balanced
    change = gained(reading(), now)
    assert (change["accepted"], change["delivered"], change["open"]) == (7, 3, 2)
    assert (change["dropped"], change["coalesced"]) == (1, 1)


@pytest.mark.parametrize("body", [b"", b"not found", b"{}", b"[]", b'{"accepted": "many"}'])
def test_what_is_no_ledger(body: bytes) -> None:
    assert parse_reading(body) is None


class TestAcknowledged:
    """Where devices acknowledge, pushes end as that; until then they are open, and seen."""

    def after(self, acknowledged: int, awaiting: int) -> Reading:
        after = reading(100 + acknowledged + awaiting, 90, stored=4, coalesced=6)
        after.open["awaiting_ack"] = awaiting
        return structs.replace(after, ended=after.ended | {"acknowledged": acknowledged})

    @pytest.mark.parametrize(
        ("acknowledged", "awaiting", "seen", "balanced"),
        [(5, 0, 5, True), (3, 2, 5, True), (0, 5, 5, True), (3, 2, 3, True), (5, 0, 4, False)],
    )
    def test_reconcile(self, acknowledged: int, awaiting: int, seen: int, balanced: bool) -> None:
        audit = audited(acknowledged + awaiting, seen)
        books = reconcile(BEFORE, self.after(acknowledged, awaiting), audit, seen)
        assert books.balanced is balanced, books

    def test_more_seen_than_awaits_its_word(self) -> None:
        books = reconcile(BEFORE, self.after(1, 1), audited(2, 2, foreign=1), 3)
        assert books.reasons == ("the server delivered 1 pushes, the devices received 3",)

    def test_still_to_come(self) -> None:
        assert still_to_come(BEFORE, self.after(5, 0), audited(5, 3)) == 2


class TestReadMarks:
    """News of what was read makes pushes on the server that the driver did not send."""

    @staticmethod
    def audit(due: int, seen: int, in_doubt: int = 0) -> Audit:
        """With ten pushes that were all received."""
        audit = audited(10, 10)
        deliveries = audit.deliveries
        deliveries.read_marks_due, deliveries.read_marks_in_doubt = due, in_doubt
        deliveries.read_marks = deliveries.read_marks_seen = seen
        return audit

    @pytest.mark.parametrize(
        ("now", "marks"),
        [
            (after(16, 16), (6, 6)),
            (after(16, 14, stored=2), (6, 4)),
            (after(16, 14, expired=2), (6, 4)),
            # told on a connection that broke: the server may have heard of it or not
            (after(14, 14), (6, 4, 2)),
            (after(16, 14, stored=2), (6, 4, 2)),
        ],
    )
    def test_balanced(self, now: Reading, marks: tuple[int, ...]) -> None:
        audit = self.audit(*marks)
        assert still_to_come(BEFORE, now, audit) == gained(BEFORE, now)["open"]
        books = reconcile(BEFORE, now, audit, audit.deliveries.received)
        assert (books.balanced, books.reasons, books.lost) == (True, (), 0)

    @pytest.mark.parametrize(
        ("now", "marks", "lost", "reason"),
        [
            # the server never made pushes of them
            (after(14, 14), (6, 4), 2, "its answers to us 10, beside 6 read marks"),
            (after(14, 14), (6, 4, 1), 1, "its answers to us 10, beside 6 read marks"),
            # it did, and they got lost
            (after(16, 16), (6, 4), 2, "2 pushes reached no device"),
            (after(16, 16), (6, 4, 2), 2, "2 pushes reached no device"),
            (after(17, 17), (6, 6), 0, "beside 6 read marks; does somebody else push, too?"),
        ],
    )
    def test_not_balanced(
        self, now: Reading, marks: tuple[int, ...], lost: int, reason: str
    ) -> None:
        audit = self.audit(*marks)
        books = reconcile(BEFORE, now, audit, audit.deliveries.received)
        assert (books.balanced, books.lost) == (False, lost)
        assert any(reason in each for each in books.reasons), books.reasons


class TestAcknowledgements:
    @staticmethod
    def audit(acknowledged: int, *, in_doubt: int = 0, foreign: int = 0) -> Audit:
        audit = audited(10, 10, foreign=foreign)
        audit.deliveries.acknowledged = acknowledged
        audit.deliveries.acks_in_doubt = in_doubt
        return audit

    @staticmethod
    def after(acknowledged: int) -> Reading:
        now = after(10, 0, acknowledged=acknowledged)
        return structs.replace(now, open={**now.open, "awaiting_ack": 10 - acknowledged})

    @pytest.mark.parametrize(
        ("heard", "audit"),
        [
            (10, audit(10)),
            # devices that acknowledge nothing
            (0, audit(0)),
            # words on connections that broke
            (7, audit(10, in_doubt=3)),
            (10, audit(12, in_doubt=3)),
            # others push as well, and some of theirs is always on the way
            (8, audit(12, foreign=2)),
        ],
    )
    def test_balanced(self, heard: int, audit: Audit) -> None:
        now, received = self.after(heard), audit.deliveries.received - audit.deliveries.foreign
        assert unheard_acks(BEFORE, now, audit, received) == 0
        books = reconcile(BEFORE, now, audit, received)
        assert (books.balanced, books.reasons, books.lost) == (True, (), 0)

    @pytest.mark.parametrize(("heard", "in_doubt", "unheard"), [(9, 0, 1), (0, 0, 10), (6, 3, 1)])
    def test_the_server_did_not_hear_of_all(self, heard: int, in_doubt: int, unheard: int) -> None:
        audit = self.audit(10, in_doubt=in_doubt)
        books = reconcile(BEFORE, self.after(heard), audit, 10)
        assert books.reasons == (
            f"{unheard} pushes were acknowledged and the server still waits for that",
        )


def test_nodes_with_books_of_their_own_are_named_when_something_is_amiss() -> None:
    audit = audited(accepted=10, received=10)
    one = structs.replace(after(6, 5), elsewhere=1)
    books = reconcile(BEFORE, one, audit, 10)
    assert books.balanced is False
    assert books.reasons[-1] == "other nodes have books of their own (1): give --api-url for each"
    both = together([one, structs.replace(reading(4, 5), elsewhere=1)])
    assert (both.nodes, both.elsewhere) == (2, 0)
    both = structs.replace(both, node=BEFORE.node, epoch=BEFORE.epoch)
    assert reconcile(BEFORE, both, audit, 10).balanced is True


def test_what_nodes_hand_over_to_each_other_did_not_end() -> None:
    first = reading(5, 2, handed_over=4)
    second = structs.replace(reading(0, 3), taken_over=3)
    both = together([first, second])
    assert (both.accepted, both.ended["delivered"]) == (5, 5)
    assert (both.ended["handed_over"], both.taken_over) == (1, 0)
