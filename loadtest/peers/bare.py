"""The bare loops as peers: the limit that the server is held against."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from loadtest.child import Address, running
from loadtest.frames import text_frame
from loadtest.peers.peer import Peer, Server, over_websocket, post

#: as long as the id that the server puts before an event, so that both write as many bytes
_ID = "id: 0123456789abcdef:1"


@asynccontextmanager
async def _serve(module: str) -> AsyncIterator[Server]:
    async with running([sys.executable, "-m", f"loadtest.bare.{module}"]) as child:
        wire = await child.listening("wire")
        broadcast = _broadcast_message if module == "ws" else _broadcast
        yield Server(child, wire, wire, partial(broadcast, wire))


async def _broadcast(wire: Address, text: str) -> None:
    await post(wire, "/broadcast", f"{_ID}\ndata: {text}\n\n".encode(), "text/plain")


async def _broadcast_message(wire: Address, text: str) -> None:
    message = (
        b'{"type":"notification","id":"%36d","epoch":"00000000","seq":1,"topic":"","data":"%b"}'
    )
    await post(wire, "/broadcast", text_frame(message % (1, text.encode())), "text/plain")


#: the device plane: sockets in a dict, one parked task each
BARE_SSE = Peer("bare trio", partial(_serve, "sse"))
BARE_WS = over_websocket(Peer("bare trio", partial(_serve, "ws")))
#: intake over HTTP/1.1 and over HTTP/2: the parsing library and an answer
BARE_HTTP1 = Peer("bare httptools", partial(_serve, "http1"))
BARE_H2 = Peer("bare h2", partial(_serve, "h2"))
