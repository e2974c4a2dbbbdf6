"""What is held: pushes not due, pushes for devices that are not there, pushes to be acknowledged.

The router puts pushes in, connections and timers take them out. Held in memory; every
operation is done when it returns. No trio, `now` is an argument.
"""

from __future__ import annotations

from typing import Protocol

from trio_push.mailbox.time_index import TimeIndex
from trio_push.push import Push, State

#: Within a token: the slot of a push that replaces older ones, else its own number.
Key = tuple[str, str] | int


class Timer(Protocol):
    """What keeps a held push waiting: a trio.CancelScope."""

    def cancel(self) -> None: ...


#: The states in which a push is held.
HELD = (State.STORED, State.DELAYED, State.AWAITING_ACK)


class Held:
    """One held push: why it is held, its number, and while it is due soon its timer."""

    __slots__ = ("push", "replaces", "resend_at", "seq", "state", "timer")

    def __init__(
        self, seq: int, push: Push, state: State = State.STORED, *, resend_at: float = 0.0
    ) -> None:
        #: orders the pushes held for a token; unique there (a broadcast shares it among tokens)
        self.seq = seq
        self.push = push
        #: DELAYED waits for its time, STORED for its device, AWAITING_ACK for its word
        self.state = state
        #: epoch seconds at which a push that AWAITING_ACK is sent again
        self.resend_at = resend_at
        #: an older push was put out for it
        self.replaces = False
        self.timer: Timer | None = None

    @property
    def key(self) -> Key:
        return self.push.slot or self.seq

    def __repr__(self) -> str:
        return f"<Held {self.state.name} {self.seq} {self.push.id} for {self.push.token[:8]}>"


class Store:
    """Held pushes by token, by id, by expiry and by due time.

    In each slot of a token lies one push, whatever it waits for: `displaced_by` names the older
    one that a newer has to put out first.
    """

    def __init__(self) -> None:
        self._shelves: dict[State, dict[str, dict[Key, Held]]] = {state: {} for state in HELD}
        #: how many are held, by state
        self.counts: dict[State, int] = dict.fromkeys(HELD, 0)
        self._by_id: dict[str, Held | dict[Held, None]] = {}
        self._expiry: TimeIndex[Held] = TimeIndex()
        self._due: TimeIndex[Held] = TimeIndex()
        self._unacknowledged: TimeIndex[Held] = TimeIndex()

    def __len__(self) -> int:
        return sum(self.counts.values())

    # -- putting in and taking out

    def put(self, held: Held) -> None:
        """Hold a push. Its slot must be free; older numbers than those there go in front."""
        shelves = self._shelves[held.state]
        shelf = shelves.setdefault(held.push.token, {})
        in_order = not shelf or next(reversed(shelf.values())).seq < held.seq
        shelf[held.key] = held
        if not in_order:
            shelves[held.push.token] = dict(sorted(shelf.items(), key=lambda item: item[1].seq))
        self.counts[held.state] += 1
        if held.state is State.DELAYED:
            self._due.add(held.push.not_before, held)
        elif held.state is State.AWAITING_ACK:
            self._unacknowledged.add(held.resend_at, held)
        if held.push.storable:
            self._expiry.add(held.push.expires_at, held)
        self._index_id(held)

    def remove(self, held: Held) -> bool:
        """Hold a push no longer; stops its timer. False when it was gone already."""
        if not self.holds(held):
            return False
        shelves = self._shelves[held.state]
        shelf = shelves[held.push.token]
        del shelf[held.key]
        if not shelf:
            del shelves[held.push.token]
        self.counts[held.state] -= 1
        if held.state is State.DELAYED:
            self._due.discard(held.push.not_before, held)
        elif held.state is State.AWAITING_ACK:
            self._unacknowledged.discard(held.resend_at, held)
        self._expiry.discard(held.push.expires_at, held)
        self._forget_id(held)
        if held.timer is not None:
            held.timer.cancel()
        return True

    # -- looking

    def displaced_by(self, push: Push) -> Held | None:
        """The held push that lies in the slot of `push`, if any."""
        slot = push.slot
        if slot is None:
            return None
        for shelves in self._shelves.values():
            shelf = shelves.get(push.token)
            if shelf is not None and slot in shelf:
                return shelf[slot]
        return None

    def holds(self, held: Held) -> bool:
        shelf = self._shelves[held.state].get(held.push.token)
        return shelf is not None and shelf.get(held.key) is held

    def first(self, token: str) -> Held | None:
        """The oldest push stored for a token."""
        shelf = self._shelves[State.STORED].get(token)
        return next(iter(shelf.values())) if shelf else None

    def count(self, token: str) -> int:
        """How many pushes wait for a token's device, or for its acknowledgement."""
        stored = len(self._shelves[State.STORED].get(token, ()))
        return stored + len(self._shelves[State.AWAITING_ACK].get(token, ()))

    def of(self, token: str, *states: State) -> list[Held]:
        """What is held for a token in these states (all: none named), each in order."""
        return [
            held
            for state in states or HELD
            for held in self._shelves[state].get(token, {}).values()
        ]

    def everything(self) -> list[Held]:
        return [
            held
            for shelves in self._shelves.values()
            for shelf in shelves.values()
            for held in shelf.values()
        ]

    def with_id(self, push_id: str) -> list[Held]:
        entry = self._by_id.get(push_id)
        if entry is None:
            return []
        return list(entry) if isinstance(entry, dict) else [entry]

    def of_with_id(self, token: str, push_id: str) -> list[Held]:
        """What is held for a token with this id, which thousands of others may share."""
        entry = self._by_id.get(push_id)
        if isinstance(entry, dict):
            return [held for held in self.of(token) if held in entry]
        return [entry] if entry is not None and entry.push.token == token else []

    # -- by time; a whole second at a time, so that the caller can give way in between

    def pop_expired(self, now: float) -> list[Held]:
        """The pushes of the earliest second that is over; they are no longer indexed here.

        The caller removes each that it still finds `holds`.
        """
        return self._expiry.pop_second(now - 1)

    def pop_due(self, until: float, limit: int | None = None) -> list[Held]:
        """The delayed pushes (at most `limit`) of the earliest second that begins by `until`.

        They remain held; the caller gives each that it still finds `holds` a timer.
        """
        return self._due.pop_second(until, limit)

    def pop_unacknowledged(self, now: float) -> list[Held]:
        """The pushes of the earliest second that is over in which an acknowledgement was due.

        They remain held; the caller sends each again that it still finds `holds`.
        """
        return self._unacknowledged.pop_second(now - 1)

    # -- inside

    def _index_id(self, held: Held) -> None:
        entry = self._by_id.setdefault(held.push.id, held)
        if isinstance(entry, dict):
            entry[held] = None
        elif entry is not held:
            self._by_id[held.push.id] = {entry: None, held: None}

    def _forget_id(self, held: Held) -> None:
        entry = self._by_id[held.push.id]
        if isinstance(entry, dict):
            del entry[held]
        if entry is held or not entry:
            del self._by_id[held.push.id]
