"""Those who are left alone see what happens to them, and only that."""

from __future__ import annotations

import time

import pytest
import trio

from loadtest.calm import Calm
from loadtest.child import Failed
from loadtest.peers.bare import BARE_SSE
from loadtest.peers.ours import ours
from tests.serving import PATIENCE_S
from trio_push.wire.websocket import PING


@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_every_push_comes_and_is_timed(transport):
    peer = ours(transport)
    began = time.monotonic()
    with trio.fail_after(PATIENCE_S):
        async with peer.serve() as server, trio.open_nursery() as nursery:
            calm = Calm(peer, server.wire, 5, 200)
            await nursery.start(calm.run)
            while len(calm.came) < 40:
                await trio.sleep(0.01)
            assert not calm.complete
            calm.stop()
            while not calm.complete:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    took_s = calm.took_s(began, time.monotonic())
    assert len(took_s) == calm.sent == calm.accepted >= 40
    assert all(0 < each < 20 for each in took_s)
    assert calm.took_s(began - 1, began) == []


@pytest.mark.parametrize("cut", range(1, 40))
def test_pushes_are_found_in_a_stream_cut_anywhere(cut):
    calm = Calm(BARE_SSE, ("127.0.0.1", 1), 1, 1)
    stream = b'data: {"due":12.5}\n\n: keepalive\n\ndata: {"due":13.25}\n\n' + PING
    calm._take(calm._take(stream[:cut]) + stream[cut:])
    assert list(calm.came) == [12.5, 13.25]
    assert calm.twice == 0
    calm._take(stream)
    assert calm.twice == 2


async def test_a_server_that_drops_them_ends_the_run():
    peer = ours("sse")
    with (
        trio.fail_after(PATIENCE_S),
        pytest.RaisesGroup(
            pytest.RaisesExc(Failed, match="dropped a device"), flatten_subgroups=True
        ),
    ):
        async with peer.serve() as server, trio.open_nursery() as nursery:
            calm = Calm(peer, server.wire, 1, 10)
            await nursery.start(calm.run)
            # a newer connection of the same token
            await Calm(peer, server.wire, 1, 10).run(task_status=trio.TASK_STATUS_IGNORED)
