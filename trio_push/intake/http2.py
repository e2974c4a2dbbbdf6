"""HTTP/2 on the wire listener: many requests and event streams over one connection.

Requests that arrive together are submitted together. An event stream is a stream of the
connection and not a socket: the front door makes a device of it through `admit`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import trio

from trio_push.errors import ProtocolError
from trio_push.faults.actions import GoAway, ResetStream, Status, TcpReset, code_of
from trio_push.intake.apns import Answer, Profile
from trio_push.intake.faults import Fate, Fates
from trio_push.intake.http1 import EVENTS, PREFLIGHT_HEADERS
from trio_push.patience import Patience
from trio_push.sockets import WOULD_BLOCK, peer_certificate, receive_some, reset, stop_reading
from trio_push.wire.apns_response import http2_headers
from trio_push.wire.apns_strict_topics import MAX_VOIP_PAYLOAD_BYTES
from trio_push.wire.http2 import MAX_STREAMS, H2Session
from trio_push.wire.http2_events import Event, Headers, Request, Reset, Writable
from trio_push.wire.page import Pages, find_page
from trio_push.wire.query import split_target
from trio_push.wire.reasons import IDLE_TIMEOUT

#: bytes of answers that a peer has not taken, beyond which no more is read from it
HIGH_WATER = 256 * 1024


class StreamDevice(Protocol):
    """A device on a stream, as far as its connection needs to know it."""

    def writable(self) -> None:
        """The stream, or the connection under it, takes more."""

    def lost(self) -> None:
        """The stream is gone."""


#: makes a device of a request for events, or answers it with a refusal (None)
Admit = Callable[["Http2Connection", Request], StreamDevice | None]


class Http2Intake:
    """Serves HTTP/2 connections, and knows those that are open."""

    def __init__(
        self,
        profile: Profile,
        pages: Sequence[Pages],
        fates: Fates,
        *,
        head_timeout_s: float,
        idle_timeout_s: float,
    ) -> None:
        self.profile = profile
        self.pages = pages
        self.fates = fates
        self.head_timeout_s = head_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self._open: set[Http2Connection] = set()

    async def serve(
        self, sock: socket.socket, data: bytes, patience: Patience, admit: Admit
    ) -> None:
        """Serve a connection to its end. `data` is what has been read already."""
        connection = Http2Connection(self, sock, patience, admit)
        self._open.add(connection)
        try:
            await connection.run(data)
        finally:
            self._open.discard(connection)

    def goaway(self, reason: str) -> None:
        """Tell every peer to send no more, and why."""
        for connection in list(self._open):
            connection.goaway(reason)


class Http2Connection:
    """One connection: reads in its own task, is written to from any."""

    def __init__(
        self, owner: Http2Intake, sock: socket.socket, patience: Patience, admit: Admit
    ) -> None:
        self._owner = owner
        self.sock = sock
        self._patience = patience
        self._admit = admit
        self._intake = owner.profile.connect(peer_certificate(sock), is_http2=True)
        #: the limit on streams as far as the profile has set it
        self._streams = owner.profile.first_streams
        self.session = H2Session(max_body_bytes=MAX_VOIP_PAYLOAD_BYTES, max_streams=self._streams)
        #: what the socket has not taken yet
        self._out = b""
        self._nursery: trio.Nursery | None = None
        self._flushing = False
        self._flushed = trio.Event()
        #: the peer sends no new requests
        self._leaving = False
        #: the reason of a GOAWAY that was announced, and is to come
        self._announced: str | None = None
        self._devices: dict[int, StreamDevice] = {}
        #: all is done that was under way when a GOAWAY was announced: what comes now is too late
        self._is_through = False
        #: requests for which what befalls them takes its time
        self._suffering: dict[int, trio.CancelScope] = {}

    async def run(self, data: bytes) -> None:
        """Serve until the peer goes or patience with it ends; the devices on it are told."""
        async with trio.open_nursery() as self._nursery:
            try:
                self._out += self.session.initiate()
                self._limit(self._intake.max_streams)
                await self._read(data)
                if self._announced is not None:
                    self.goaway(self._announced)
                self._lose_devices()
                await self._wait_flushed()
            except (OSError, trio.ClosedResourceError):
                pass  # the peer went, or has had its time
            finally:
                if self._patience.ran_out:
                    self.goaway(IDLE_TIMEOUT.name)
                self._lose_devices()
                # What is called from other tasks must not start anything from here on.
                self._nursery.cancel_scope.cancel()
                self._nursery = None

    async def _read(self, data: bytes) -> None:
        while data:
            try:
                events = self.session.receive(data, now=trio.current_time())
            except ProtocolError:
                self.flush()  # GOAWAY says what was wrong
                return
            await self._handle(events)
            self.flush()
            if self._leaving and not self.session.open_streams:
                return
            if len(self._out) > HIGH_WATER:
                await self._wait_flushed()
                if self._patience.ran_out:
                    return
            self._postpone(progress=bool(events))
            if self.sock.fileno() < 0:
                return  # it was reset
            data = await receive_some(self.sock)
            if self._is_through:
                return

    def _postpone(self, *, progress: bool) -> None:
        """Set how long the peer may be silent.

        With requests begun, only a whole one makes it longer, or they could go on byte by byte.
        """
        patience = self._patience
        if self._devices or self._suffering:
            patience.allow_for_ever()
        elif not self.session.open_streams:
            patience.allow(self._owner.idle_timeout_s)
        elif progress:
            patience.allow(self._owner.head_timeout_s)
        else:
            deadline = trio.current_time() + self._owner.head_timeout_s
            patience.deadline = min(deadline, patience.deadline)

    def _lose_devices(self) -> None:
        devices, self._devices = self._devices, {}
        for device in devices.values():
            device.lost()

    # -- requests

    async def _handle(self, events: Sequence[Event]) -> None:
        pushes: list[Request] = []
        for event in events:
            if isinstance(event, Request):
                if not self._answer(event):
                    pushes.append(event)
            elif isinstance(event, Reset):
                device = self._devices.pop(event.stream_id, None)
                if device is not None:
                    device.lost()
                elif event.stream_id in self._suffering:
                    self._suffering[event.stream_id].cancel()
            elif isinstance(event, Writable):
                device = self._devices.get(event.stream_id)
                if device is not None:
                    device.writable()
            else:
                self._leaving = True
        if pushes and self._owner.fates.threaten:
            pushes = self._meet_fates(pushes)
        if pushes:
            await self._serve(pushes)

    async def _serve(self, pushes: Sequence[Request]) -> None:
        answers = await self._intake.answer(pushes)
        streams = self._intake.max_streams
        if throttled := streams < self._streams:
            # First, so that who has read the refusal knows what comes with it.
            self._limit(streams)
        for request, answer in zip(pushes, answers, strict=False):
            self._respond(request, answer)
        for request in pushes[len(answers) :]:
            self.session.refuse(request.stream_id)
        if throttled:
            self.session.refuse_unfinished()
        if streams != self._streams:
            # Last, as aioapns miscounts its free streams when it hears of more during a push.
            self._limit(streams)

    def _limit(self, streams: int) -> None:
        self._streams = streams
        self.session.limit_streams(streams)

    def _respond(self, request: Request, answer: Answer) -> None:
        headers = http2_headers(
            answer.status,
            answer.apns_id,
            retry_after_s=answer.retry_after_s,
            unique_id=answer.unique_id,
        )
        self.session.respond(request.stream_id, answer.status, headers, answer.body)

    def _answer(self, request: Request) -> bool:
        """Answer what is no push; False for all that is judged as one."""
        if request.target.startswith(b"/3/"):
            return False
        path = split_target(request.target)[0]
        if request.method == b"OPTIONS":
            self.session.respond(request.stream_id, 204, PREFLIGHT_HEADERS)
            return True
        if path == EVENTS and request.method == b"GET":
            device = self._admit(self, request)
            if device is not None:
                self._devices[request.stream_id] = device
                # A page may have more to ask over the connection that its events come by.
                self._limit(MAX_STREAMS)
            return True
        page = find_page(self._owner.pages, request)
        if page is None:
            return False
        headers: Headers = [(b"content-type", page.content_type)]
        self.session.respond(request.stream_id, page.status, headers, page.body)
        return True

    def send(self, stream_id: int, data: bytes) -> int:
        """Send part of an event stream: the bytes taken, 0 while the socket takes no more."""
        if self._out:
            return 0
        taken = self.session.send(stream_id, data)
        self.flush()
        return taken

    def drop_device(self, stream_id: int) -> None:
        """End the event stream of a device that is to go."""
        self._devices.pop(stream_id, None)
        self.session.end(stream_id)
        self.flush()
        self._postpone(progress=True)

    def goaway(self, reason: str) -> None:
        self.session.goaway(reason)
        self.flush()

    # -- faults on demand

    def _meet_fates(self, pushes: Sequence[Request]) -> list[Request]:
        """See to what befalls requests; returns those that are served as always, and now."""
        spared = []
        for request in pushes:
            if not self.session.is_open(request.stream_id):
                continue
            fate = self._owner.fates.of(request, is_http2=True)
            if fate is None:
                spared.append(request)
                continue
            if fate.max_streams is not None:
                self.session.limit_streams(fate.max_streams)
            if fate.wait_s or fate.is_processed:
                assert self._nursery is not None
                self._suffering[request.stream_id] = trio.CancelScope()
                self._nursery.start_soon(self._suffer, request, fate, name="fault")
            elif self._strike(request, fate):
                spared.append(request)
        if self.sock.fileno() < 0:
            return []
        # They need not have come in the order of their streams: a GOAWAY may leave some behind.
        return [each for each in spared if self.session.is_open(each.stream_id)]

    async def _suffer(self, request: Request, fate: Fate) -> None:
        """What befalls a request and takes its time, while others are served."""
        with self._suffering[request.stream_id] as given_up:
            await trio.sleep(fate.wait_s)
        del self._suffering[request.stream_id]
        if given_up.cancelled_caught or not self.session.is_open(request.stream_id):
            return  # nobody waits for an answer any more
        if fate.is_processed:
            await self._intake.answer([request])
        if self._strike(request, fate):
            await self._serve([request])
        self.flush()
        self._postpone(progress=True)
        if self._leaving and not self.session.open_streams:
            self._is_through = True
            with suppress(OSError):
                stop_reading(self.sock)  # nothing is left for its reader to wait for

    def _strike(self, request: Request, fate: Fate) -> bool:
        """Do what befalls a request now; whether it is to be served after that."""
        session, stream_id = self.session, request.stream_id
        match fate.end:
            case Status() as why:
                self._respond(request, self._owner.fates.refuse(request, why))
            case ResetStream(code):
                session.reset(stream_id, code_of(code))
            case TcpReset():
                reset(self.sock)
            case GoAway() if self._leaving:
                return True  # that has been said
            case GoAway(reason, "after", code):
                session.announce_goaway(reason, code_of(code))
                self._announced = reason
                self._leaving = True
                return True
            case GoAway(reason, last, code):
                last_stream_id = stream_id if last == "at" else max(0, stream_id - 2)
                session.goaway_at(reason, code_of(code), last_stream_id)
                self._leaving = True
                return last == "at"
            case None:
                return True
        return False

    # -- writing

    def flush(self) -> None:
        """Send what there is to send, as far as it goes at once; the rest follows by itself."""
        self._out += self.session.data_to_send()
        if not self._flushing and not self._send_some() and self._nursery is not None:
            self._flushing = True
            self._flushed = trio.Event()
            self._nursery.start_soon(self._flush_rest, name="flush")

    async def _wait_flushed(self) -> None:
        """Until the peer has taken what there is to send; it has the head timeout for it."""
        if self._flushing:
            self._patience.allow(self._owner.head_timeout_s)
            await self._flushed.wait()

    async def _flush_rest(self) -> None:
        try:
            while not self._send_some():
                await trio.lowlevel.wait_writable(self.sock)
        except trio.ClosedResourceError:
            self._out = b""  # the peer has had its time
        self._flushing = False
        self._flushed.set()
        for device in list(self._devices.values()):
            device.writable()

    def _send_some(self) -> bool:
        """Whether all is sent, or cannot be any more: the reader notices that the peer went."""
        try:
            while self._out:
                self._out = self._out[self.sock.send(self._out) :]
        except WOULD_BLOCK:
            return False
        except OSError:
            self._out = b""
        return True
