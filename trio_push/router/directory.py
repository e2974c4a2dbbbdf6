"""Who is connected to this node, and which device tokens are unregistered.

Devices enter and leave it; the router looks owners up; intake asks whether a token is still
registered. A token is looked up once per push, so this is two dicts.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from trio_push.devices.connection import Connection
from trio_push.errors import Refusal
from trio_push.wire.reasons import UNREGISTERED


class Directory:
    """Device token → connection; at most one connection per token."""

    def __init__(self) -> None:
        self._live: dict[str, Connection] = {}
        #: epoch milliseconds at which each of these tokens was unregistered
        self._unregistered: dict[str, int] = {}
        self.get = self._live.get

    def __len__(self) -> int:
        return len(self._live)

    def connections(self) -> list[Connection]:
        """All connections as they are now, in order of connecting."""
        return list(self._live.values())

    def tokens(self, after: str | None = None, limit: int = 100) -> list[str]:
        """The `limit` least connected tokens greater than `after`: a page of them."""
        rest: Iterable[str] = self._live
        if after is not None:
            rest = (token for token in self._live if token > after)
        return heapq.nsmallest(limit, rest)

    def attach(self, connection: Connection) -> Connection | None:
        """Enter a connection; returns the older one of the token, which it replaces."""
        older = self._live.pop(connection.token, None)
        self._live[connection.token] = connection
        return older

    def detach(self, connection: Connection) -> bool:
        """Take a connection out; False when a newer one has replaced it (or it was out)."""
        if self._live.get(connection.token) is not connection:
            return False
        del self._live[connection.token]
        return True

    def check(self, token: str) -> None:
        """Raise Refusal(UNREGISTERED) with its time for an unregistered token."""
        if self._unregistered and token in self._unregistered:
            raise Refusal(UNREGISTERED, timestamp_ms=self._unregistered[token])

    def unregistered_at_ms(self, token: str) -> int | None:
        """Since when the token is unregistered, in epoch milliseconds; None: it is not."""
        return self._unregistered.get(token)

    def unregister(self, token: str, at_epoch_ms: int) -> int:
        """Returns the time that counts: the first one."""
        return self._unregistered.setdefault(token, at_epoch_ms)

    def learn_unregistered(self, tokens: Mapping[str, int]) -> None:
        """These are the unregistered tokens, whatever was known before."""
        self._unregistered = dict(tokens)

    def register(self, token: str) -> None:
        self._unregistered.pop(token, None)
