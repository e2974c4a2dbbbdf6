"""Cases of web-platform-tests (`eventsource/format-*`) and LaunchDarkly's SSE contract tests."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.errors import ProtocolError
from trio_push.wire.sse_parser import MAX_EVENT_BYTES, MAX_RETRY_MS, Event, EventStreamParser

BOM = b"\xef\xbb\xbf"
LONG = b"x" * 2048

#: name → the stream and the events that it holds
STREAMS: dict[str, tuple[bytes, list[Event]]] = {
    "one line": (b"data: Hello\n\n", [Event("Hello")]),
    "two events": (b"data: Hello\n\ndata: World\n\n", [Event("Hello"), Event("World")]),
    "two lines": (b"data: Hello\ndata:World\n\n", [Event("Hello\nWorld")]),
    "empty data": (b"data:\n\n", [Event("")]),
    "field without colon": (b"data\n\ndata\ndata\n\n", [Event(""), Event("\n")]),
    "wpt field-data": (
        b"data:\n\ndata\ndata\n\ndata:test\n\n",
        [Event(""), Event("\n"), Event("test")],
    ),
    "event name": (b"event: greeting\ndata: Hello\n\n", [Event("Hello", "greeting")]),
    "event name is empty": (b"event: \ndata:data\n\n", [Event("data")]),
    "event name is for one event only": (
        b"event:test\ndata:x\n\ndata:x\n\n",
        [Event("x", "test"), Event("x")],
    ),
    "event without data gives nothing and is forgotten": (
        b"event:test\n\ndata:x\n\n",
        [Event("x")],
    ),
    "id": (b"id: abc\ndata: Hello\n\n", [Event("Hello", id="abc")]),
    "fields in reverse": (
        b"data: Hello\nid: abc\nevent: greeting\n\n",
        [Event("Hello", "greeting", "abc")],
    ),
    "id with NUL is ignored": (b"id: a\0bc\ndata: Hello\n\n", [Event("Hello")]),
    "id with NUL leaves the old one": (
        b"id:1\ndata:a\n\nid:\0\ndata:b\n\n",
        [Event("a", id="1"), Event("b", id="1")],
    ),
    "id persists": (
        b"id:1\ndata:a\n\ndata:b\n\nid:2\ndata:c\n\ndata:d\n\n",
        [Event("a", id="1"), Event("b", id="1"), Event("c", id="2"), Event("d", id="2")],
    ),
    "id resets": (
        b"id: 1\ndata:a\n\nid\ndata:b\n\nid:2\ndata:c\n\nid: \ndata:d\n\n",
        [Event("a", id="1"), Event("b"), Event("c", id="2"), Event("d")],
    ),
    "id of an event without data": (b"id: 7\n\ndata:x\n\n", [Event("x", id="7")]),
    "unknown field": (
        b"event: greeting\ncolor: blue\ndata: Hello\n\n",
        [Event("Hello", "greeting")],
    ),
    "wpt field-unknown": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        [Event("test\n\ntest")],
    ),
    "leading space": (
        b"data:\ttest\rdata: \ndata:test\n\n",
        [Event("\ttest\n\ntest")],
    ),
    "one space only": (b"event:  greeting\ndata:  Hello\n\n", [Event(" Hello", " greeting")]),
    "wpt field-parsing": (
        (
            b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\n"
            b"data:3\rdata:\r\n data:32\ndata:4\n\n"
        ),
        [Event("\0\n 2\n1\n3\n\n4")],
    ),
    "wpt comments": (
        b"data:1\r:\0\n:\r\ndata:2\n:%b\rdata:3\n:data:fail\r:%b\ndata:4\n\n" % (LONG, LONG),
        [Event("1\n2\n3\n4")],
    ),
    "wpt newlines": (
        b"data:test\r\ndata\ndata:test\r\n\r\n",
        [Event("test\n\ntest")],
    ),
    "wpt null-character": (b"data:\0\n\n", [Event("\0")]),
    "wpt data-before-final-empty-line": (
        b"retry:1000\ndata:test1\n\nid:test\ndata:test2",
        [Event("test1")],
    ),
    "keep-alive comments": (b": keepalive\n\n: keepalive\n\n", []),
    "BOM": (BOM + b"data:1\n\ndata:2\n\n", [Event("1"), Event("2")]),
    "BOM and nothing else on the line": (BOM + b"\ndata:1\n\n", [Event("1")]),
    "two BOMs spoil the first field": (BOM + BOM + b"data:1\n\ndata:2\n\n", [Event("2")]),
    "BOM later is data": (
        b"data:1\n\n%bdata:2\n\ndata:%b3\n\n" % (BOM, BOM),
        [Event("1"), Event("\ufeff3")],
    ),
    "several bytes to a character": ("data: €豆腐\n\n".encode(), [Event("€豆腐")]),
    "not UTF-8": (b"data: \xff\xe2\x82\ndata: ok\n\n", [Event("\ufffd\ufffd\nok")]),
    "incomplete line at the end": (b"data: a\n\ndata: b", [Event("a")]),
    "incomplete event at the end": (b"data: a\n\ndata: b\n", [Event("a")]),
}
for _name, _end in {"LF": b"\n", "CR": b"\r", "CRLF": b"\r\n"}.items():
    STREAMS |= {
        f"{_name}: one and two lines": (
            b"data: 1|| data: no|data: 2a|data: 2b||".replace(b"|", _end),
            [Event("1"), Event("2a\n2b")],
        ),
        f"{_name}: empty line first": (
            b"data:|data: 2|data: 3||".replace(b"|", _end),
            [Event("\n2\n3")],
        ),
        f"{_name}: extra empty lines": (
            b"||data: 1||||data: 2||".replace(b"|", _end),
            [Event("1"), Event("2")],
        ),
    }


def parse(stream: bytes, chunk_bytes: int) -> list[Event]:
    parser = EventStreamParser()
    starts = range(0, len(stream), chunk_bytes)
    return [event for i in starts for event in parser.feed(stream[i : i + chunk_bytes])]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 2**20])
def test_streams(name: str, chunk_bytes: int) -> None:
    stream, events = STREAMS[name]
    assert parse(stream, chunk_bytes) == events


def test_chunks_that_end_in_cr() -> None:
    parser = EventStreamParser()
    chunks = [b"data: Hello\r", b"\ndata: World\r", b"\n\r\ndata: OK\r", b"\n", b"", b"\r", b"\n"]
    events = [parser.feed(chunk) for chunk in chunks]
    assert events == [[], [], [Event("Hello\nWorld")], [], [], [Event("OK")], []]


@pytest.mark.parametrize(
    ("field", "retry_ms"),
    [
        (b"retry:3000", 3000),
        (b"retry: 0", 0),
        (b"retry:007", 7),
        (b"retry:" + b"0" * 9000, 0),
        (b"retry:" + b"9" * 9000, MAX_RETRY_MS),
        (b"retry:", None),
        (b"retry:1000x", None),
        (b"retry:-1", None),
        (b"retry:+1", None),
        (b"retry:  1", None),
        ("retry:٣".encode(), None),
    ],
)
def test_retry(field: bytes, retry_ms: int | None) -> None:
    parser = EventStreamParser()
    assert parser.feed(field + b"\n") == []
    assert parser.retry_ms == retry_ms


def test_bogus_retry_leaves_the_one_before() -> None:
    parser = EventStreamParser()
    parser.feed(b"retry:3000\nretry:1000x\ndata:x\n\n")
    assert parser.retry_ms == 3000


def test_last_event_id_is_committed_with_the_event() -> None:
    parser = EventStreamParser()
    parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert parser.last_event_id == "1"
    parser.feed(b"\n")
    assert parser.last_event_id == "2"


def test_last_event_id_lives_on_in_the_next_connection() -> None:
    parser = EventStreamParser(last_event_id="9")
    assert parser.feed(b"data: a\n\n") == [Event("a", id="9")]
    assert parser.last_event_id == "9"


def test_large_event() -> None:
    data = "0123456789abcdef" * 2**16
    assert parse(b"data: %b\n\n" % data.encode(), 2**16) == [Event(data)]


@pytest.mark.parametrize(
    "endless", [b"x" * 2**20, b"data:" + b"x" * 2**20 + b"\n", b"data\n" * 2**18]
)
def test_endless_event_is_refused(endless: bytes) -> None:
    parser = EventStreamParser()

    def feed_too_much() -> None:
        for _ in range(MAX_EVENT_BYTES // len(endless) + 1):
            assert parser.feed(endless) == []

    with pytest.raises(ProtocolError):
        feed_too_much()


def test_endless_comments_are_not() -> None:
    parser = EventStreamParser()
    for _ in range(MAX_EVENT_BYTES // 2**20 + 2):
        assert parser.feed(b":" + b"x" * 2**20 + b"\n") == []


pieces = st.sampled_from(
    [b"data", b"id", b"event", b"retry", b":", b" ", b"7", b"\n", b"\r", b"\r\n", b"\0", BOM]
)


@given(
    st.lists(pieces | st.binary(max_size=3), max_size=60).map(b"".join),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_any_split_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    whole = EventStreamParser()
    events = whole.feed(stream)
    parts = EventStreamParser()
    edges = [0, *sorted(cuts), len(stream)]
    got = [e for a, b in pairwise(edges) for e in parts.feed(stream[a:b])]
    assert got == events
    assert (parts.last_event_id, parts.retry_ms) == (whole.last_event_id, whole.retry_ms)
