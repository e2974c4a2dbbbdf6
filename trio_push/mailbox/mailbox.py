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


_Ends = tuple[trio.MemorySendChannel[Numbered], trio.MemoryReceiveChannel[Numbered]]


class Mailbox:
    """The queue of one token: `torn`, then the channel, then `replay` and the store by number."""

    __slots__ = ("_capacity", "_ends", "opened_at", "overflowed", "replay", "torn")

    def __init__(self, capacity: int, opened_at: int, torn: Torn | None = None) -> None:
        self._capacity = capacity
        #: of the channel, which is opened for the first push: most who come back need none
        self._ends: _Ends | None = None
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
        return 0 if self._ends is None else self._ends[1].statistics().current_buffer_used

    def offer(self, numbered: Numbered) -> bool:
        """Put a push at the end of the queue; False when it must go to the store."""
        if self.overflowed:
            return False
        if self._ends is None:
            self._ends = trio.open_memory_channel[Numbered](self._capacity)
        try:
            self._ends[0].send_nowait(numbered)
        except trio.WouldBlock:
            self.overflowed = True
            return False
        return True

    def interject(self, data: bytes) -> bool:
        """Put an answer to the device right behind the torn event; False: too many are there."""
        torn = self.torn or Torn(b"")
        answers = torn.answers + len(data)
        if answers > MAX_ANSWERS:
            return False
        self.torn = torn._replace(rest=torn.rest + data, answers=answers)
        return True

    def take(self) -> Numbered | None:
        """The next push in the channel, None when there is none. Never blocks."""
        if self._ends is None:
            return None
        try:
            return self._ends[1].receive_nowait()
        except trio.WouldBlock:
            return None
