"""The bare intake loops answer real clients."""

from __future__ import annotations

import httpx
import pytest
import trio

from loadtest.h2load import h2, http1
from loadtest.peers.bare import BARE_H2, BARE_HTTP1
from loadtest.peers.peer import url
from tests.serving import PATIENCE_S


@pytest.mark.parametrize("version", [1, 2])
async def test_every_request_is_answered(version):
    peer = BARE_H2 if version == 2 else BARE_HTTP1
    async with (
        peer.serve() as server,
        httpx.AsyncClient(http1=version == 1, http2=version == 2, trust_env=False) as client,
    ):
        target = url(server.wire, "/3/device/00ff")
        with trio.fail_after(PATIENCE_S):
            answers = [await client.post(target, content=b"x" * 4096) for _ in range(100)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"")}
    assert {answer.http_version for answer in answers} == {"HTTP/2" if version == 2 else "HTTP/1.1"}


@pytest.mark.needs("h2load")
@pytest.mark.parametrize(("peer", "load"), [(BARE_H2, h2), (BARE_HTTP1, http1)])
async def test_the_load_generator_is_content(peer, load):
    with trio.fail_after(PATIENCE_S):
        async with peer.serve() as server:
            done = await load(server.wire, 1)
            again = await load(server.wire, 1)
    assert done.pushes > 100
    assert again.seconds == pytest.approx(1, abs=0.5)
