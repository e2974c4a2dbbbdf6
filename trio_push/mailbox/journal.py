"""The journal: what makes the store in memory outlive the process.

The store answers every question; the journal only hears what changes and is read once, at the
start. Whoever changes what is held records it here, in the same breath; whoever has promised
something waits for `commit` before it says so. Recorded by `Offline` and the router.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import trio

from trio_push.push import Push, State

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})  # Any: empty, it is a mapping to anything


class Row(NamedTuple):
    """A push as the journal has it: the last that was recorded of it."""

    seq: int
    push: Push
    state: State


class Journal(Protocol):
    """Recording never blocks; the last word on a row counts.

    What is recorded without giving way in between is written together: all of it, or nothing.
    """

    #: whether what is recorded outlives the process
    @property
    def durable(self) -> bool: ...

    #: names the lifetime of what is held, in event ids
    @property
    def epoch(self) -> str: ...

    #: the number to count on from
    @property
    def seq(self) -> int: ...

    #: numbers of this epoch up to this one may have been used by earlier runs
    @property
    def floor(self) -> int: ...

    #: counts what was recorded: who finds it unchanged has nothing to wait for
    @property
    def recorded(self) -> int: ...

    #: why the last commit failed; None when it did not. It is tried again until it does not.
    @property
    def failure(self) -> str | None: ...

    # -- what earlier runs left; asked once, before anything is recorded

    def rows(self) -> Iterator[Row]:
        """The pushes that were held, by number. Raises ConfigError when they cannot be read."""

    def unregistered(self) -> Mapping[str, int]:
        """Unregistered tokens, and since when (epoch milliseconds)."""

    def users(self) -> Mapping[str, str]:
        """Whose each token is."""

    # -- what happens now

    def keep(self, seq: int, push: Push, state: State) -> None:
        """The push of this token and number is held, in this state from now on."""

    def drop(self, seq: int, token: str) -> None:
        """It is not held any more; nothing happens when it was not in the journal."""

    def unregister(self, token: str, at_ms: int) -> None: ...

    def register(self, token: str) -> None: ...

    def enrol(self, user: str, token: str) -> None: ...

    def leave(self, token: str) -> None: ...

    def advance(self, seq: int) -> None:
        """Numbers up to this one are used. To be told now and then: some are set aside."""

    async def commit(self) -> None:
        """Wait until everything recorded so far outlives the process; may return at once.

        Raises StoreFailed when it cannot be written now. It stays recorded, and is tried again.
        """

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write, until cancelled."""


class NoJournal:
    """Memory only: nothing is kept, and nothing has to be waited for."""

    durable = False
    seq = floor = 0
    recorded = 0
    failure = None

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)

    def rows(self) -> Iterator[Row]:
        return iter(())

    def unregistered(self) -> Mapping[str, int]:
        return _NONE

    def users(self) -> Mapping[str, str]:
        return _NONE

    def keep(self, seq: int, push: Push, state: State) -> None:
        pass

    def drop(self, seq: int, token: str) -> None:
        pass

    def unregister(self, token: str, at_ms: int) -> None:
        pass

    def register(self, token: str) -> None:
        pass

    def enrol(self, user: str, token: str) -> None:
        pass

    def leave(self, token: str) -> None:
        pass

    def advance(self, seq: int) -> None:
        pass

    async def commit(self) -> None:
        pass

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
