"""What is heard in streams that are cut anywhere."""

from __future__ import annotations

import pytest

from loadtest.frames import PONG, text_frame
from loadtest.heard import Push, Resumed, parse_events, parse_messages
from trio_push.wire.websocket import PING

EVENTS = (
    b': keepalive\n\nevent: sync_result\ndata: {"recovered":false}\n\n'
    b'id: ab:7\nevent: x\ndata: {"n":0}\n\nid: ab:9\ndata: {"n":1}\n\n'
)
MESSAGES = (
    PING
    + text_frame(b'{"type":"sync_result","recovered":false,"epoch":"ab","from":1,"to":2}')
    + text_frame(b'{"type":"notification","id":"i","epoch":"ab","seq":7,"topic":"","data":{"n":0}}')
    + PONG[:1]
    + b"\x00"
    + text_frame(b'{"type":"notification","id":"i","epoch":"ab","seq":9,"topic":"","data":{"n":1}}')
)


@pytest.mark.parametrize(("parse", "stream"), [(parse_events, EVENTS), (parse_messages, MESSAGES)])
def test_a_stream_cut_anywhere(parse, stream):
    expected = [Resumed(False), Push(0, b"ab:7"), Push(1, b"ab:9")]
    for at in range(len(stream) + 1):
        heard, rest = parse(stream[:at])
        more, rest = parse(rest + stream[at:])
        assert heard + more == expected
        assert rest == b""
