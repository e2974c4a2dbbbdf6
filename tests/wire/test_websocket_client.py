from __future__ import annotations

import pytest

from trio_push.wire import websocket_client
from trio_push.wire.http1 import RequestParser
from trio_push.wire.websocket import Close, Message, Pong, Reader
from trio_push.wire.websocket_handshake import accept


def test_our_server_takes_our_handshake() -> None:
    key = websocket_client.new_key()
    parser = RequestParser([b"/ws"])
    (request,) = parser.feed(websocket_client.handshake("/ws?token=ab", "h:80", key))
    answer = accept(request)
    shown = answer.partition(b"Sec-WebSocket-Accept: ")[2].partition(b"\r\n")[0]
    assert request.target == b"/ws?token=ab"
    assert websocket_client.is_answer(key, shown)
    assert not websocket_client.is_answer(websocket_client.new_key(), shown)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_536])
def test_frames_are_read_by_our_server(size: int) -> None:
    frames = (
        websocket_client.text_frame(b"x" * size)
        + websocket_client.pong_frame(b"p")
        + websocket_client.close_frame(1000)
    )
    expected = [Message(True, b"x" * size), Pong(b"p"), Close(1000)]
    assert Reader(100_000).feed(frames) == expected


def test_close_without_a_code() -> None:
    assert Reader(10).feed(websocket_client.close_frame(None)) == [Close(None)]
