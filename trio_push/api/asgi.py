"""Quart-Trio's handling of a request, with what the API needs changed.

The application uses these classes. A request's body is taken in as fast as its handler reads
it and no faster; a connection that has answered goes on to its next request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
import trio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from quart_trio.wrappers.request import TrioBody

if TYPE_CHECKING:
    from collections.abc import Generator

    from hypercorn.typing import (
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        HTTPResponseStartEvent,
        HTTPScope,
    )
    from quart import Quart
    from quart.wrappers import Request

log = structlog.get_logger()

#: bytes of a body held for a handler that iterates over it: two reads of the socket
HIGH_WATER = 2 * 2**16


class ResponseAborted(Exception):
    """A response cannot be completed: its connection or stream ends without its end."""


class PacedBody(TrioBody):
    """A request's body that makes its sender wait for its reader.

    Iterated over, it may be of any length, since no more than HIGH_WATER is held. Awaited, it is
    held whole, and MAX_CONTENT_LENGTH is its limit.
    """

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        # The length that is announced is left out: a body that is iterated over may exceed it.
        super().__init__(None, max_content_length)
        self._awaited_whole = False
        self._taken = trio.Event()

    async def wait_room(self) -> None:
        """Wait until the reader has taken enough for more to be added."""
        while len(self._data) > HIGH_WATER and not self._awaited_whole:
            await self._taken.wait()

    async def __anext__(self) -> bytes:
        data = await super().__anext__()
        self._wake_sender()
        return data

    def __await__(self) -> Generator[Any, None, Any]:
        self._awaited_whole = True
        self._wake_sender()
        return super().__await__()

    def _wake_sender(self) -> None:
        self._taken.set()
        self._taken = trio.Event()


class ApiRequest(TrioRequest):
    body_class = PacedBody


class HttpConnection(TrioASGIHTTPConnection):
    """One request and its response.

    Hypercorn reports `http.disconnect` while the last piece of the response is being sent, and
    quart-trio cancels the request then, hence that send: Hypercorn never learns that the
    connection is idle, keeps it for ever and waits for it at shutdown. So a request is cancelled
    only while its response is not complete.
    """

    def __init__(self, app: Quart, scope: HTTPScope) -> None:
        super().__init__(app, scope)
        # "GET ?query" has no path, and Quart looks at the first character of it.
        scope["path"] = scope["path"] or "/"
        self._answered = False
        #: all of the request has arrived; a body that is too long is called complete before
        self._heard = False

    async def handle_messages(  # type: ignore[override]  # as quart-trio overrides Quart
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        assert isinstance(request.body, PacedBody)
        while True:
            await request.body.wait_room()
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            assert message["type"] == "http.request"
            request.body.append(message["body"])
            if not message["more_body"]:
                self._heard = True
                request.body.set_complete()
        if not self._answered:
            nursery.cancel_scope.cancel()

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        async def watched_send(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.start" and self._answers_early(request, message):
                # Hypercorn closes then, and its client should know.
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            if message["type"] == "http.response.body" and not message["more_body"]:
                self._answered = True
            await send(message)

        try:
            await super().handle_request(nursery, request, watched_send)
        except ResponseAborted as exc:
            log.warning("response_broken_off", path=self.scope["path"], error=str(exc))
            nursery.cancel_scope.cancel()

    def _answers_early(self, request: Request, start: HTTPResponseStartEvent) -> bool:
        """Whether an HTTP/1 response is known in full although the request is not."""
        has_body = "Transfer-Encoding" in request.headers or request.content_length
        return (
            request.http_version.startswith("1.")
            and bool(has_body)
            and not self._heard
            and any(name == b"content-length" for name, _ in start["headers"])
        )
