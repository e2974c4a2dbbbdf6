"""How far a device over WebSocket has come, and what it asks for when it comes back. Pure.

Held by each device for all of its connections.
"""

from __future__ import annotations

from sys import intern

from trio_push.wire.messages import Sync, SyncResult


class Position:
    """The highest sequence number that a device has seen, and the epoch that it is from."""

    __slots__ = ("_asked", "_epoch", "_seq")

    def __init__(self) -> None:
        self._seq = 0
        #: None until a server has named it: then it is taken to be that of now
        self._epoch: str | None = None
        #: a question that was not answered: what came since does not say that all before it has
        self._asked: int | None = None

    def ask(self) -> Sync | None:
        """What to ask for on a new connection; None for a device that has seen nothing yet."""
        if self._seq == 0:
            return None
        if self._asked is None:
            self._asked = self._seq
        return Sync(self._asked, self._epoch)

    def received(self, seq: int) -> None:
        self._seq = max(self._seq, seq)

    def answered(self, result: SyncResult) -> None:
        """The server has sent along what was missed, or will never be able to."""
        self._epoch = intern(result.epoch)  # one for all devices
        self._asked = None
        if not result.recovered:
            self._seq = result.to  # ours may be of another life
