"""HTTP/1.1 requests out of bytes, by httptools (llhttp): bytes in, requests out, no I/O.

One parser serves one connection and copes with pipelining and with heads and bodies in any
number of pieces. Called by the front door for every connection that is not HTTP/2.
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

import httptools
import msgspec

from trio_push.errors import ProtocolError
from trio_push.wire.query import split_target

#: bytes of request line and headers; Apple's limit for headers over HTTP/2 is 8,000
MAX_HEAD = 16_384
#: bytes of a body that are kept; a longer one is told by its length
MAX_BODY = 5_121
#: bytes of a body that are read; of one that goes on the request is taken for complete, and is
#: the last of its connection
MAX_DISCARD = 1_048_576
#: requests that may be pipelined in one read
MAX_PIPELINED = 1_024

Headers = list[tuple[bytes, bytes]]


class Request(msgspec.Struct, frozen=True, gc=False):
    """One whole request. Header names are lower-case, in order of arrival."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    keep_alive: bool = True
    #: what followed the head of a request that asks for WebSocket where that is offered; None:
    #: the request is none of those
    upgrade: bytes | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower-case) name."""
        return next((value for key, value in self.headers if key == name), None)


class RequestParser:
    """The server's side of one HTTP/1.1 connection.

    A GET of one of the paths `websockets` may ask for WebSocket; that request is the last one.
    """

    def __init__(self, websockets: Collection[bytes] = ()) -> None:
        self._websockets = websockets
        self._parser = httptools.HttpRequestParser(self)
        self._requests: list[Request] = []
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        #: those of the request, until they are complete; from then on trailers, which nobody reads
        self._fields: Headers = []
        self._headers: Headers = []
        self._body = b""
        #: bytes fed since the read in which this request began, that one not counted
        self._fed = 0
        self._head_complete = False
        self._may_wait = False
        #: whether no request is half received
        self.idle = True

    def feed(self, data: bytes) -> list[Request]:
        """Requests completed by `data`. Raises ProtocolError; then the parser is of no more use.

        Requests complete before the fault are lost with it: who pipelines garbage gets one
        answer, 400.
        """
        self._fed += len(data)
        self._long_read = self._fed > MAX_HEAD
        rest = data
        while rest:
            rest = self._parse(rest)
        if self._fed > MAX_HEAD:
            if not self._head_complete:
                raise ProtocolError("request head too large", status=431)
            if self._fed > MAX_HEAD + MAX_DISCARD:
                self._complete(keep_alive=False)
        done, self._requests = self._requests, []
        return done

    def _parse(self, data: bytes) -> bytes:
        """Feed the parser until it stops: what it has left."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self._asks_for_websocket(self._requests[-1]):
                request = self._requests.pop()
                self._requests.append(msgspec.structs.replace(request, upgrade=rest))
                return b""
            self._ignore_upgrade()
            return rest
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, ProtocolError):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            raise ProtocolError(f"not HTTP/1.1: {error}") from error
        return b""

    def _asks_for_websocket(self, request: Request) -> bool:
        """Whether it does, and may: HTTP/1.0 knows no upgrade (RFC 9110 §7.8)."""
        return (
            request.method == b"GET"
            and split_target(request.target)[0] in self._websockets
            and self._parser.get_http_version() == "1.1"
            and any(
                protocol.strip().lower() == b"websocket"
                for name, value in request.headers
                if name == b"upgrade"
                for protocol in value.split(b",")
            )
        )

    def _ignore_upgrade(self) -> None:
        """An upgrade that is not offered: the request is like any other (RFC 9110 §7.8).

        The parser takes it for whole at the end of its head; curl and Java ask for h2c with
        requests that have a body. So the head is parsed again without its Upgrade.
        """
        version = self._parser.get_http_version()
        self._parser = httptools.HttpRequestParser(self)
        if self._requests[-1].method == b"CONNECT":
            return
        request = self._requests.pop()
        head = [b"%b %b HTTP/%b\r\n" % (request.method, request.target, version.encode())]
        head += [b"%b: %b\r\n" % field for field in request.headers if field[0] != b"upgrade"]
        self._parser.feed_data(b"".join(head) + b"\r\n")

    def close(self) -> None:
        """Take the parser and its callbacks apart, which hold each other.

        For a device that has just come that would be left to the garbage collector, and freezing
        a growing population would keep it for ever.
        """
        del self._parser

    def wants_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body; asked once."""
        if not self._may_wait:
            return False
        self._may_wait = False
        return any(n == b"expect" and v.lower() == b"100-continue" for n, v in self._headers)

    # -- called by httptools

    def on_message_begin(self) -> None:
        self.idle = False

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._head_complete = self._may_wait = True
        self._headers, self._fields = self._fields, []
        if self._long_read and sum(len(n) + len(v) for n, v in self._headers) > MAX_HEAD:
            raise ProtocolError("request head too large", status=431)

    def on_body(self, body: bytes) -> None:
        if not self._body:
            self._body = body
        elif len(self._body) < MAX_BODY:
            self._body += body

    def on_message_complete(self) -> None:
        if len(self._requests) >= MAX_PIPELINED:
            raise ProtocolError("too many pipelined requests", status=429)
        self._complete(keep_alive=self._parser.should_keep_alive())

    def _complete(self, *, keep_alive: bool) -> None:
        self._requests.append(
            Request(
                self._parser.get_method(),
                self._target,
                self._headers,
                self._body,
                keep_alive,
            )
        )
        self._begin()


def response(
    status: int,
    body: bytes,
    content_type: bytes,
    *,
    extra: bytes = b"",
    close: bool = False,
    head_only: bool = False,
) -> bytes:
    """A whole response; `extra` holds further header lines, each ended by CRLF.

    `head_only` leaves the body out but tells its length: the answer to HEAD.
    """
    return b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n%b" % (
        status,
        HTTPStatus(status).phrase.encode(),
        content_type,
        len(body),
        extra,
        b"Connection: close\r\n" if close else b"",
        b"" if head_only else body,
    )
