from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.errors import ProtocolError
from trio_push.wire.http1 import (
    MAX_BODY,
    MAX_DISCARD,
    MAX_HEAD,
    MAX_PIPELINED,
    Request,
    RequestParser,
    response,
)

GET = b"GET /events?token=aa HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /3/device/aa HTTP/1.1\r\nhost: x\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = (
    b"POST /3/device/aa HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;ext=1\r\nab\r\n1\r\nc\r\n0\r\napns-id: of a trailer\r\n\r\n"
)
#: what curl --http2 and Java's HttpClient send first on a plain connection
UPGRADE_POST = (
    b"POST /3/device/aa HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQ\r\nContent-Length: 3\r\n\r\nabc"
)
UPGRADE_GET = b"GET /healthz HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
CLOSE = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
OLD = b"GET /healthz HTTP/1.0\r\n\r\n"

REQUESTS = {
    GET: Request(b"GET", b"/events?token=aa", [(b"host", b"x")], b""),
    POST: Request(b"POST", b"/3/device/aa", [(b"host", b"x"), (b"content-length", b"3")], b"abc"),
    CHUNKED: Request(b"POST", b"/3/device/aa", [(b"transfer-encoding", b"chunked")], b"abc"),
    UPGRADE_POST: Request(
        b"POST",
        b"/3/device/aa",
        [
            (b"connection", b"Upgrade, HTTP2-Settings"),
            (b"http2-settings", b"AAMAAABkAAQ"),
            (b"content-length", b"3"),
        ],
        b"abc",
    ),
    UPGRADE_GET: Request(b"GET", b"/healthz", [(b"connection", b"Upgrade")], b""),
    CLOSE: Request(b"GET", b"/healthz", [(b"connection", b"close")], b"", keep_alive=False),
    OLD: Request(b"GET", b"/healthz", [], b"", keep_alive=False),
    b"\r\n\r\n" + GET: Request(b"GET", b"/events?token=aa", [(b"host", b"x")], b""),
    b"CONNECT a:1 HTTP/1.1\r\n\r\n": Request(b"CONNECT", b"a:1", [], b""),
    b"GET http://h:1/x HTTP/1.1\r\n\r\n": Request(b"GET", b"http://h:1/x", [], b""),
    b"OPTIONS * HTTP/1.1\r\nEmpty:\r\n\r\n": Request(b"OPTIONS", b"*", [(b"empty", b"")], b""),
}
#: those after which more may follow
LASTING = [sent for sent, read in REQUESTS.items() if read.keep_alive]


def feed(*chunks: bytes) -> list[Request]:
    parser = RequestParser()
    return [request for chunk in chunks for request in parser.feed(chunk)]


@pytest.mark.parametrize(("sent", "request_"), REQUESTS.items())
def test_every_split_of_the_bytes(sent: bytes, request_: Request) -> None:
    for i in range(1, len(sent) + 1):
        assert feed(sent[:i], sent[i:]) == [request_]
    assert feed(*(sent[i : i + 1] for i in range(len(sent)))) == [request_]


@given(st.lists(st.sampled_from(LASTING), min_size=1), st.data())
def test_pipelined_in_any_pieces(requests: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    chunks = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert feed(*chunks) == [REQUESTS[request] for request in requests]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nspace : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nfolded: x\r\n y\r\n\r\n",
        b"GET / HTTP/1.1\r\nnul: a\0b\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        pytest.param(
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
            id="two lengths",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two framings",
        ),
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        POST + b"garbage",
        CLOSE + GET,
    ],
)
def test_not_http(garbage: bytes) -> None:
    with pytest.raises(ProtocolError) as info:
        feed(garbage)
    assert info.value.status == 400
    with pytest.raises(ProtocolError):
        feed(*(garbage[i : i + 1] for i in range(len(garbage))))


@given(st.lists(st.binary(max_size=40) | st.sampled_from([*REQUESTS, b"\r\n", POST[:70]])))
def test_garbage_raises_nothing_else(chunks: list[bytes]) -> None:
    try:
        requests = feed(*chunks)
    except ProtocolError:
        return
    assert all(isinstance(request, Request) for request in requests)


# -- limits


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


HUGE = 3 * MAX_HEAD


@pytest.mark.parametrize("size", [1_000, 10_000, 65_536])
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"x" * HUGE + b"\r\n\r\n", id="value"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"x" * HUGE + b": x\r\n\r\n", id="name"),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + b"some: thing\r\n" * (HUGE // 10) + b"\r\n", id="many"
        ),
        pytest.param(b"GET /" + b"x" * HUGE, id="target"),
        pytest.param(b"\r\n" * HUGE, id="empty lines"),
    ],
)
def test_a_head_has_its_limit_in_any_pieces(head: bytes, size: int) -> None:
    with pytest.raises(ProtocolError) as info:
        feed(*in_pieces(head, size))
    assert info.value.status == 431


@pytest.mark.parametrize("size", [1_000, 10_000, 65_536])
@pytest.mark.parametrize(
    "message",
    [
        pytest.param(
            b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 2 * MAX_DISCARD,
            id="body",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\nx\r\n" * (2 * MAX_DISCARD // 6),
            id="chunks",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            + b"t: railer\r\n" * (2 * MAX_DISCARD // 11),
            id="trailers",
        ),
    ],
)
def test_a_request_without_end_is_complete_and_the_last(message: bytes, size: int) -> None:
    parser = RequestParser()
    fed = 0
    for piece in in_pieces(message, size):
        fed += len(piece)
        if requests := parser.feed(piece):
            break
    assert [request.keep_alive for request in requests] == [False]
    assert fed <= MAX_DISCARD + MAX_HEAD + size


def test_a_body_beyond_what_is_kept_is_told_by_its_length() -> None:
    sent = b"POST / HTTP/1.1\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000
    [request] = feed(*in_pieces(sent, 1000))
    assert MAX_BODY <= len(request.body) < MAX_BODY + 1000
    assert feed(*in_pieces(sent + GET, 1000))[1:] == [REQUESTS[GET]]


@pytest.mark.parametrize("request_", [GET, UPGRADE_GET])
def test_pipelining_is_bounded(request_: bytes) -> None:
    assert len(feed(request_ * MAX_PIPELINED)) == MAX_PIPELINED
    with pytest.raises(ProtocolError) as info:
        feed(request_ * (MAX_PIPELINED + 1))
    assert info.value.status == 429
    assert len(feed(*[request_ * 10] * MAX_PIPELINED)) == 10 * MAX_PIPELINED


# -- what the connection needs to know


EXPECT = b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n"


@pytest.mark.parametrize("cut", range(1, len(EXPECT)))
def test_expects_continue_once_its_head_is_complete(cut: int) -> None:
    parser = RequestParser()
    wants = []
    for piece in (EXPECT[:cut], EXPECT[cut:], b"a"):
        assert parser.feed(piece) == []
        wants.append(parser.wants_continue())
    assert wants == [False, True, False]
    assert len(parser.feed(b"bc")) == 1
    parser.feed(POST[:-1])
    assert not parser.wants_continue()


def test_expects_nothing_when_the_body_is_there_already() -> None:
    parser = RequestParser()
    parser.feed(EXPECT + b"abc")
    assert not parser.wants_continue()


@pytest.mark.parametrize(
    ("chunks", "idle"),
    [
        pytest.param([], True, id="new"),
        pytest.param([POST], True, id="between"),
        pytest.param([b"\r\n"], True, id="empty line"),
        pytest.param([b"P"], False, id="head"),
        pytest.param([POST[:-1]], False, id="body"),
        pytest.param([POST + b"P"], False, id="pipelined head"),
        pytest.param([UPGRADE_POST[:-1]], False, id="body of upgrade"),
        pytest.param([UPGRADE_POST], True, id="after upgrade"),
    ],
)
def test_idle(chunks: Sequence[bytes], idle: bool) -> None:
    parser = RequestParser()
    for chunk in chunks:
        parser.feed(chunk)
    assert parser.idle is idle


WEBSOCKET = b"GET /ws?token=aa HTTP/1.1\r\nUpgrade: h2c, WebSocket\r\nConnection: Upgrade\r\n\r\n"


@pytest.mark.parametrize("rest", [b"", b"\x81\x80abcd"])
@pytest.mark.parametrize("cut", range(1, len(WEBSOCKET) + 1))
def test_what_follows_a_request_for_websocket_is_no_more_http(cut: int, rest: bytes) -> None:
    parser = RequestParser({b"/ws"})
    health, *early = parser.feed(UPGRADE_GET + WEBSOCKET[:cut])
    (request,) = early or parser.feed(WEBSOCKET[cut:] + rest)
    assert health.upgrade is None
    assert request.target == b"/ws?token=aa"
    assert request.upgrade == (b"" if early else rest)


@pytest.mark.parametrize(
    "sent",
    [
        WEBSOCKET.replace(b"/ws", b"/events"),
        WEBSOCKET.replace(b"GET", b"DELETE"),
        WEBSOCKET.replace(b"HTTP/1.1", b"HTTP/1.0"),
        WEBSOCKET.replace(b", WebSocket", b""),
        WEBSOCKET.replace(b"Connection: Upgrade", b"Connection: keep-alive"),
    ],
)
def test_websocket_where_or_how_it_is_not_offered(sent: bytes) -> None:
    (request,) = RequestParser({b"/ws"}).feed(sent)
    assert request.upgrade is None


def test_first_header_of_a_name() -> None:
    request = Request(b"GET", b"/", [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], b"")
    assert (request.header(b"a"), request.header(b"b"), request.header(b"c")) == (b"1", b"2", None)


@pytest.mark.parametrize(
    ("how", "head", "body"),
    [
        ({}, b"", b"ok\n"),
        ({"close": True}, b"Connection: close\r\n", b"ok\n"),
        ({"extra": b"Retry-After: 1\r\n"}, b"Retry-After: 1\r\n", b"ok\n"),
        ({"head_only": True}, b"", b""),
    ],
)
def test_response(how: dict[str, bool | bytes], head: bytes, body: bytes) -> None:
    assert response(503, b"ok\n", b"text/plain", **how) == (  # type: ignore[arg-type]
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
        + head + b"\r\n" + body
    )  # fmt: skip
