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
        said = Cursor(epoch, last_seen) if epoch and isinstance(last_seen, int) else last_seen
        router, before = self._router, connection.mark
        if router.engine is None or not router.engine.resume(connection, said, before):
            router.resume(connection, self._meant(connection.token, said), before=before)

    def _meant(self, token: str, said: Cursor | int | str) -> Cursor:
        """The event that a device means, if this node knows it; else one of another life."""
        if isinstance(said, Cursor):
            return said
        if isinstance(said, int) and self._router.engine is None:
            return Cursor(self._router.epoch, said)
        seq = self._router.history.find(token, said)
        return Cursor("", 0) if seq is None else Cursor(self._router.epoch, seq)
