"""The library device: httpx and httpx-sse, which nobody here wrote; it keeps the lean one honest.

It costs some 40 KiB and ten times the CPU of a lean one, and it speaks TLS.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator

import httpx
import trio
from httpx_sse import EventSource, ServerSentEvent, SSEError

from trio_push.swarm.device import ConnectFailed
from trio_push.swarm.population import EVENTS_PATH, SLOW_RECEIVE_BYTES, SLOW_S, Population

#: time that closing a connection may take when everything else is cancelled
_CLOSE_S = 1


class LibraryDevice:
    """A device on an httpx client. `tls` is needed where the URL says https."""

    def __init__(
        self, index: int, population: Population, tls: ssl.SSLContext | None = None
    ) -> None:
        self.received = 0
        self.retry_s = 0.0
        self.index = index
        self._population = population
        self._tls = tls
        self._last_event_id = ""
        #: the present connection. One client for all devices would search through all of their
        #: connections for each new one.
        self._client: httpx.AsyncClient | None = None
        self._response: httpx.Response | None = None
        self._events: AsyncGenerator[ServerSentEvent, None] | None = None
        self._event: ServerSentEvent | None = None
        self._ended = False
        #: cancelled to leave; a scope can be entered once, so there is one for each wait
        self._present = trio.CancelScope()

    async def connect(self) -> None:
        destination = self._population.destination
        transport = httpx.AsyncHTTPTransport(
            verify=self._tls or destination.target.tls,
            local_address=destination.source(self.index),
            socket_options=self._socket_options(),
        )
        # the caller bounds the time to connect, and a stream may be silent for ever
        self._client = httpx.AsyncClient(transport=transport, timeout=None)
        try:
            self._response = await self._client.send(self._request(), stream=True)
            _check(self._response)
        except httpx.HTTPError as exc:
            await self.close()
            raise ConnectFailed(_describe(exc)) from exc
        except BaseException:
            await self.close()
            raise
        self._events = EventSource(self._response).aiter_sse()
        self._last_event_id = self._last_event_id or self._population.start_id
        self.received = 0
        self._ended = False

    def read(self) -> bool:
        event, self._event = self._event, None
        if event is not None:
            # the library begins anew with each connection, and the first events may have none
            self._last_event_id = event.id or self._last_event_id
            if event.retry is not None:
                self.retry_s = event.retry / 1e3
            if event.data:  # httpx-sse also yields blocks without data
                self.received += self._population.heard(self.index, event.event, event.data)
        return not self._ended

    async def wait(self) -> None:
        assert self._events is not None  # `connect` came before
        try:
            with trio.CancelScope() as self._present:
                if self._population.reads_slowly(self.index):
                    await trio.sleep(SLOW_S)
                self._event = await anext(self._events)
        except (StopAsyncIteration, httpx.HTTPError, SSEError):
            self._ended = True  # closed, reset, or no event stream any more
        self._ended |= self._present.cancel_called

    def leave(self, *, suddenly: bool = False) -> bool:
        """Of what is on the way nothing more is read."""
        self._present.cancel()
        return self._events is not None

    async def close(self) -> None:
        with trio.move_on_after(_CLOSE_S, shield=True):
            for part in (self._events, self._response, self._client):
                if part is not None:
                    await part.aclose()
        self._events = self._response = self._client = None

    def _socket_options(self) -> list[tuple[int, int, int]]:
        if not self._population.reads_slowly(self.index):
            return []
        return [(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_RECEIVE_BYTES)]

    def _request(self) -> httpx.Request:
        destination = self._population.destination
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last_event_id:
            headers["Last-Event-ID"] = self._last_event_id
        if (authorization := destination.authorization(self.index)) is not None:
            headers["Authorization"] = authorization
        url = destination.target.url + destination.request_path(self.index, EVENTS_PATH)
        return httpx.Request("GET", url, headers=headers)


def _check(response: httpx.Response) -> None:
    """Raise ConnectFailed unless the response is an event stream."""
    if response.has_redirect_location:
        raise ConnectFailed(f"redirected to {response.headers['location']}")
    if response.status_code != 200:
        raise ConnectFailed(f"status {response.status_code}")
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "text/event-stream":
        raise ConnectFailed(f"not an event stream but {media_type or 'nameless'}")


def _describe(exc: httpx.HTTPError) -> str:
    """Why it failed, in the same words each time."""
    return str(exc).lower() or type(exc).__name__
