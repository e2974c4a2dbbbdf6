from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.errors import ProtocolError
from trio_push.wire.http_response import MAX_HEAD_BYTES, ResponseParser

CLOSE_DELIMITED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Connection: close\r\n\r\n: hello\n\n"
)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n4\r\n: he\r\n5\r\nllo\n\n\r\n"
)


@pytest.mark.parametrize(("stream", "delimited"), [(CLOSE_DELIMITED, False), (CHUNKED, True)])
@pytest.mark.parametrize("chunk_bytes", [1, 7, 4096])
def test_event_stream(stream: bytes, delimited: bool, chunk_bytes: int) -> None:
    parser = ResponseParser()
    body = b"".join(
        parser.feed(stream[i : i + chunk_bytes]) for i in range(0, len(stream), chunk_bytes)
    )
    assert (parser.status, parser.content_type) == (200, "text/event-stream")
    assert (body, parser.delimited, parser.complete) == (b": hello\n\n", delimited, False)


def test_last_chunk_completes() -> None:
    parser = ResponseParser()
    parser.feed(CHUNKED)
    parser.feed(b"0\r\n\r\n")
    assert parser.complete


def test_answers_one_after_the_other() -> None:
    parser = ResponseParser()
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert parser.feed(ok) == b""
    assert (parser.status, parser.complete, parser.keep_alive) == (200, True, True)
    refusal = b'HTTP/1.1 400 Bad Request\r\nContent-Length: 13\r\n\r\n{"reason":"x'
    assert parser.feed(refusal) == b'{"reason":"x'
    assert (parser.status, parser.complete) == (400, False)
    assert parser.feed(b"}") == b"}"
    assert parser.complete
    parser.feed(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    assert (parser.status, parser.complete, parser.keep_alive) == (503, True, False)


def test_answer_without_a_body_keeps_the_connection() -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (parser.status, parser.complete, parser.keep_alive) == (204, True, True)


def test_redirection() -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 307 x\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n")
    assert parser.redirect == "http://elsewhere/"


SWITCHING = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: y\r\n\r\n"


@pytest.mark.parametrize(
    "garbage", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\1\2", b"HTTP/9 what\r\n", SWITCHING]
)
def test_garbage(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        ResponseParser().feed(garbage)


def test_endless_head() -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 200 OK\r\n")
    line = b"X-%d: " + b"x" * 1000 + b"\r\n"

    def feed_too_much() -> None:
        for i in range(MAX_HEAD_BYTES // 1000 + 1):
            parser.feed(line % i)

    with pytest.raises(ProtocolError):
        feed_too_much()


heads = st.sampled_from(
    [b"Content-Length: ", b"Transfer-Encoding: chunked", b"Connection: upgrade", b"Upgrade: x"]
)
pieces = st.sampled_from([b"HTTP/1.1 101 ", b"HTTP/1.1 200 OK", b"\r\n", b"0", b"5", b":"])


@given(st.lists(heads | pieces | st.binary(max_size=5), max_size=20))
def test_any_bytes(chunks: list[bytes]) -> None:
    parser = ResponseParser()
    try:
        for chunk in chunks:
            parser.feed(chunk)
    except ProtocolError:
        return
    assert not parser.head_complete or 100 <= parser.status < 1000


def test_no_reference_cycle() -> None:
    """Thousands of these are made while a swarm grows, with the collector held off."""
    gc.collect()
    gc.disable()
    try:
        ResponseParser().feed(CHUNKED)
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("cut", [0, 20, len(SWITCHING)])
def test_other_protocol_that_was_asked_for(cut: int) -> None:
    parser = ResponseParser(may_upgrade=True)
    data = SWITCHING.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Accept: k\r\n\r\n") + b"frames"
    body = (parser.feed(data[:cut]) if cut else b"") + parser.feed(data[cut:])
    assert (parser.head_complete, parser.status, parser.accept) == (True, 101, b"k")
    assert body == b"frames"
