"""Devices that come back notice what comes twice or never."""

from __future__ import annotations

import json

import pytest
import trio

from loadtest.child import ChildDied
from loadtest.peers.ours import ours
from loadtest.peers.peer import post
from loadtest.scenarios.resume import _ask, _crowd
from tests.serving import PATIENCE_S


@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_what_comes_twice_or_never_is_noticed(transport):
    """A server that forgets, and a provider that repeats itself."""
    peer = ours(transport, "--history-per-token", "1")
    with trio.fail_after(PATIENCE_S):
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
