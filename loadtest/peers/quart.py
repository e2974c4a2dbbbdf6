"""Hypercorn with Quart-Trio holding event streams: comfort where leanness would be needed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from loadtest.child import Address, running
from loadtest.peers.peer import Peer, Server, post


def _missing() -> str | None:
    if importlib.util.find_spec("quart_trio") and importlib.util.find_spec("hypercorn"):
        return None
    return "pip install hypercorn[trio] quart-trio"


@asynccontextmanager
async def _serve() -> AsyncIterator[Server]:
    async with running([sys.executable, "-m", "loadtest.peers.quart_app"]) as child:
        wire = await child.listening("wire")
        yield Server(child, wire, wire, partial(_broadcast, wire))


async def _broadcast(wire: Address, text: str) -> None:
    await post(wire, "/broadcast", text.encode(), "text/plain")


#: 33 KiB and 1.2 ms for each device: a sixth of the usual crowd tells it as well
QUART = Peer("Hypercorn + Quart-Trio", _serve, _missing, most_devices=2500)
