"""An HTTP/2 client that takes what it gets, frame by frame, and has no opinion of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import h2.config
import h2.connection
import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

from tests.serving import Peer


class Said(NamedTuple):
    """A frame that says something about a stream or the connection."""

    kind: str
    stream_id: int = 0
    #: a status, an error code, a limit
    value: int | None = None
    text: Any = None
    #: of GOAWAY
    last_stream_id: int | None = None


class FrameClient:
    """h2 to send with; hyperframe to read with, since h2 stops reading at GOAWAY."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self._decoder = hpack.Decoder()
        self._unread = b""

    @classmethod
    @asynccontextmanager
    async def connected(cls, server: Any, **how: Any) -> AsyncIterator[FrameClient]:
        async with Peer.connected(server, **how) as peer:
            client = cls(peer)
            await client.flush()
            yield client

    async def flush(self) -> None:
        await self.peer.send(self.h2.data_to_send())

    def add(self, token: str, body: bytes = b"{}", **headers: str) -> int:
        """A push; sent with the next flush. Returns its stream."""
        stream_id = self.begin(token, **headers)
        self.h2.send_data(stream_id, body, end_stream=True)
        return stream_id

    def begin(self, token: str, **headers: str) -> int:
        """A push without its body; sent with the next flush. Returns its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        pseudo = {":method": "POST", ":scheme": "http", ":authority": "x"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {**pseudo, ":path": f"/3/device/{token}", **named}
        self.h2.send_headers(stream_id, list(fields.items()))
        return stream_id

    async def push(self, token: str, **headers: str) -> int:
        stream_id = self.add(token, **headers)
        await self.flush()
        return stream_id

    async def hear_after(self, token: str) -> Said:
        """Push, and the next frame that says something."""
        await self.push(token)
        return await self.hear()

    async def hear(self) -> Said:
        """The next frame that says something."""
        while True:
            frame = await self._frame()
            if frame is None:
                return Said("end")
            if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                await self.peer.send(SettingsFrame(0, flags=["ACK"]).serialize())
            said = self._said(frame)
            if said is not None:
                return said

    async def _frame(self) -> Frame | None:
        while True:
            if len(self._unread) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self._unread[:9]))
                if len(self._unread) >= 9 + length:
                    frame.parse_body(memoryview(self._unread[9 : 9 + length]))
                    self._unread = self._unread[9 + length :]
                    return frame
            data = await self.peer.receive()
            if not data:
                return None
            self._unread += data

    def _said(self, frame: Frame) -> Said | None:
        match frame:
            case HeadersFrame():
                fields = dict(self._decoder.decode(frame.data))
                return Said("answer", frame.stream_id, int(fields[":status"]), fields)
            case DataFrame():
                return Said("body", frame.stream_id, text=json.loads(frame.data))
            case RstStreamFrame():
                return Said("reset", frame.stream_id, frame.error_code)
            case GoAwayFrame():
                text = json.loads(frame.additional_data)
                return Said("goaway", 0, frame.error_code, text, frame.last_stream_id)
            case SettingsFrame() if 3 in frame.settings:
                return Said("streams", 0, frame.settings[3])
        return None
