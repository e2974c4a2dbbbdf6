"""Both sessions against any bytes, and HTTP/1.1 against the answers that there are."""

from __future__ import annotations

from contextlib import suppress

import hpack
import hyperframe.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.apns.flight import Fate, Flight, Session
from trio_push.apns.h2_session import H2Session
from trio_push.apns.http1_session import Http1Session
from trio_push.apns.request import Outcome, Request
from trio_push.errors import ProtocolError


def flight(token: str = "ab12") -> Flight:
    return Flight(Request(token=token, payload=b"{}", topic="com.example"))


def _server_frames() -> list[bytes]:
    """Frames that a server may send to a client with three requests, SETTINGS first."""
    block = hpack.Encoder().encode([(":status", "200")])
    end = ["END_HEADERS", "END_STREAM"]
    frames: list[hyperframe.frame.Frame] = [
        hyperframe.frame.SettingsFrame(0),
        hyperframe.frame.HeadersFrame(1, block, flags=end),
        hyperframe.frame.HeadersFrame(3, block, flags=end[:1]),
        hyperframe.frame.HeadersFrame(9, block, flags=end),
        hyperframe.frame.DataFrame(3, b"{}", flags=end[1:]),
        hyperframe.frame.DataFrame(5, b"{}"),
        hyperframe.frame.RstStreamFrame(1),
        hyperframe.frame.RstStreamFrame(5, error_code=7),
        hyperframe.frame.WindowUpdateFrame(0, window_increment=9),
        hyperframe.frame.PushPromiseFrame(1, 2, block, flags=end[:1]),
        hyperframe.frame.PingFrame(0, b"12345678"),
        hyperframe.frame.GoAwayFrame(0, 3),
    ]
    return [frame.serialize() for frame in frames]


SERVER_FRAMES = _server_frames()
ANSWERS = [
    b"HTTP/1.1 200 OK\r\napns-id: x\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n",
    b"",
]


def told(session: Session, chunks: list[bytes]) -> list[Fate]:
    fates: list[Fate] = []
    with suppress(ProtocolError):
        for chunk in chunks:
            fates += session.receive(chunk)
            session.data_to_send()
    return fates


def chunks_of(frames: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    chunk = st.lists(st.binary(max_size=30) | st.sampled_from(frames), max_size=5).map(b"".join)
    return st.lists(chunk, max_size=5)


@given(chunks_of(SERVER_FRAMES))
def test_any_bytes_over_http2(chunks: list[bytes]) -> None:
    """Every push has at most one fate, and only ProtocolError comes out."""
    session = H2Session("http", "x", 100)
    session.receive(SERVER_FRAMES[0])
    flights = [flight() for _ in range(3)]
    for each in flights:
        session.start(each, None)
    fates = told(session, chunks)
    settled = [fate.flight for fate in fates] + list(session.flights.values())
    assert set(settled) == set(flights)
    assert len(settled) == 3


@given(chunks_of(ANSWERS))
def test_any_bytes_over_http1(chunks: list[bytes]) -> None:
    session = Http1Session("x")
    one = flight()
    session.start(one, None)
    fates = told(session, chunks)
    assert [fate.flight for fate in fates] + list(session.flights.values()) == [one]


class TestHttp2:
    def session(self) -> H2Session:
        session = H2Session("http", "x", 100)
        assert session.room == 0, "not before the peer's SETTINGS"
        session.receive(SERVER_FRAMES[0])
        return session

    def test_room(self) -> None:
        session = self.session()
        assert session.room == 100
        session.start(flight(), None)
        assert session.room == 99

    def test_a_window_that_holds_no_push_is_of_no_use(self) -> None:
        session = H2Session("http", "x", 100)
        session.receive(hyperframe.frame.SettingsFrame(0, settings={4: 100}).serialize())
        assert (session.closing, session.room) == (True, 0)

    def test_a_stream_that_is_dropped_says_so_and_its_answer_is_nothing(self) -> None:
        session = self.session()
        one = flight()
        session.start(one, None)
        session.data_to_send()
        session.drop(one)
        assert session.data_to_send()[3] == 3, "RST_STREAM"
        assert session.receive(SERVER_FRAMES[1]) == []
        assert not session.closing

    def test_goaway_says_why(self) -> None:
        session = self.session()
        flights = [flight(), flight()]
        for each in flights:
            session.start(each, None)
        frame = hyperframe.frame.GoAwayFrame(
            0, 1, error_code=0, additional_data=b'{"reason":"IdleTimeout"}'
        )
        (fate,) = session.receive(frame.serialize())
        assert (fate.flight, fate.outcome) == (flights[1], Outcome.UNSENT)
        assert fate.reason == session.farewell == "GOAWAY IdleTimeout"
        (fate,) = session.receive(SERVER_FRAMES[1])
        assert (fate.flight, fate.outcome) == (flights[0], Outcome.ACCEPTED)


class TestHttp1:
    def exchange(self, *answer: bytes) -> tuple[Fate, Http1Session]:
        session = Http1Session("host:80")
        session.start(flight(), None)
        for each in answer[:-1]:
            assert session.receive(each) == []
        (fate,) = session.receive(answer[-1])
        return fate, session

    def test_request(self) -> None:
        session = Http1Session("host:81")
        session.start(flight(), b"Bearer k")
        assert session.data_to_send().split(b"\r\n") == [
            b"POST /3/device/ab12 HTTP/1.1",
            b"Host: host:81",
            b"Content-Type: application/json",
            b"apns-topic: com.example",
            b"Authorization: Bearer k",
            b"Content-Length: 2",
            b"",
            b"{}",
        ]
        assert session.data_to_send() == b""

    def test_accepted(self) -> None:
        fate, session = self.exchange(ANSWERS[0])
        assert (fate.outcome, fate.status, fate.id) == (Outcome.ACCEPTED, 200, "x")
        assert (session.room, session.closing) == (1, False)

    def test_refused_with_reason(self) -> None:
        body = b'{"reason":"Unregistered","timestamp":17}'
        head = b"HTTP/1.1 410 Gone\r\nRetry-After: 9\r\nContent-Length: %d\r\n\r\n" % len(body)
        fate, _ = self.exchange(head, body[:5], body[5:])
        assert (fate.outcome, fate.status, fate.reason) == (Outcome.REFUSED, 410, "Unregistered")
        assert (fate.timestamp_ms, fate.retry_after_s) == (17, 9.0)

    @pytest.mark.parametrize("body", [b"busy", b'"x"', b'{"reason":7}', b"\xff\xff"])
    def test_refused_by_somebody_else(self, body: bytes) -> None:
        head = b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n" % len(body)
        fate, _ = self.exchange(head + body)
        assert (fate.status, fate.reason) == (503, "status 503")

    def test_continue_is_no_answer(self) -> None:
        fate, _ = self.exchange(ANSWERS[2], ANSWERS[0])
        assert fate.status == 200

    @pytest.mark.parametrize(
        "answer",
        [
            (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",),
            (b"HTTP/1.0 200 OK\r\n\r\nbody", b""),
        ],
    )
    def test_a_connection_that_ends_with_its_answer(self, answer: tuple[bytes, ...]) -> None:
        fate, session = self.exchange(*answer)
        assert fate.outcome is Outcome.ACCEPTED
        assert (session.room, session.closing) == (0, True)

    def test_an_end_before_the_answer(self) -> None:
        session = Http1Session("x")
        session.start(flight(), None)
        session.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        with pytest.raises(ProtocolError, match="closed the connection"):
            session.receive(b"")
        assert len(session.flights) == 1

    def test_an_answer_to_nothing(self) -> None:
        session = Http1Session("x")
        with pytest.raises(ProtocolError, match="to nothing"):
            session.receive(ANSWERS[0])
