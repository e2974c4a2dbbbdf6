"""The client's half of APNs over HTTP/2: pushes in, fates out. No I/O; h2 does the protocol."""

from __future__ import annotations

from typing import NamedTuple

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from h2.settings import SettingCodes, Settings
from hpack import NeverIndexedHeaderTuple

from trio_push.errors import ProtocolError
from trio_push.swarm.lane import Planned, refusal

#: streams that a connection may have open if the server allows more: Apple's allows 1000
MAX_STREAMS = 1000
#: room in the flow-control window that is waited for before a push: the largest that APNs takes
LARGEST_PUSH_BYTES = 4096


class Fate(NamedTuple):
    """What became of a push: accepted, refused with a reason, or (None) nobody knows."""

    push: Planned
    accepted: bool | None
    reason: str = ""


class _Stream:
    __slots__ = ("body", "push", "status")

    def __init__(self, push: Planned) -> None:
        self.push = push
        self.status = 0
        self.body = b""


class H2Pushes:
    """The pushes on one connection. Take `data_to_send` after every call."""

    def __init__(
        self, scheme: str, authority: str, topic: str | None, api_key: str | None = None
    ) -> None:
        self._h2 = h2.connection.H2Connection(
            # ours are right: not looking at them again saves a tenth of the time
            h2.config.H2Configuration(
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings = Settings(
            client=True, initial_values={SettingCodes.ENABLE_PUSH: 0}
        )
        self._h2.initiate_connection()
        self._headers = [
            (":method", "POST"),
            (":scheme", scheme),
            (":authority", authority),
            ("content-type", "application/json"),
            ("apns-push-type", "mdm"),
        ]
        if topic:
            self._headers.append(("apns-topic", topic))
        if api_key:
            self._headers.append(("authorization", f"Bearer {api_key}"))
        self._streams: dict[int, _Stream] = {}
        #: nothing more comes of this connection
        self.closed = False
        #: none before the server's SETTINGS have come
        self._max_streams = 0

    @property
    def has_room(self) -> bool:
        """Whether another push may be started now."""
        return (
            not self.closed
            and len(self._streams) < self._max_streams
            and self._h2.outbound_flow_control_window >= LARGEST_PUSH_BYTES
        )

    @property
    def open_streams(self) -> int:
        """How many pushes are not answered yet."""
        return len(self._streams)

    @property
    def on_the_way(self) -> list[Planned]:
        """The pushes that are not answered yet."""
        return [stream.push for stream in self._streams.values()]

    def start(self, push: Planned) -> None:
        """Send a push. Only where there `has_room`."""
        stream_id = self._h2.get_next_available_stream_id()
        # as Apple asks for: a path that is not sent again is not worth a place in the table
        path = NeverIndexedHeaderTuple(":path", f"/3/device/{push.token}")
        self._h2.send_headers(stream_id, [path, *self._headers])
        self._h2.send_data(stream_id, push.payload, end_stream=True)
        self._streams[stream_id] = _Stream(push)

    def receive(self, data: bytes) -> list[Fate]:
        """Take what the server sent and return what it says of pushes.

        Raises ProtocolError when the connection is of no more use; so it is once `closed`.
        """
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as exc:
            raise ProtocolError(f"HTTP/2: {exc}") from exc
        return [fate for event in events if (fate := self._handle(event)) is not None]

    def data_to_send(self) -> bytes:
        data: bytes = self._h2.data_to_send()
        return data

    def _handle(self, event: h2.events.Event) -> Fate | None:
        match event:
            case h2.events.ResponseReceived():
                self._streams[event.stream_id].status = _status(event)
            case h2.events.DataReceived():
                self._streams[event.stream_id].body += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                stream = self._streams.pop(event.stream_id)
                if stream.status == 200:
                    return Fate(stream.push, accepted=True)
                return Fate(stream.push, False, refusal(stream.status, stream.body))
            case h2.events.StreamReset():
                # after the answer it only says that the server does not want the rest
                if (reset := self._streams.pop(event.stream_id, None)) is not None:
                    refused = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
                    return Fate(reset.push, False if refused else None, "REFUSED_STREAM")
            case h2.events.RemoteSettingsChanged():
                self._take_settings()
            case h2.events.ConnectionTerminated():
                # GOAWAY: h2 takes nothing more, not even the answers still to come
                self.closed = True
        return None

    def _take_settings(self) -> None:
        settings = self._h2.remote_settings
        # a window that holds no push is of no use to us
        self.closed = settings.initial_window_size < LARGEST_PUSH_BYTES
        self._max_streams = min(settings.max_concurrent_streams, MAX_STREAMS)


def _status(event: h2.events.ResponseReceived) -> int:
    """The status of a response; h2 has seen to it that there is one."""
    return next(int(value) for name, value in event.headers if name == b":status")
