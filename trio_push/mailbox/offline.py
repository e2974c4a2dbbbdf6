"""What becomes of a push that no device takes now: kept, put out by a newer one, recalled.

The store holds, the ledger counts, the journal outlives the process; this is where the three
are kept in step. Called by the router (no device there), by delivery (a device went) and by
the delay (time has passed).
"""

from __future__ import annotations

from trio_push.mailbox.journal import Journal, Row
from trio_push.mailbox.store import Held, Store
from trio_push.push import Numbered, Push, State
from trio_push.watch.ledger import Ledger


class Offline:
    """The store's accountant: nothing is put in or taken out behind the back of the others."""

    def __init__(self, store: Store, ledger: Ledger, journal: Journal, *, per_token: int) -> None:
        self.store = store
        self._ledger = ledger
        self._journal = journal
        self._per_token = per_token
        #: the last push for which an older one was put out
        self._replacing: Push | None = None

    # -- in

    def hold(self, held: Held) -> None:
        """Put a push into the store, and into the journal. The caller writes the ledger's line."""
        held.replaces = held.push is self._replacing
        self.store.put(held)
        self._journal.keep(held.seq, held.push, held.state)

    def keep(self, numbered: Numbered, *, returned: bool = False) -> State:
        """Store a push for its device. Returns where it is now; the caller writes that line.

        STORED; COALESCED when a newer one has its slot; DISCARDED when it must not be stored;
        DROPPED_MAILBOX_FULL when the token has `per_token` stored pushes already, unless the
        push is `returned` by a device that went: it had been let in before.
        """
        state = self._judge(numbered, returned=returned)
        if state is State.STORED:
            self.hold(Held(numbered.seq, numbered.push))
        elif returned:
            self.forget(numbered)
        return state

    def _judge(self, numbered: Numbered, *, returned: bool) -> State:
        seq, push, _ = numbered
        if not push.storable:
            return State.DISCARDED
        older = self.store.displaced_by(push)
        if older is not None and older.seq > seq:
            return State.COALESCED
        if older is None and not returned and self.is_full(push.token):
            return State.DROPPED_MAILBOX_FULL
        self.displace(push)
        return State.STORED

    def is_full(self, token: str) -> bool:
        """Whether no more pushes may wait for this device, or for its acknowledgement."""
        return self.store.count(token) >= self._per_token

    def displace(self, push: Push) -> None:
        """A newer push was accepted: the older one held in its slot, if any, is coalesced."""
        older = self.store.displaced_by(push)
        if older is not None:
            self.take(older, State.COALESCED)
            self._replacing = push

    def await_ack(self, numbered: Numbered, resend_at: float) -> State:
        """The device has the push: hold it until it says so, or `resend_at` (epoch seconds)."""
        seq, push, _ = numbered
        if self.store.displaced_by(push) is not None:
            self.forget(numbered)
            return State.COALESCED
        self.hold(Held(seq, push, State.AWAITING_ACK, resend_at=resend_at))
        return State.AWAITING_ACK

    def entrust(self, numbered: Numbered) -> None:
        """A promised push waits in memory for its device: the journal has what it would become.

        One that wants its acknowledgement is sent again in an earlier run's stead, or ends if
        its device does not come back; the other waits for its device.
        """
        seq, push, _ = numbered
        self._journal.keep(seq, push, State.AWAITING_ACK if push.wants_ack else State.STORED)

    def restore(self, row: Row, now: float, resend_at: float) -> None:
        """Hold a push again that an earlier run held. To be called in the order of numbers."""
        seq, push, state = row
        self._ledger.restore(state)
        self.displace(push)
        held = Held(seq, push, state, resend_at=resend_at)
        self.store.put(held)
        if push.expired(now):
            self.take(held, State.EXPIRED)

    def adopt(self, seq: int, push: Push) -> None:
        """Hold a push for a device that has come from elsewhere; the journal has it already."""
        self.store.put(Held(seq, push))

    # -- out

    def hand_over(self, held: Held) -> None:
        """Hold a push no more: whoever has its device next has it from the journal."""
        if self.store.remove(held):
            self._ledger.move(held.state, State.HANDED_OVER)

    def take(self, held: Held, into: State) -> bool:
        """Take a held push out and write down what it is now; False when it is gone already.

        In flight it stays in the journal, until it has arrived.
        """
        if not self.store.remove(held):
            return False
        self._ledger.move(held.state, into)
        if into is not State.IN_FLIGHT:
            self._journal.drop(held.seq, held.push.token)
        return True

    def release(self, held: Held) -> None:
        """Take out a push to be placed anew. The caller writes the ledger's line."""
        self.store.remove(held)
        self._journal.drop(held.seq, held.push.token)

    def forget(self, numbered: Numbered) -> None:
        """A push that was entrusted to the journal while in memory, or in flight, has ended."""
        self._journal.drop(numbered.seq, numbered.push.token)

    def abandon(self) -> int:
        """The server stops. What is held stays in the journal; without one it is lost: how much.

        Nobody will deliver it, and so the ledger says.
        """
        if self._journal.durable:
            return 0
        return sum(self.take(held, State.LOST) for held in self.store.everything())

    def withdraw(self, push: Push) -> None:
        """A push was held but could not be written: its sender is told, and it is held no more.

        Unless an older one went for it, which had been promised: then it stays in its place.
        """
        for held in self.store.of_with_id(push.token, push.id):
            if held.push is push and not held.replaces:
                self.take(held, State.LOST)
