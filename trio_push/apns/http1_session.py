"""APNs over HTTP/1.1, as MDM servers speak it to a host without HTTP/2: one flight at a time.

No I/O; httptools reads the answers.
"""

from __future__ import annotations

from trio_push.apns.flight import MAX_ANSWER_BYTES, Fate, Flight, answered
from trio_push.apns.request import Request
from trio_push.errors import ProtocolError
from trio_push.wire.http_response import ResponseParser

#: the key of the one flight
_ONLY = 1


class Http1Session:
    """The push on one connection: see `Session`."""

    def __init__(self, authority: str) -> None:
        self._head = f"Host: {authority}\r\nContent-Type: application/json\r\n"
        self._parser = ResponseParser()
        self.flights: dict[int, Flight] = {}
        self.closing = False
        self.farewell = ""
        self.capacity = 1
        self._body = b""
        self._to_send = b""

    @property
    def room(self) -> int:
        return 0 if self.closing or self.flights else 1

    def start(self, flight: Flight, authorization: bytes | None) -> None:
        self.flights[_ONLY] = flight
        self._body = b""
        self._to_send += self._request(flight.request, authorization)

    def drop(self, flight: Flight) -> None:
        # there is no way to say so but to go
        del self.flights[_ONLY]
        self.closing = True

    def receive(self, data: bytes) -> list[Fate]:
        if not data:
            return self._receive_end()
        flight = self.flights.get(_ONLY)
        if flight is None:
            self.closing = True
            raise ProtocolError("an answer to nothing")
        parser = self._parser
        body = parser.feed(data)
        if len(self._body) < MAX_ANSWER_BYTES:
            self._body += body
        # 1xx is no answer yet
        if not parser.complete or parser.status < 200:
            return []
        self.closing = self.closing or not parser.keep_alive
        return [self._answered(flight)]

    def data_to_send(self) -> bytes:
        data, self._to_send = self._to_send, b""
        return data

    def ping(self) -> None:
        """There is none in HTTP/1.1."""

    def close(self) -> None:
        self.closing = True

    def _receive_end(self) -> list[Fate]:
        """The end of the connection is the end of an answer that says no other."""
        parser = self._parser
        self.closing = True
        flight = self.flights.get(_ONLY)
        if flight is None or not parser.head_complete or parser.delimited:
            raise ProtocolError("the peer closed the connection")
        return [self._answered(flight)]

    def _answered(self, flight: Flight) -> Fate:
        parser = self._parser
        del self.flights[_ONLY]
        return answered(flight, parser.status, self._body, parser.apns_id, parser.retry_after)

    def _request(self, request: Request, authorization: bytes | None) -> bytes:
        headers = {
            "apns-push-type": request.push_type,
            "apns-topic": request.topic,
            "apns-id": request.id,
            "apns-priority": request.priority,
            "apns-expiration": request.expiration,
            "apns-collapse-id": request.collapse_id,
            "Authorization": authorization.decode() if authorization is not None else None,
            "Content-Length": len(request.payload),
        }
        lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items() if v is not None)
        head = f"POST /3/device/{request.token} HTTP/1.1\r\n{self._head}{lines}\r\n"
        return head.encode() + request.payload
