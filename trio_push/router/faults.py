"""Faults on demand on the way of a push that was accepted, and to its device.

Asked by the router instead of its own `route` while there are rules for that. What it does are
steps before and after the usual way, so that the books are kept as always. Among several nodes
a push is judged where it was accepted, and its device where that is connected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

from trio_push.clock import Clock
from trio_push.devices.connection import Connection
from trio_push.faults import Faults
from trio_push.faults.actions import (
    Action,
    DisconnectDevice,
    Duplicate,
    Lose,
    Reorder,
    SlowDevice,
)
from trio_push.faults.active import Subject
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

    # -- on the way

    def route(self, push: Push) -> State:
        """Like `Router.route`, with what befalls the push and its device. Never blocks."""
        befallen = self._befall(push)
        if befallen is None:
            return State.LOST_BY_FAULT
        if befallen.not_before > self._clock.wall():
            return self._hold(befallen)
        then = self.befall_device(befallen)
        state = self._router.route(befallen)
        then(state)
        return state

    def submit(
        self,
        pushes: Sequence[Push],
        enter: Callable[[State], None],
        settle: Callable[[list[State]], None],
    ) -> None:
        """Like `Local.submit`, with what befalls the pushes before they go on. Never blocks."""
        befallen = list(map(self._befall, pushes))
        left = [push for push in befallen if push is not None]

        def settle_all(states: list[State]) -> None:
            of_the_left = iter(states)
            settle([State.LOST_BY_FAULT if p is None else next(of_the_left) for p in befallen])

        if left:
            assert self._router.engine is not None
            self._router.engine.local.submit(left, enter, settle_all)
        else:
            settle_all([])

    def _befall(self, push: Push) -> Push | None:
        """The push after what befalls it; None: it is lost, and the ledger has it."""
        if self._faults.pushes is None:
            return push
        # Either of them is the last that befalls a push.
        for fault in self._faults.pushes.judge(trio.current_time(), _subject(push)):
            if isinstance(fault.action, Lose):
                self._ledger.enter(State.LOST_BY_FAULT)
                return None
            if isinstance(fault.action, Reorder):
                return self._held_back(push, fault.sample_s(fault.action.by))
        return push

    def _held_back(self, push: Push, by_s: float) -> Push:
        """The push, due later; a newer one overtakes it and does not take its place."""
        due = max(push.not_before, self._clock.wall() + by_s)
        return msgspec.structs.replace(push, not_before=due, newest_wins=False)

    def _hold(self, push: Push) -> State:
        engine = self._router.engine
        if engine is None:
            return self._router.route(push)
        # Among several nodes what is delayed is nobody's, and on its way to where that lies.
        engine.local.submit([push], self._ledger.enter, lambda outcomes: None)
        return State.DELAYED

    # -- at the device

    def befall_device(self, push: Push) -> Callable[[State], None]:
        """What befalls the device, if it is here, before a push that is due is written to it.

        Returns what does after, to be called with where the push got to. The device may be gone.
        """
        connection = self._directory.get(push.token)
        if self._faults.devices is None or connection is None:
            return _nothing
        delivery = self._router.delivery
        actions = []
        for fault in self._faults.devices.judge(trio.current_time(), _subject(push)):
            actions.append(fault.action)
            if isinstance(fault.action, SlowDevice):
                seconds = fault.sample_s(fault.action.latency)
                delivery.stall(connection, self._router.seq, seconds)
        if DisconnectDevice("before") in actions:
            delivery.disconnect(connection)
        return partial(self._befall_after, connection, push, actions)

    def _befall_after(
        self, connection: Connection, push: Push, actions: Sequence[Action], state: State
    ) -> None:
        delivery = self._router.delivery
        if Duplicate() in actions and state in _ON_ITS_WAY and not connection.closed:
            delivery.repeat(connection, Numbered(self._router.seq, push))
        if DisconnectDevice("after") in actions and not connection.closed:
            delivery.disconnect(connection)


def _subject(push: Push) -> Subject:
    return Subject(push.token, push.topic)


def _nothing(_: State) -> None:
    pass
