"""Who the other nodes are, and whether what is shared can be reached.

A node's lease is renewed each second, and whoever else is there is seen at the same time. Asked
by every other part of the engine; told by each that finds Redis away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import structlog
import trio

from trio_push.config import SECONDS
from trio_push.engine.contract import Shared
from trio_push.errors import StoreFailed

log = structlog.get_logger()

#: time after which a node that does not renew its lease is dead to the others
LEASE_S: Final = 10 * SECONDS
#: time between two looks at who is there
BEAT_S: Final = 1 * SECONDS
#: nodes of the past that are remembered, because something may still be theirs
PAST: Final = 64


class Members:
    """The nodes as this one sees them. `run` keeps it true."""

    def __init__(self, shared: Shared, name: str, *, lease_s: float = LEASE_S) -> None:
        self._shared = shared
        self._lease_s = lease_s
        self.name = name
        #: this node among them
        self.living: frozenset[str] = frozenset({name})
        #: nodes whose lease has lapsed and that may have left something
        self.dead: frozenset[str] = frozenset()
        self._past: deque[str] = deque(maxlen=PAST)
        #: why what is shared cannot be reached; None when it can
        self.failure: str | None = None
        #: what the others know of this node may not be true
        self._is_suspect = True
        #: called when it can be reached (again), or the others took this node for dead
        self.on_return: Callable[[], None] = lambda: None
        #: called at each beat with the number of the last change of a setting
        self.on_beat: Callable[[int], None] = lambda changed: None
        self._has_begun = False

    @property
    def void(self) -> frozenset[str]:
        """Nodes that own nothing any more."""
        return self.dead.union(self._past)

    @property
    def others(self) -> list[str]:
        return sorted(self.living - {self.name})

    def failed(self, failure: StoreFailed) -> None:
        """A call has failed: nothing is promised until a beat succeeds."""
        if self.failure is None:
            log.error("redis_failed", error=str(failure))
        self.failure = str(failure)
        self._is_suspect = True

    async def judge(self, names: Iterable[str]) -> None:
        """See to it that each of these nodes is among the living or the void."""
        unknown = set(names) - self.living - self.void
        if not unknown:
            return
        # A node may have come since the last beat; one that has not was forgotten long ago.
        await self.beat()
        self._past.extend(unknown - self.living - self.void)

    async def look(self) -> None:
        """See who is there now, if that can be known: one may have come since the last beat."""
        try:
            await self.beat()
        except StoreFailed as failed:
            self.failed(failed)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Renew the lease until cancelled; started once that has been tried."""
        is_started = False
        while True:
            await self.look()
            if not is_started:
                task_status.started()
                is_started = True
            await trio.sleep(BEAT_S)

    async def beat(self) -> None:
        """Renew the lease and look who is there. Raises StoreFailed."""
        beat = await self._shared.beat(self.name, self._lease_s, begins=not self._has_begun)
        self._has_begun = True
        self.living, self.dead = beat.living, beat.dead
        self.on_beat(beat.changed)
        if self.failure is not None:
            log.info("redis_recovered", nodes=len(self.living))
        self.failure = None
        if self._is_suspect or not beat.was_alive:
            self._is_suspect = False
            self.on_return()
