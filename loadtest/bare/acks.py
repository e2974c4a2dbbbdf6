"""The limit of acknowledged delivery: what waits for a device's word is a member of a set.

Run as `python -m loadtest.bare.acks`. `GET /ws?token=T` is a device, `POST /broadcast` sends the
body, an id, to all of them in a message; `acknowledged` is said when all have acknowledged it.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress

import orjson
import trio
from wsproto.frame_protocol import FrameProtocol

from loadtest.bare.http1 import Requests, answer
from loadtest.bare.listening import receive, serve
from loadtest.bare.ws import WebSocketLoop
from loadtest.frames import text_frame


class AckLoop(WebSocketLoop):
    def __init__(self) -> None:
        super().__init__()
        #: token and id of each push that was sent and not acknowledged
        self._awaited: set[tuple[bytes, str]] = set()

    async def handle(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            data = await receive(connection)
            if not data.startswith(self.start):
                await answer(connection, data, Requests(self._take))
                return
            token = data[: data.index(b" ", 4)].partition(b"token=")[2]
            connection.send(self.greet(data))
            self._devices[token] = connection
            frames = FrameProtocol(client=False, extensions=[])
            while data := await receive(connection):
                frames.receive_bytes(data)
                for frame in frames.received_frames():
                    assert isinstance(frame.payload, str)
                    self._acknowledge(token, orjson.loads(frame.payload)["notification_id"])

    def _take(self, target: bytes, body: bytes) -> None:
        push_id = body.decode()
        self._awaited.update((token, push_id) for token in self._devices)
        message = (
            b'{"type":"notification","id":"%b","epoch":"00000000","seq":1,"topic":"","data":{}}'
            % body
        )
        for device in self._devices.values():
            device.send(text_frame(message))

    def _acknowledge(self, token: bytes, push_id: str) -> None:
        self._awaited.discard((token, push_id))
        if not self._awaited:
            print(json.dumps({"event": "acknowledged", "id": push_id}), flush=True)


if __name__ == "__main__":
    trio.run(serve, AckLoop().handle)
