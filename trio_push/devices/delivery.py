"""From the router to the device: write at once, else queue and drain.

A push for a device with nothing waiting is written by the caller's task, without waiting. On
the first "would block" a mailbox is opened and a drain task started, which ends with the last
push. A device that takes nothing for the write timeout is cut, and what it did not get goes
back to the store.
"""

from __future__ import annotations

import contextlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

import structlog
import trio

from trio_push.clock import Clock
from trio_push.devices.connection import Connection
from trio_push.mailbox.history import History
from trio_push.mailbox.mailbox import Mailbox, Torn
from trio_push.mailbox.offline import Offline
from trio_push.mailbox.store import Held
from trio_push.push import Numbered, State
from trio_push.router.directory import Directory
from trio_push.sockets import WOULD_BLOCK
from trio_push.watch.ledger import Ledger
from trio_push.wire.close_codes import TOO_SLOW, CloseCode

log = structlog.get_logger()

#: bytes of events that are joined into one write: a send is cheap beside copying as much. What the
#: device does not take of them is framed again.
WRITE_BYTES = 16_384


class DeviceGone(Exception):
    """The device proved to be gone while it was written to. Internal to the router's room."""


class Delivery:
    """Writes pushes to connections. `run` owns the drain tasks; the rest never blocks."""

    def __init__(
        self,
        *,
        clock: Clock,
        ledger: Ledger,
        directory: Directory,
        offline: Offline,
        history: History,
        ack_timeout_s: float,
        write_timeout_s: float,
        mailbox_capacity: int,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._directory = directory
        self._offline = offline
        self._history = history
        self._ack_timeout_s = ack_timeout_s
        self._write_timeout_s = write_timeout_s
        self._capacity = mailbox_capacity
        self._nursery: trio.Nursery | None = None
        #: told of tokens whose device has gone, when that matters to somebody
        self.on_gone: Callable[[str], None] | None = None
        #: connections for which something waits
        self.waiting: set[Connection] = set()
        #: devices that were disconnected from this side, by the name of the close code
        self.dismissed: Counter[str] = Counter()
        #: pushes sent again to devices that resumed
        self.replayed = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Home of the drain tasks; ends only by being cancelled."""
        async with trio.open_nursery() as self._nursery:
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    # -- a push for a device that is there

    def deliver(self, connection: Connection, numbered: Numbered) -> State:
        """Write a push, or queue what the device does not take: where the push is now.

        Raises DeviceGone when the device is gone; nothing was delivered and it is detached.
        """
        frame = connection.transport.frame(numbered.seq, numbered.push)
        if connection.mailbox is not None:
            return self.queue(connection, numbered, frame)
        try:
            taken = connection.send(frame)
        except WOULD_BLOCK:
            taken = 0
        except OSError:
            self.disconnect(connection)
            raise DeviceGone from None
        if taken == len(frame):
            return self.arrived(connection.token, numbered, State.DELIVERED_LIVE)
        return self.queue(connection, numbered, frame[taken:])

    def queue(self, connection: Connection, numbered: Numbered, rest: bytes) -> State:
        """The device does not take more than it took: keep the rest of the frame, or the push."""
        if connection.mailbox is None:
            self._wait(connection, numbered.seq, Torn(rest, numbered))
            state = State.IN_FLIGHT
        elif connection.mailbox.offer(numbered):
            state = State.QUEUED
        else:
            state = self._offline.keep(numbered)
            return State.DROPPED_MAILBOX_FULL if state is State.DISCARDED else state
        if numbered.promised:
            self._offline.entrust(numbered)
        return state

    def whisper(self, connection: Connection, data: bytes) -> None:
        """Write what is no push (a comment, a retry) unless something waits already."""
        if connection.mailbox is not None or not data:
            return
        try:
            taken = connection.send(data)
        except WOULD_BLOCK:
            taken = 0
        except OSError:
            self.disconnect(connection)
            return
        if taken < len(data):
            self._wait(connection, 0, Torn(data[taken:]))

    def reply(self, connection: Connection, data: bytes) -> None:
        """Write what the device asked for: at once, or behind what it is just being sent.

        A device that asks on and on and takes no answer is cut.
        """
        if connection.mailbox is None:
            self.whisper(connection, data)
        elif not connection.mailbox.interject(data):
            self._cut(connection)

    def repeat(self, connection: Connection, numbered: Numbered) -> None:
        """Write a push once more, with the number that it has; no news to the ledger."""
        if connection.mailbox is None:
            self.whisper(connection, connection.transport.frame(numbered.seq, numbered.push))
        else:
            connection.mailbox.replay.append(numbered)

    def stall(self, connection: Connection, seq: int, for_s: float) -> None:
        """Write nothing to a device for so long, as if it took nothing; what comes waits.

        Unless something waits already. `seq` is the number of what was routed last.
        """
        if connection.mailbox is None and self._nursery is not None:
            words = Torn(connection.transport.keepalive)
            connection.mailbox = Mailbox(self._capacity, seq, words)
            self.waiting.add(connection)
            self._nursery.start_soon(self._drain_later, connection, for_s, name="stall")

    def arrived(self, token: str, numbered: Numbered, outcome: State) -> State:
        """The device has taken the whole of a push: what it is now."""
        if numbered.push.wants_ack:
            return self._offline.await_ack(numbered, self._clock.wall() + self._ack_timeout_s)
        if numbered.push.storable:
            self._history.add(token, numbered)
        return outcome

    def catch_up(
        self,
        connection: Connection,
        seq: int,
        greeting: bytes = b"",
        missed: Sequence[Numbered] = (),
    ) -> None:
        """Give a device that has just come a greeting, what it missed, what is stored for it."""
        if not missed and self._offline.store.first(connection.token) is None:
            self.whisper(connection, greeting)
            return
        connection.mailbox = Mailbox(self._capacity, seq, Torn(greeting) if greeting else None)
        connection.mailbox.replay.extend(missed)
        connection.mailbox.overflowed = True
        self.waiting.add(connection)
        if not self._pump(connection):
            self._start_drain(connection)

    def replay(
        self, connection: Connection, seq: int, greeting: bytes, missed: Sequence[Numbered]
    ) -> None:
        """Give a device that asks for it a greeting and what it missed."""
        if connection.mailbox is None:
            self.catch_up(connection, seq, greeting, missed)
        elif connection.mailbox.interject(greeting):
            connection.mailbox.replay.extend(missed)
            # what is pushed from now on is newer: it comes behind them
            connection.mailbox.overflowed = True
        else:
            self._cut(connection)

    # -- a device that takes no more

    def _wait(self, connection: Connection, seq: int, torn: Torn) -> None:
        connection.mailbox = Mailbox(self._capacity, seq, torn)
        self.waiting.add(connection)
        self._start_drain(connection)

    def _start_drain(self, connection: Connection) -> None:
        # The router may route a last push while both are being cancelled: it waits undrained.
        if self._nursery is not None:
            self._nursery.start_soon(self._drain, connection, name="drain")

    async def _drain(self, connection: Connection) -> None:
        """Write what waits for a device as it takes it; one such task while something waits."""
        while not self._pump(connection):
            with trio.move_on_after(self._write_timeout_s) as patience:
                try:
                    await connection.wait_writable()
                except (trio.ClosedResourceError, OSError):
                    return
            if patience.cancelled_caught:
                self._cut(connection)
                return

    async def _drain_later(self, connection: Connection, for_s: float) -> None:
        await trio.sleep(min(for_s, self._write_timeout_s))
        if connection.mailbox is None:
            return  # the device has gone
        if for_s < self._write_timeout_s:
            await self._drain(connection)
        else:
            self._cut(connection)

    def _cut(self, connection: Connection) -> None:
        log.info("device_too_slow", token=connection.token, queued=connection.queued)
        self.disconnect(connection, TOO_SLOW)

    def _pump(self, connection: Connection) -> bool:
        """Write until the device takes no more (False) or nothing waits or it is gone (True)."""
        mailbox = connection.mailbox
        if mailbox is None:
            return True
        try:
            while events := self._next_events(connection, mailbox):
                taken = connection.send(b"".join([frame for frame, _ in events]))
                for frame, event in events:
                    if not taken:
                        return False  # it waits where it is, and is not in flight
                    torn = mailbox.torn = self._fly(mailbox, frame, event)
                    if taken < len(frame):
                        mailbox.torn = torn._replace(rest=frame[taken:])
                        return False
                    taken -= len(frame)
                    mailbox.torn = None
                    self._land(connection, torn)
        except WOULD_BLOCK:
            if mailbox.torn is None:
                # TLS may have taken it in all the same, and wants to be handed just that again.
                mailbox.torn = self._fly(mailbox, *events[0])
            return False
        except OSError:
            self.disconnect(connection)
            return True
        connection.mailbox = None
        self.waiting.discard(connection)
        return True

    def _next_events(
        self, connection: Connection, mailbox: Mailbox
    ) -> list[tuple[bytes, Torn | Held | Numbered]]:
        """As many of the next events as go into one write, each with where it is now."""
        now = self._clock.wall()
        if mailbox.torn is None:
            mailbox.torn = self._take_queued(connection, mailbox, now)
        events: list[tuple[bytes, Torn | Held | Numbered]] = []
        if mailbox.torn is not None:
            events.append((mailbox.torn.rest, mailbox.torn))
        if mailbox.queued or (events and not connection.joins):
            return events
        size = 0
        for event in self._behind_the_queue(connection.token, mailbox):
            if isinstance(event, Held) and event.push.expired(now):
                self._offline.take(event, State.EXPIRED)
                continue
            frame = connection.transport.frame(event.seq, event.push)
            events.append((frame, event))
            size += len(frame)
            if size >= WRITE_BYTES or not connection.joins:
                break
        return events

    def _behind_the_queue(self, token: str, mailbox: Mailbox) -> Iterable[Held | Numbered]:
        """What is stored for a device and what it is sent again, by number."""
        stored = self._offline.store.of(token, State.STORED)
        if stored and mailbox.replay:
            return heapq.merge(stored, mailbox.replay, key=attrgetter("seq"))
        return stored or mailbox.replay

    def _take_queued(self, connection: Connection, mailbox: Mailbox, now: float) -> Torn | None:
        """Take the next queued push that has not expired into flight; None: there is none."""
        while (numbered := mailbox.take()) is not None:
            if numbered.push.expired(now):
                self._ledger.move(State.QUEUED, State.EXPIRED)
                if numbered.promised:
                    self._offline.forget(numbered)
                continue
            self._ledger.move(State.QUEUED, State.IN_FLIGHT)
            return Torn(connection.transport.frame(numbered.seq, numbered.push), numbered)
        return None

    def _fly(self, mailbox: Mailbox, frame: bytes, event: Torn | Held | Numbered) -> Torn:
        """The device has taken some of an event: take it from where it waited."""
        if isinstance(event, Torn):
            return event
        if isinstance(event, Held):
            self._offline.take(event, State.IN_FLIGHT)
            waited = event.seq < mailbox.opened_at
            outcome = State.DELIVERED_ON_CONNECT if waited else State.DELIVERED_LIVE
            return Torn(frame, Numbered(event.seq, event.push, promised=True), outcome)
        mailbox.replay.popleft()
        self.replayed += 1
        return Torn(frame)

    def _land(self, connection: Connection, torn: Torn) -> None:
        """The device has taken the whole of an event."""
        if torn.numbered is None:
            return
        state = self.arrived(connection.token, torn.numbered, torn.outcome)
        if torn.numbered.promised and state is torn.outcome:
            self._offline.forget(torn.numbered)
        self._ledger.move(State.IN_FLIGHT, state)

    # -- a device that goes

    def disconnect(self, connection: Connection, why: CloseCode | None = None) -> None:
        """Close a connection and put what it did not get back into the store.

        The device is told `why` if it takes that at once; None: it has gone, or knows.
        """
        is_gone = self._directory.detach(connection)
        if why is not None:
            self.dismissed[why.name] += 1
        if why is not None and connection.mailbox is None:
            # With a mailbox part of an event has been sent, and nothing may follow but its rest.
            words = connection.transport.farewell(why)
            if words:
                with contextlib.suppress(OSError):
                    connection.send(words)
        connection.close()
        self.waiting.discard(connection)
        mailbox, connection.mailbox = connection.mailbox, None
        if mailbox is not None:
            self._take_back_all(mailbox, why)
        if is_gone and self.on_gone is not None:
            self.on_gone(connection.token)

    def _take_back_all(self, mailbox: Mailbox, why: CloseCode | None) -> None:
        if mailbox.torn is not None and mailbox.torn.numbered is not None:
            self._take_back(mailbox.torn.numbered, State.IN_FLIGHT, why)
        while (numbered := mailbox.take()) is not None:
            self._take_back(numbered, State.QUEUED, why)

    def _take_back(self, numbered: Numbered, source: State, why: CloseCode | None) -> None:
        state = self._offline.keep(numbered, returned=True)
        if state is State.DISCARDED and why is TOO_SLOW:
            state = State.DROPPED_DEVICE_TOO_SLOW
        self._ledger.move(source, state)

    # -- for the books

    def held(self) -> dict[State, int]:
        """What really waits in mailboxes now."""
        flying = sum(
            1 for c in self.waiting if c.mailbox and c.mailbox.torn and c.mailbox.torn.numbered
        )
        return {
            State.QUEUED: sum(c.queued for c in self.waiting),
            State.IN_FLIGHT: flying,
        }
