"""The word of devices that they have a push: it ends the push, and whoever waits for it learns.

Asked by the session of a device, by the page that takes acknowledgements, and by the API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from trio_push.mailbox.offline import Offline
from trio_push.mailbox.store import Held
from trio_push.push import State


class Acks:
    """Acknowledgements of one node."""

    def __init__(self, offline: Offline) -> None:
        self._offline = offline
        #: told of each acknowledgement, where others may wait for it
        self.on_told: Callable[[str], None] | None = None
        #: set when a push with the id is acknowledged
        self._waiting: dict[str, list[trio.Event]] = {}

    def acknowledge(self, token: str, push_id: str) -> bool:
        """The device has the push; False when nothing with that id awaits its word."""
        held = self._offline.store.of_with_id(token, push_id)
        return sum(map(self._end, held)) > 0

    def acknowledge_until(self, token: str, seq: int) -> None:
        """The device has every event up to this number."""
        # Among those stored too: a crash may have come between the delivery and its record.
        for held in self._offline.store.of(token, State.STORED, State.AWAITING_ACK):
            if held.seq <= seq:
                self._end(held)

    def _end(self, held: Held) -> bool:
        if held.state is State.DELAYED or not self._offline.take(held, State.ACKNOWLEDGED):
            return False
        self.tell(held.push.id)
        return True

    def tell(self, push_id: str) -> None:
        """A push with this id was acknowledged: who waits for that here learns it."""
        for event in self._waiting.get(push_id, ()):
            event.set()
        if self.on_told is not None:
            self.on_told(push_id)

    @contextmanager
    def expected(self, push_id: str) -> Iterator[trio.Event]:
        """An event that is set when a push with this id is acknowledged.

        To be entered before the push is submitted, or the device may be quicker.
        """
        event = trio.Event()
        waiting = self._waiting.setdefault(push_id, [])
        waiting.append(event)
        try:
            yield event
        finally:
            waiting.remove(event)
            if not waiting:
                del self._waiting[push_id]
