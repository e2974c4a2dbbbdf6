from __future__ import annotations

import pytest

from trio_push.wire import http1
from trio_push.wire.http1 import Request, RequestParser

UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
POST = b"POST /3/device/ab HTTP/1.1\r\nHost: x\r\n%bContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /3/device/ab HTTP/1.1\r\nHost: x\r\n%bTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
)
GET = b"GET /events?token=ab HTTP/1.1\r\nHost: x\r\n%b\r\n"


def parsed(data: bytes, piece: int) -> list[Request]:
    """The requests in `data`, fed in pieces of that size."""
    parser = RequestParser()
    pieces = [data[i : i + piece] for i in range(0, len(data), piece)]
    return [request for piece in pieces for request in parser.feed(piece)]


def essence(request: Request) -> tuple[bytes, bytes, bytes, bool]:
    return request.method, request.target, request.body, request.keep_alive


@pytest.mark.parametrize("piece", [1, 7, 100, 10_000])
@pytest.mark.parametrize("message", [POST, CHUNKED, GET], ids=["post", "chunked", "get"])
def test_an_upgrade_that_is_not_offered_changes_nothing(message: bytes, piece: int) -> None:
    plain = parsed(message % b"" * 3, piece)
    upgrading = parsed(message % UPGRADE + message % b"" + message % UPGRADE, piece)
    assert [essence(r) for r in upgrading] == [essence(r) for r in plain]
    assert len(plain) == 3
    assert [r.header(b"host") for r in upgrading] == [b"x"] * 3


def test_an_upgrading_request_waits_for_its_continue_too() -> None:
    parser = RequestParser()
    head, _, body = (POST % (UPGRADE + b"Expect: 100-continue\r\n")).partition(b"\r\n\r\n")
    assert parser.feed(head + b"\r\n\r\n") == []
    assert parser.wants_continue()
    (request,) = parser.feed(body)
    assert request.body == b"hello"


def test_connect_is_a_request_like_others() -> None:
    connect = b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"
    assert [r.method for r in parsed(connect + GET % b"", 10_000)] == [b"CONNECT", b"GET"]


def test_as_many_upgrades_as_fit_in_one_read() -> None:
    data = b"GET / HTTP/1.1\r\nConnection:upgrade\r\nUpgrade:x\r\n\r\n" * http1.MAX_PIPELINED
    assert len(RequestParser().feed(data)) == http1.MAX_PIPELINED


def test_of_a_body_without_end_the_request_is_complete_and_the_last() -> None:
    parser = RequestParser()
    size = 4 * http1.MAX_DISCARD
    assert parser.feed(b"POST /3/device/ab HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size) == []
    fed = 0
    while not (requests := parser.feed(bytes(65_536))):
        fed += 65_536
    (request,) = requests
    assert not request.keep_alive
    assert len(request.body) > 4096
    assert fed <= http1.MAX_DISCARD
