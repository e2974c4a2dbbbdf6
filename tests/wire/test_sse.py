from __future__ import annotations

import re

import httpx
import httpx_sse
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.wire import sse
from trio_push.wire.sse_parser import Event, EventStreamParser


@pytest.mark.parametrize(
    ("payload", "name", "block"),
    [
        pytest.param(b'{"mdm":"m"}', "ping", b'event: ping\ndata: {"mdm":"m"}\n', id="apns"),
        pytest.param(b"x", None, b"data: x\n", id="no name"),
        pytest.param(b"", None, b"data: \n", id="empty"),
        pytest.param(b" x", None, b"data:  x\n", id="leading space"),
        pytest.param(b"a\nb", None, b"data: a\ndata: b\n", id="LF"),
        pytest.param(b"a\rb", None, b"data: a\ndata: b\n", id="CR"),
        pytest.param(b"a\r\nb", None, b"data: a\ndata: b\n", id="CRLF"),
        pytest.param(b"a\n\nb\n", None, b"data: a\ndata: \ndata: b\ndata: \n", id="empty lines"),
        pytest.param(b"\n\r", None, b"data: \ndata: \ndata: \n", id="LF CR are two"),
        pytest.param(b"a\0b\xff", None, b"data: a\0b\xff\n", id="bytes as they are"),
        pytest.param(
            "\u2028\x85\x0b".encode(), None, b"data: \xe2\x80\xa8\xc2\x85\x0b\n", id="not line ends"
        ),
        pytest.param(b"x", "äh", b"event: \xc3\xa4h\ndata: x\n", id="name beyond ASCII"),
    ],
)
def test_event(payload: bytes, name: str | None, block: bytes) -> None:
    assert sse.event(b"e", 7, payload, name) == b"id: e:7\n" + block + b"\n"


def test_what_is_no_event() -> None:
    assert sse.KEEPALIVE == b": keepalive\n\n"
    assert sse.retry(1500) == b"retry: 1500\n\n"


@pytest.mark.parametrize("cors", [False, True])
def test_response_head(cors: bool) -> None:
    assert sse.response_head(cors=cors) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
        b"Connection: close\r\n"
        + (b"Access-Control-Allow-Origin: *\r\n" if cors else b"")
        + b"\r\n"
    )


names = st.none() | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1
)
payloads = st.binary() | st.text().map(lambda text: text.encode(errors="replace"))
pushes = st.lists(st.tuples(payloads, names))


def as_read(payload: bytes) -> str:
    """A reader has text, and every line end is LF to it (WHATWG HTML §9.2.6)."""
    return re.sub(r"\r\n|\r", "\n", payload.decode(errors="replace"))


@given(pushes, st.integers(1, 50))
def test_httpx_sse_reads_what_was_written(
    pushes: list[tuple[bytes, str | None]], size: int
) -> None:
    stream = b"".join(sse.event(b"e", n, *push) for n, push in enumerate(pushes))
    response = httpx.Response(
        200,
        headers={"content-type": "text/event-stream"},
        content=(stream[i : i + size] for i in range(0, len(stream), size)),
    )
    read = list(httpx_sse.EventSource(response).iter_sse())
    assert [(event.id, event.event, event.data) for event in read] == [
        (f"e:{n}", name or "message", as_read(payload)) for n, (payload, name) in enumerate(pushes)
    ]


@given(pushes, st.integers(1, 50), st.data())
def test_our_own_parser_reads_what_was_written(
    pushes: list[tuple[bytes, str | None]], size: int, data: st.DataObject
) -> None:
    comments = st.sampled_from([b"", sse.KEEPALIVE, sse.retry(1500)])
    stream = b""
    for n, push in enumerate(pushes):
        stream += data.draw(comments) + sse.event(b"e", n, *push)
    parser = EventStreamParser()
    chunks = (stream[i : i + size] for i in range(0, len(stream), size))
    assert [event for chunk in chunks for event in parser.feed(chunk)] == [
        Event(as_read(payload), name or "message", f"e:{n}")
        for n, (payload, name) in enumerate(pushes)
    ]
