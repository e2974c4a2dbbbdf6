"""A keep-alive HTTP/1.1 connection, for requests that are sent by the thousand.

Used by the lanes and by the calls on push. httpx would do, at 1 ms of CPU per request; this is
a twentieth of that.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

import trio

from trio_push.errors import ProtocolError, Unreachable
from trio_push.sockets import WOULD_BLOCK, receive_some, send_all
from trio_push.swarm.target import CONNECT_S, Target, describe, open_connection
from trio_push.wire.http_response import ResponseParser

#: the longest that an answer may take: a push whose answer has not come by then gets none
ANSWER_S = 30.0
#: between attempts to open a connection, doubling
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
#: the longest answer that is read
MAX_BODY_BYTES = 2**20


def authorization_line(api_key: str | None) -> str:
    """The line of a request's head that shows a key; none without one."""
    return f"Authorization: Bearer {api_key}\r\n" if api_key else ""


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes


class NoAnswer(Exception):
    """A request was sent and its answer did not come: nobody knows what became of it."""


class Http1Connection:
    """Opened when first needed, and again after it broke. For one task at a time."""

    def __init__(self, target: Target, context: ssl.SSLContext | None = None) -> None:
        """`context` is TLS, for who has a certificate to show; None: without one."""
        self.target = target
        self._context = context
        self._socket: socket.socket | None = None
        self._parser = ResponseParser()

    async def wait_open(self) -> None:
        """Return when there is a connection, however long it takes."""
        pause_s = FIRST_PAUSE_S
        while not self._is_usable():
            self.close()
            try:
                self._socket = await open_connection(
                    self.target, timeout_s=CONNECT_S, context=self._context
                )
                self._parser = ResponseParser()
            except Unreachable:
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def exchange(self, request: bytes) -> Answer:
        """Send a request on the open connection and return the answer to it.

        Raises NoAnswer. Cancelled, the connection is closed: an answer may be under way.
        """
        assert self._socket is not None  # `wait_open` came before
        keep = False
        try:
            # Half of what `fail_after` costs, and that a quarter of a push.
            with trio.CancelScope(deadline=trio.current_time() + ANSWER_S):
                await send_all(self._socket, request)
                answer = await self._receive(self._socket)
                keep = self._parser.keep_alive
                return answer
            raise NoAnswer(f"no answer within {ANSWER_S:g} s")
        except (OSError, ProtocolError) as exc:
            raise NoAnswer(describe(exc)) from exc
        finally:
            if not keep:
                self.close()

    async def ask(
        self, request: bytes, unsent: Callable[[], None], unanswered: Callable[[], None]
    ) -> Answer | None:
        """Send a request as soon as there is a connection; None: no answer came.

        Without an answer, also when cancelled, `unsent` or `unanswered` is called first.
        """
        give_up = unsent
        try:
            await self.wait_open()
            give_up = unanswered
            return await self.exchange(request)
        except BaseException as exc:
            give_up()
            if isinstance(exc, NoAnswer):
                return None
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _receive(self, sock: socket.socket) -> Answer:
        parser = self._parser
        body = b""
        while True:
            data = await receive_some(sock)
            if not data:
                break
            body += parser.feed(data)
            if parser.complete:
                return Answer(parser.status, body)
            if len(body) > MAX_BODY_BYTES:
                raise ProtocolError(f"the answer is over {MAX_BODY_BYTES} bytes")
        if not parser.head_complete or parser.delimited:
            raise ProtocolError("closed before the answer")
        return Answer(parser.status, body)

    def _is_usable(self) -> bool:
        """Open, and not closed by the server while it was idle."""
        if self._socket is None:
            return False
        try:
            self._socket.recv(1)
        except WOULD_BLOCK:
            return True
        except OSError:
            pass
        return False
