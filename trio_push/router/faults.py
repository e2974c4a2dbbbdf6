"""Faults on demand on the way of a push that was accepted, and to its device.

Asked by the router instead of its own `route` while there are rules for that. What it does are
steps before and after the usual way, so that the books are kept as always.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import trio

from trio_push.clock import Clock
from trio_push.devices.connection import Connection
from trio_push.faults import Faults
from trio_push.faults.actions import DisconnectDevice, Duplicate, Lose, Reorder, SlowDevice
from trio_push.faults.active import Subject
from trio_push.faults.book import Fault
from trio_push.push import Numbered, Push, State
from trio_push.router.directory import Directory
from trio_push.watch.ledger import Ledger

if TYPE_CHECKING:
    from trio_push.router.router import Router

#: where a push is that its device has, or is just being sent
_ON_ITS_WAY = frozenset((State.DELIVERED_LIVE, State.IN_FLIGHT, State.QUEUED, State.AWAITING_ACK))


class FaultyRoutes:
    """Routes pushes of one node while rules may befall them."""

    def __init__(
        self, faults: Faults, router: Router, clock: Clock, ledger: Ledger, directory: Directory
    ) -> None:
        self._faults = faults
        self._router = router
        self._clock = clock
        self._ledger = ledger
        self._directory = directory

    def route(self, push: Push) -> State:
        """Like `Router.route`, with what befalls the push. Never blocks."""
        now, subject = trio.current_time(), Subject(push.token, push.topic)
        if self._faults.pushes is not None:
            # Either of them is the last that befalls a push.
            for fault in self._faults.pushes.judge(now, subject):
                if isinstance(fault.action, Lose):
                    self._ledger.enter(State.LOST_BY_FAULT)
                    return State.LOST_BY_FAULT
                if isinstance(fault.action, Reorder):
                    push = self._held_back(push, fault.sample_s(fault.action.by))
        connection = self._directory.get(push.token)
        is_due = push.not_before <= self._clock.wall()
        if self._faults.devices is None or connection is None or not is_due:
            return self._router.route(push)
        return self._route_to(connection, push, self._faults.devices.judge(now, subject))

    def _held_back(self, push: Push, by_s: float) -> Push:
        """The push, due later; a newer one overtakes it and does not take its place."""
        due = max(push.not_before, self._clock.wall() + by_s)
        return msgspec.structs.replace(push, not_before=due, newest_wins=False)

    def _route_to(self, connection: Connection, push: Push, faults: Sequence[Fault]) -> State:
        delivery = self._router.delivery
        actions = [fault.action for fault in faults]
        for fault in faults:
            if isinstance(fault.action, SlowDevice):
                seconds = fault.sample_s(fault.action.latency)
                delivery.stall(connection, self._router.seq, seconds)
        if DisconnectDevice("before") in actions:
            delivery.disconnect(connection)
        state = self._router.route(push)
        if Duplicate() in actions and state in _ON_ITS_WAY and not connection.closed:
            delivery.repeat(connection, Numbered(self._router.seq, push))
        if DisconnectDevice("after") in actions and not connection.closed:
            delivery.disconnect(connection)
        return state
