"""What waits for one connected device that cannot take more now.

It exists only while something waits: a bounded memory channel of pushes, and in front of it
the rest of an event of which the device has taken the beginning. The router puts in, the
drain task takes out. What does not fit goes to the store, and then all that follows must,
or the order would be lost: `overflowed`.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import trio

from trio_push.push import Numbered, State

#: bytes of answers that a device may ask for without taking them
MAX_ANSWERS = 16_384


class Torn(NamedTuple):
    """The bytes of an event (or of a comment: no push) that the device has not taken yet."""

    rest: bytes
    numbered: Numbered | None = None
    #: what the push will be once the device has taken the rest
    outcome: State = State.DELIVERED_LIVE
    #: bytes of answers to the device at the end of the rest
    answers: int = 0


class Mailbox:
    """The queue of one token: `torn`, then the channel, then `replay` and the store by number."""

    __slots__ = ("_receive", "_send", "opened_at", "overflowed", "replay", "torn")

    def __init__(self, capacity: int, opened_at: int, torn: Torn | None = None) -> None:
        self._send, self._receive = trio.open_memory_channel[Numbered](capacity)
        #: sequence number; what lies in the store with a lower one waited for the device to come
        self.opened_at = opened_at
        self.torn = torn
        #: what the device had been sent before and has missed: no news to the ledger
        self.replay: deque[Numbered] = deque()
        #: later pushes lie in the store: nothing may enter the channel before they have left it
        self.overflowed = False

    @property
    def queued(self) -> int:
        """Pushes in the channel, without the torn one."""
        return self._receive.statistics().current_buffer_used

    def offer(self, numbered: Numbered) -> bool:
        """Put a push at the end of the queue; False when it must go to the store."""
        if self.overflowed:
            return False
        try:
            self._send.send_nowait(numbered)
        except trio.WouldBlock:
            self.overflowed = True
            return False
        return True

    def interject(self, data: bytes) -> bool:
        """Put an answer to the device right behind the torn event; False: too many are there."""
        torn = self.torn
        assert torn is not None, "something is torn for as long as the device takes no more"
        answers = torn.answers + len(data)
        if answers > MAX_ANSWERS:
            return False
        self.torn = torn._replace(rest=torn.rest + data, answers=answers)
        return True

    def take(self) -> Numbered | None:
        """The next push in the channel, None when there is none. Never blocks."""
        try:
            return self._receive.receive_nowait()
        except trio.WouldBlock:
            return None
