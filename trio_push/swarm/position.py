"""How far a device over WebSocket has come, and what it asks for when it comes back. Pure.

Held by each device for all of its connections. It says to have everything up to a number, and
never more than that: the server takes what lies below for acknowledged and never sends it again.
So the number stands still from a question on, until what was missed is known to have come whole.
Where that is cut off, the next question is the same, and what comes a second time for that is no
news.
"""

from __future__ import annotations

from sys import intern

from trio_push.wire.cursor import Cursor
from trio_push.wire.messages import Sync, SyncResult


class _Replay:
    """A question of the present connection, and what has come since."""

    __slots__ = ("came", "had", "until")

    def __init__(self, had: set[int]) -> None:
        #: numbers above that of the position, from connections that were cut off in a replay
        self.had = had
        #: what has come on this connection
        self.came: set[int] = set()
        #: the answer came: what was missed follows, and none of it is above this number
        self.until: int | None = None


class Position:
    """The number up to which a device has everything, and the epoch that it is from."""

    __slots__ = ("_epoch", "_may_have_missed", "_replay", "_seq")

    def __init__(self, start: Cursor | None = None) -> None:
        """Before `start` a device has missed nothing; None: that is not known."""
        self._seq = 0 if start is None else start.seq
        #: None until a server has named it: then it is taken to be that of now
        self._epoch = None if start is None else start.epoch
        self._may_have_missed = False
        self._replay: _Replay | None = None

    def may_have_missed(self) -> None:
        """From now on the server may send what the device does not get."""
        self._may_have_missed = True

    def ask(self) -> Sync | None:
        """What to ask for on a new connection; None when nothing was missed, or nobody knows."""
        if not self._may_have_missed or (self._epoch is None and self._seq == 0):
            return None
        cut = self._replay
        self._replay = _Replay(set() if cut is None else cut.had | cut.came)
        return Sync(self._seq, self._epoch)

    def received(self, seq: int) -> bool:
        """Whether an event is news: not one that is sent again because it was asked for again."""
        replay = self._replay
        if replay is None:
            self._seq = max(self._seq, seq)
            return True
        if replay.until is None or seq <= replay.until:
            is_news = replay.until is None or seq not in replay.had or seq in replay.came
            replay.came.add(seq)
            return is_news
        # What is newer than the answer comes behind all that was missed.
        self._seq = seq
        self._replay = None
        return True

    def answered(self, result: SyncResult) -> None:
        """What was missed follows, as far as it is still there."""
        if self._replay is None:
            return  # nobody asked
        if result.epoch != (self._epoch or result.epoch) or result.to < self._seq:
            # Our numbers are of another life: nothing follows, and all that came is of this one.
            self._seq = result.to
            self._replay = None
        else:
            self._replay.until = result.to
        self._epoch = intern(result.epoch)  # one for all devices
