"""APNs over HTTP/2 as a provider speaks it: flights in, fates out. No I/O; h2 does the protocol."""

from __future__ import annotations

from typing import Final

import orjson
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError as H2ProtocolError

from trio_push.apns.flight import MAX_ANSWER_BYTES, Fate, Flight, answered
from trio_push.apns.request import MAX_PAYLOAD_BYTES, Outcome, Request
from trio_push.errors import ProtocolError
from trio_push.wire.h2_client import ClientConnection, Field

#: what has this code was not looked at, and may be sent again (RFC 9113, section 8.7)
REFUSED_STREAM: Final = "REFUSED_STREAM"
#: the highest stream id; a connection that has used it up is left for a new one
_LAST_STREAM_ID: Final = 2**31 - 1


class _Answer:
    __slots__ = ("body", "id", "retry_after", "status")

    def __init__(self, event: ResponseReceived) -> None:
        self.status = 0
        self.id: str | None = None
        self.retry_after: str | None = None
        self.body = b""
        for name, value in event.headers:
            match name:
                case b":status":
                    self.status = int(value) if value.isdigit() else 0
                case b"apns-id":
                    self.id = value.decode("latin-1")
                case b"retry-after":
                    self.retry_after = value.decode("latin-1")


class H2Session:
    """The pushes on one connection: see `Session`."""

    def __init__(self, scheme: str, authority: str, max_streams: int) -> None:
        self._h2 = ClientConnection()
        self._h2.initiate_connection()
        self._fixed: list[Field] = [
            (b":method", b"POST"),
            (b":scheme", scheme.encode()),
            (b":authority", authority.encode("idna" if not authority.isascii() else "ascii")),
            (b"content-type", b"application/json"),
        ]
        #: by stream
        self.flights: dict[int, Flight] = {}
        self._stream_of: dict[Flight, int] = {}
        self._answers: dict[int, _Answer] = {}
        self.closing = False
        self.farewell = ""
        self._max_streams = max_streams
        #: none before the peer's SETTINGS have come
        self.capacity = 0

    @property
    def room(self) -> int:
        if self.closing or self._h2.outbound_flow_control_window < MAX_PAYLOAD_BYTES:
            return 0
        return max(0, self.capacity - len(self.flights))

    def start(self, flight: Flight, authorization: bytes | None) -> None:
        stream_id = self._h2.get_next_available_stream_id()
        path = b"/3/device/" + flight.request.token.encode()
        headers = [(b":path", path), *self._fixed, *_headers(flight.request)]
        if authorization is not None:
            headers.append((b"authorization", authorization))
        self._h2.send_headers(stream_id, headers, end_stream=not flight.request.payload)
        if flight.request.payload:
            self._h2.send_data(stream_id, flight.request.payload, end_stream=True)
        self.flights[stream_id] = flight
        self._stream_of[flight] = stream_id
        if stream_id >= _LAST_STREAM_ID - 2:
            self.closing = True

    def drop(self, flight: Flight) -> None:
        stream_id = self._stream_of.pop(flight)
        del self.flights[stream_id]
        self._answers.pop(stream_id, None)
        self._h2.reset_stream(stream_id, ErrorCodes.CANCEL)

    def receive(self, data: bytes) -> list[Fate]:
        if not data:
            raise ProtocolError(self.farewell or "the peer closed the connection")
        fates: list[Fate] = []
        try:
            for event in self._h2.receive_data(data):
                self._take(event, fates)
        except H2ProtocolError as exc:
            self.closing = True
            raise ProtocolError(f"HTTP/2: {exc}") from exc
        return fates

    def data_to_send(self) -> bytes:
        return self._h2.data_to_send()

    def ping(self) -> None:
        self._h2.ping(b"trio-psh")

    def close(self) -> None:
        self.closing = True
        self._h2.close_connection()

    def _take(self, event: Event, fates: list[Fate]) -> None:
        # the commonest first: a `match` would be slower
        if isinstance(event, StreamEnded):
            if (flight := self._settle(event.stream_id)) is not None:
                fates.append(self._answered(flight, event.stream_id))
        elif isinstance(event, ResponseReceived):
            self._answers[event.stream_id] = _Answer(event)
        elif isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            answer = self._answers.get(event.stream_id)
            if answer is not None and len(answer.body) < MAX_ANSWER_BYTES:
                answer.body += event.data
        elif isinstance(event, StreamReset):
            self._answers.pop(event.stream_id, None)
            if (flight := self._settle(event.stream_id)) is not None:
                fates.append(_reset(flight, event.error_code))
        elif isinstance(event, RemoteSettingsChanged):
            self._take_settings()
        elif isinstance(event, ConnectionTerminated):
            fates += self._leave(event)

    def _settle(self, stream_id: int) -> Flight | None:
        """Take the flight off its stream; None when it has its fate already."""
        flight = self.flights.pop(stream_id, None)
        if flight is not None:
            del self._stream_of[flight]
        return flight

    def _answered(self, flight: Flight, stream_id: int) -> Fate:
        answer = self._answers.pop(stream_id, None)
        if answer is None or not answer.status:
            return Fate(flight, Outcome.UNANSWERED, reason="an answer without a status")
        return answered(flight, answer.status, answer.body, answer.id, answer.retry_after)

    def _take_settings(self) -> None:
        settings = self._h2.remote_settings
        self.capacity = min(settings.max_concurrent_streams, self._max_streams)
        if settings.initial_window_size < MAX_PAYLOAD_BYTES:
            self.closing, self.farewell = True, "the peer's window holds no push"

    def _leave(self, event: ConnectionTerminated) -> list[Fate]:
        """GOAWAY: what the peer will not look at may be sent again, the rest is answered."""
        self.closing = True
        self.farewell = f"GOAWAY {_farewell(event)}"
        last = event.last_stream_id or 0
        unseen = [stream_id for stream_id in self.flights if stream_id > last]
        flights = [flight for each in unseen if (flight := self._settle(each)) is not None]
        return [Fate(flight, Outcome.UNSENT, reason=self.farewell) for flight in flights]


def _headers(request: Request) -> list[Field]:
    headers = []
    if request.push_type is not None:
        headers.append((b"apns-push-type", request.push_type.encode()))
    if request.topic is not None:
        headers.append((b"apns-topic", request.topic.encode()))
    if request.id is not None:
        headers.append((b"apns-id", request.id.encode()))
    if request.priority is not None:
        headers.append((b"apns-priority", b"%d" % request.priority))
    if request.expiration is not None:
        headers.append((b"apns-expiration", b"%d" % request.expiration))
    if request.collapse_id is not None:
        headers.append((b"apns-collapse-id", request.collapse_id.encode()))
    return headers


def _reset(flight: Flight, code: ErrorCodes | int | None) -> Fate:
    if code == ErrorCodes.REFUSED_STREAM:
        return Fate(flight, Outcome.UNSENT, reason=REFUSED_STREAM)
    return Fate(flight, Outcome.UNANSWERED, reason=f"stream reset: {_name(code)}")


def _farewell(event: ConnectionTerminated) -> str:
    """Apple's reason in the JSON of a GOAWAY, else the name of its code."""
    try:
        reason = orjson.loads(event.additional_data or b"")["reason"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        reason = None
    return reason if isinstance(reason, str) else _name(event.error_code)


def _name(code: ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, ErrorCodes) else f"code {code}"
