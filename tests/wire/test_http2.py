from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe import frame as frames
from hypothesis import given
from hypothesis import strategies as st

from trio_push.errors import ProtocolError
from trio_push.wire import calm, http2
from trio_push.wire.h2_server import CONNECTION_WINDOW_BYTES
from trio_push.wire.http2 import H2Session
from trio_push.wire.http2_events import Event, Headers, Leaving, Request, Reset, Writable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HOST = (b":authority", b"localhost")
POST: Headers = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", b"/3/device/ab"),
    HOST,
    (b"apns-topic", b"t"),
]
GET: Headers = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/events"),
    HOST,
]
ERROR = b'{"reason":"BadDeviceToken"}\n'
WINDOW = 65_535


class Pair:
    """A client of h2's and a session of ours, joined without a network."""

    def __init__(self, *, max_streams: int = 100, max_body_bytes: int = 4096) -> None:
        self.session = H2Session(max_body_bytes=max_body_bytes, max_streams=max_streams)
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.client = h2.connection.H2Connection(config)
        self.client.initiate_connection()
        self.now = 0.0
        self.seen: list[h2.events.Event] = []
        self.client.receive_data(self.session.initiate())
        assert self.flush() == []

    def flush(self) -> list[Event]:
        """Carry bytes both ways until there are none; what the session reported."""
        events: list[Event] = []
        while True:
            upward = self.client.data_to_send()
            if upward:
                events += self.session.receive(upward, now=self.now)
            downward = self.session.data_to_send()
            if downward:
                self.seen += self.client.receive_data(downward)
            if not upward and not downward:
                return events

    def request(self, headers: Headers = POST, body: bytes | None = b"{}") -> int:
        stream_id = self.client.get_next_available_stream_id()
        self.client.send_headers(stream_id, headers, end_stream=body is None)
        if body is not None:
            self.client.send_data(stream_id, body, end_stream=True)
        return stream_id

    def take(self, kind: type[Any]) -> list[Any]:
        """Events of that kind which the client saw since it was last asked."""
        taken = [event for event in self.seen if isinstance(event, kind)]
        self.seen = [event for event in self.seen if not isinstance(event, kind)]
        return taken

    def open(self, headers: Headers = POST, body: bytes | None = b"{}") -> int:
        """A request that the session has reported."""
        stream_id = self.request(headers, body)
        (event,) = self.flush()
        assert isinstance(event, Request)
        assert event.stream_id == stream_id
        return stream_id

    def answer_of(self, stream_id: int) -> tuple[bytes, bytes]:
        """Status and body that the client got."""
        self.flush()
        statuses = [
            dict(event.headers)[b":status"]
            for event in self.seen
            if isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream_id
        ]
        data = [
            event.data
            for event in self.seen
            if isinstance(event, h2.events.DataReceived) and event.stream_id == stream_id
        ]
        ended = [
            event
            for event in self.seen
            if isinstance(event, h2.events.StreamEnded) and event.stream_id == stream_id
        ]
        assert len(statuses) == len(ended) == 1
        return statuses[0], b"".join(data)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def raw_session(**kwargs: int) -> H2Session:
    """A session that has heard the preface and nothing else."""
    session = H2Session(max_body_bytes=4096, **kwargs)
    session.initiate()
    session.receive(PREFACE + frames.SettingsFrame(0).serialize(), now=0.0)
    session.data_to_send()
    return session


def sent_frames(data: bytes) -> list[frames.Frame]:
    found = []
    while data:
        frame, length = frames.Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        data = data[9 + length :]
        found.append(frame)
    return found


def last_goaway(session: H2Session) -> frames.GoAwayFrame:
    goaway = sent_frames(session.data_to_send())[-1]
    assert isinstance(goaway, frames.GoAwayFrame)
    return goaway


def taken_before_the_end(session: H2Session, pieces: Iterable[bytes]) -> int:
    """How many bytes the session takes before a ProtocolError, which must come."""
    taken = 0
    for piece in pieces:
        try:
            session.receive(piece, now=0.0)
        except ProtocolError:
            return taken
        taken += len(piece)
    pytest.fail("no end")


# Requests.


def test_what_is_advertised() -> None:
    session = H2Session(max_body_bytes=4096)
    settings, window = sent_frames(session.initiate())
    assert isinstance(settings, frames.SettingsFrame)
    assert settings.settings[SettingCodes.MAX_CONCURRENT_STREAMS] == 1000
    assert settings.settings[SettingCodes.MAX_HEADER_LIST_SIZE] == 8000
    assert isinstance(window, frames.WindowUpdateFrame)


def test_a_request_with_a_body(pair: Pair) -> None:
    stream_id = pair.request(POST, b"{}")
    assert pair.flush() == [
        Request(
            stream_id=stream_id,
            method=b"POST",
            target=b"/3/device/ab",
            authority=b"localhost",
            headers=[(b"apns-topic", b"t")],
            body=b"{}",
        )
    ]


def test_a_request_without_a_body(pair: Pair) -> None:
    stream_id = pair.request([*GET, (b"origin", b"null")], None)
    (request,) = pair.flush()
    assert isinstance(request, Request)
    assert (request.stream_id, request.method, request.body) == (stream_id, b"GET", b"")
    assert request.header(b"origin") == b"null"
    assert request.header(b"accept") is None


def test_a_body_in_many_pieces_with_trailers(pair: Pair) -> None:
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_headers(stream_id, POST)
    for piece in (b"a", b"b", b"", b"c"):
        pair.client.send_data(stream_id, piece, pad_length=3)
        assert pair.flush() == []
    pair.client.send_headers(stream_id, [(b"x-checksum", b"1")], end_stream=True)
    (request,) = pair.flush()
    assert isinstance(request, Request)
    assert request.body == b"abc"


def test_host_without_authority_is_accepted(pair: Pair) -> None:
    """As aioapns sends it."""
    headers = [field for field in POST if field != HOST]
    pair.request([*headers, (b"host", b"localhost")])
    (request,) = pair.flush()
    assert isinstance(request, Request)
    assert request.authority == b""
    assert request.header(b"host") == b"localhost"


@pytest.mark.parametrize(
    ("headers", "method", "target"),
    [
        ([(b":method", b"CONNECT"), HOST], b"CONNECT", b""),
        (
            [
                (b":method", b"CONNECT"),
                (b":scheme", b"https"),
                (b":path", b"/ws"),
                HOST,
                (b":protocol", b"websocket"),
            ],
            b"CONNECT",
            b"/ws",
        ),
        (
            [(b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/\xff\xc3"), HOST],
            b"POST",
            b"/\xff\xc3",
        ),
        (
            [(b":method", b"OPTIONS"), (b":scheme", b"https"), (b":path", b"*"), HOST],
            b"OPTIONS",
            b"*",
        ),
    ],
)
def test_odd_requests_are_requests(
    pair: Pair, headers: Headers, method: bytes, target: bytes
) -> None:
    stream_id = pair.request(headers, None)
    (request,) = pair.flush()
    assert isinstance(request, Request)
    assert (request.method, request.target) == (method, target)
    pair.session.respond(stream_id, 404, [], ERROR)
    assert pair.answer_of(stream_id) == (b"404", ERROR)


@pytest.mark.parametrize(
    "headers",
    [
        [(b":method", b"POST"), (b":scheme", b"https"), HOST],
        [(b":method", b"POST"), (b":scheme", b"https"), (b":path", b""), HOST],
        [(b":scheme", b"https"), (b":path", b"/"), HOST],
        [field for field in POST if field != HOST],
        [*POST, (b"bad", b"a\r\nb: c")],
        [*POST, (b"bad", b"a\0b")],
        [*POST, (b"Upper", b"x")],
        [*POST, (b"connection", b"close")],
        [*POST, (b"te", b"gzip")],
        [*POST, (b":path", b"/")],
        [*POST, (b"content-length", b"-1")],
        [*POST, (b"host", b"elsewhere")],
    ],
)
def test_malformed_requests_end_the_connection(pair: Pair, headers: Headers) -> None:
    pair.request(headers)
    with pytest.raises(ProtocolError):
        pair.flush()
    assert last_goaway(pair.session).error_code == ErrorCodes.PROTOCOL_ERROR


@pytest.mark.parametrize("length", [b"1", b"9"])
def test_a_body_of_another_length_than_announced_resets_its_stream(
    pair: Pair, length: bytes
) -> None:
    stream_id = pair.request([*POST, (b"content-length", length)], b"{}")
    assert pair.flush() == []
    (reset,) = pair.take(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (stream_id, ErrorCodes.PROTOCOL_ERROR)
    assert pair.session.open_streams == 0
    pair.open()


def test_wrong_lengths_do_not_use_the_window_up(pair: Pair) -> None:
    for _ in range(CONNECTION_WINDOW_BYTES // 16_384 + 10):
        pair.request([*POST, (b"content-length", b"1")], b"x" * 16_384)
        assert pair.flush() == []


@pytest.mark.parametrize("size", range(1, 40))
def test_bytes_may_arrive_in_pieces_of_any_size(size: int) -> None:
    pair = Pair()
    ids = [pair.request(POST, b"x" * 30), pair.request(GET, None), pair.request(POST, b"y")]
    data = pair.client.data_to_send()
    events: list[Event] = []
    for start in range(0, len(data), size):
        events += pair.session.receive(data[start : start + size], now=0.0)
    assert [event.stream_id for event in events if isinstance(event, Request)] == ids
    assert len(events) == 3


def test_a_connection_split_at_every_byte() -> None:
    pair = Pair()
    pair.request(POST, b"xyz")
    data = pair.client.data_to_send()
    for cut in range(len(data) + 1):
        session = H2Session(max_body_bytes=4096)
        session.initiate()
        whole = PREFACE + frames.SettingsFrame(0).serialize() + data
        cut += len(whole) - len(data)
        events = session.receive(whole[:cut], now=0.0) + session.receive(whole[cut:], now=0.0)
        assert [event.body for event in events if isinstance(event, Request)] == [b"xyz"]


# Large bodies.


@pytest.mark.parametrize(("size", "kept"), [(4095, 4095), (4096, 4096), (4097, 4097)])
def test_a_body_is_kept_to_one_byte_beyond_the_limit(pair: Pair, size: int, kept: int) -> None:
    pair.request(POST, b"x" * size)
    (request,) = pair.flush()
    assert isinstance(request, Request)
    assert len(request.body) == kept


def test_a_large_upload_never_stalls_and_is_reported_when_it_has_ended(pair: Pair) -> None:
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_headers(stream_id, POST)
    for _ in range(60):
        pair.client.send_data(stream_id, b"x" * 16_384)
        assert pair.flush() == []
    pair.client.end_stream(stream_id)
    (request,) = pair.flush()
    assert isinstance(request, Request)
    assert len(request.body) == 4097
    pair.session.respond(stream_id, 413, [], ERROR)
    assert pair.answer_of(stream_id) == (b"413", ERROR)
    assert not pair.take(h2.events.StreamReset)


def test_an_endless_upload_is_reported_before_its_end_and_asked_to_stop(pair: Pair) -> None:
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_headers(stream_id, [*POST, (b"content-length", b"1000000000")])
    events: list[Event] = []
    while not events:
        pair.client.send_data(stream_id, b"x" * 16_384)
        events = pair.flush()
        assert pair.session._streams[stream_id].size < 2 * http2.MAX_DISCARDED_BYTES
    (request,) = events
    assert isinstance(request, Request)
    assert len(request.body) == 4097
    # It goes on until it has its answer.
    pair.client.send_data(stream_id, b"x" * 16_384)
    assert pair.flush() == []
    pair.session.respond(stream_id, 413, [], ERROR)
    pair.client.send_data(stream_id, b"x" * 16_384)
    on_its_way = pair.client.data_to_send()
    assert pair.answer_of(stream_id) == (b"413", ERROR)
    (reset,) = pair.take(h2.events.StreamReset)
    assert reset.error_code == ErrorCodes.NO_ERROR
    assert pair.session.open_streams == 0
    assert pair.session.receive(on_its_way, now=0.0) == []
    pair.open()


# Answers.


def test_an_answer_without_a_body_is_one_frame(pair: Pair) -> None:
    stream_id = pair.open()
    pair.session.respond(stream_id, 200, [(b"apns-id", b"x")])
    (headers,) = sent_frames(pair.session.data_to_send())
    assert isinstance(headers, frames.HeadersFrame)
    assert headers.flags == {"END_HEADERS", "END_STREAM"}
    assert pair.session.open_streams == 0


def test_an_error_body_is_one_data_frame(pair: Pair) -> None:
    stream_id = pair.open()
    pair.session.respond(stream_id, 400, [(b"content-type", b"application/json")], ERROR)
    headers, data = sent_frames(pair.session.data_to_send())
    assert isinstance(headers, frames.HeadersFrame)
    assert isinstance(data, frames.DataFrame)
    assert (data.data, data.flags) == (ERROR, {"END_STREAM"})


def test_the_answer_to_head_has_no_body(pair: Pair) -> None:
    stream_id = pair.open([(b":method", b"HEAD"), *POST[1:]], None)
    pair.session.respond(stream_id, 405, [], ERROR)
    assert pair.answer_of(stream_id) == (b"405", b"")


def test_an_error_body_waits_for_room_and_stays_whole(pair: Pair) -> None:
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: len(ERROR) - 1})
    pair.flush()
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
    stream_id = pair.open()
    # Use the connection's window up, but for less than a body.
    stream = pair.open(GET, None)
    pair.session.start_stream(stream, 200, [])
    assert pair.session.send(stream, b"x" * (WINDOW - 10)) == WINDOW - 10
    pair.session.respond(stream_id, 400, [], ERROR)
    pair.flush()
    assert not [e for e in pair.seen if getattr(e, "data", None) == ERROR]
    assert pair.session.open_streams == 2
    pair.client.increment_flow_control_window(100)
    assert pair.flush() == []
    assert [e.data for e in pair.take(h2.events.DataReceived)][-1] == ERROR
    assert pair.session.open_streams == 1


def test_a_peer_with_a_tiny_window_gets_a_body_in_pieces(pair: Pair) -> None:
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    pair.flush()
    stream_id = pair.open()
    pair.session.respond(stream_id, 400, [], ERROR)
    for _ in range(2):
        pair.flush()
        pair.client.increment_flow_control_window(10, stream_id)
    assert pair.answer_of(stream_id) == (b"400", ERROR)


def test_a_peer_without_a_window_gets_a_body_when_it_opens_one(pair: Pair) -> None:
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    pair.flush()
    stream_id = pair.open()
    pair.session.respond(stream_id, 400, [], ERROR)
    pair.flush()
    assert not pair.take(h2.events.DataReceived)
    pair.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
    assert pair.answer_of(stream_id) == (b"400", ERROR)


def test_a_body_larger_than_a_frame_goes_in_several(pair: Pair) -> None:
    stream_id = pair.open()
    body = b"x" * 40_000
    pair.session.respond(stream_id, 200, [], body)
    assert pair.answer_of(stream_id) == (b"200", body)


def test_answers_to_streams_that_are_gone_do_nothing(pair: Pair) -> None:
    stream_id = pair.open()
    pair.client.reset_stream(stream_id)
    assert pair.flush() == [Reset(stream_id)]
    for gone in (stream_id, 999):
        pair.session.respond(gone, 200, [])
        pair.session.start_stream(gone, 200, [])
        assert pair.session.send(gone, b"x") == 0
        pair.session.end(gone)
    assert pair.session.data_to_send() == b""


def test_an_answered_stream_is_not_reported_as_reset(pair: Pair) -> None:
    stream_id = pair.open()
    pair.session.respond(stream_id, 200, [])
    pair.client.reset_stream(stream_id)
    assert pair.flush() == []


def test_half_a_request_that_is_reset_was_never_there(pair: Pair) -> None:
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_headers(stream_id, POST)
    assert pair.flush() == []
    assert pair.session.open_streams == 1
    pair.client.reset_stream(stream_id)
    assert pair.flush() == []
    assert pair.session.open_streams == 0


# Streams of any length.


def test_a_stream_flows_until_the_window_is_used_up(pair: Pair) -> None:
    stream_id = pair.open(GET, None)
    pair.session.start_stream(stream_id, 200, [(b"content-type", b"text/event-stream")])
    assert pair.session.send(stream_id, b"data: 1\n\n") == 9
    pair.flush()
    assert pair.session.send(stream_id, b"x" * 100_000) == WINDOW - 9
    assert pair.session.send(stream_id, b"x") == 0
    assert pair.flush() == []
    pair.client.increment_flow_control_window(5)
    assert pair.flush() == []  # the stream's own window is still shut
    pair.client.increment_flow_control_window(7, stream_id)
    assert pair.flush() == [Writable(stream_id)]
    assert pair.session.send(stream_id, b"y" * 10) == 5
    pair.session.end(stream_id)
    status, body = pair.answer_of(stream_id)
    assert status == b"200"
    assert body == b"data: 1\n\n" + b"x" * (WINDOW - 9) + b"y" * 5
    assert pair.session.open_streams == 0


def test_a_stream_that_was_never_held_back_is_not_reported_writable(pair: Pair) -> None:
    stream_id = pair.open(GET, None)
    pair.session.start_stream(stream_id, 200, [])
    pair.session.send(stream_id, b"x")
    pair.client.increment_flow_control_window(1, stream_id)
    assert pair.flush() == []


def test_a_held_back_stream_that_is_reset_is_forgotten(pair: Pair) -> None:
    stream_id = pair.open(GET, None)
    pair.session.start_stream(stream_id, 200, [])
    pair.session.send(stream_id, b"x" * 100_000)
    pair.client.reset_stream(stream_id)
    pair.client.increment_flow_control_window(10)
    assert pair.flush() == [Reset(stream_id)]


def test_a_window_beyond_its_limit_resets_the_stream(pair: Pair) -> None:
    stream_id = pair.open(GET, None)
    update = frames.WindowUpdateFrame(stream_id, 2**31 - 1).serialize()
    assert pair.session.receive(update, now=0.0) == [Reset(stream_id)]


# Limits.


def test_streams_beyond_the_limit_are_refused_and_harm_nothing() -> None:
    pair = Pair(max_streams=3)
    # The client has not heard of the limit, or does not care.
    pair.client.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    pair.client.remote_settings.acknowledge()
    ids = [pair.request(POST, b"{}") for _ in range(5)]
    reported = [event.stream_id for event in pair.flush() if isinstance(event, Request)]
    assert reported == ids[:3]
    resets = pair.take(h2.events.StreamReset)
    assert [(reset.stream_id, reset.error_code) for reset in resets] == [
        (stream_id, ErrorCodes.REFUSED_STREAM) for stream_id in ids[3:]
    ]
    for stream_id in reported:
        pair.session.respond(stream_id, 200, [])
        assert pair.answer_of(stream_id) == (b"200", b"")
    pair.open()


def test_a_refused_stream_may_be_reset_in_the_same_breath() -> None:
    pair = Pair(max_streams=1)
    pair.open()
    pair.client.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    pair.client.remote_settings.acknowledge()
    pair.client.reset_stream(pair.request())
    assert pair.flush() == []


def test_the_advertised_thousand_is_borne_and_no_more() -> None:
    pair = Pair(max_streams=1000)
    ids = [pair.request(POST, b"{}") for _ in range(1000)]
    assert len(pair.flush()) == 1000
    assert pair.session.open_streams == 1000
    for stream_id in ids:
        pair.session.respond(stream_id, 200, [])
    pair.flush()
    assert len(pair.take(h2.events.StreamEnded)) == 1000
    assert pair.session.open_streams == 0


def test_a_long_life_leaves_nothing_behind(pair: Pair) -> None:
    for _ in range(3000):
        pair.session.respond(pair.open(), 200, [(b"apns-id", b"x" * 36)])
        pair.seen.clear()
    pair.flush()
    connection = pair.session._h2
    assert len(connection.streams) < 200
    assert len(connection._closed_streams) <= 1024
    assert pair.session.open_streams == 0
    assert not pair.session._blocked


def test_rapid_reset_ends_the_connection(pair: Pair) -> None:
    """CVE-2023-44487."""

    def attack() -> Iterator[bytes]:
        for _ in range(2 * calm.BURST):
            pair.client.reset_stream(pair.request(POST, b"{}"))
            yield pair.client.data_to_send()

    taken_before_the_end(pair.session, attack())
    requests = pair.client.highest_outbound_stream_id // 2
    assert calm.BURST - 10 < requests <= calm.BURST
    assert last_goaway(pair.session).error_code == ErrorCodes.ENHANCE_YOUR_CALM


def test_now_and_then_a_reset_is_borne(pair: Pair) -> None:
    for _ in range(2 * calm.BURST):
        pair.client.reset_stream(pair.request())
        pair.flush()
        pair.now += 0.1


@pytest.mark.parametrize(
    "frame",
    [
        frames.PingFrame(0, b"12345678"),
        frames.PingFrame(0, b"12345678", flags=["ACK"]),
        frames.SettingsFrame(0),
        frames.SettingsFrame(0, flags=["ACK"]),
        frames.DataFrame(1, b""),
        frames.DataFrame(1, b"", pad_length=3, flags=["PADDED"]),
        frames.ExtensionFrame(type=0xBB, stream_id=0, flag_byte=0, body=b""),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_floods_end_the_connection(pair: Pair, frame: frames.Frame) -> None:
    pair.client.send_headers(1, POST)
    pair.flush()
    flood = frame.serialize()
    taken = taken_before_the_end(pair.session, repeat(flood, 2 * calm.BURST)) // len(flood)
    assert calm.BURST - 10 < taken <= calm.BURST
    assert last_goaway(pair.session).error_code == ErrorCodes.ENHANCE_YOUR_CALM


def test_an_empty_frame_that_ends_a_request_is_no_flood(pair: Pair) -> None:
    """As node ends them."""
    for _ in range(calm.BURST):
        stream_id = pair.client.get_next_available_stream_id()
        pair.client.send_headers(stream_id, POST)
        pair.client.end_stream(stream_id)
        assert len(pair.flush()) == 1
        pair.session.respond(stream_id, 400, [])


@pytest.mark.parametrize(
    "frame",
    [
        frames.PriorityFrame(1, depends_on=3, stream_weight=5),
        frames.PriorityFrame(1, depends_on=1),
        frames.WindowUpdateFrame(0, 1),
        frames.WindowUpdateFrame(1, 1),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_what_costs_nothing_is_ignored(pair: Pair, frame: frames.Frame) -> None:
    pair.open()
    assert pair.session.receive(frame.serialize() * 2 * calm.BURST, now=0.0) == []


def test_continuation_floods_end_the_connection() -> None:
    session = raw_session()
    session.receive(frames.HeadersFrame(1, b"").serialize(), now=0.0)
    taken_before_the_end(session, repeat(frames.ContinuationFrame(1, b"").serialize(), 100))
    assert last_goaway(session)


def test_a_header_block_is_bounded() -> None:
    session = raw_session()
    session.receive(frames.HeadersFrame(1, b"").serialize(), now=0.0)
    block = frames.ContinuationFrame(1, b"\0" * 16_384).serialize()
    assert taken_before_the_end(session, repeat(block, 100)) < 80 * 1024
    assert last_goaway(session).error_code == ErrorCodes.ENHANCE_YOUR_CALM


def test_headers_beyond_what_is_advertised_are_tolerated_within_reason(pair: Pair) -> None:
    pair.open([*POST, (b"cookie", b"x" * 8000)])
    pair.request([*POST, (b"cookie", b"x" * 16_000)])
    with pytest.raises(ProtocolError):
        pair.flush()
    assert last_goaway(pair.session).error_code == ErrorCodes.ENHANCE_YOUR_CALM


def test_an_overlong_frame_is_not_waited_for() -> None:
    session = raw_session()
    session.receive(struct.pack(">HBBBL", 0xFFFF, 0xFF, 0, 0, 1), now=0.0)
    assert taken_before_the_end(session, repeat(b"\0" * 1024, 1000)) < 80 * 1024
    assert last_goaway(session)


def test_invented_settings_are_not_collected() -> None:
    session = raw_session()
    settings = frames.SettingsFrame(0, dict.fromkeys(range(0x20, 0x80), 1))
    with pytest.raises(ProtocolError):
        session.receive(settings.serialize(), now=0.0)


# The end.


def test_a_goaway_has_the_reason_and_lets_what_is_open_finish(pair: Pair) -> None:
    stream_id = pair.open()
    pair.session.goaway("Shutdown")
    pair.session.goaway("Shutdown")
    assert pair.flush() == []
    (goaway,) = pair.take(h2.events.ConnectionTerminated)
    assert goaway.additional_data == b'{"reason":"Shutdown"}'
    assert (goaway.error_code, goaway.last_stream_id) == (ErrorCodes.NO_ERROR, stream_id)
    # h2's client reads nothing after a GOAWAY, so look at the frames.
    pair.session.respond(stream_id, 200, [])
    (headers,) = sent_frames(pair.session.data_to_send())
    assert isinstance(headers, frames.HeadersFrame)
    assert headers.stream_id == stream_id
    assert pair.session.open_streams == 0


def test_a_request_that_crosses_the_goaway_is_refused(pair: Pair) -> None:
    late = pair.request()
    data = pair.client.data_to_send()
    pair.session.goaway("Shutdown")
    pair.session.data_to_send()
    assert pair.session.receive(data, now=0.0) == []
    resets = [
        frame
        for frame in sent_frames(pair.session.data_to_send())
        if isinstance(frame, frames.RstStreamFrame)
    ]
    assert (resets[0].stream_id, resets[0].error_code) == (late, ErrorCodes.REFUSED_STREAM)


def test_a_goaway_before_any_request_names_none(pair: Pair) -> None:
    pair.session.goaway("Shutdown")
    assert last_goaway(pair.session).last_stream_id == 0


def test_refused_streams_do_not_count_as_processed() -> None:
    pair = Pair(max_streams=1)
    first = pair.open()
    pair.client.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    pair.client.remote_settings.acknowledge()
    pair.request()
    pair.flush()
    pair.session.goaway("Shutdown")
    assert last_goaway(pair.session).last_stream_id == first


def test_a_peer_that_leaves_still_gets_its_answers(pair: Pair) -> None:
    stream_id = pair.open()
    goaway = frames.GoAwayFrame(0, last_stream_id=0).serialize()
    # Bytes after the GOAWAY are read too.
    assert pair.session.receive(goaway + frames.PingFrame(0).serialize(), now=0.0) == [Leaving()]
    pair.session.respond(stream_id, 400, [], ERROR)
    ping, headers, data = sent_frames(pair.session.data_to_send())
    assert isinstance(ping, frames.PingFrame)
    assert isinstance(headers, frames.HeadersFrame)
    assert isinstance(data, frames.DataFrame)


def test_after_a_fault_nothing_more_is_heard_or_said(pair: Pair) -> None:
    stream_id = pair.open()
    with pytest.raises(ProtocolError):
        pair.session.receive(frames.DataFrame(2, b"x").serialize(), now=0.0)
    assert last_goaway(pair.session)
    assert pair.session.receive(frames.PingFrame(0).serialize(), now=0.0) == []
    pair.session.respond(stream_id, 200, [])
    pair.session.goaway("Shutdown")
    assert pair.session.data_to_send() == b""


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        PREFACE[:-1] + b"x",
        PREFACE + b"\0" * 9,
        PREFACE + b"\xff" * 100,
        PREFACE + frames.DataFrame(1, b"x").serialize(),
        PREFACE + frames.PushPromiseFrame(1, 2, b"").serialize(),
        PREFACE + frames.HeadersFrame(1, b"\xff\xff\xff", flags=["END_HEADERS"]).serialize(),
        PREFACE + frames.SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: 2**31}).serialize(),
        PREFACE + frames.PriorityFrame(1, depends_on=1).serialize(),
        PREFACE + frames.WindowUpdateFrame(0, 2**31 - 1).serialize(),
        PREFACE + frames.ContinuationFrame(1, b"").serialize(),
        PREFACE + frames.RstStreamFrame(1).serialize() + frames.RstStreamFrame(2).serialize(),
    ],
)
def test_garbage_is_a_protocol_error_or_nothing(data: bytes) -> None:
    session = H2Session(max_body_bytes=4096)
    session.initiate()
    feed(session, [data])


# Whatever comes.


def feed(session: H2Session, pieces: Iterable[bytes]) -> None:
    """Hand in the pieces and answer what comes; nothing but ProtocolError may be raised."""
    try:
        for piece in pieces:
            for event in session.receive(piece, now=0.0):
                if isinstance(event, Request) and event.stream_id % 3:
                    session.respond(event.stream_id, 400, [(b"apns-id", b"x")], ERROR)
                elif isinstance(event, Request):
                    session.start_stream(event.stream_id, 200, [])
                    session.send(event.stream_id, b"x" * 70_000)
                elif isinstance(event, Writable):
                    session.send(event.stream_id, b"x")
                    session.end(event.stream_id)
            session.data_to_send()
            assert_agreement(session)
    except ProtocolError:
        assert session.receive(b"", now=0.0) == []
    session.data_to_send()


def assert_agreement(session: H2Session) -> None:
    """What the session holds to be open is open for h2 too."""
    for stream_id in session._streams:
        assert not session._h2.streams[stream_id].closed
    assert session._blocked <= session._streams.keys()


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_any_bytes(pieces: list[bytes]) -> None:
    feed(raw_session(), pieces)
    fresh = H2Session(max_body_bytes=4096)
    fresh.initiate()
    feed(fresh, pieces)


#: literal fields without index: a whole request, half of one, and noise
BLOCKS = st.sampled_from(
    [
        b"\x83\x87\x84\x41\x01a",
        b"\x82\x86\x84\x41\x01a",
        b"\x83\x87\x84",
        b"\x00\x01x\x01y",
        b"\x3f\xe1\x1f\x83\x87\x84\x41\x01a",
        b"",
    ]
) | st.binary(max_size=20)
STREAM_IDS = st.sampled_from([0, 1, 2, 3, 5, 7, 9])
SMALL = st.integers(0, 2**31 - 1) | st.integers(0, 20)


def flags(*names: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True)


def built(
    kind: type[frames.Frame], *args: Any, ids: st.SearchStrategy[int] = STREAM_IDS, **kwargs: Any
) -> st.SearchStrategy[bytes]:
    """Frames of that kind, also those that the standard forbids."""

    def build(stream_id: int, *args: Any, **kwargs: Any) -> bytes:
        frame = kind(1 if kind.stream_association == "has-stream" else 0, *args, **kwargs)
        frame.stream_id = stream_id
        return frame.serialize()

    return st.builds(build, ids, *args, **kwargs)


FRAMES = st.one_of(
    built(
        frames.HeadersFrame, BLOCKS, flags=flags("END_HEADERS", "END_STREAM", "PADDED", "PRIORITY")
    ),
    built(frames.ContinuationFrame, BLOCKS, flags=flags("END_HEADERS")),
    built(
        frames.DataFrame,
        st.binary(max_size=30) | st.just(b"x" * 5000),
        pad_length=st.integers(0, 40),
        flags=flags("END_STREAM", "PADDED"),
    ),
    built(frames.RstStreamFrame, SMALL),
    built(frames.PriorityFrame, st.sampled_from([0, 1, 3]), st.integers(0, 255)),
    built(frames.WindowUpdateFrame, SMALL),
    built(frames.PingFrame, st.binary(max_size=8), flags=flags("ACK")),
    built(frames.GoAwayFrame, SMALL, SMALL, st.binary(max_size=5)),
    built(frames.SettingsFrame, st.dictionaries(st.integers(0, 12), SMALL, max_size=3)),
    built(frames.SettingsFrame, flags=st.just(["ACK"])),
    built(frames.PushPromiseFrame, SMALL, BLOCKS, flags=flags("END_HEADERS")),
    built(frames.AltSvcFrame, st.binary(max_size=5), st.binary(max_size=5)),
    st.builds(
        lambda length, kind, flag, stream_id, body: (
            struct.pack(">HBBBL", length >> 8, length & 255, kind, flag, stream_id) + body
        ),
        st.integers(0, 40),
        st.integers(0, 12),
        st.integers(0, 255),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=40),
    ),
)


OPEN = st.sampled_from([1, 3, 5, 7])
CONNECTION = st.just(0)
#: what may come on four open streams
PLAUSIBLE = st.one_of(
    built(
        frames.DataFrame,
        st.sampled_from([b"", b"{}", b"x" * 5000]),
        ids=OPEN,
        flags=flags("END_STREAM", "PADDED"),
    ),
    built(frames.RstStreamFrame, SMALL, ids=OPEN),
    built(frames.WindowUpdateFrame, st.sampled_from([1, 40, 10**5, 2**31 - 1]), ids=OPEN),
    built(frames.WindowUpdateFrame, st.sampled_from([1, 40, 10**5]), ids=CONNECTION),
    built(frames.PingFrame, st.just(b""), ids=CONNECTION),
    built(frames.GoAwayFrame, SMALL, SMALL, ids=CONNECTION),
    built(
        frames.SettingsFrame,
        st.sampled_from([{4: 0}, {4: 10}, {4: 65_535}, {5: 2**20}, {1: 0}]),
        ids=CONNECTION,
    ),
)


def opened(ends: list[bool]) -> list[bytes]:
    block = b"\x83\x87\x84\x41\x01a"
    return [
        frames.HeadersFrame(
            1 + 2 * i, block, flags=["END_HEADERS", *(["END_STREAM"] if end else [])]
        ).serialize()
        for i, end in enumerate(ends)
    ]


@given(
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.lists(PLAUSIBLE, max_size=30),
    st.lists(FRAMES, max_size=3),
    st.booleans(),
)
def test_any_sequence_of_plausible_frames(
    ends: list[bool], sequence: list[bytes], wild: list[bytes], at_once: bool
) -> None:
    sequence = opened(ends) + sequence + wild
    feed(raw_session(max_streams=3), [b"".join(sequence)] if at_once else sequence)


@given(st.lists(FRAMES, max_size=30), st.integers(1, 500))
def test_any_sequence_of_frames(sequence: list[bytes], size: int) -> None:
    data = b"".join(sequence)
    feed(raw_session(max_streams=2), sequence)
    feed(raw_session(), [data[start : start + size] for start in range(0, len(data), size)])


# -- the limit on streams as it changes


def limit_told(pair: Pair) -> list[int]:
    changes = [event.changed_settings for event in pair.take(h2.events.RemoteSettingsChanged)]
    told = SettingCodes.MAX_CONCURRENT_STREAMS
    return [change[told].new_value for change in changes if told in change]


def test_the_first_settings_are_apples() -> None:
    first, *_ = sent_frames(H2Session(max_body_bytes=1, max_streams=1).initiate())
    assert isinstance(first, frames.SettingsFrame)
    push = SettingCodes.ENABLE_PUSH
    assert first.settings == {1: 4096, 3: 1, 4: 65_535, 5: 16_384, 6: 8000, push: 0}


def test_the_limit_on_streams_is_told_and_kept() -> None:
    pair = Pair(max_streams=1)
    assert pair.client.remote_settings.max_concurrent_streams == 1
    first = pair.open()
    pair.session.limit_streams(3)
    pair.flush()
    assert limit_told(pair) == [3]
    others = [pair.open(), pair.open()]
    pair.client.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    pair.client.remote_settings.acknowledge()
    beyond = pair.request()
    assert pair.flush() == []
    (reset,) = pair.take(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (beyond, ErrorCodes.REFUSED_STREAM)
    pair.session.limit_streams(1)
    for stream_id in (first, *others):
        pair.session.respond(stream_id, 200, [])
        assert pair.answer_of(stream_id)[0] == b"200"


def test_what_was_sent_before_a_lower_limit_was_known_is_refused(pair: Pair) -> None:
    first = pair.open()
    sent_before = [pair.request(), pair.request()]
    pair.session.limit_streams(1)
    pair.session.respond(first, 400, [])
    assert pair.flush() == []
    resets = pair.take(h2.events.StreamReset)
    assert [(reset.stream_id, reset.error_code) for reset in resets] == [
        (stream_id, ErrorCodes.REFUSED_STREAM) for stream_id in sent_before
    ]
    pair.session.respond(again := pair.open(), 200, [])
    assert pair.answer_of(again)[0] == b"200"


def test_the_same_limit_is_not_told_again(pair: Pair) -> None:
    pair.seen.clear()
    pair.session.limit_streams(100)
    pair.flush()
    assert limit_told(pair) == []


def test_acknowledging_what_we_say_is_no_attack(pair: Pair) -> None:
    for n in range(3 * calm.BURST):
        pair.session.limit_streams(1 + n % 2)
        pair.flush()
    with pytest.raises(ProtocolError, match="too many"):
        for _ in range(calm.BURST + 1):
            ack = frames.SettingsFrame(0, flags=["ACK"]).serialize()
            pair.session._h2.update_settings({})  # or h2 would not expect it
            pair.session.receive(ack, now=0.0)


def test_a_request_that_was_reported_may_be_refused_all_the_same(pair: Pair) -> None:
    stream_id = pair.open()
    pair.session.refuse(stream_id)
    pair.session.refuse(stream_id)
    pair.session.respond(stream_id, 200, [])
    pair.flush()
    (reset,) = pair.take(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (stream_id, ErrorCodes.REFUSED_STREAM)
    assert pair.session.open_streams == 0
    pair.session.respond(again := pair.open(), 200, [])
    assert pair.answer_of(again)[0] == b"200"


def test_what_is_still_being_sent_is_refused(pair: Pair) -> None:
    whole, half = pair.open(), pair.client.get_next_available_stream_id()
    pair.client.send_headers(half, POST)
    pair.flush()
    pair.session.refuse_unfinished()
    pair.flush()
    (reset,) = pair.take(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (half, ErrorCodes.REFUSED_STREAM)
    assert pair.session.is_open(whole)
    assert not pair.session.is_open(half)


def test_priorities_are_ignored(pair: Pair) -> None:
    for n in range(3 * calm.BURST):
        pair.client.prioritize(2 * n + 1, weight=1 + n % 256, exclusive=bool(n % 2))
    assert pair.flush() == []
    pair.session.respond(stream_id := pair.open(), 200, [])
    assert pair.answer_of(stream_id)[0] == b"200"
