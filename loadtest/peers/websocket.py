"""trio-websocket holding devices: a library that does everything, for each of them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loadtest.child import running
from loadtest.peers.peer import Peer, Server, over_websocket


@asynccontextmanager
async def _serve() -> AsyncIterator[Server]:
    async with running([sys.executable, "-m", "loadtest.peers.websocket_app"]) as child:
        yield Server(child, await child.listening("wire"), None, child.tell)


#: 19 KiB for each device: a third of the usual crowd tells it as well
TRIO_WEBSOCKET = over_websocket(Peer("trio-websocket", _serve, most_devices=5000))
