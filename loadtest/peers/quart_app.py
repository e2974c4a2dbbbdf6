"""The server of `loadtest.peers.quart`: Quart-Trio on Hypercorn, as their documents show it.

Run as `python -m loadtest.peers.quart_app`. Same endpoints as the other peers.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import h11
import hypercorn.protocol
import trio
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

#: events that may wait for one device; what comes on top is lost
_MAILBOX: Final = 8


def make_app() -> QuartTrio:
    app = QuartTrio(__name__)
    devices: dict[str, trio.MemorySendChannel[bytes]] = {}

    @app.get("/events")
    async def events() -> Response:
        token = request.args["token"]
        devices[token], mailbox = trio.open_memory_channel[bytes](_MAILBOX)

        async def stream() -> AsyncIterator[bytes]:
            try:
                async for event in mailbox:
                    yield event
            finally:
                devices.pop(token, None)

        response = Response(stream(), content_type="text/event-stream")
        response.timeout = None
        return response

    @app.post("/3/device/<token>")
    async def push(token: str) -> Response:
        body = await request.data
        if mailbox := devices.get(token):
            _offer(mailbox, b"event: ping\ndata: %b\n\n" % body)
        return Response(b"")

    @app.post("/broadcast")
    async def broadcast() -> Response:
        event = b"data: %b\n\n" % await request.data
        for mailbox in list(devices.values()):
            _offer(mailbox, event)
        return Response(b"")

    return app


def _offer(mailbox: trio.MemorySendChannel[bytes], event: bytes) -> None:
    with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
        mailbox.send_nowait(event)


class _NamedStatus(H11Protocol):
    """Names the status of an answer, for h2load.

    Hypercorn leaves the reason phrase out, as it may (RFC 9112, section 4). The parser of h2load
    then reports no status at all, and h2load counts every answer as failed.
    """

    async def _send_h11_event(self, event: Any) -> None:
        if isinstance(event, h11.Response):
            event = replace(event, reason=HTTPStatus(event.status_code).phrase.encode())
        await super()._send_h11_event(event)


async def main() -> None:
    logging.disable()
    hypercorn.protocol.H11Protocol = _NamedStatus  # type: ignore[attr-defined]
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.backlog = 4096
    config.keep_alive_max_requests = 10**9
    config.h2_max_concurrent_streams = 1000
    config.errorlog = None
    until_stdin_ends: Callable[[], Awaitable[None]] = partial(
        trio.lowlevel.wait_readable, sys.stdin.fileno()
    )
    async with trio.open_nursery() as nursery:
        [url] = await nursery.start(
            partial(serve, make_app(), config, shutdown_trigger=until_stdin_ends)
        )
        print(json.dumps({"event": "listening", "listener": "wire", "url": url}), flush=True)


if __name__ == "__main__":
    trio.run(main)
