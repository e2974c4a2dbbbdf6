"""HTTP/2 from the client's side, frame by frame."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import trio

from tests.serving import PATIENCE_S


class Http2Client:
    """A client that may send what a decent one would not."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.statuses: dict[int, int] = {}
        self.bodies: dict[int, bytes] = {}
        self.resets: dict[int, int] = {}
        self.ended: set[int] = set()
        self.pongs: list[bytes] = []
        self.goaway = False
        #: what GOAWAY says
        self.last_words: bytes | None = None
        self.last_stream_id: int | None = None

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def request(self, headers: dict[str, str | bytes], *, end: bool = True) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        head = {":method": "GET", ":scheme": "http", ":authority": "x", ":path": "/healthz"}
        pairs = [(k, v) for k, v in {**head, **headers}.items() if v]
        self.h2.send_headers(stream_id, pairs, end_stream=end)
        await self.flush()
        return stream_id

    async def read(self) -> bool:
        """Take in what comes next; False at the end."""
        with trio.fail_after(PATIENCE_S):
            data = await self.stream.receive_some()
        if not data:
            return False
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.ResponseReceived():
                    self.statuses[event.stream_id] = int(dict(event.headers)[":status"])
                case h2.events.DataReceived():
                    body = self.bodies.get(event.stream_id, b"")
                    self.bodies[event.stream_id] = body + event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    self.ended.add(event.stream_id)
                case h2.events.StreamReset():
                    self.resets[event.stream_id] = event.error_code
                case h2.events.PingAckReceived():
                    self.pongs.append(event.ping_data)
                case h2.events.ConnectionTerminated():
                    self.goaway = True
                    self.last_words = event.additional_data
                    self.last_stream_id = event.last_stream_id
        await self.flush()
        return True

    async def status(self, stream_id: int) -> int:
        while stream_id not in self.ended:
            assert await self.read(), "the server closed the connection"
        return self.statuses[stream_id]
