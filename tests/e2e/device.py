"""Devices that speak to a server process: a raw socket that reads events, and trio-websocket.

async with device("ws", url, token) as it:
    push = await it.push()
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tests.serving import PATIENCE_S, Peer
from trio_push.wire.sse_parser import EventStreamParser


class Push(NamedTuple):
    """What a device gets."""

    data: Any
    #: names it to the server as the last one
    cursor: str


class Ended(Exception):
    """The server has ended the connection; `comes_back` when it said when to come back."""

    def __init__(self, *, comes_back: bool) -> None:
        super().__init__(comes_back)
        self.comes_back = comes_back


class Device(Protocol):
    """A device that is connected."""

    #: whether all that was missed is there; None until the server has said so
    recovered: bool | None

    async def push(self) -> Push:
        """The next one. Raises Ended."""

    async def acknowledge(self, push_id: str) -> None:
        """Say that it has that push."""


@asynccontextmanager
async def device(
    transport: str, url: str, token: str, *, after: str | None = None
) -> AsyncIterator[Device]:
    """A device that asks for what it missed `after` a push, if one is named."""
    with trio.fail_after(PATIENCE_S):
        if transport == "sse":
            async with Peer.connected(url) as peer:
                await peer.listen(token, **({} if after is None else {"last_event_id": after}))
                yield _EventStream(peer, url, token)
        else:
            place = urlsplit(url)
            async with (
                await trio.open_tcp_stream(str(place.hostname), int(place.port or 0)) as stream,
                trio.open_nursery() as nursery,
            ):
                path = f"/ws?token={token}"
                socket = await wrap_client_stream(nursery, stream, str(place.hostname), path)
                if after is not None:
                    await socket.send_message(json.dumps({"type": "sync", "last_seen": after}))
                yield _WebSocket(socket)
                nursery.cancel_scope.cancel()


class _EventStream:
    def __init__(self, peer: Peer, url: str, token: str) -> None:
        self.recovered: bool | None = None
        self._peer = peer
        self._url = url
        self._token = token
        self._parser = EventStreamParser()
        self._pushes: list[Push] = []

    async def push(self) -> Push:
        while not self._pushes:
            data = await self._peer.receive()
            if not data:
                raise Ended(comes_back=self._parser.retry_ms is not None)
            for event in self._parser.feed(data):
                value = json.loads(event.data)
                if event.event == "sync_result":
                    self.recovered = value["recovered"]
                else:
                    self._pushes.append(Push(value, event.id))
        return self._pushes.pop(0)

    async def acknowledge(self, push_id: str) -> None:
        body = json.dumps({"token": self._token, "notification_id": push_id}).encode()
        async with Peer.connected(self._url) as peer:
            assert (await peer.request("POST", "/events/ack", body)).status == 200


class _WebSocket:
    def __init__(self, socket: WebSocketConnection) -> None:
        self.recovered: bool | None = None
        self._socket = socket

    async def push(self) -> Push:
        while True:
            try:
                message = json.loads(await self._socket.get_message())
            except ConnectionClosed as closed:
                said = "" if closed.reason is None else closed.reason.reason or ""
                raise Ended(comes_back="retry: " in said) from None
            if message["type"] == "sync_result":
                self.recovered = message["recovered"]
            else:
                assert message["type"] == "notification"
                return Push(message["data"], message["id"])

    async def acknowledge(self, push_id: str) -> None:
        await self._socket.send_message(json.dumps({"type": "ack", "notification_id": push_id}))
