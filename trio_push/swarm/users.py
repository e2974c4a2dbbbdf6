"""Users of a swarm: so many of its devices in a row belong to each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from trio_push.swarm.audit import Audit


class Users(Sequence[str]):
    """The names of users, made when asked for, and whose the devices are.

    Of a part of a swarm's users, `first` is the number of the one that is 0 here.
    """

    __slots__ = ("_devices", "_per_user", "_prefix", "first")

    def __init__(self, devices: int, per_user: int, prefix: str, *, first: int = 0) -> None:
        self.first = first
        self._devices = devices
        self._per_user = per_user
        self._prefix = prefix

    def __len__(self) -> int:
        return (self._devices + self._per_user - 1) // self._per_user

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return f"{self._prefix}{self.first + index}"

    def owner(self, device: int) -> int:
        """Whose a device is."""
        return device // self._per_user

    def devices(self, user: int) -> range:
        """A user's devices; the last user may have fewer than the others."""
        first = user * self._per_user
        return range(first, min(first + self._per_user, self._devices))


class UserPlan:
    """Plans pushes to users in the audit of the devices: each is one push to each of theirs.

    As all of a user's pushes go to all of their devices, the numbers are the same for each.
    """

    def __init__(self, audit: Audit, users: Users) -> None:
        self.audit = audit
        self.users = users

    def plan(self, to: int) -> int:
        """Plan one more push for a user and return its number."""
        return max([self.audit.plan(device) for device in self.users.devices(to)])

    def refuse(self, to: int, n: int, reason: str) -> None:
        for device in self.users.devices(to):
            self.audit.refuse(device, n, reason)

    def leave_unanswered(self, to: int, n: int) -> None:
        for device in self.users.devices(to):
            self.audit.leave_unanswered(device, n)

    def leave_unsent(self, to: int, n: int) -> None:
        for device in self.users.devices(to):
            self.audit.leave_unsent(device, n)
