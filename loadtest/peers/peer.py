"""What a scenario may ask of a server, whoever made it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Final

import httpx

from loadtest.child import Address, Child

#: a broadcast to 15,000 devices takes less than a second anywhere
_POST_S: Final = 60

#: sends one event with this text to every device that is connected
Broadcast = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Server:
    """A server that is up."""

    child: Child
    #: where devices connect and pushes come in over HTTP/1.1
    wire: Address
    #: where pushes come in over HTTP/2 without TLS; None: it does not speak that
    h2: Address | None
    broadcast: Broadcast
    #: where our own API is; None: not our server
    api: Address | None = None


def _nothing() -> str | None:
    return None


@dataclass(frozen=True)
class Peer:
    """A server that can be started."""

    #: how tables call it
    name: str
    #: runs it while the block runs
    serve: Callable[[], AbstractAsyncContextManager[Server]]
    #: what would have to be installed first, as a command; None: nothing
    missing: Callable[[], str | None] = _nothing
    #: more devices than this would tell nothing more and take too long
    most_devices: int | None = None
    #: where a device listens to its own pushes
    events_path: str = "/events?token={token}"
    #: where a device listens to what all get
    broadcast_path: str = "/events?token={token}"
    #: how devices connect: sse or ws
    transport: str = "sse"

    def crowd(self, devices: int) -> int:
        """How many of `devices` it is worth to connect."""
        return devices if self.most_devices is None else min(devices, self.most_devices)


def url(address: Address, path: str) -> str:
    """The http URL of `path` at `address`."""
    return f"http://{address[0]}:{address[1]}{path}"


def http_client(timeout_s: float = _POST_S) -> httpx.AsyncClient:
    """For plain http, on which nothing is verified: loading the CAs for it takes 30 ms."""
    return httpx.AsyncClient(timeout=timeout_s, verify=False, trust_env=False)


async def post(address: Address, path: str, content: bytes, content_type: str) -> None:
    """POST `content`. Raises httpx.HTTPError when that fails or is refused."""
    headers = {"content-type": content_type}
    async with http_client() as client:
        answer = await client.post(url(address, path), content=content, headers=headers)
    answer.raise_for_status()


def over_websocket(peer: Peer) -> Peer:
    """The same server, whose devices connect by WebSocket."""
    path = "/ws?token={token}"
    return replace(peer, events_path=path, broadcast_path=path, transport="ws")
