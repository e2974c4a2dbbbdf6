"""A crowd of devices that is cut and comes back, each with the cursor of the last push it keeps.

Run as `python -m loadtest.returners HOST PORT DEVICES TRANSPORT`, by the scenario resume. Pushes
carry `{"n": N}`, which counts from 0 for each device. Obeys lines on standard input, and answers
each with a JSON line once that is done:

    return R   all connect, with the cursor they keep if any; done when each has had pushes 0 to R
    keep       each keeps the cursor of the last push that it had
    cut        all connections are reset, and what came after the kept cursors is forgotten
    expect N   wait until N pushes have come and not been forgotten
    audit      say how many pushes were `had` and how many came `twice`, and how often the server
               had not all that was missed
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from typing import Final

from loadtest.clients import (
    ANSWERS,
    CONNECTING,
    HEAD_END,
    RECEIVE_BYTES,
    REQUESTS,
    RESET_ON_CLOSE,
    say,
    token_of,
)
from loadtest.frames import device_frame
from loadtest.heard import Parse, Push, Resumed, parse_events, parse_messages

_STDIN: Final = 0
_PATHS: Final = {"sse": "/events?token=%s", "ws": "/ws?token=%s"}


class Device:
    """One of them."""

    __slots__ = ("cursor", "done", "greeted", "had", "kept", "rest", "token")

    def __init__(self, token: str) -> None:
        self.token = token
        #: of the last push that came; b"" before the first
        self.cursor = b""
        #: bit N is set: push N has come
        self.had = 0
        #: cursor and bits at the last `keep`
        self.kept = (b"", 0)
        #: what has come and is not all there yet
        self.rest = b""
        #: the server's answer is there
        self.greeted = False
        #: has had what it came back for
        self.done = False


class Returners:
    """All of them. `follow` obeys standard input until it ends."""

    def __init__(self, address: tuple[str, int], devices: int, transport: str) -> None:
        self._address = address
        self._transport = transport
        self._parse: Parse = parse_events if transport == "sse" else parse_messages
        self._devices = [Device(token_of(number)) for number in range(devices)]
        self._sockets: dict[int, tuple[socket.socket, Device]] = {}
        self._epoll = select.epoll()
        #: who is still to connect, and how many wait for their answer
        self._outside: list[Device] = []
        self._connecting = 0
        #: bits of the pushes that all come back for, and how many have not had them
        self._missed = 0
        self._undone = 0
        #: pushes that are waited for, if any, and that have come and not been forgotten
        self._expected: int | None = None
        self._had = 0
        self._twice = 0
        self._not_recovered = 0

    def follow(self) -> None:
        self._epoll.register(_STDIN, select.EPOLLIN)
        rest = b""
        while True:
            self._connect_some()
            for fd, _ in self._epoll.poll():
                if fd in self._sockets:
                    self._read(fd)
                elif fd == _STDIN:  # else it was cut a moment ago
                    data = os.read(_STDIN, RECEIVE_BYTES)
                    if not data:
                        return
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._obey(*line.decode().split())
            if self._expected is not None and self._had >= self._expected:
                self._expected = None
                say("expected")

    # -- orders

    def _obey(self, order: str, number: str = "") -> None:
        match order:
            case "return":
                self._return(int(number))
            case "expect":
                self._expected = int(number)
            case "keep":
                for device in self._devices:
                    device.kept = (device.cursor, device.had)
                say("kept")
            case "cut":
                self._cut()
                say("cut")
            case "audit":
                say("audited", had=self._had, twice=self._twice, not_recovered=self._not_recovered)

    def _return(self, last: int) -> None:
        self._missed = (1 << (last + 1)) - 1
        self._undone = len(self._devices)
        self._outside = self._devices[:]

    def _cut(self) -> None:
        for device_socket, device in self._sockets.values():
            device_socket.close()
            device.cursor, device.had = device.kept
            device.rest = b""
            device.greeted = device.done = False
        self._sockets.clear()
        self._had = sum(device.had.bit_count() for device in self._devices)

    # -- connections

    def _connect_some(self) -> None:
        while self._outside and self._connecting < CONNECTING:
            device = self._outside.pop()
            device_socket = socket.create_connection(self._address, timeout=10)
            device_socket.setblocking(False)
            # no port lingers, and a server notices at once
            device_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            device_socket.send(self._request(device))
            self._sockets[device_socket.fileno()] = (device_socket, device)
            self._epoll.register(device_socket, select.EPOLLIN)
            self._connecting += 1

    def _request(self, device: Device) -> bytes:
        request = REQUESTS[self._transport] % (_PATHS[self._transport] % device.token).encode()
        if self._transport == "sse" and device.cursor:
            last = b"Last-Event-ID: %b\r\n\r\n" % device.cursor
            request = request.removesuffix(b"\r\n") + last
        return request

    def _read(self, fd: int) -> None:
        device_socket, device = self._sockets[fd]
        data = device_socket.recv(RECEIVE_BYTES)
        if not data:
            raise SystemExit(f"the server dropped {device.token}")
        data = device.rest + data
        if not device.greeted:
            head, end, data = data.partition(HEAD_END)
            if not end:
                device.rest = head
                return
            self._greet(device_socket, device, head)
        heard, device.rest = self._parse(data)
        for each in heard:
            self._hear(device, each)
        if not device.done and device.had & self._missed == self._missed:
            device.done = True
            self._undone -= 1
            if not self._undone:
                say("returned", at_s=time.monotonic())

    def _greet(self, device_socket: socket.socket, device: Device, head: bytes) -> None:
        if not head.startswith(ANSWERS[self._transport]):
            raise SystemExit(f"{device.token} was refused: {head!r}")
        device.greeted = True
        self._connecting -= 1
        if self._transport == "ws" and device.cursor:
            epoch, _, seq = device.cursor.partition(b":")
            sync = b'{"type":"sync","last_seen":%b,"epoch":"%b"}' % (seq, epoch)
            device_socket.send(device_frame(sync))

    def _hear(self, device: Device, heard: Push | Resumed) -> None:
        if isinstance(heard, Resumed):
            self._not_recovered += not heard.recovered
        elif device.had >> heard.n & 1:
            self._twice += 1
        else:
            device.had |= 1 << heard.n
            device.cursor = heard.cursor
            self._had += 1


def main() -> None:
    host, port, devices, transport = sys.argv[1:]
    Returners((host, int(port)), int(devices), transport).follow()


if __name__ == "__main__":
    main()
