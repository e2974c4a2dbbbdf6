"""The bare loop of acknowledgements, on the wire."""

from __future__ import annotations

import sys

import trio

from loadtest.child import running
from loadtest.crowd import connected
from loadtest.peers.peer import post
from tests.serving import PATIENCE_S


async def test_acknowledged_is_said_when_all_have_acknowledged():
    with trio.fail_after(PATIENCE_S):
        async with running([sys.executable, "-m", "loadtest.bare.acks"]) as child:
            wire = await child.listening("wire")
            async with connected(wire, "/ws?token={token}", 5, "ws-acks") as crowd:
                for number in (1, 2):
                    await crowd.expect(number * 5)
                    await post(wire, "/broadcast", b"id-%d" % number, "text/plain")
                    await child.event("acknowledged", id=f"id-{number}")
                    await crowd.received()
