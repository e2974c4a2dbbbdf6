"""What the messages of a WebSocket device mean: acknowledgements, resuming, read marks, proof.

Called by the WebSocket transport for each message, in the task of the device; never waits.
"""

from __future__ import annotations

from collections.abc import Callable

from trio_push.devices.connection import Connection
from trio_push.devices.websocket import WebSocketConnection
from trio_push.router.router import Router
from trio_push.wire.cursor import Cursor
from trio_push.wire.messages import (
    AUTH_DONE,
    AUTH_REQUIRED,
    Ack,
    Auth,
    Error,
    FromDevice,
    FromServer,
    MarkRead,
    Sync,
)

#: lets a device in by its JWT and tells it so, or closes it
Admit = Callable[[WebSocketConnection, bytes], None]


class Session:
    """Acts for the devices of one node."""

    def __init__(self, router: Router) -> None:
        self._router = router
        #: set by the front door, which knows who may come in
        self.admit: Admit | None = None

    def hear(self, connection: Connection, message: FromDevice) -> FromServer | None:
        """Act on a message; returns the answer, if any."""
        assert isinstance(connection, WebSocketConnection)
        if isinstance(message, Auth):
            return self._prove(connection, message)
        if not connection.token:
            return Error(AUTH_REQUIRED.name, AUTH_REQUIRED.meaning)
        match message:
            case Ack(notification_id):
                # One that nobody waits for was acknowledged before, or needed no word.
                self._router.acknowledge(connection.token, notification_id)
            case MarkRead(notification_id):
                self._router.mark_read(connection.token, notification_id)
            case Sync(last_seen, epoch):
                self._resume(connection, last_seen, epoch)
        return None

    def _prove(self, connection: WebSocketConnection, message: Auth) -> FromServer | None:
        if connection.token or self.admit is None:
            return Error(AUTH_DONE.name, AUTH_DONE.meaning)
        self.admit(connection, message.token.encode())
        return None

    def _resume(
        self, connection: WebSocketConnection, last_seen: int | str, epoch: str | None
    ) -> None:
        if isinstance(last_seen, str):
            seq = self._router.seq_of(connection.token, last_seen)
            # A notification that is not known any more is a cursor of another life.
            cursor = Cursor("", 0) if seq is None else Cursor(self._router.epoch, seq)
        else:
            cursor = Cursor(epoch or self._router.epoch, last_seen)
        self._router.resume(connection, cursor, before=connection.mark)
