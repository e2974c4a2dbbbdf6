"""A crowd of devices as cheap as they can be: one process, one epoll, a socket each.

Run as `python -m loadtest.clients HOST PORT PATH DEVICES TRANSPORT`, PATH with `{token}` in it
and TRANSPORT sse, ws, or ws-acks (which acknowledges all that it gets), by `loadtest.crowd`. Says
in JSON lines when all are connected (`connected`) and, told `expect N` on standard input, when N
events have come in since the start (`received`). Ends when standard input does; connections are
then reset, so that no port lingers.
"""

from __future__ import annotations

import itertools
import json
import math
import select
import socket
import struct
import sys
import time
from typing import Final

from loadtest.frames import MessageCounter

#: devices whose answer is still awaited: keeps the server busy, well within any backlog
CONNECTING: Final = 256
RECEIVE_BYTES: Final = 65536
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
#: by transport, a request and how it is answered when all is well
REQUESTS: Final = {
    "sse": b"GET %b HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
    "ws": b"GET %b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
}
ANSWERS: Final = {"sse": b"HTTP/1.1 200", "ws": b"HTTP/1.1 101"}
HEAD_END: Final = b"\r\n\r\n"


def token_of(number: int) -> str:
    """The device token of device `number`: hex, as APNs wants it."""
    return f"{number:016x}"


class EventCounter:
    """Counts the `data:` lines of many streams, however they are cut into reads."""

    def __init__(self) -> None:
        self.events = 0
        self.bytes = 0
        #: per stream, the line that its last read broke off in; nearly always none
        self._torn: dict[int, bytes] = {}

    def feed(self, stream: int, data: bytes) -> bytes:
        """Take in bytes of a stream; to none of them an answer is due."""
        self.bytes += len(data)
        whole, newline, rest = (self._torn.pop(stream, b"") + data).rpartition(b"\n")
        self.events += (whole + newline).count(b"data: ")
        if rest:
            self._torn[stream] = rest
        return b""


class Crowd:
    """The devices: `connect` them all, then `follow` what they receive."""

    def __init__(self, address: tuple[str, int], path: str, transport: str) -> None:
        self._address = address
        self._path = path
        kind, _, acks = transport.partition("-")
        self._request = REQUESTS[kind]
        self._answer = ANSWERS[kind]
        self._sockets: dict[int, socket.socket] = {}
        #: what has come of the answers that are not yet whole
        self._heads: dict[int, bytes] = {}
        self._counter = MessageCounter(acks=bool(acks)) if kind == "ws" else EventCounter()
        self._epoll = select.epoll()

    def connect(self, devices: int) -> None:
        """Connect them, a few at a time, until each has its answer or has failed."""
        started_s = time.monotonic()
        tokens = map(token_of, range(devices))
        while True:
            for token in itertools.islice(tokens, CONNECTING - len(self._heads)):
                self._open(token)
            if not self._heads:
                break
            for fd, _ in self._epoll.poll():
                self._read(fd)
        say("connected", devices=len(self._sockets), seconds=time.monotonic() - started_s)

    def follow(self) -> None:
        """Read events and obey standard input until it ends."""
        commands = sys.stdin.fileno()
        self._epoll.register(commands, select.EPOLLIN)
        expected = math.inf
        while True:
            for fd, _ in self._epoll.poll():
                if fd != commands:
                    self._read(fd)
                elif command := sys.stdin.readline():
                    expected = int(command.removeprefix("expect "))
                else:
                    return
            if self._counter.events >= expected:
                expected = math.inf
                say("received", bytes=self._counter.bytes, at_s=time.monotonic())

    def _open(self, token: str) -> None:
        device = socket.create_connection(self._address, timeout=10)
        device.setblocking(False)
        device.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        device.send(self._request % self._path.format(token=token).encode())
        self._sockets[device.fileno()] = device
        self._heads[device.fileno()] = b""
        self._epoll.register(device, select.EPOLLIN)

    def _read(self, fd: int) -> None:
        try:
            data = self._sockets[fd].recv(RECEIVE_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._drop(fd)
        elif fd in self._heads:
            self._take_head(fd, self._heads.pop(fd) + data)
        else:
            self._hear(fd, data)

    def _take_head(self, fd: int, data: bytes) -> None:
        head, end, body = data.partition(HEAD_END)
        if not end:
            self._heads[fd] = data
        elif not head.startswith(self._answer):
            self._drop(fd)
        elif body:
            self._hear(fd, body)

    def _hear(self, fd: int, data: bytes) -> None:
        if answer := self._counter.feed(fd, data):
            self._sockets[fd].send(answer)

    def _drop(self, fd: int) -> None:
        self._heads.pop(fd, None)
        self._sockets.pop(fd).close()


def say(event: str, **fields: float) -> None:
    """One JSON line to whoever runs this."""
    print(json.dumps({"event": event, **fields}), flush=True)


def main() -> None:
    host, port, path, devices, transport = sys.argv[1:]
    crowd = Crowd((host, int(port)), path, transport)
    crowd.connect(int(devices))
    crowd.follow()


if __name__ == "__main__":
    main()
