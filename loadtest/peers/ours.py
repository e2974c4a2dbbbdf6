"""trio-push itself, started as a user would start it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import orjson

from loadtest.child import Address, running
from loadtest.peers.peer import Peer, Server, over_websocket, post

_COMMAND = (
    *(sys.executable, "-m", "trio_push", "serve"),
    *("--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"),
)


@asynccontextmanager
async def serve(*flags: str) -> AsyncIterator[Server]:
    """The server with `flags` beside those that every run needs."""
    async with running([*_COMMAND, *flags]) as child:
        wire = await child.listening("wire")
        api = await child.listening("api")
        yield Server(child, wire, wire, partial(_broadcast, api), api)


async def _broadcast(api: Address, text: str) -> None:
    request = orjson.dumps({"broadcast": True, "payload": text})
    await post(api, "/v1/push", request, "application/json")


def ours(transport: str, *flags: str) -> Peer:
    """Our server with these settings."""
    peer = Peer("trio-push", partial(serve, *flags))
    return over_websocket(peer) if transport == "ws" else peer


def _no_redis() -> str | None:
    return None if shutil.which("redis-server") else "apt install redis-server"


OURS = ours("sse")
OURS_WS = ours("ws")
#: two processes, which find each other's devices through a Redis of their own
OURS_TWICE = Peer("2 workers", partial(serve, "--workers=2"), _no_redis)
