"""Fakes that behave like the real thing: a device whose socket takes as much as the test says,
a disk that is as slow or as full.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio

from trio_push.devices.connection import Connection
from trio_push.devices.sse import SseTransport
from trio_push.errors import StoreFailed
from trio_push.mailbox.sqlite_file import HELD, Changes
from trio_push.push import Push

TRANSPORT = SseTransport("e")


class FakeDevice(Connection):
    """A connection to a device that takes `room` bytes (None: all), then would block."""

    def __init__(self, token: str = "aa", room: int | None = None) -> None:
        super().__init__(token, socket.socket(), TRANSPORT, 0.0)
        self.sock.close()
        self.taken = b""
        self.room = room
        self.gone = False
        #: of the history, when it was attached
        self.mark = 0
        self.is_closed = False
        self._changed = trio.Event()

    @property
    def closed(self) -> bool:
        return self.is_closed

    def send(self, data: bytes) -> int:
        if self.is_closed or self.gone:
            raise BrokenPipeError
        if self.room is None:
            self.taken += data
            return len(data)
        if self.room == 0:
            raise BlockingIOError
        part = data[: self.room]
        self.room -= len(part)
        self.taken += part
        return len(part)

    async def wait_writable(self) -> None:
        while self.room == 0 and not self.is_closed:
            await self._changed.wait()
        if self.is_closed:
            raise trio.ClosedResourceError

    def make_room(self, room: int | None) -> None:
        self.room = room
        self._wake()

    def close(self) -> None:
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def fields(self, name: bytes, event: bytes | None = None) -> list[bytes]:
        """The values of a field in every whole event of that name (None: without one)."""
        return [value for at, value in self._blocks(name) if at == event]

    def _blocks(self, field: bytes = b"data") -> list[tuple[bytes | None, bytes]]:
        """The values of a field in every whole event, each with the name of its event."""
        found = []
        for block in self.taken.split(b"\n\n")[:-1]:
            fields = [line.partition(b": ")[::2] for line in block.split(b"\n")]
            name = dict(fields).get(b"event")
            found += [(name, value) for key, value in fields if key == field]
        return found

    @property
    def events(self) -> list[bytes]:
        """The data of every push that the device has whole."""
        ours = (b"sync_result", b"mark_read")
        return [data for name, data in self._blocks() if name not in ours]

    @property
    def seqs(self) -> list[int]:
        return [int(event_id.rpartition(b":")[2]) for _, event_id in self._blocks(b"id")]


def push(payload: bytes = b"x", token: str = "aa", ttl_s: float = 3600, **more: object) -> Push:
    """A push that may be stored for `ttl_s` seconds from the tests' first moment."""
    expires_at = T0 + ttl_s if ttl_s else 0.0
    fields: dict[str, object] = {"id": payload.decode(), "expires_at": expires_at, **more}
    return Push(token=token, payload=payload, **fields)  # type: ignore[arg-type]


#: where the tests' wall clock starts, in epoch seconds
T0 = 1_800_000_000.0


class Disk:
    """Writes in the loop's own thread; slow while `gate` is shut, full while `is_full`."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.gate.set()
        self.is_full = False
        #: of each transaction, the numbers of the pushes in it
        self.transactions: list[list[int]] = []

    def stall(self) -> None:
        self.gate = trio.Event()

    async def write(self, write: Callable[[Changes], None], changes: Changes) -> None:
        await self.gate.wait()
        if self.is_full:
            raise StoreFailed("database or disk is full")
        write(changes)
        self.transactions.append(sorted(int(key[0]) for key in changes[HELD]))
