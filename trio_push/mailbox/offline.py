"""What becomes of a push that no device takes now: kept, put out by a newer one, recalled.

The store holds, the ledger counts; this is where the two are kept in step. Called by the
router (no device there), by delivery (a device went) and by the delay (time has passed).
"""

from __future__ import annotations

from trio_push.mailbox.store import Held, Store
from trio_push.push import Numbered, Push, State
from trio_push.watch.ledger import Ledger


class Offline:
    """The store's accountant: no push is put in or taken out behind the ledger's back."""

    def __init__(self, store: Store, ledger: Ledger, *, per_token: int) -> None:
        self.store = store
        self._ledger = ledger
        self._per_token = per_token

    def keep(self, numbered: Numbered, *, returned: bool = False) -> State:
        """Store a push for its device. Returns where it is now; the caller writes that line.

        STORED; COALESCED when a newer one has its slot; DISCARDED when it must not be stored;
        DROPPED_MAILBOX_FULL when the token has `per_token` stored pushes already, unless the
        push is `returned` by a device that went: it had been let in before.
        """
        seq, push = numbered
        if not push.storable:
            return State.DISCARDED
        older = self.store.displaced_by(push)
        if older is not None:
            if older.seq > seq:
                return State.COALESCED
            self.take(older, State.COALESCED)
        elif not returned and self.is_full(push.token):
            return State.DROPPED_MAILBOX_FULL
        self.store.put(Held(seq, push))
        return State.STORED

    def is_full(self, token: str) -> bool:
        """Whether no more pushes may wait for this device, or for its acknowledgement."""
        return self.store.count(token) >= self._per_token

    def displace(self, push: Push) -> None:
        """A newer push was accepted: the older one held in its slot, if any, is coalesced."""
        older = self.store.displaced_by(push)
        if older is not None:
            self.take(older, State.COALESCED)

    def await_ack(self, numbered: Numbered, resend_at: float) -> State:
        """The device has the push: hold it until it says so, or `resend_at` (epoch seconds)."""
        seq, push = numbered
        if self.store.displaced_by(push) is not None:
            return State.COALESCED
        self.store.put(Held(seq, push, State.AWAITING_ACK, resend_at=resend_at))
        return State.AWAITING_ACK

    def take(self, held: Held, into: State) -> bool:
        """Take a held push out and write down what it is now; False when it is gone already."""
        if not self.store.remove(held):
            return False
        self._ledger.move(held.state, into)
        return True
