from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.errors import ProtocolError
from trio_push.wire.http1 import Headers, Request
from trio_push.wire.websocket_handshake import accept, reject

#: key and answer of RFC 6455, section 1.3
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ANSWER = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
GOOD = {
    b"host": b"server.example:8080",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": KEY,
    b"sec-websocket-version": b"13",
}


def request(
    headers: dict[bytes, bytes] | None = None, *more: tuple[bytes, bytes], upgrade: bool = True
) -> Request:
    fields: Headers = [*(GOOD | (headers or {})).items(), *more]
    return Request(b"GET", b"/ws", fields, b"", upgrade=b"" if upgrade else None)


def test_the_example_of_the_rfc() -> None:
    head, *lines = accept(request()).removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert head == b"HTTP/1.1 101 Switching Protocols"
    assert sorted(lines) == [
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + ANSWER,
        b"Upgrade: websocket",
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {b"sec-websocket-extensions": b"permessage-deflate; client_max_window_bits, x"},
        {b"sec-websocket-protocol": b"chat, super.chat"},
        {b"host": b"[::1]:80"},
        {b"origin": b"http://page.example"},
        {b"content-length": b"0"},
    ],
)
def test_what_is_offered_is_declined_by_silence(headers: dict[bytes, bytes]) -> None:
    assert accept(request(headers)) == accept(request())


BAD: list[tuple[int, Request]] = [
    (426, request(upgrade=False)),
    (426, request({b"sec-websocket-version": b"12"})),
    (426, request({b"sec-websocket-version": b""})),
    (400, request({}, (b"sec-websocket-version", b"8"))),
    (400, request({b"sec-websocket-key": b""})),
    (400, request({b"sec-websocket-key": KEY[:-4]})),
    (400, request({b"sec-websocket-key": KEY[:-1]})),
    (400, request({b"sec-websocket-key": b" " + KEY})),
    (400, request({b"sec-websocket-key": KEY.replace(b"d", b"\xff", 1)})),
    (400, request({}, (b"sec-websocket-key", KEY))),
    (400, request({b"host": b""})),
    (400, request({b"host": b"\xff"})),
    (400, request({b"host": b"a b"})),
    (400, request({b"host": b"a/b"})),
    (400, request({}, (b"host", b"other.example"))),
    (400, request({b"sec-websocket-protocol": b"\xff"})),
    (400, request({b"sec-websocket-protocol": b"a/b"})),
    (400, request({b"sec-websocket-extensions": b"\xff"})),
    (400, request({b"content-length": b"2"})),
    (400, request({b"transfer-encoding": b"chunked"})),
]


@pytest.mark.parametrize(("status", "bad"), BAD)
def test_bad_handshakes(status: int, bad: Request) -> None:
    with pytest.raises(ProtocolError) as caught:
        accept(bad)
    assert caught.value.status == status


def test_a_header_that_is_missing() -> None:
    for name in (b"host", b"sec-websocket-key", b"sec-websocket-version"):
        headers = [field for field in GOOD.items() if field[0] != name]
        with pytest.raises(ProtocolError):
            accept(Request(b"GET", b"/ws", headers, b"", upgrade=b""))


def test_a_rejection_is_a_whole_response_that_says_what_is_spoken() -> None:
    head, _, body = reject(ProtocolError("why", status=426)).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 426 Upgrade Required"
    assert {b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Connection: close"} <= {*lines}
    assert json.loads(body) == {"reason": "BadRequest", "detail": "why"}
    assert reject(ProtocolError("why")).startswith(b"HTTP/1.1 400 Bad Request\r\n")


NAMES = st.sampled_from([*GOOD, b"sec-websocket-protocol", b"sec-websocket-extensions"])


@given(st.lists(st.tuples(NAMES, st.binary() | st.sampled_from([*GOOD.values()]))))
def test_a_handshake_is_accepted_or_rejected(headers: Headers) -> None:
    handshake = Request(b"GET", b"/ws", headers, b"", upgrade=b"")
    try:
        answer = accept(handshake)
    except ProtocolError as error:
        answer = reject(error)
    assert answer.isascii()
