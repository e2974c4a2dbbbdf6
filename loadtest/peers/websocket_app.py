"""The server of `loadtest.peers.websocket`: trio-websocket, as its documents show it.

Run as `python -m loadtest.peers.websocket_app`. It has no other requests: each line of standard
input is sent to all devices.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress

import trio
from trio.testing import wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, WebSocketServer

_BACKLOG = 4096


class Devices:
    """Who is connected."""

    def __init__(self) -> None:
        self._devices: set[WebSocketConnection] = set()

    async def hold(self, request: WebSocketRequest) -> None:
        """Be the handler of a device."""
        device = await request.accept()
        self._devices.add(device)
        with suppress(ConnectionClosed):
            while True:
                await device.get_message()
        self._devices.discard(device)

    async def broadcast(self, text: str) -> None:
        # who was accepted a moment ago knows it before its handler does
        await wait_all_tasks_blocked()
        for device in list(self._devices):
            with suppress(ConnectionClosed):
                await device.send_message(text)


async def main() -> None:
    devices = Devices()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=_BACKLOG)
    host, port = listeners[0].socket.getsockname()
    async with trio.open_nursery() as nursery:
        server = WebSocketServer(devices.hold, listeners)
        await nursery.start(server.run)
        listening = {"event": "listening", "listener": "wire", "url": f"http://{host}:{port}"}
        print(json.dumps(listening), flush=True)
        rest = b""
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
            async for chunk in stdin:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    await devices.broadcast(line.decode())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
