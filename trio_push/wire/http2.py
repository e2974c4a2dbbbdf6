"""One HTTP/2 connection of a provider or a device, without a socket: bytes in, requests out.

The wire's connection handler owns one `H2Session` per connection that begins with the HTTP/2
preface. It hands in what it reads, works on the events it gets, answers, and sends what
`data_to_send()` returns; it does so after every call, also after a ProtocolError.

Promised: a request is reported once and whole, or cut off if its body is too large; an upload
never stalls for want of flow control; an error body travels in one DATA frame (clients parse
frames, not bodies); a stream beyond the limit is refused and harms nothing; nothing a peer sends
makes the session keep more than `max_streams` bodies or raise anything but ProtocolError.
Answering a stream that is no longer there does nothing, since a reset may cross any answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar, Final

import h2.events
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, H2Error, StreamClosedError
from h2.settings import SettingCodes
from hyperframe.exceptions import HyperframeError

from trio_push.errors import ProtocolError
from trio_push.wire.calm import Calm
from trio_push.wire.h2_server import ServerConnection
from trio_push.wire.http2_events import Event, Headers, Leaving, Request, Reset, Writable

#: what Apple's servers advertise
MAX_STREAMS: Final = 1000
#: RFC 9113, section 5.1.1
MAX_STREAM_ID: Final = 2**31 - 1
#: of a body that is too large this much more is read and thrown away (15 ms of work): a client
#: that is still sending may not look for its answer, and curl takes the reset that follows an
#: early one for a failure
MAX_DISCARDED_BYTES: Final = 16 * 1024 * 1024


#: takes an event of h2's (each handler another kind) and appends what it means to the list
_Handler = Callable[["H2Session", Any, list[Event]], None]


class _Stream:
    __slots__ = ("body", "fields", "method", "reported", "rest", "size", "whole")

    def __init__(self, fields: Headers) -> None:
        self.fields = fields
        self.method = b""
        #: of the request, as far as it came and is kept
        self.body = b""
        #: bytes of the request's body that came
        self.size = 0
        #: the request has come to its end
        self.whole = False
        #: a Request went out
        self.reported = False
        #: of the response, what flow control holds back
        self.rest = b""


class H2Session:
    """The server's end of one connection."""

    def __init__(self, *, max_body_bytes: int, max_streams: int = MAX_STREAMS) -> None:
        self._h2 = ServerConnection(max_streams)
        self._max_streams = max_streams
        self._max_body_bytes = max_body_bytes
        #: every stream that is not answered
        self._streams: dict[int, _Stream] = {}
        #: streams with something to send that flow control holds back
        self._blocked: set[int] = set()
        self._window_changed = False
        self._last_stream_id = 0
        self._calm = Calm()
        #: SETTINGS frames of ours, and how many of them the peer has acknowledged
        self._settings_sent = 1
        self._settings_acked = 0
        #: the one of them from which on the peer knows of the limit on streams
        self._limit_known_from = 0
        self._leaving = False
        self._broken = False

    @property
    def open_streams(self) -> int:
        """How many streams are open; at 0, one who is leaving can go."""
        return len(self._streams)

    def initiate(self) -> bytes:
        """What the server sends first."""
        self._h2.initiate_connection()
        return self._h2.data_to_send()

    def data_to_send(self) -> bytes:
        """What is to be sent now; empty if nothing."""
        return self._h2.data_to_send()

    def receive(self, data: bytes, *, now: float) -> list[Event]:
        """Take what was read; `now` is any clock that runs evenly, in seconds.

        Raises ProtocolError when the connection cannot go on; then no answer is possible any
        more, and `data_to_send()` ends with GOAWAY.
        """
        if self._broken:
            return []
        events: list[Event] = []
        try:
            for event in self._h2.receive(data):
                handle = self._HANDLERS.get(event.__class__)
                if handle is not None:
                    handle(self, event, events)
            if not self._calm.allows(now):
                self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
                raise DenialOfServiceError("too many resets, pings or settings")
        except (H2Error, HyperframeError) as exc:
            self._broken = True
            self._streams.clear()
            raise ProtocolError(f"HTTP/2 {type(exc).__name__}: {exc}") from exc
        if self._window_changed:
            self._resume(events)
        return events

    # Answers.

    def respond(self, stream_id: int, status: int, headers: Headers, body: bytes = b"") -> None:
        """Answer a request whole. A body waits until flow control lets it go in one frame."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.method == b"HEAD":
            body = b""
        self._send_headers(stream_id, status, headers, end_stream=not body)
        if body:
            stream.rest = body
            self._send_rest(stream_id, stream)
        else:
            self._answered(stream_id)

    def start_stream(self, stream_id: int, status: int, headers: Headers) -> None:
        """Begin an answer of any length: `send()` and `end()` follow."""
        if stream_id in self._streams:
            self._send_headers(stream_id, status, headers, end_stream=False)

    def send(self, stream_id: int, data: bytes) -> int:
        """Send as much as flow control allows, and say how many bytes that was.

        If it was not all, Writable follows when there is room.
        """
        if stream_id not in self._streams:
            return 0
        taken = 0
        while taken < len(data):
            room = self._room(stream_id)
            if room <= 0:
                self._blocked.add(stream_id)
                break
            piece = data[taken : taken + room]
            self._h2.send_data(stream_id, piece)
            taken += len(piece)
        return taken

    def end(self, stream_id: int) -> None:
        """End an answer begun with `start_stream()`."""
        if stream_id in self._streams:
            self._h2.end_stream(stream_id)
            self._answered(stream_id)

    def goaway(self, reason: str) -> None:
        """Tell the peer, in Apple's way, to send no more; what is open may still be answered."""
        if not self._leaving and not self._broken:
            self._leaving = True
            self._say_goaway(reason, self._last_stream_id)

    # Answers of a server that misbehaves on demand.

    def goaway_at(self, reason: str, code: int, last_stream_id: int) -> None:
        """The same with a last stream that is not the last; those behind it are forgotten."""
        if self._leaving or self._broken:
            return
        self._leaving = True
        self._last_stream_id = last_stream_id
        for stream_id in [each for each in self._streams if each > last_stream_id]:
            del self._streams[stream_id]
            self._blocked.discard(stream_id)
        self._say_goaway(reason, last_stream_id, code)

    def announce_goaway(self, reason: str, code: int) -> None:
        """Say that GOAWAY will come (RFC 9113, section 6.8); new streams are still served."""
        if not self._leaving and not self._broken:
            self._say_goaway(reason, MAX_STREAM_ID, code)

    def reset(self, stream_id: int, code: int) -> None:
        """Reset a stream instead of answering it."""
        if self._streams.pop(stream_id, None) is not None:
            self._blocked.discard(stream_id)
            self._reset(stream_id, ErrorCodes(code))

    def is_open(self, stream_id: int) -> bool:
        """Whether a stream is there and not answered."""
        return stream_id in self._streams

    def _say_goaway(self, reason: str, last_stream_id: int, code: int = 0) -> None:
        self._h2.close_connection(
            ErrorCodes(code),
            additional_data=b'{"reason":"%b"}' % reason.encode(),
            last_stream_id=last_stream_id,
        )

    def refuse(self, stream_id: int) -> None:
        """Tell the peer that a request was not looked at, and may be sent again."""
        self.reset(stream_id, ErrorCodes.REFUSED_STREAM)

    def refuse_unfinished(self) -> None:
        """The same for every request that has not come to its end."""
        for stream_id in [each for each, stream in self._streams.items() if not stream.reported]:
            self.refuse(stream_id)

    def limit_streams(self, max_streams: int) -> None:
        """Set how many streams the peer may have, and tell it; those that are open stay.

        When they are fewer than before, what it has sent without knowing so is refused.
        """
        if max_streams != self._max_streams and not self._broken:
            self._settings_sent += 1
            if max_streams < self._max_streams:
                self._limit_known_from = self._settings_sent
            self._max_streams = max_streams
            self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: max_streams})

    # What comes in.

    def _on_request(self, event: h2.events.RequestReceived, events: list[Event]) -> None:
        stream_id = event.stream_id
        unaware = self._settings_acked < self._limit_known_from
        if self._leaving or unaware or len(self._streams) >= self._max_streams:
            self._calm.disturb()
            self._reset(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        self._last_stream_id = stream_id
        self._streams[stream_id] = _Stream(event.headers)

    def _on_data(self, event: h2.events.DataReceived, events: list[Event]) -> None:
        stream_id, size = event.stream_id, event.flow_controlled_length
        self._h2.acknowledge_received_data(size, stream_id)
        if not event.data and event.stream_ended is None:
            self._calm.disturb()
        stream = self._streams.get(stream_id)
        if stream is None or stream.reported:
            return
        stream.size += len(event.data)
        if len(stream.body) <= self._max_body_bytes:
            stream.body = (stream.body + event.data)[: self._max_body_bytes + 1]
        if stream.size > self._max_body_bytes + MAX_DISCARDED_BYTES:
            self._report(stream_id, stream, events)

    def _on_end(self, event: h2.events.StreamEnded, events: list[Event]) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.whole = True
            if not stream.reported:
                self._report(event.stream_id, stream, events)

    def _on_reset(self, event: h2.events.StreamReset, events: list[Event]) -> None:
        self._calm.disturb()
        stream = self._streams.pop(event.stream_id, None)
        self._blocked.discard(event.stream_id)
        if stream is not None and stream.reported:
            events.append(Reset(event.stream_id))

    def _on_window(self, event: h2.events.WindowUpdated, events: list[Event]) -> None:
        self._window_changed = True

    def _on_settings(self, event: h2.events.RemoteSettingsChanged, events: list[Event]) -> None:
        self._window_changed = True
        self._calm.disturb()

    def _on_goaway(self, event: h2.events.ConnectionTerminated, events: list[Event]) -> None:
        events.append(Leaving())

    def _on_ack(self, event: h2.events.SettingsAcknowledged, events: list[Event]) -> None:
        if self._settings_acked < self._settings_sent:
            self._settings_acked += 1
        else:
            self._calm.disturb()

    def _on_chatter(self, event: h2.events.Event, events: list[Event]) -> None:
        self._calm.disturb()

    _HANDLERS: ClassVar[dict[type[h2.events.Event], _Handler]] = {
        h2.events.RequestReceived: _on_request,
        h2.events.DataReceived: _on_data,
        h2.events.StreamEnded: _on_end,
        h2.events.StreamReset: _on_reset,
        h2.events.WindowUpdated: _on_window,
        h2.events.RemoteSettingsChanged: _on_settings,
        h2.events.ConnectionTerminated: _on_goaway,
        h2.events.SettingsAcknowledged: _on_ack,
        h2.events.PingReceived: _on_chatter,
        h2.events.PingAckReceived: _on_chatter,
        h2.events.UnknownFrameReceived: _on_chatter,
    }

    def _report(self, stream_id: int, stream: _Stream, events: list[Event]) -> None:
        """Append the Request; h2 has seen to it that pseudo-headers come first, and once."""
        pseudo: dict[bytes, bytes] = {}
        for name, value in stream.fields:
            if not name.startswith(b":"):
                break
            pseudo[name] = value
        stream.reported = True
        stream.method = pseudo[b":method"]
        request = Request(
            stream_id=stream_id,
            method=stream.method,
            target=pseudo.get(b":path", b""),
            authority=pseudo.get(b":authority", b""),
            headers=stream.fields[len(pseudo) :],
            body=stream.body,
        )
        stream.body = b""
        stream.fields = []
        events.append(request)

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        # h2 reads ahead of us: it may know already that the peer has reset the stream.
        with contextlib.suppress(StreamClosedError):
            self._h2.reset_stream(stream_id, code)

    # What goes out.

    def _send_headers(
        self, stream_id: int, status: int, headers: Headers, *, end_stream: bool
    ) -> None:
        fields = [(b":status", b"%d" % status), *headers]
        self._h2.send_headers(stream_id, fields, end_stream=end_stream)

    def _answered(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id)
        self._blocked.discard(stream_id)
        if not stream.whole:
            # Asks to stop an upload that has its answer (RFC 9113, section 8.1).
            self._reset(stream_id, ErrorCodes.NO_ERROR)

    def _room(self, stream_id: int) -> int:
        """How many bytes a DATA frame of the stream may have now."""
        window = self._h2.local_flow_control_window(stream_id)
        return min(window, self._h2.max_outbound_frame_size)

    def _send_rest(self, stream_id: int, stream: _Stream) -> None:
        """Send a body in one frame, or in as few as the peer's own limits force on it."""
        window = max(1, self._h2.remote_settings.initial_window_size)
        frame = min(window, self._h2.max_outbound_frame_size)
        while stream.rest:
            room = self._room(stream_id)
            if room < min(len(stream.rest), frame):
                self._blocked.add(stream_id)
                return
            piece, stream.rest = stream.rest[:room], stream.rest[room:]
            self._h2.send_data(stream_id, piece, end_stream=not stream.rest)
        self._answered(stream_id)

    def _resume(self, events: list[Event]) -> None:
        """The peer widened a window: go on with what was held back."""
        self._window_changed = False
        for stream_id in sorted(self._blocked):
            stream = self._streams[stream_id]
            if stream.rest:
                self._send_rest(stream_id, stream)
            elif self._room(stream_id) > 0:
                self._blocked.discard(stream_id)
                events.append(Writable(stream_id))
