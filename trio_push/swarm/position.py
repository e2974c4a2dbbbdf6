"""How far a device over WebSocket has come, and what it asks for when it comes back. Pure.

Held by each device for all of its connections. It says to have everything up to a number of one
node, and never more than that: the server takes what lies below for acknowledged and never sends
it again. So the position stands still from a question on, until what was missed is known to have
come whole. Where that is cut off, the next question is the same, and what comes a second time for
that is no news; at another node it comes under another number.
"""

from __future__ import annotations

from sys import intern

from trio_push.wire.cursor import Cursor
from trio_push.wire.messages import Sync, SyncResult


class _Replay:
    """A question of the present connection, and what has come since."""

    __slots__ = ("came", "had", "until")

    def __init__(self, had: set[str]) -> None:
        #: ids of what came behind the position, on connections that were cut off in a replay
        self.had = had
        #: and of what has come on this connection
        self.came: set[str] = set()
        #: the answer came: what was missed follows, and none of it is above this number
        self.until: int | None = None


class Position:
    """The number up to which a device has everything, and the epoch that it is from."""

    __slots__ = ("_epoch", "_may_have_missed", "_replay", "_seq")

    def __init__(self, start: Cursor | None = None) -> None:
        """Before `start` a device has missed nothing; None: that is not known."""
        self._seq = 0 if start is None else start.seq
        self._epoch = None if start is None else start.epoch
        self._may_have_missed = False
        self._replay: _Replay | None = None

    def may_have_missed(self) -> None:
        """From now on the server may send what the device does not get."""
        self._may_have_missed = True

    def ask(self) -> Sync | None:
        """What to ask for on a new connection; None when nothing was missed, or nobody knows."""
        if not self._may_have_missed or self._epoch is None:
            return None
        cut = self._replay
        self._replay = _Replay(set() if cut is None else cut.had | cut.came)
        return Sync(self._seq, self._epoch)

    def received(self, epoch: str, seq: int, notification_id: str) -> bool:
        """Whether an event is news: not one that is sent again because it was asked for again."""
        replay = self._replay
        if replay is not None and (replay.until is None or seq <= replay.until):
            is_again = notification_id in replay.had and notification_id not in replay.came
            replay.came.add(notification_id)
            return replay.until is None or not is_again
        # What is newer than the answer comes behind all that was missed.
        self._replay = None
        self._seq = max(self._seq, seq) if epoch == self._epoch else seq
        self._epoch = intern(epoch)  # one for all devices
        return True

    def answered(self, result: SyncResult) -> None:
        """What was missed follows, as far as it is still there."""
        if self._replay is None:
            return  # nobody asked
        is_another_life = result.epoch != self._epoch or result.to < self._seq
        if is_another_life and not result.recovered:
            # What can be missed from now on is of this life; of the other nothing more is known.
            self._seq, self._epoch = result.to, intern(result.epoch)
            self._replay = None
        else:
            self._replay.until = result.to
