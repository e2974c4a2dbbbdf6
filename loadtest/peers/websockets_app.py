"""The server of `loadtest.peers.websocket` on asyncio: websockets, as its documents show it.

Run as `python -m loadtest.peers.websockets_app`. It has no other requests: each line of standard
input is sent to all devices.
"""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

_BACKLOG = 4096


async def _hold(device: ServerConnection) -> None:
    """Be the handler of a device."""
    async for _ in device:
        pass


async def _lines() -> asyncio.StreamReader:
    """Standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def main() -> None:
    lines = await _lines()
    async with serve(_hold, "127.0.0.1", 0, backlog=_BACKLOG, compression=None) as server:
        host, port = server.sockets[0].getsockname()
        listening = {"event": "listening", "listener": "wire", "url": f"http://{host}:{port}"}
        print(json.dumps(listening), flush=True)
        async for line in lines:
            broadcast(server.connections, line.decode().rstrip("\n"))


if __name__ == "__main__":
    asyncio.run(main())
