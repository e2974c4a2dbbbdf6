"""What the messages of a WebSocket device mean: acknowledgements, resuming, read marks, proof.

Called by the WebSocket transport for each message, in the task of the device; never waits.
"""

from __future__ import annotations

from trio_push.devices.connection import Connection
from trio_push.devices.websocket import WebSocketConnection
from trio_push.router.router import Router
from trio_push.wire.cursor import Cursor
from trio_push.wire.messages import (
    AUTH_DONE,
    Ack,
    Auth,
    Error,
    FromDevice,
    FromServer,
    MarkRead,
    Sync,
)


class Session:
    """Acts for the devices of one node."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def hear(self, connection: Connection, message: FromDevice) -> FromServer | None:
        """Act on a message; returns the answer, if any."""
        assert isinstance(connection, WebSocketConnection)
        match message:
            case Ack(notification_id):
                # One that nobody waits for was acknowledged before, or needed no word.
                self._router.acks.acknowledge(connection.token, notification_id)
            case MarkRead(notification_id):
                self._router.mark_read(connection.token, notification_id)
            case Sync(last_seen, epoch):
                self._resume(connection, last_seen, epoch)
            case Auth():
                # The front door hears the first message of a device that has to prove itself.
                return Error(AUTH_DONE.name, AUTH_DONE.meaning)
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
        engine = self._router.engine
        if engine is None or not engine.resume(connection, cursor):
            self._router.resume(connection, cursor, before=connection.mark)
