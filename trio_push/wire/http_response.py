"""The client's half of HTTP/1.1: bytes in, responses out. No I/O; httptools does the parsing.

Used by the provider client, and by the swarm: its lean devices for the head of their stream, its
calls on push and its lanes.
"""

from __future__ import annotations

import httptools

from trio_push.errors import ProtocolError

#: what a head and the body of an answer to a push may occupy; a head is not bounded by httptools
MAX_HEAD_BYTES = 64 * 2**10

#: statuses of responses that never have a body
_BODILESS = frozenset((204, 304))


class _Message:
    """What httptools calls back. Apart from `ResponseParser` so that no reference cycle arises."""

    __slots__ = (
        "accept",
        "apns_id",
        "body",
        "close",
        "complete",
        "content_type",
        "delimited",
        "head_complete",
        "redirect",
        "retry_after",
    )

    def __init__(self) -> None:
        self.on_message_begin()

    def on_message_begin(self) -> None:
        self.body: list[bytes] = []
        self.content_type = b""
        self.redirect = b""
        self.accept = b""
        self.apns_id = b""
        self.retry_after = b""
        #: the body says itself where it ends: chunks or a length
        self.delimited = False
        self.close = False
        self.head_complete = False
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-type":
                self.content_type = value
            case b"transfer-encoding" | b"content-length":
                self.delimited = True
            case b"connection":
                self.close = value.lower() == b"close"
            case b"location":
                self.redirect = value
            case b"sec-websocket-accept":
                self.accept = value
            case b"apns-id":
                self.apns_id = value
            case b"retry-after":
                self.retry_after = value

    def on_headers_complete(self) -> None:
        self.head_complete = True

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


class ResponseParser:
    """Parses the responses of one connection, one after the other."""

    __slots__ = ("_head_bytes", "_may_upgrade", "_message", "_parser")

    def __init__(self, *, may_upgrade: bool = False) -> None:
        """`may_upgrade`: another protocol was asked for; its first bytes are the body then."""
        self._may_upgrade = may_upgrade
        self._message = _Message()
        self._parser = httptools.HttpResponseParser(self._message)
        self._head_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return the part of the body that they hold.

        Raises ProtocolError when this is not HTTP.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            if not self._may_upgrade:
                raise ProtocolError("the server wants to speak another protocol") from exc
            return data[exc.args[0] :]
        except httptools.HttpParserError as exc:
            raise ProtocolError(f"not an HTTP response: {exc}") from exc
        message = self._message
        if not message.head_complete:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise ProtocolError(f"the head of the response is over {MAX_HEAD_BYTES} bytes")
            return b""
        self._head_bytes = 0
        body = b"".join(message.body)
        message.body.clear()
        return body

    @property
    def head_complete(self) -> bool:
        return self._message.head_complete

    @property
    def complete(self) -> bool:
        """The response ended; never true for one that ends with the connection."""
        return self._message.complete

    @property
    def delimited(self) -> bool:
        """The body has chunks or a length; without, it lasts until the connection is closed."""
        return self._message.delimited

    @property
    def status(self) -> int:
        status: int = self._parser.get_status_code()
        return status

    @property
    def keep_alive(self) -> bool:
        """Whether another request may be sent on this connection.

        httptools knows as well, but only while it calls back; once a response is complete it
        has forgotten.
        """
        message = self._message
        ends_by_itself = message.delimited or self.status in _BODILESS
        return ends_by_itself and not message.close and self._parser.get_http_version() == "1.1"

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case."""
        return self._message.content_type.decode("latin-1").partition(";")[0].strip().lower()

    @property
    def redirect(self) -> str:
        """Where a redirection leads to."""
        return self._message.redirect.decode("latin-1")

    @property
    def accept(self) -> bytes:
        """How the server accepts a WebSocket."""
        return self._message.accept

    @property
    def apns_id(self) -> str | None:
        """By which the server knows a push."""
        return self._message.apns_id.decode("latin-1") or None

    @property
    def retry_after(self) -> str | None:
        """When the server wants to be asked again: seconds, or a date."""
        return self._message.retry_after.decode("latin-1") or None
