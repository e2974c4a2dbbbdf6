"""How long a connection may take for what it is doing, without a timer for each.

A cancel scope costs 10 µs to open and close and 3 µs each time that its deadline moves; in a
storm of connecting devices that is a quarter of the work. Here a deadline is an attribute, and
one task looks at all of them.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable

import trio

#: seconds between two looks, and so the most by which a deadline is missed
TICK_S = 0.25


class Patience:
    """The deadline of one connection, in trio's seconds."""

    __slots__ = ("deadline", "ran_out", "sock")

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self.sock = sock
        self.deadline = trio.current_time() + timeout_s
        #: the deadline has passed: who waits for the socket is woken by ClosedResourceError
        self.ran_out = False

    def allow(self, timeout_s: float) -> None:
        """From now on it may take so long, even if the deadline passed while we were busy."""
        self.deadline = trio.current_time() + timeout_s
        self.ran_out = False

    def allow_for_ever(self) -> None:
        self.deadline = math.inf
        self.ran_out = False


async def watch(connections: Iterable[Patience]) -> None:
    """End the waiting of those whose deadline has passed; until cancelled.

    Their sockets are not closed, so that a last word can be said. Who does not wait for its
    socket at the moment is woken the next time it does.
    """
    while True:
        await trio.sleep(TICK_S)
        now = trio.current_time()
        for patience in [each for each in connections if each.deadline <= now]:
            patience.ran_out = True
            if patience.sock.fileno() >= 0:
                trio.lowlevel.notify_closing(patience.sock)
