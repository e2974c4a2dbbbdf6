"""What users read: a device marks it, and all others of its user are to hear of it. Pure counting.

The devices report here what they mark and what marks they receive.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from trio_push.swarm.audit import Audit
from trio_push.swarm.users import Users

#: marks that have arrived everywhere and are remembered, to know what comes a second time
REMEMBERED: Final = 100_000


class _Mark:
    """One notification that was read."""

    __slots__ = ("by", "in_doubt", "waiting")

    def __init__(self, by: int, waiting: set[int]) -> None:
        self.by = by
        #: the devices that are to hear of it
        self.waiting = waiting
        #: the connection ended that it was told on, and nobody has heard of it
        self.in_doubt = False


class ReadMarks:
    """Who still has to hear of what. Counts in the audit."""

    def __init__(self, users: Users, audit: Audit) -> None:
        self._users = users
        self._audit = audit
        self._deliveries = audit.deliveries
        #: devices that the server knows as their user's
        self._known: set[int] = set()
        self._marks: dict[str, _Mark] = {}
        #: device → what it marked and nobody has heard of yet
        self._unheard: dict[int, set[str]] = {}
        #: marks that all have heard of, in that order
        self._heard: deque[str] = deque()

    def came(self, device: int) -> None:
        """A device is connected: its user has it from now on."""
        self._known.add(device)

    def gone(self, device: int) -> None:
        """The connection of a device has ended: its last words may not have arrived."""
        for notification_id in self._unheard.pop(device, ()):
            mark = self._marks[notification_id]
            mark.in_doubt = True
            self._deliveries.read_marks_in_doubt += len(mark.waiting)

    def is_marked_by(self, device: int, n: int) -> bool:
        """Whether it is this device's turn, of all of its user's, to mark the `n`th push."""
        devices = self._users.devices(self._users.owner(device))
        return devices[n % len(devices)] == device

    def marked(self, device: int, notification_id: str) -> None:
        """A device says that its user has read a notification."""
        if notification_id in self._marks:
            return  # a push that came twice is marked twice; `received` counts what that brings
        devices = self._users.devices(self._users.owner(device))
        others = {other for other in devices if other != device and other in self._known}
        self._marks[notification_id] = _Mark(device, others)
        self._deliveries.marked += 1
        self._deliveries.read_marks_due += len(others)
        if others:
            self._unheard.setdefault(device, set()).add(notification_id)
        else:
            self._remember(notification_id)

    def received(self, device: int, notification_id: str) -> bool:
        """A device has heard that a notification was read; False when it knew that."""
        mark = self._marks.get(notification_id)
        if mark is None:
            return True  # a mark of others
        if device not in mark.waiting:
            self._audit.repeat(device)
            return False
        self._believe(mark, notification_id)
        mark.waiting.remove(device)
        self._deliveries.read_marks_seen += 1
        if not mark.waiting:
            self._remember(notification_id)
        return True

    def missing(self) -> Counter[int]:
        """Device → how many marks it has not heard of (yet), those in doubt aside."""
        marks = self._marks.values()
        return Counter(device for mark in marks if not mark.in_doubt for device in mark.waiting)

    def _believe(self, mark: _Mark, notification_id: str) -> None:
        """Somebody has heard of it, so that the server has it for all others, too."""
        if mark.in_doubt:
            mark.in_doubt = False
            self._deliveries.read_marks_in_doubt -= len(mark.waiting)
        elif (unheard := self._unheard.get(mark.by)) is not None:
            unheard.discard(notification_id)

    def _remember(self, notification_id: str) -> None:
        self._heard.append(notification_id)
        if len(self._heard) > REMEMBERED:
            del self._marks[self._heard.popleft()]
