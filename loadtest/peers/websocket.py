"""Libraries for WebSocket holding devices: they do everything, and do it for each device."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from loadtest.child import running
from loadtest.peers.peer import Peer, Server, over_websocket


def _missing(package: str) -> str | None:
    return None if importlib.util.find_spec(package) else f"pip install {package}"


@asynccontextmanager
async def _serve(module: str) -> AsyncIterator[Server]:
    async with running([sys.executable, "-m", f"loadtest.peers.{module}"]) as child:
        yield Server(child, await child.listening("wire"), None, child.tell)


#: 19 KiB for each device: a third of the usual crowd tells it as well
TRIO_WEBSOCKET = over_websocket(
    Peer("trio-websocket", partial(_serve, "websocket_app"), most_devices=5000)
)
#: on asyncio; without compression, as nobody here compresses
WEBSOCKETS = over_websocket(
    Peer(
        "websockets",
        partial(_serve, "websockets_app"),
        partial(_missing, "websockets"),
        most_devices=5000,
    )
)
