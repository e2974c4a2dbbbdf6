"""The front door of the wire listeners: whoever connects is heard, sorted and guarded.

Providers (HTTP/1.1 or HTTP/2, told apart by the preface) are left to intake; a device becomes
a connection and its task then only listens for its end. Whatever goes wrong on one connection
ends that connection and nothing else.
"""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import structlog
import trio

from trio_push.auth.devices import Credentials
from trio_push.auth.jwt import Claims
from trio_push.devices.admission import Admission
from trio_push.devices.connection import Connection
from trio_push.devices.expiry import Expiry
from trio_push.devices.heartbeat import Heartbeat
from trio_push.devices.sse import SseTransport
from trio_push.devices.stream import StreamConnection
from trio_push.devices.websocket import WebSocketConnection, WebSocketTransport, shown_jwt
from trio_push.errors import ProtocolError, Refusal
from trio_push.intake.http1 import EVENTS, Http1Intake
from trio_push.intake.http2 import Http2Connection, Http2Intake
from trio_push.mailbox.history import Missed
from trio_push.node import Node
from trio_push.patience import Patience, watch
from trio_push.sockets import (
    close,
    close_gently,
    handshake,
    has_left,
    receive_first,
    receive_some,
    reset,
    send_all,
    stop_reading,
)
from trio_push.wire import http1, sse, websocket_handshake
from trio_push.wire.apns_response import challenge, response_body
from trio_push.wire.close_codes import (
    AUTH_FAILED,
    INTERNAL_ERROR,
    POLICY_VIOLATION,
    TRY_AGAIN_LATER,
    UNREGISTERED,
    CloseCode,
)
from trio_push.wire.cursor import Cursor, parse_cursor
from trio_push.wire.http1 import Request
from trio_push.wire.http2_events import Request as StreamRequest
from trio_push.wire.messages import AuthResult, encode
from trio_push.wire.query import split_target, value
from trio_push.wire.reasons import SHUTDOWN
from trio_push.wire.websocket import Event, Reader, close_frame, text_frame

log = structlog.get_logger()

#: RFC 9113 §3.4: how a client that speaks HTTP/2 begins
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


#: status of the refusal of a device that has a WebSocket already → why it is closed
_WHY_REFUSED = {401: AUTH_FAILED, 403: AUTH_FAILED, 410: UNREGISTERED, 503: TRY_AGAIN_LATER}


class FrontDoor:
    """Serves every accepted connection of a node, each in a task of its own."""

    def __init__(
        self,
        node: Node,
        http1_intake: Http1Intake,
        http2_intake: Http2Intake,
        admission: Admission,
        heartbeat: Heartbeat,
        expiry: Expiry,
        websockets: Mapping[bytes, WebSocketTransport],
    ) -> None:
        self._node = node
        self._http1 = http1_intake
        self._http2 = http2_intake
        self._admission = admission
        self._heartbeat = heartbeat
        self._expiry = expiry
        self._sse = SseTransport(node.router.epoch)
        #: path → how WebSocket is spoken there
        self._websockets = websockets
        self._head_timeout_s = node.settings.head_timeout_s
        #: connections that have not become devices: providers, and who has not said yet
        self.visitors: set[Patience] = set()
        #: devices that have been told why they are let go, and may still answer
        self.leaving = 0
        #: connections that ended by an exception, by its name
        self.failed: Counter[str] = Counter()

    async def serve(self, sock: socket.socket) -> None:
        """Serve one plain connection to its end. Raises nothing but Cancelled."""
        # Not in a coroutine around this one, of which each device would have one more.
        if not isinstance(sock, ssl.SSLSocket) and self._refuses(sock):
            return
        connection: Connection | None = None
        why: CloseCode | None = None
        try:
            try:
                connection = await self._receive_visitor(sock)
                while connection is not None and not connection.closed:
                    await trio.lowlevel.wait_readable(sock)
                    if not connection.take_in():
                        break
            except (OSError, trio.ClosedResourceError):
                pass  # the peer went, or a newer connection took its place
            except Exception as error:
                self.failed[type(error).__name__] += 1
                log.error("connection_failed", error=repr(error), exc_info=error)
                why = INTERNAL_ERROR
            finally:
                if connection is not None:
                    self._node.router.delivery.disconnect(connection, why)
            if connection is not None:
                await self._take_leave(sock)
        finally:
            close(sock)

    def _refuses(self, sock: socket.socket) -> bool:
        """Whether a fault on demand was that the connection is refused."""
        bench = self._node.faults.connections
        if bench is None or not bench.judge(trio.current_time()):
            return False
        reset(sock)
        return True

    async def _take_leave(self, sock: socket.socket) -> None:
        """Let a device that was told why it must go read that; others are closed already."""
        if sock.fileno() < 0:
            return
        self.leaving += 1
        try:
            await close_gently(sock)
        finally:
            self.leaving -= 1

    async def serve_tls(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Serve one connection over TLS to its end."""
        if self._refuses(sock):
            return
        try:
            # First, as wrap_socket would leave the file of a peer that is gone to the collector.
            sock.getpeername()
            secure = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:
            sock.close()
        else:
            await self.serve(secure)

    async def watch_visitors(self) -> None:
        """End those that take too long; until cancelled."""
        await watch(self.visitors)

    def dismiss_visitors(self) -> None:
        """Let every provider finish what it has begun, and hear no more of it."""
        self._http2.goaway(SHUTDOWN.name)
        for visitor in self.visitors:
            with suppress(OSError):
                stop_reading(visitor.sock)

    # -- a visitor: who it is has to be said within the head timeout

    async def _receive_visitor(self, sock: socket.socket) -> Connection | None:
        """Serve a connection until it ends (None) or has become a device's."""
        patience = Patience(sock, self._head_timeout_s)
        self.visitors.add(patience)
        try:
            if isinstance(sock, ssl.SSLSocket):
                await handshake(sock)
            data = await receive_first(sock)
            while len(data) < len(PREFACE) and PREFACE.startswith(data) and data:
                more = await receive_some(sock)
                data = data + more if more else b""
            if data.startswith(PREFACE):
                await self._http2.serve(sock, data, patience, self._admit_stream)
                if not patience.ran_out:
                    await close_gently(sock)
                return None
            request = await self._http1.serve(sock, data, patience)
            return None if request is None else await self._admit(sock, request)
        finally:
            self.visitors.discard(patience)

    def _read(self, request: Request | StreamRequest) -> Credentials:
        query = split_target(request.target)[1]
        return self._node.device_auth.read(request.headers, query)

    def _check(self, credentials: Credentials) -> Claims:
        """Who asks for events; Refusal when it may not come in."""
        claims = self._identify(credentials)
        self._node.directory.check(claims.token)
        self._admission.check(len(self._node.directory), trio.current_time())
        if claims.user is not None and self._node.engine is None:
            self._node.router.users.enrol(claims.user, claims.token)
        return claims

    async def _enrolled(self, claims: Claims) -> Claims:
        """The same, where several nodes have to know whose device it is. Raises Refusal."""
        if claims.user is not None and self._node.engine is not None:
            await self._node.everywhere.enrol(claims.user, claims.token)
        return claims

    def _identify(self, credentials: Credentials) -> Claims:
        try:
            return self._node.device_auth.authenticate(credentials)
        except Refusal as refusal:
            if refusal.status in (401, 403):
                self._node.ledger.refuse(refusal.reason.name)
            raise

    async def _admit(self, sock: socket.socket, request: Request) -> Connection | None:
        """Make a device of the connection, or refuse it with Apple's JSON and close.

        None also for one that has gone already: what waits for it would be written to nobody.
        """
        if has_left(sock):
            return None
        path = split_target(request.target)[0]
        try:
            if path == EVENTS:
                return await self._admit_event_stream(sock, request)
            return await self._admit_websocket(sock, request, self._websockets[path])
        except ProtocolError as error:
            answer = websocket_handshake.reject(error)
        except Refusal as refusal:
            answer = _refusal_response(refusal)
        await send_all(sock, answer)
        await close_gently(sock)
        return None

    async def _admit_event_stream(self, sock: socket.socket, request: Request) -> Connection:
        claims = await self._enrolled(self._check(self._read(request)))
        head = sse.response_head(cors=request.header(b"origin") is not None)
        connection = Connection(claims.token, sock, self._sse, self._node.clock.wall())
        await self._bring_in(connection, claims, cursor_of(request), head)
        return connection

    async def _admit_websocket(
        self, sock: socket.socket, request: Request, transport: WebSocketTransport
    ) -> Connection | None:
        response = websocket_handshake.accept(request)
        credentials = self._read(request)
        reader = transport.reader()
        events = reader.feed(request.upgrade or b"")
        claims: Claims | None
        if self._node.device_auth.demands_jwt and not credentials.jwt:
            await send_all(sock, response)
            response = b""
            claims = await self._hear_who(sock, credentials, reader, events)
        else:
            claims = await self._enrolled(self._check(credentials))
        if claims is None:
            return None
        connection = WebSocketConnection(claims.token, sock, transport, self._node.clock.wall())
        connection.mark = await self._bring_in(connection, claims, cursor_of(request), response)
        try:
            transport.act(connection, reader, events)
        except Exception:
            self._node.router.delivery.disconnect(connection, INTERNAL_ERROR)
            raise
        return connection

    async def _hear_who(
        self, sock: socket.socket, credentials: Credentials, reader: Reader, events: list[Event]
    ) -> Claims | None:
        """Who a device is by its first message, which is taken out of `events`.

        None: it may not come in, was told why, and is gone.
        """
        while not events:
            data = await receive_some(sock)
            if not data:
                return None
            events += reader.feed(data)
        try:
            checked = self._check(credentials._replace(jwt=shown_jwt(events.pop(0))))
            claims = await self._enrolled(checked)
        except Refusal as refusal:
            why = _WHY_REFUSED.get(refusal.status, POLICY_VIOLATION)
            await send_all(sock, close_frame(why.code, refusal.reason.name))
            await close_gently(sock)
            return None
        await send_all(sock, text_frame(encode(AuthResult(ok=True))))
        return claims

    def _admit_stream(
        self, http2: Http2Connection, request: StreamRequest
    ) -> StreamConnection | None:
        """Make a device of a stream, or refuse it; the rest of its connection goes on."""
        try:
            claims = self._check(self._read(request))
        except Refusal as refusal:
            headers = [(b"content-type", b"application/json"), *_refusal_headers(refusal)]
            body = response_body(refusal)
            http2.session.respond(request.stream_id, refusal.status, headers, body)
            return None
        http2.session.start_stream(request.stream_id, 200, sse.HTTP2_HEADERS)
        connection = StreamConnection(
            claims.token,
            http2,
            request.stream_id,
            self._sse,
            self._node.clock.wall(),
            self._node.router.delivery,
        )
        self._bring_in_late(connection, claims, cursor_of(request))
        return connection

    async def _bring_in(
        self, connection: Connection, claims: Claims, cursor: Cursor | None, opening: bytes
    ) -> int:
        """Attach a device, with what other nodes have for it. Returns the mark of the history.

        `opening` is what it is sent first, joined with what waits for it.
        """
        engine = self._node.engine
        if engine is None:
            return self._attach(connection, claims, cursor, opening=opening)
        async with engine.admitting(claims.token, cursor) as missed:
            return self._attach(connection, claims, cursor, missed, opening=opening)

    def _bring_in_late(
        self, connection: StreamConnection, claims: Claims, cursor: Cursor | None
    ) -> None:
        """The same as `_bring_in`, while the other streams of its connection go on."""
        engine = self._node.engine
        attach = partial(self._attach, connection, claims, cursor)
        if engine is None:
            attach()
        else:
            engine.admit_late(connection, claims.user, cursor, attach)

    def _attach(
        self,
        connection: Connection,
        claims: Claims,
        cursor: Cursor | None,
        missed: Missed | None = None,
        *,
        opening: bytes = b"",
    ) -> int:
        mark = self._node.router.attach(connection, cursor, missed, opening=opening)
        self._heartbeat.add(connection)
        if claims.expires_at is not None:
            self._expiry.add(connection, claims.expires_at)
        return mark


def cursor_of(request: Request | StreamRequest) -> Cursor | None:
    """The last event that a device says it has: `Last-Event-ID`, or `lastEventId` in the query.

    An id that we cannot have given is taken as a cursor of another life, not as no cursor:
    whoever asks is told that it is not all here.
    """
    text = request.header(b"last-event-id") or value(
        split_target(request.target)[1], b"lastEventId"
    )
    return parse_cursor(text) or Cursor("", 0) if text else None


def _refusal_headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    """Readable for a page of another origin too."""
    headers = [sse.ALLOW_ANY_ORIGIN]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % refusal.retry_after_s))
    if (demand := challenge(refusal)) is not None:
        headers.append((b"www-authenticate", demand))
    return headers


def _refusal_response(refusal: Refusal) -> bytes:
    lines = [b"%b: %b\r\n" % (name.title(), text) for name, text in _refusal_headers(refusal)]
    return http1.response(
        refusal.status,
        response_body(refusal),
        b"application/json",
        extra=b"".join(lines),
        close=True,
    )
