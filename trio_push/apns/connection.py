"""One connection of the client: a task that writes, one that reads, and the pushes between them.

Opened and asked by the client. The reader never writes: it and the host could wait for each other
to read. Nothing is buffered here: what is started is a stream, and there are only so many; a
stream's place is free again when its result has been taken.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from trio_push.apns.flight import Fate, Flight, Session
from trio_push.apns.request import Outcome
from trio_push.errors import ProtocolError

#: the largest read: the answers to a thousand pushes
_READ_BYTES: Final = 64 * 1024
#: time that the peer has to take our last words
_CLOSE_S: Final = 1.0


class Connection:
    """A stream and its session. `took` hears of fates, `has_room` when there may be room again."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        session: Session,
        *,
        took: Callable[[Connection, list[Fate]], None],
        has_room: Callable[[Connection], None],
    ) -> None:
        self._stream = stream
        self._session = session
        self._took = took
        self._has_room = has_room
        #: what was started and not written yet, and whose it is
        self._queue = bytearray()
        self._unwritten: list[Flight] = []
        self._to_write = trio.Event()
        self._scope = trio.CancelScope()
        self._reading = trio.CancelScope()
        #: what is left to write is the end
        self._over = False
        #: why it ended; "" as long as it goes on
        self.why = ""
        #: results of this connection that nobody has taken yet: their places are not free
        self.held = 0
        #: whether the client counts on it for the next pushes
        self.is_listed = False
        #: whether the host has said anything at all, has answered a push, was given up for silence
        self.was_heard = False
        self.has_answered = False
        self.fell_silent = False
        #: whether it has been counted as failed
        self.has_failed = False
        self.opened_at = self._heard_at = trio.current_time()
        self._pinged = False

    @property
    def room(self) -> int:
        """How many pushes may be started now."""
        return self._session.room - self.held

    @property
    def in_flight(self) -> int:
        return len(self._session.flights) + self.held

    @property
    def capacity(self) -> int:
        """How many there may be at once, as the peer has it now."""
        return self._session.capacity

    @property
    def closing(self) -> bool:
        """No more pushes go here."""
        return self._session.closing

    def start(self, flight: Flight, authorization: bytes | None, now: float) -> int:
        """Send a push, once `flush` is called; how many bytes it is. Only where there is `room`."""
        if not self._session.flights:
            self._heard_at = now
        flight.connection = self
        flight.began_at = now
        self._session.start(flight, authorization)
        data = self._session.data_to_send()
        self._queue += data
        self._unwritten.append(flight)
        return len(data)

    def flush(self) -> None:
        self._to_write.set()

    def drop(self, flight: Flight) -> None:
        """Want no answer to it any more; it has no fate here."""
        self._session.drop(flight)
        self.flush()

    def retire(self) -> None:
        """Take no more pushes; close once those in flight are answered."""
        self._session.closing = True
        self.flush()

    def cut(self, why: str) -> None:
        """End at once: what is in flight is unanswered, or unsent if it was not written yet."""
        self.why = self.why or why
        self._session.closing = True
        self._scope.cancel()

    def sweep(self, now: float, answer_s: float, ping_s: float) -> None:
        """Give up what has waited too long, and ask a silent peer whether it is there."""
        session = self._session
        why = f"no answer within {answer_s:g} s"
        silent_s = now - self._heard_at
        waits = session.flights or self._pinged or not session.capacity
        if waits and silent_s >= answer_s:
            self.fell_silent = True
            self.cut(why)
            return
        late = []
        for flight in session.flights.values():
            if now - flight.began_at < answer_s:
                break
            late.append(flight)
        for flight in late:
            self.drop(flight)
            self._took(self, [Fate(flight, Outcome.UNANSWERED, reason=why)])
        if silent_s >= ping_s and not session.flights and not self._pinged:
            session.ping()
            self._pinged = True
            self._heard_at = now
            self.flush()

    async def run(self) -> None:
        """Until it is closed. Every push that was started here has its fate then."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read()
                    self._session.close()
                    self._over = True
                    self.flush()
                    nursery.cancel_scope.deadline = trio.current_time() + _CLOSE_S
        except* (OSError, trio.BrokenResourceError, ProtocolError) as group:
            self.why = self.why or self._session.farewell or _text(group.exceptions[0])
        finally:
            self._session.closing = True
            self._abandon()
            self._has_room(self)
            # closed it is, also when the peer no longer hears of it
            with trio.move_on_after(_CLOSE_S, shield=True), suppress(trio.BrokenResourceError):
                await self._stream.aclose()

    async def _write(self) -> None:
        session = self._session
        while True:
            self._to_write = trio.Event()
            while data := bytes(self._queue) + session.data_to_send():
                self._queue.clear()
                self._unwritten.clear()
                await self._stream.send_all(data)
            if self._over:
                return
            if session.closing and not session.flights:
                # else it would wait for a peer that has nothing to say any more
                self._reading.cancel()
            await self._to_write.wait()

    async def _read(self) -> None:
        """Until the peer or we have finished."""
        session = self._session
        with self._reading:
            while not session.closing or session.flights:
                data = bytes(await self._stream.receive_some(_READ_BYTES))
                self._heard_at = trio.current_time()
                self._pinged = False
                self.was_heard = True
                if fates := session.receive(data):
                    self._took(self, fates)
                # Pushes that were started are not written just because an answer came: whoever
                # starts them says when, and what is written together is cheaper.
                if (reply := session.data_to_send()) or session.closing:
                    self._queue += reply
                    self.flush()
                if session.closing and not session.flights:
                    self.why = self.why or session.farewell
                self._has_room(self)

    def _abandon(self) -> None:
        why = self.why or self._session.farewell or "the connection was closed"
        unwritten = set(self._unwritten)
        fates = [
            Fate(flight, Outcome.UNSENT if flight in unwritten else Outcome.UNANSWERED, reason=why)
            for flight in self._session.flights.values()
        ]
        self._session.flights.clear()
        self._took(self, fates)


def _text(exc: BaseException) -> str:
    """Why a connection broke, in few words."""
    cause = exc.__cause__ or exc
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(exc) or "the connection broke"
