"""HTTP/1.1 on the wire listener: keep-alive, pipelining, and who each request is for.

Serves providers and the health paths until the connection ends or turns out to be a device's;
that request, for an event stream or a WebSocket, is handed back to the front door.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence
from contextlib import closing

import orjson
import trio

from trio_push.errors import ProtocolError
from trio_push.faults.actions import Status
from trio_push.intake.apns import Answer, ApnsIntake, Profile
from trio_push.intake.faults import Fates, outlast
from trio_push.patience import Patience
from trio_push.sockets import close_gently, peer_certificate, receive_some, reset, send_all
from trio_push.wire import http1
from trio_push.wire.apns_response import http1_response
from trio_push.wire.http1 import Request, RequestParser
from trio_push.wire.page import Pages, find_page
from trio_push.wire.query import split_target

#: where devices come in: over server-sent events, and over WebSocket
EVENTS = b"/events"
WEBSOCKET = b"/ws"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: pages of any origin may listen: what browsers ask for before a fetch (CORS)
PREFLIGHT_HEADERS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    # "*" does not stand for Authorization (Fetch standard)
    (b"access-control-allow-headers", b"*, authorization"),
    (b"access-control-max-age", b"86400"),
]
_PREFLIGHT = (
    b"HTTP/1.1 204 No Content\r\n"
    + b"".join(b"%b: %b\r\n" % (name.title(), value) for name, value in PREFLIGHT_HEADERS)
    + b"\r\n"
)


class Http1Intake:
    """Serves HTTP/1.1 connections; holds nothing per connection."""

    def __init__(
        self,
        profile: Profile,
        pages: Sequence[Pages],
        fates: Fates,
        *,
        websockets: Collection[bytes],
        head_timeout_s: float,
        idle_timeout_s: float,
    ) -> None:
        self._profile = profile
        self._pages = pages
        self._fates = fates
        self._websockets = websockets
        self._device_paths = {EVENTS, *websockets}
        self._head_timeout_s = head_timeout_s
        self._idle_timeout_s = idle_timeout_s

    async def serve(self, sock: socket.socket, data: bytes, patience: Patience) -> Request | None:
        """Answer requests until the connection ends (None) or one is a device's.

        `data` is what has been read already. Raises OSError, and trio.ClosedResourceError when
        `patience` has run out.
        """
        intake = self._profile.connect(peer_certificate(sock), is_http2=False)
        with closing(RequestParser(self._websockets)) as parser:
            while data:
                was_idle = parser.idle
                try:
                    requests = parser.feed(data)
                except ProtocolError as error:
                    await self._give_up(sock, error)
                    return None
                device = self._take_device(requests)
                if requests and self._fates.threaten:
                    await self._meet_fates(sock, intake, requests)
                elif requests:
                    answers = await self._answers(intake, requests)
                    # All who were woken in this turn make their answers first. Sent together they
                    # find the peer awake, and waking it for each would be half of the sending.
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    await send_all(sock, answers)
                if device is not None:
                    return device
                if requests and not requests[-1].keep_alive:
                    await close_gently(sock)
                    return None
                if parser.wants_continue():
                    await send_all(sock, _CONTINUE)
                if parser.idle:
                    patience.allow(self._idle_timeout_s)
                elif was_idle or requests:
                    # Only what begins a request sets its deadline: it may not go on byte by byte.
                    patience.allow(self._head_timeout_s)
                data = await receive_some(sock)
        return None

    def _take_device(self, requests: list[Request]) -> Request | None:
        """Take out the request that is for the device plane, and all behind it."""
        for n, request in enumerate(requests):
            if request.method == b"GET" and split_target(request.target)[0] in self._device_paths:
                del requests[n:]
                return request
        return None

    async def _meet_fates(
        self, sock: socket.socket, intake: ApnsIntake, requests: Sequence[Request]
    ) -> None:
        """Answer one after the other, since what befalls one holds up those behind it."""
        for request in requests:
            fate = self._fates.of(request, is_http2=False)
            if fate is None:
                await send_all(sock, await self._answers(intake, [request]))
                continue
            await outlast(sock, fate.wait_s)
            if isinstance(fate.end, Status):
                await send_all(sock, _render(self._fates.refuse(request, fate.end), request))
                continue
            if fate.end is None or fate.is_processed:
                answer = await self._answers(intake, [request])
            if fate.end is not None:
                reset(sock)
                raise trio.ClosedResourceError
            await send_all(sock, answer)

    async def _answers(self, intake: ApnsIntake, requests: Sequence[Request]) -> bytes:
        """The responses in order; pushes that follow one another are submitted together."""
        responses: list[bytes] = []
        pushes: list[Request] = []
        for request in requests:
            own = self._own_response(request)
            if own is None:
                pushes.append(request)
                continue
            responses += map(_render, await intake.answer(pushes), pushes)
            responses.append(own)
            pushes = []
        responses += map(_render, await intake.answer(pushes), pushes)
        return b"".join(responses)

    def _own_response(self, request: Request) -> bytes | None:
        """The response to what is no push; None for all that is judged as one."""
        if request.target.startswith(b"/3/"):
            return None
        if request.method == b"OPTIONS":
            return _PREFLIGHT
        page = find_page(self._pages, request)
        if page is None:
            return None
        return http1.response(
            page.status,
            page.body,
            page.content_type,
            close=not request.keep_alive,
            head_only=request.method == b"HEAD",
        )

    async def _give_up(self, sock: socket.socket, error: ProtocolError) -> None:
        body = orjson.dumps({"reason": "BadRequest", "detail": str(error)}) + b"\n"
        await send_all(sock, http1.response(error.status, body, b"application/json", close=True))
        await close_gently(sock)


def _render(answer: Answer, request: Request) -> bytes:
    if answer.status == 200 and answer.unique_id is None and request.keep_alive:
        return http1_response(200, answer.apns_id)  # nearly all of them
    return http1_response(
        answer.status,
        answer.apns_id,
        answer.body,
        close=not request.keep_alive,
        head_only=request.method == b"HEAD",
        retry_after_s=answer.retry_after_s,
        unique_id=answer.unique_id,
    )
