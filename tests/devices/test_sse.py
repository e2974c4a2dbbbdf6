from __future__ import annotations

from tests.fakes import push
from trio_push.devices.sse import SseTransport
from trio_push.wire.close_codes import GOING_AWAY


def test_what_things_look_like_on_an_event_stream() -> None:
    transport = SseTransport("e1")
    assert transport.frame(7, push(b"x", event="ping")) == b"id: e1:7\nevent: ping\ndata: x\n\n"
    assert transport.frame(8, push(b"x")) == b"id: e1:8\ndata: x\n\n"
    assert transport.farewell(GOING_AWAY, 1500) == b"retry: 1500\n\n"
    assert transport.keepalive == b": keepalive\n\n"
