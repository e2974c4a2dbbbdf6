"""What a device over WebSocket makes of the messages of its server, and what it says itself.

Messages in, messages out, no I/O; both kinds of WebSocket devices hold one each, for all of
their connections.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from trio_push.swarm.population import Population
from trio_push.swarm.position import Position
from trio_push.wire import messages
from trio_push.wire.close_codes import CLOSE_CODES, may_come_back
from trio_push.wire.messages import Ack, MarkRead, Notification, ReadElsewhere, SyncResult

#: how a server that goes away says when to come back, in milliseconds
_RETRY: Final = re.compile(r"retry: (\d{1,9})")


class Conversation:
    """The messages of one device."""

    __slots__ = ("_index", "_population", "_position", "received", "retry_s")

    def __init__(self, index: int, population: Population) -> None:
        #: pushes of the present connection
        self.received = 0
        #: as the server has asked for it; for ever when it has told the device to stay away
        self.retry_s = 0.0
        self._index = index
        self._population = population
        self._position = Position(population.start)

    def begin(self) -> bytes | None:
        """A connection is there; returns what to say first: what the device missed, it asks for."""
        self.received = 0
        sync = self._position.ask()
        self._position.may_have_missed()
        return None if sync is None else messages.encode(sync)

    def may_have_missed(self) -> None:
        """The server may have taken a connection for whole that was not."""
        self._position.may_have_missed()

    def hear(self, payload: bytes) -> Sequence[bytes]:
        """Act on a message of the server; returns what to say to it."""
        message = messages.decode_from_server(payload)
        match message:
            case Notification():
                self.received += 1
                return self._answers(message)
            case ReadElsewhere():
                self.received += 1
                if self._is_news(message, message.notification_id):
                    self._population.marked_read(self._index, message.notification_id)
            case SyncResult():
                self._position.answered(message)
                self._population.resumed(recovered=message.recovered)
        return ()

    def _answers(self, notification: Notification) -> Sequence[bytes]:
        population, said = self._population, []
        is_news = self._is_news(notification, notification.id)
        if is_news and population.received(self._index, bytes(notification.data).decode()):
            population.mark_read(self._index, notification.id)
            said.append(messages.encode(MarkRead(notification.id)))
        if population.destination.ack:
            population.acknowledged()
            said.append(messages.encode(Ack(notification.id)))
        return said

    def _is_news(self, message: Notification | ReadElsewhere, notification_id: str) -> bool:
        return self._position.received(message.epoch, message.seq, notification_id)

    def end(self, code: int, reason: str = "") -> None:
        """The server ends the connection, and its code says whether to come back."""
        self._population.closed(CLOSE_CODES[code].name if code in CLOSE_CODES else str(code))
        if not may_come_back(code):
            self.retry_s = math.inf
        elif (when := _RETRY.fullmatch(reason)) is not None:
            self.retry_s = int(when[1]) / 1e3
