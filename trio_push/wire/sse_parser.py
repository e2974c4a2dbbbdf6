"""The client's half of server-sent events: bytes in, events out (WHATWG HTML §9.2.6).

Used by the swarm's devices and by `listen`; no I/O. Any split of a stream into chunks gives the
same events. Between events a parser holds no buffer, because a process holds 19,000 of them.
"""

from __future__ import annotations

from typing import NamedTuple

from trio_push.errors import ProtocolError

#: what one unfinished line or event may occupy. A server that never ends one must not fill the
#: memory of a swarm; the largest event that anyone's tests of SSE clients send has 13 MiB.
MAX_EVENT_BYTES = 16 * 2**20
#: the longest reconnection time that is believed (11 days); also keeps int() away from long digits
MAX_RETRY_MS = 10**9

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One dispatched event. `id` is the last event id of the stream at this event."""

    data: str
    event: str = "message"
    id: str = ""


class EventStreamParser:
    """Parses one stream. A new connection takes a new parser and the last event id of the old.

    `last_event_id` is that of the last event dispatched, to be sent with the next connection.
    `retry_ms` is the reconnection time that the server asked for, None before it did.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_data",
        "_event",
        "_id",
        "_rest",
        "_size_bytes",
        "last_event_id",
        "retry_ms",
    )

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        #: the event in the making: lines of data, name, and the id that it commits
        self._data: list[str] | None = None
        self._event = ""
        self._id = last_event_id
        self._size_bytes = 0
        #: an unfinished line
        self._rest = b""
        #: the last chunk ended in CR: an LF that follows belongs to it
        self._after_cr = False
        #: no line was seen yet: the first one may begin with a byte order mark
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the stream and return the events that they complete.

        An event that is incomplete when the stream ends is never returned. Raises ProtocolError
        when a line or event grows beyond MAX_EVENT_BYTES.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if self._at_start and lines:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        events: list[Event] = []
        for line in lines:
            if line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        if len(self._rest) + self._size_bytes > MAX_EVENT_BYTES:
            raise ProtocolError(f"an event on the stream is over {MAX_EVENT_BYTES} bytes")
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            text = value.decode("utf-8", "replace")
            self._size_bytes += len(line) + 1
            if self._data is None:
                self._data = [text]
            else:
                self._data.append(text)
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            digits = value.lstrip(b"0")[:10] or b"0"
            self.retry_ms = min(int(digits), MAX_RETRY_MS)

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        data, event = self._data, self._event
        self._data, self._event, self._size_bytes = None, "", 0
        if data is None:
            return None
        text = data[0] if len(data) == 1 else "\n".join(data)
        return Event(text, event or "message", self.last_event_id)
