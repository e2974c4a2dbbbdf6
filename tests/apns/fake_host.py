"""A host that speaks APNs over memory streams, and says what a test wants it to say.

h2 itself ends a connection on which a client opens more streams than it may: the host then fails
its test, because its task raises.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import h2.config
import h2.connection
import h2.events
import h2.settings
import orjson
import trio
from h2.errors import ErrorCodes
from trio.testing import memory_stream_pair

from trio_push.apns.dial import Wire
from trio_push.errors import Unreachable
from trio_push.wire.h2_server import StateMachine


class Push(NamedTuple):
    """A push as it arrived."""

    connection: HostConnection
    stream_id: int
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str:
        return self.headers[":path"].rpartition("/")[2]

    def accept(self) -> None:
        conn = self.connection
        conn.h2.send_headers(
            self.stream_id, [(":status", "200"), ("apns-id", f"id-{self.token}")], end_stream=True
        )
        conn.flush()

    def refuse(self, status: int, reason: str, **headers: str) -> None:
        conn = self.connection
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        conn.h2.send_headers(self.stream_id, [(":status", str(status)), *fields])
        body = orjson.dumps({"reason": reason} | ({"timestamp": 17} if status == 410 else {}))
        conn.h2.send_data(self.stream_id, body, end_stream=True)
        conn.flush()

    def reset(self, code: ErrorCodes) -> None:
        self.connection.h2.reset_stream(self.stream_id, code)
        self.connection.flush()


Answer = Callable[[Push], None]


class HostConnection:
    """The host's end of one connection."""

    def __init__(self, host: FakeHost, stream: trio.abc.Stream, max_streams: int) -> None:
        self.host = host
        self.stream = stream
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: max_streams},
        )
        # as real hosts: a client that says goodbye is still answered
        self.h2.state_machine = StateMachine()
        self.h2.initiate_connection()
        self._bodies: dict[int, tuple[dict[str, str], bytes]] = {}
        self._to_write = trio.Event()
        self.events: list[h2.events.Event] = []
        self.closed = False
        #: what GOAWAY promised not to look at
        self.last = 2**31
        self.scope = trio.CancelScope()

    def flush(self) -> None:
        self._to_write.set()

    def set_max_streams(self, limit: int) -> None:
        self.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: limit})
        self.flush()

    def goaway(self, last: int, reason: str = "Shutdown", code: int = 0) -> None:
        """Look at no stream after `last`."""
        self.last = min(self.last, last)
        frame = h2.connection.GoAwayFrame(
            stream_id=0,
            last_stream_id=last,
            error_code=code,
            additional_data=orjson.dumps({"reason": reason}),
        )
        self.h2._data_to_send += frame.serialize()
        self.flush()

    def ping(self) -> None:
        self.h2.ping(b"12345678")
        self.flush()

    def cut(self) -> None:
        """End the connection, without a word."""
        self.scope.cancel()

    async def run(self) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read()
                nursery.cancel_scope.cancel()
        self.closed = True
        await trio.aclose_forcefully(self.stream)

    async def _write(self) -> None:
        while True:
            self._to_write = trio.Event()
            if data := self.h2.data_to_send():
                # who does not read our last words gets none
                with suppress(trio.BrokenResourceError):
                    await self.stream.send_all(data)
            else:
                await self._to_write.wait()

    async def _read(self) -> None:
        while data := await self.stream.receive_some():
            for event in self.h2.receive_data(bytes(data)):
                self.events.append(event)
                if isinstance(event, h2.events.StreamEnded):
                    open_streams = self.h2.open_inbound_streams
                    self.host.most_open = max(self.host.most_open, open_streams)
                self._take(event)
            self.flush()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._bodies[event.stream_id] = (dict(event.headers), b"")
        elif isinstance(event, h2.events.DataReceived):
            headers, body = self._bodies[event.stream_id]
            self._bodies[event.stream_id] = (headers, body + event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            push = Push(self, event.stream_id, *self._bodies.pop(event.stream_id))
            if event.stream_id > self.last:
                return
            self.host.pushes.append(push)
            self.host.answer(push)


class FakeHost:
    """Answers each push as `answer` does."""

    def __init__(self, nursery: trio.Nursery, *, max_streams: int = 100) -> None:
        self._nursery = nursery
        self.max_streams = max_streams
        self.answer: Answer = Push.accept
        self.pushes: list[Push] = []
        self.connections: list[HostConnection] = []
        #: of connections on which it is mute
        self.ends: list[trio.abc.Stream] = []
        self.most_open = 0
        #: trio's times at which somebody tried to connect
        self.dialed_at: list[float] = []
        self.is_down = False
        #: takes connections, and says not even SETTINGS
        self.is_mute = False
        self.dial_takes_s = 0.0

    async def dial(self) -> Wire:
        self.dialed_at.append(trio.current_time())
        await trio.sleep(self.dial_takes_s)
        if self.is_down:
            raise Unreachable("the host is down")
        ours, theirs = memory_stream_pair()
        if self.is_mute:
            self.ends.append(theirs)
            return Wire(ours, True)
        connection = HostConnection(self, theirs, self.max_streams)
        self.connections.append(connection)
        self._nursery.start_soon(connection.run)
        return Wire(ours, True)

    @property
    def open(self) -> list[HostConnection]:
        return [connection for connection in self.connections if not connection.closed]
