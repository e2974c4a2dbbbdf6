"""What the devices that come back make of a stream, and that they notice loss and repetition."""

from __future__ import annotations

import json

import pytest
import trio

from loadtest.child import ChildDied
from loadtest.frames import PONG, text_frame
from loadtest.peers.ours import ours
from loadtest.peers.peer import post
from loadtest.returners import Push, Resumed, parse_events, parse_messages
from loadtest.scenarios.resume import _ask, _crowd
from trio_push.wire.websocket import PING

EVENTS = (
    b': keepalive\n\nevent: sync_result\ndata: {"recovered":false}\n\n'
    b'id: ab:7\nevent: x\ndata: {"n":0}\n\nid: ab:9\ndata: {"n":1}\n\n'
)
MESSAGES = (
    PING
    + text_frame(b'{"type":"sync_result","recovered":false,"epoch":"ab","from":1,"to":2}')
    + text_frame(b'{"type":"notification","id":"i","seq":7,"topic":"","data":{"n":0}}')
    + PONG[:1]
    + b"\x00"
    + text_frame(b'{"type":"notification","id":"i","seq":9,"topic":"","data":{"n":1}}')
)


@pytest.mark.parametrize(
    ("parse", "stream", "cursors"),
    [(parse_events, EVENTS, (b"ab:7", b"ab:9")), (parse_messages, MESSAGES, (b"7", b"9"))],
)
def test_a_stream_cut_anywhere(parse, stream, cursors):
    expected = [Resumed(False), Push(0, cursors[0]), Push(1, cursors[1])]
    for at in range(len(stream) + 1):
        heard, rest = parse(stream[:at])
        more, rest = parse(rest + stream[at:])
        assert heard + more == expected
        assert rest == b""


@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_what_comes_twice_or_never_is_noticed(transport):
    """A server that forgets, and a provider that repeats itself."""
    peer = ours(transport, "--history-per-token", "1")
    with trio.fail_after(30):
        async with peer.serve() as server, _crowd(peer, server, 2) as crowd:

            async def push(n):
                order = {"broadcast": True, "payload": {"n": n}}
                await post(server.api, "/v1/push", json.dumps(order).encode(), "application/json")

            await _ask(crowd, "return -1", "returned")
            await push(0)
            await _ask(crowd, "expect 2", "expected")
            await _ask(crowd, "keep", "kept")
            for n in (1, 2, 2):
                await push(n)
            await _ask(crowd, "expect 6", "expected")
            audit = await _ask(crowd, "audit", "audited")
            assert (audit["had"], audit["not_recovered"]) == (6, 0)
            await _ask(crowd, "cut", "cut")
            await _ask(crowd, "return 0", "returned")
            await push(3)
            await _ask(crowd, "expect 6", "expected")
            audit = await _ask(crowd, "audit", "audited")
    assert audit["twice"] == 2
    assert audit["not_recovered"] == 2


async def test_a_refused_device_ends_the_run():
    peer = ours("sse", "--max-connections", "1")
    with pytest.RaisesGroup(
        pytest.RaisesExc(ChildDied, match="was refused"), flatten_subgroups=True
    ):
        async with peer.serve() as server, _crowd(peer, server, 2) as crowd:
            await _ask(crowd, "return -1", "returned")
