from __future__ import annotations

import pytest

from trio_push.push import State
from trio_push.watch.ledger import Ledger

NOTHING = dict.fromkeys((s for s in State if s.is_open), 0)


def ledger() -> Ledger:
    """One push in or at the end of every state, and three refused."""
    ledger = Ledger()
    for state in State:
        ledger.enter(state)
    ledger.refuse("BadDeviceToken")
    ledger.refuse("BadDeviceToken")
    ledger.refuse("Shutdown")
    for rule in "aab":
        ledger.befall(rule, "lose")
    return ledger


def test_an_empty_one_is_balanced() -> None:
    books = Ledger().snapshot(NOTHING)
    assert books["balanced"]
    assert books["accepted"] == sum(books["open"].values()) + sum(books["ended"].values()) == 0


def test_every_state_is_shown_once() -> None:
    books = ledger().snapshot(dict.fromkeys(NOTHING, 1))
    assert books["balanced"]
    assert books["accepted"] == len(State)
    assert books["open"] == {
        "delayed": 1,
        "queued": 1,
        "stored": 1,
        "in_flight": 1,
        "awaiting_ack": 1,
    }
    assert books["ended"] == {
        "delivered": 2,
        "delivered_live": 1,
        "delivered_on_connect": 1,
        "acknowledged": 1,
        "coalesced": 1,
        "expired": 1,
        "discarded": 1,
        "recalled": 1,
        "lost": 1,
        "lost_by_fault": 1,
        "handed_over": 1,
        "dropped": 3,
    }
    assert books["dropped"] == {"mailbox_full": 1, "device_too_slow": 1, "node_died": 1}
    assert books["refused"] == {"BadDeviceToken": 2, "Shutdown": 1}
    assert books["faults"] == [
        {"rule": "a", "action": "lose", "times": 2},
        {"rule": "b", "action": "lose", "times": 1},
    ]


@pytest.mark.parametrize("state", NOTHING)
@pytest.mark.parametrize("found", [0, 2])
def test_what_the_rooms_hold_must_agree(state: State, found: int) -> None:
    assert not ledger().snapshot(dict.fromkeys(NOTHING, 1) | {state: found})["balanced"]


def test_a_push_that_vanishes_or_is_made_up_is_noticed() -> None:
    books = ledger()
    books.counts[State.EXPIRED] += 1
    assert not books.snapshot(dict.fromkeys(NOTHING, 1))["balanced"]
    books.counts[State.EXPIRED] -= 2
    assert not books.snapshot(dict.fromkeys(NOTHING, 1))["balanced"]


def test_what_other_nodes_handed_over_is_in_the_balance() -> None:
    books = Ledger()
    books.take_over(State.STORED, 2)
    books.take_over(State.LOST)
    books.give_back(State.LOST)
    snapshot = books.snapshot(NOTHING | {State.STORED: 2})
    assert (snapshot["balanced"], snapshot["taken_over"]) == (True, 2)


def test_moving_keeps_the_balance() -> None:
    books = Ledger()
    books.enter(State.STORED, 5)
    books.move(State.STORED, State.IN_FLIGHT, 2)
    books.move(State.IN_FLIGHT, State.DELIVERED_ON_CONNECT)
    snapshot = books.snapshot(NOTHING | {State.STORED: 3, State.IN_FLIGHT: 1})
    assert snapshot["balanced"]
    assert (snapshot["accepted"], snapshot["ended"]["delivered"]) == (5, 1)


@pytest.mark.parametrize(
    ("state", "outcome", "reason"),
    [
        (State.STORED, "stored", None),
        (State.DELIVERED_LIVE, "delivered", None),
        (State.DELIVERED_ON_CONNECT, "delivered", None),
        (State.DROPPED_MAILBOX_FULL, "dropped", "mailbox_full"),
        (State.DROPPED_DEVICE_TOO_SLOW, "dropped", "device_too_slow"),
    ],
)
def test_words_for_states(state: State, outcome: str, reason: str | None) -> None:
    assert (state.outcome, state.reason) == (outcome, reason)
