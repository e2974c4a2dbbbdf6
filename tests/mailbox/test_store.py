"""The store against a list: whatever is done to both, they tell the same."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.fakes import T0, push
from trio_push.mailbox.store import HELD, Held, Store
from trio_push.push import Push, State

TOKENS = ["aa", "bb"]


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


pushes = st.builds(
    push,
    payload=st.sampled_from([b"1", b"2", b"3"]),
    token=st.sampled_from(TOKENS),
    ttl_s=st.sampled_from([0, 1, 1.5, 7]),
    topic=st.sampled_from(["", "t"]),
    collapse_id=st.sampled_from([None, None, "c"]),
    newest_wins=st.booleans(),
    not_before=st.sampled_from([T0 + 1, T0 + 2.5, T0 + 9]),
)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        #: all that is held, in the order of putting in
        self.model: list[Held] = []
        self.numbers = iter(range(10_000))
        self.unused: list[int] = []
        self.now = T0
        self.unexpired: set[Held] = set()
        self.undue: set[Held] = set()
        self.unacknowledged: set[Held] = set()

    def put(self, held: Held) -> None:
        older = self.store.displaced_by(held.push)
        slot = held.push.slot
        mine = [h for h in self.model if h.push.token == held.push.token and h.push.slot == slot]
        assert ([] if older is None else [older]) == (mine if slot is not None else [])
        if older is not None:
            assert self.store.remove(older)
            self.model.remove(older)
        held.timer = Timer()
        self.store.put(held)
        self.model.append(held)
        self.unexpired.add(held)
        self.undue.add(held)
        self.unacknowledged.add(held)

    @rule(push=pushes, state=st.sampled_from(HELD), resend_after=st.sampled_from([0.5, 4]))
    def put_one(self, push: Push, state: State, resend_after: float) -> None:
        resend_at = self.now + resend_after
        self.put(Held(next(self.numbers), push, state, resend_at=resend_at))

    @rule(push=pushes)
    def put_for_all_with_one_number(self, push: Push) -> None:
        """A broadcast: the same id and the same number for every token."""
        seq = next(self.numbers)
        for token in TOKENS:
            self.put(Held(seq, Push(**{**_fields(push), "token": token})))

    @rule()
    def skip_a_number(self) -> None:
        self.unused.append(next(self.numbers))

    @precondition(lambda self: self.unused)
    @rule(push=pushes)
    def put_one_back(self, push: Push) -> None:
        """What a device did not take returns, and is older than what came meanwhile."""
        self.put(Held(self.unused.pop(), push))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.model))
        assert self.store.remove(held)
        self.model.remove(held)
        assert isinstance(held.timer, Timer)
        assert held.timer.cancelled
        assert not self.store.remove(held)

    @rule(seconds=st.sampled_from([0.5, 1, 3]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        while batch := self.store.pop_expired(self.now):
            for held in batch:
                assert held.push.expired(self.now)
                assert self.store.holds(held)
                self.unexpired.remove(held)
        overdue = [h for h in self.model if h in self.unexpired and h.push.expired(self.now - 1)]
        assert overdue == []

    @rule(limit=st.sampled_from([None, 1, 2]))
    def pop_due(self, limit: int | None) -> None:
        while batch := self.store.pop_due(self.now, limit):
            assert limit is None or len(batch) <= limit
            for held in batch:
                assert self.store.holds(held)
                self.undue.remove(held)
        late = [h for h in self.model if h.state is State.DELAYED and h in self.undue]
        assert all(int(h.push.not_before) > self.now for h in late)

    @rule()
    def pop_unacknowledged(self) -> None:
        while batch := self.store.pop_unacknowledged(self.now):
            for held in batch:
                assert self.store.holds(held)
                self.unacknowledged.remove(held)
        waiting = [h for h in self.model if h.state is State.AWAITING_ACK]
        late = [h for h in waiting if h in self.unacknowledged]
        assert all(h.resend_at > self.now - 2 for h in late)

    @invariant()
    def agree(self) -> None:
        store, model = self.store, self.model
        for state in HELD:
            assert store.counts[state] == sum(held.state is state for held in model)
        assert len(store) == len(model)
        assert set(store.everything()) == set(model)
        assert all(store.holds(held) for held in model)
        for token in TOKENS:
            mine = [held for held in model if held.push.token == token]
            stored = sorted((h for h in mine if h.state is State.STORED), key=lambda h: h.seq)
            assert store.of(token, State.STORED) == stored
            assert store.count(token) == sum(h.state is not State.DELAYED for h in mine)
            assert store.first(token) is (stored[0] if stored else None)
            assert store.of(token)[: len(stored)] == stored
            assert set(store.of(token)) == set(mine)
        for push_id in "1", "2", "3", "other":
            expected = {held for held in model if held.push.id == push_id}
            assert set(store.with_id(push_id)) == expected
            for token in TOKENS:
                mine = {held for held in expected if held.push.token == token}
                assert set(store.of_with_id(token, push_id)) == mine

    def teardown(self) -> None:
        """Nothing is left behind when all is taken out."""
        for held in list(self.model):
            self.store.remove(held)
        assert not any(self.store._shelves.values())
        assert self.store._by_id == {}
        indexes = (self.store._expiry, self.store._due, self.store._unacknowledged)
        assert [len(index) for index in indexes] == [0, 0, 0]


def _fields(push: Push) -> dict[str, object]:
    return {name: getattr(push, name) for name in push.__struct_fields__}


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestStore = StoreMachine.TestCase


def test_broadcast_pushes_share_id_and_number_and_can_be_removed_one_by_one() -> None:
    store = Store()
    helds = [Held(7, push(b"x", token=token)) for token in TOKENS]
    for held in helds:
        store.put(held)
    assert set(store.with_id("x")) == set(helds)
    assert [store.remove(held) for held in helds] == [True, True]
    assert len(store) == 0


def test_expiry_is_not_early() -> None:
    store = Store()
    store.put(held := Held(1, push(ttl_s=5.5)))
    assert store.pop_expired(T0 + 5.9) == []
    assert store.pop_expired(T0 + 6) == [held]


@pytest.mark.parametrize("state", HELD)
def test_repr_says_which(state: State) -> None:
    assert repr(Held(3, push(b"name"), state)) == f"<Held {state.name} 3 name for aa>"
