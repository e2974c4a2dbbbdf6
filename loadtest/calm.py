"""Devices that have nothing to do with what happens to the others, and how long their pushes take.

Pushed to by APNs over HTTP/1.1, which every peer understands that holds devices and takes pushes.
Each push carries the time at which it was to be sent: a sender that is kept waiting hides nothing.
"""

from __future__ import annotations

import itertools
import re
import time
from typing import Final

import trio

from loadtest.child import Address, Failed
from loadtest.clients import ANSWERS, HEAD_END, REQUESTS, token_of
from loadtest.frames import PONG
from loadtest.peers.peer import Peer

_DUE: Final = re.compile(rb'\{"due":([\d.]+)\}')
_PING: Final = b"\x89\x00"
_ACCEPTED: Final = b"HTTP/1.1 200"
_CONNECT_S: Final = 30


class Calm:
    """The devices and their provider. `run` them in a nursery of one's own."""

    def __init__(self, peer: Peer, wire: Address, devices: int, rate: float) -> None:
        self._peer = peer
        self._wire = wire
        self._tokens = [token_of(number) for number in range(devices)]
        self._rate = rate
        self._stopped = False
        #: pushes that were sent, and answered 200
        self.sent = 0
        self.accepted = 0
        #: when each push that came was due (time.monotonic) → how long after that it came
        self.came: dict[float, float] = {}
        self.twice = 0

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Connect, then push until `stop`, and listen until cancelled. Raises Failed."""
        async with trio.open_nursery() as nursery:
            with trio.fail_after(_CONNECT_S):
                for token in self._tokens:
                    await nursery.start(self._listen, token)
            task_status.started()
            async with await trio.open_tcp_stream(*self._wire) as stream:
                nursery.start_soon(self._count_answers, stream)
                await self._push(stream)
                await trio.sleep_forever()

    def stop(self) -> None:
        """Push no more."""
        self._stopped = True

    @property
    def complete(self) -> bool:
        """Whether all that was sent was accepted and has come."""
        return self._stopped and self.sent == self.accepted == len(self.came)

    def took_s(self, begin: float, end: float) -> list[float]:
        """How long the pushes took that were due between two times."""
        return [took_s for due, took_s in self.came.items() if begin <= due < end]

    async def _listen(self, token: str, *, task_status: trio.TaskStatus[None]) -> None:
        transport = self._peer.transport
        path = self._peer.events_path.format(token=token)
        async with await trio.open_tcp_stream(*self._wire) as stream:
            await stream.send_all(REQUESTS[transport] % path.encode())
            data: bytes = b""
            while HEAD_END not in data and (more := await stream.receive_some()):
                data += more
            if not data.startswith(ANSWERS[transport]):
                raise Failed(f"a device was refused: {data!r}")
            task_status.started()
            async for chunk in stream:
                data = self._take(data + chunk)
                if _PING in chunk:
                    await stream.send_all(PONG)
        raise Failed("the server dropped a device that was to be left alone")

    def _take(self, data: bytes) -> bytes:
        """Note the pushes in what has come; returns what is not all there yet."""
        now = time.monotonic()
        end = 0
        for found in _DUE.finditer(data):
            due, end = float(found[1]), found.end()
            self.twice += due in self.came
            self.came.setdefault(due, now - due)
        return data[end:]

    async def _push(self, stream: trio.SocketStream) -> None:
        start = time.monotonic()
        for number, token in enumerate(itertools.cycle(self._tokens)):
            due = start + number / self._rate
            await trio.sleep(max(0.0, due - time.monotonic()))
            if self._stopped:
                return
            self.sent += 1
            body = b'{"due":%.6f}' % due
            await stream.send_all(
                b"POST /3/device/%b HTTP/1.1\r\nHost: localhost\r\napns-push-type: mdm\r\n"
                b"apns-topic: calm.%d\r\nContent-Length: %d\r\n\r\n%b"
                % (token.encode(), number, len(body), body)
            )

    async def _count_answers(self, stream: trio.SocketStream) -> None:
        torn = b""
        async for data in stream:
            data = torn + data
            self.accepted += data.count(_ACCEPTED)
            torn = data[-len(_ACCEPTED) + 1 :]
