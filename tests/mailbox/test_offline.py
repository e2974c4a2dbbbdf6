"""Store and ledger are kept in step, whichever way a push goes."""

from __future__ import annotations

import pytest

from tests.fakes import T0, push
from trio_push.mailbox.journal import NoJournal
from trio_push.mailbox.offline import Offline
from trio_push.mailbox.store import Held, Store
from trio_push.push import Numbered, Push, State
from trio_push.watch.ledger import Ledger


class Books:
    """An Offline, written to as the router writes."""

    def __init__(self, per_token: int = 3) -> None:
        self.ledger = Ledger()
        self.store = Store()
        self.offline = Offline(self.store, self.ledger, NoJournal(), per_token=per_token)

    def keep(self, seq: int, push: Push, *, returned: bool = False) -> State:
        state = self.offline.keep(Numbered(seq, push), returned=returned)
        self.ledger.enter(state)
        books = self.ledger.snapshot(dict.fromkeys(State, 0) | self.store.counts)
        assert books["balanced"], books
        return state

    def hold(self, seq: int, push: Push) -> Held:
        held = Held(seq, push, State.DELAYED)
        self.store.put(held)
        self.ledger.enter(State.DELAYED)
        return held


SLOT = {"collapse_id": "c"}


@pytest.mark.parametrize(
    ("kept", "push", "state"),
    [
        pytest.param([], push(), State.STORED, id="stored"),
        pytest.param([], push(ttl_s=0), State.DISCARDED, id="now or never"),
        pytest.param([push(**SLOT)], push(**SLOT), State.STORED, id="newer"),
        pytest.param([push(), push(), push()], push(), State.DROPPED_MAILBOX_FULL, id="full"),
        pytest.param(
            [push(), push(), push(**SLOT)], push(**SLOT), State.STORED, id="full, but takes a place"
        ),
        pytest.param([push(token="bb")] * 3, push(), State.STORED, id="others are full"),
    ],
)
def test_keep(kept: list[Push], push: Push, state: State) -> None:
    books = Books()
    for seq, older in enumerate(kept):
        books.keep(seq, older)
    assert books.keep(9, push) is state


def test_the_newer_wins_its_slot_in_whichever_order_they_come() -> None:
    books = Books()
    assert books.keep(2, push(b"new", **SLOT)) is State.STORED
    assert books.keep(1, push(b"old", **SLOT), returned=True) is State.COALESCED
    assert books.keep(3, push(b"newest", **SLOT)) is State.STORED
    assert [held.push.payload for held in books.store.of("aa")] == [b"newest"]
    assert books.ledger.counts[State.COALESCED] == 2


def test_what_a_device_returns_was_let_in_before_and_finds_room() -> None:
    books = Books(per_token=1)
    books.keep(2, push(b"new"))
    assert books.keep(1, push(b"old"), returned=True) is State.STORED
    assert [held.push.payload for held in books.store.of("aa")] == [b"old", b"new"]


def test_a_stored_push_takes_the_slot_of_a_delayed_one() -> None:
    books = Books()
    books.hold(1, push(b"old", not_before=T0 + 5, **SLOT))
    assert books.keep(2, push(b"new", **SLOT)) is State.STORED
    assert books.ledger.counts[State.COALESCED] == 1
    assert books.store.counts[State.DELAYED] == 0


def test_displace() -> None:
    books = Books()
    books.keep(1, push(b"old", **SLOT))
    books.keep(2, push(b"other", topic="t", **SLOT))
    books.offline.displace(push(b"new", **SLOT))
    books.offline.displace(push(b"without a slot"))
    assert [held.push.payload for held in books.store.of("aa")] == [b"other"]
    assert books.ledger.counts[State.COALESCED] == 1


@pytest.mark.parametrize("delayed", [False, True])
def test_take_writes_it_down_once(delayed: bool) -> None:
    books = Books()
    if delayed:
        held = books.hold(1, push(not_before=T0 + 5))
    else:
        books.keep(1, push())
        held = books.store.of("aa")[0]
    assert books.offline.take(held, State.RECALLED)
    assert not books.offline.take(held, State.EXPIRED)
    assert books.ledger.counts[State.RECALLED] == 1
    assert sum(books.ledger.counts) == books.ledger.accepted == 1


def test_a_push_that_awaits_its_ack_takes_a_place_and_a_slot() -> None:
    books = Books(per_token=1)
    assert books.offline.await_ack(Numbered(1, push(wants_ack=True, **SLOT)), T0 + 30) is (
        State.AWAITING_ACK
    )
    books.ledger.enter(State.AWAITING_ACK)
    assert books.offline.is_full("aa")
    assert books.keep(2, push()) is State.DROPPED_MAILBOX_FULL
    assert books.keep(3, push(**SLOT)) is State.STORED
    assert books.ledger.counts[State.COALESCED] == 1


def test_a_push_that_arrives_after_a_newer_took_its_slot_is_not_waited_for() -> None:
    books = Books()
    books.keep(2, push(b"new", **SLOT))
    assert books.offline.await_ack(Numbered(1, push(b"old", **SLOT)), T0 + 30) is State.COALESCED
