"""Hypercorn's HTTP/2, with what would end a whole connection, or stall it, mended.

A connection's reader never waits for a request: what arrives for one is handed over by a task
of that request, and its window opens again when it has been taken. Data for a request that is
answered already is let go. A head that is no request to us resets its stream alone.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h2.events
import h2.exceptions
import trio
from h2.errors import ErrorCodes
from hypercorn.events import Closed
from hypercorn.events import Event as ConnectionEvent
from hypercorn.protocol.events import Body, EndBody, Event, StreamClosed
from hypercorn.protocol.h2 import BUFFER_LOW_WATER, H2Protocol, StreamBuffer

if TYPE_CHECKING:
    from hypercorn.protocol.http_stream import HTTPStream
    from hypercorn.protocol.ws_stream import WSStream

#: Received and not yet taken by its requests, per connection, in bytes. A stream's own window is
#: 64 KiB: so many of them may lie still and others on their connection still get through.
CONNECTION_WINDOW = 16 * 2**20


class _Inflow:
    """What has arrived of one request's body and is not yet handed over."""

    __slots__ = ("arrived", "data", "ended", "unacknowledged")

    def __init__(self) -> None:
        self.data = bytearray()
        #: bytes of the window that it takes up; padding counts too
        self.unacknowledged = 0
        #: whether there is no more to come: the body is complete, or the stream closed
        self.ended = False
        self.arrived = trio.Event()

    def add(self, data: bytes, length: int) -> None:
        self.data += data
        self.unacknowledged += length
        self.arrived.set()

    def end(self) -> None:
        self.ended = True
        self.arrived.set()

    def take(self) -> tuple[bytes, int, bool]:
        """All of it: the data, its length in the window, and whether that was the last."""
        taken = bytes(self.data), self.unacknowledged, self.ended
        self.data.clear()
        self.unacknowledged = 0
        self.arrived = trio.Event()
        return taken


class _Outflow(StreamBuffer):
    """What a response has sent and its client gives no room for yet.

    Hypercorn's lets the response go on whenever little was sent, as when there is no room at all;
    this one when little is left.
    """

    async def pop(self, max_length: int) -> bytes:
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


class Http2(H2Protocol):
    """One HTTP/2 connection."""

    def __init__(self, *args: Any) -> None:  # Hypercorn's own nine, handed through
        super().__init__(*args)
        self._inflows: dict[int, _Inflow] = {}
        #: streams whose response is complete but for END_STREAM on the wire
        self._answered: set[int] = set()
        self._stream_sent = trio.Event()

    async def initiate(
        self, headers: list[tuple[bytes, bytes]] | None = None, settings: bytes | None = None
    ) -> None:
        await super().initiate(headers, settings)
        self.connection.increment_flow_control_window(CONNECTION_WINDOW)
        await self._flush()

    async def handle(self, event: ConnectionEvent) -> None:
        await super().handle(event)
        if isinstance(event, Closed):
            # Nobody sends any more: let go who waits for it.
            for buffer in list(self.stream_buffers.values()):
                await buffer.close()
            self._note_sent()

    # -- what comes in

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            match event:
                case h2.events.DataReceived():
                    self._data_received(event)
                case h2.events.StreamEnded() if event.stream_id in self._inflows:
                    self._inflows[event.stream_id].end()
                case h2.events.RequestReceived() if not _is_request(event):
                    self.connection.reset_stream(event.stream_id, ErrorCodes.PROTOCOL_ERROR)
                case _:
                    await super()._handle_events([event])
        await self._flush()

    def _data_received(self, event: h2.events.DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            # Answered before its body was complete (RFC 9113, 8.1).
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return
        inflow = self._inflows.get(event.stream_id)
        if inflow is None:
            inflow = self._inflows[event.stream_id] = _Inflow()
            self.task_group.spawn(self._hand_over, stream, inflow)
        inflow.add(event.data, event.flow_controlled_length)

    async def _hand_over(self, stream: HTTPStream | WSStream, inflow: _Inflow) -> None:
        """Bring a body to its request as fast as that takes it."""
        stream_id = stream.stream_id
        ended = False
        while not ended:
            await inflow.arrived.wait()
            data, length, ended = inflow.take()
            if data:
                await stream.handle(Body(stream_id=stream_id, data=data))
            if length and not self.closed:
                self.connection.acknowledge_received_data(length, stream_id)
                await self._flush()
        del self._inflows[stream_id]
        await stream.handle(EndBody(stream_id=stream_id))

    async def _close_stream(self, stream_id: int) -> None:
        if stream_id in self._inflows:
            self._inflows[stream_id].end()
        await super()._close_stream(stream_id)

    # -- what goes out

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        await super()._create_stream(request)
        # Nothing is in Hypercorn's yet: the request's task has not had a turn.
        self.stream_buffers[request.stream_id] = _Outflow(self.context.event_class)

    async def stream_send(self, event: Event) -> None:
        if isinstance(event, StreamClosed):
            await self._finish(event.stream_id)
        await super().stream_send(event)
        if isinstance(event, EndBody):
            self._answered.add(event.stream_id)

    async def _finish(self, stream_id: int) -> None:
        """Tell the client that there is no more to come, before Hypercorn forgets the stream."""
        if stream_id in self._answered:
            # At shutdown Hypercorn says GOAWAY next, and sends nothing after it.
            while stream_id in self.stream_buffers and not self.closed:
                await self._stream_sent.wait()
            self._answered.discard(stream_id)
        elif stream_id in self.stream_buffers and not self.closed:
            # Broken off: without a reset the client would wait for the rest.
            with suppress(h2.exceptions.ProtocolError):  # the client was faster
                self.connection.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
                await self._flush()
            await self._window_updated(stream_id)  # makes Hypercorn look, and drop its buffer

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if stream_id not in self.stream_buffers:
            self._note_sent()

    def _note_sent(self) -> None:
        self._stream_sent.set()
        self._stream_sent = trio.Event()


def _is_request(event: h2.events.RequestReceived) -> bool:
    """Whether it has a method and a path that Hypercorn can take."""
    head = dict(event.headers or ())
    return head.get(b":method") != b"CONNECT" and head.get(b":path", b"\xff").isascii()
