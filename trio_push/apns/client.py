"""The client: requests in through one channel, results out through another.

    async with open_client("https://api.push.apple.com", options) as client:
        nursery.start_soon(feed, client.requests)    # sends, then closes it
        async for result in client.results: ...

Every request that was taken from the channel has exactly one result. Nothing is buffered on the
way: a request is taken when a connection has room for it, and its place is free again when its
result has been taken. So who takes results slowly is sent for slowly.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Final

import trio

from trio_push.apns.bucket import Bucket
from trio_push.apns.connection import Connection
from trio_push.apns.dial import Dial, Host, dialer, host_of
from trio_push.apns.flight import Fate, Flight, Session
from trio_push.apns.flights import Flights
from trio_push.apns.h2_session import H2Session
from trio_push.apns.http1_session import Http1Session
from trio_push.apns.options import Options
from trio_push.apns.outbox import Outbox
from trio_push.apns.pool import Pool
from trio_push.apns.request import Outcome, Request, Result
from trio_push.apns.retries import EXPIRED_PROVIDER_TOKEN
from trio_push.apns.statistics import Statistics
from trio_push.apns.waiting import Waiting
from trio_push.body import Body
from trio_push.clock import Clock
from trio_push.errors import Unreachable

#: refused requests that may wait for another attempt, at 1 KB each; with more of them the host
#: has trouble that new requests would only add to, and none are taken
MAX_WAITING: Final = 10_000
#: pushes that are started before other tasks get a turn, and before they are written
_TURN: Final = 50
#: times that other tasks get a turn before what was started is written
_LOOKS: Final = 3


class Client:
    """Made by `open_client`. Its methods never wait."""

    def __init__(self, host: Host, options: Options, dial: Dial, clock: Clock) -> None:
        #: where requests go in; close it, and the client finishes what it has and ends `results`
        self.requests: trio.MemorySendChannel[Request]
        self.results: trio.MemoryReceiveChannel[Result]
        self.requests, self._requests = trio.open_memory_channel[Request](0)
        results, self.results = trio.open_memory_channel[Result](0)
        #: why the client gave up; None: it did not
        self.failure: Unreachable | None = None
        self._host = host
        self._options = options
        self._clock = clock
        self._outbox = Outbox(results, self._delivered)
        self._pool = Pool(
            host.url,
            dial,
            self._session,
            options,
            took=self._took,
            has_input=self._has_input,
            output_waited=self._outbox.has_waited,
            lost_patience=self._lose_patience,
        )
        #: those without a result
        self._flights = Flights()
        self._waiting = Waiting()
        self._pushes = Bucket(options.rate_per_s) if options.rate_per_s else None
        self._bytes = (
            Bucket(options.bandwidth_bytes_per_s) if options.bandwidth_bytes_per_s else None
        )
        self._dispatching = trio.CancelScope()
        #: what the dispatcher waits in for another request
        self._pause = trio.CancelScope()
        self._input_over = False
        #: why; None: it goes on
        self._given_up: str | None = None
        self._counts: Counter[str] = Counter()

    def cancel(self, request: Request) -> bool:
        """Give up a request that was taken; False: it was not, or has its result already.

        Its result says unsent, or unanswered if it is on its way, or why it was refused before.
        """
        flights = self._flights.of(request)
        for flight in flights:
            connection = flight.connection
            if connection is not None:
                connection.drop(flight)
                self._settle(flight, Fate(flight, Outcome.UNANSWERED, reason="cancelled"))
                self._pool.has_room(connection)
            else:
                self._waiting.remove(flight)
                self._abandon(flight, "cancelled")
        self._wake()
        return bool(flights)

    def give_up(self, why: str = "given up") -> None:
        """Wait for no answer any more: every request that was taken gets its result now."""
        self._given_up = why
        self._dispatching.cancel()
        self._pool.cut(why)

    def statistics(self) -> Statistics:
        counts, pool, outbox = self._counts, self._pool, self._outbox
        return Statistics(
            connections=len(pool.open),
            dialing=pool.dialing,
            retiring=len(pool.connections) - len(pool.open),
            taken=counts["taken"],
            open=len(self._flights) + len(outbox),
            in_flight=sum(flight.connection is not None for flight in self._flights),
            waiting=len(self._waiting),
            undelivered=len(outbox),
            capacity=sum(connection.capacity for connection in pool.open),
            accepted=counts[Outcome.ACCEPTED],
            refused=counts[Outcome.REFUSED],
            unanswered=counts[Outcome.UNANSWERED],
            unsent=counts[Outcome.UNSENT],
            sent=counts["sent"],
            retried=counts["retried"],
            sent_bytes=counts["sent_bytes"],
            dialed=pool.dialed,
            dial_failures=pool.dial_failures,
            input_waited_s=pool.input_waited_s(),
            output_waited_s=outbox.waited_s(),
        )

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._outbox.run)
                nursery.start_soon(self._pool.run)
                with self._dispatching:
                    await self._dispatch()
                self._requests.close()
                if self._given_up is not None:
                    self._abandon_all(self._given_up)
                await self._pool.close()
                await self._outbox.wait_empty()
                nursery.cancel_scope.cancel()
        finally:
            self._requests.close()
            self._outbox.close()

    async def _dispatch(self) -> None:
        """Give each request to a connection, until there are no more and all have a result."""
        for turn in count(1):
            if await self._wait_room() is None or (flight := await self._take()) is None:
                return
            if self._pushes or self._bytes:
                await self._pace()
            connection = await self._wait_room()
            # it may have been cancelled meanwhile
            if connection is not None and flight in self._flights:
                self._send(flight, connection)
            if turn % _TURN == 0:
                self._pool.flush()
                await trio.lowlevel.checkpoint()

    async def _wait_room(self) -> Connection | None:
        """A connection with room. None: nothing is left to send, so none is needed."""
        while (connection := await self._pool.wait_room()) is None:
            if not self._flights and not self._requests.statistics().open_send_channels:
                return None
        return connection

    async def _take(self) -> Flight | None:
        """The next to send: what is due again comes first. None: it is over."""
        while True:
            if (flight := self._waiting.due(trio.current_time())) is not None:
                return flight
            try:
                if not self._input_over and len(self._waiting) < MAX_WAITING:
                    return self._accept(await self._receive())
                if self._input_over and not self._flights:
                    return None
                self._pool.flush()
                with trio.CancelScope(deadline=self._waiting.next_at) as self._pause:
                    await trio.sleep_forever()
            except trio.EndOfChannel:
                self._input_over = True
            except trio.WouldBlock:
                pass

    async def _receive(self) -> Request:
        """The next request. Raises EndOfChannel; WouldBlock when something else is due."""
        # Who sent the last one may be about to send another: what is written together is cheaper.
        for _ in range(_LOOKS):
            with suppress(trio.WouldBlock):
                return self._requests.receive_nowait()
            await trio.lowlevel.checkpoint()
        self._pool.flush()
        with trio.CancelScope(deadline=self._waiting.next_at) as self._pause:
            return await self._requests.receive()
        raise trio.WouldBlock

    def _accept(self, request: Request) -> Flight:
        flight = Flight(request)
        self._flights.add(flight)
        self._counts["taken"] += 1
        return flight

    async def _pace(self) -> None:
        """Wait until the limits allow another push."""
        for bucket in (self._pushes, self._bytes):
            while bucket is not None and (wait_s := bucket.wait_s(trio.current_time())):
                self._pool.flush()
                await trio.sleep(wait_s)

    def _send(self, flight: Flight, connection: Connection) -> None:
        now = trio.current_time()
        authorization = self._options.authorization
        header = None if authorization is None else authorization.header(self._clock.wall())
        counts = self._counts
        size = connection.start(flight, header, now)
        counts["sent"] += 1
        counts["sent_bytes"] += size
        counts["retried"] += flight.attempts > 0
        flight.attempts += 1
        if self._pushes is not None:
            self._pushes.take(1, now)
        if self._bytes is not None:
            self._bytes.take(size, now)

    def _took(self, connection: Connection, fates: list[Fate]) -> None:
        """A connection says what attempts came to: results, or further attempts."""
        now = trio.current_time()
        for fate in fates:
            flight = fate.flight
            flight.connection, flight.last = None, fate
            if fate.reason == EXPIRED_PROVIDER_TOKEN:
                self._renew_authorization(connection)
            delay_s = self._delay_s(fate, flight.attempts)
            if delay_s is None:
                self._settle(flight, fate, connection)
            else:
                self._waiting.add(now + delay_s, flight)
        self._wake()

    def _delay_s(self, fate: Fate, attempts: int) -> float | None:
        if self._given_up is not None or fate.outcome is Outcome.ACCEPTED:
            return None
        return self._options.retries.delay_s(fate, attempts, random.random())

    def _renew_authorization(self, connection: Connection) -> None:
        # Apple's hosts take no token any more on a connection that has shown an expired one
        connection.retire()
        if self._options.authorization is not None:
            self._options.authorization.expired(self._clock.wall())

    def _settle(self, flight: Flight, fate: Fate, holder: Connection | None = None) -> None:
        """Make the result; until it is taken it holds its place on the connection `holder`."""
        self._flights.remove(flight)
        self._counts[fate.outcome] += 1
        if holder is not None:
            holder.held += 1
        result = Result(
            request=flight.request,
            outcome=fate.outcome,
            status=fate.status,
            reason=fate.reason,
            id=fate.id,
            timestamp_ms=fate.timestamp_ms,
            attempts=flight.attempts,
        )
        self._outbox.put(result, holder)

    def _abandon(self, flight: Flight, why: str) -> None:
        """Settle what is on no connection: as it was answered last, if it was."""
        self._settle(flight, flight.last or Fate(flight, Outcome.UNSENT, reason=why))

    def _abandon_all(self, why: str) -> None:
        """Settle what is on no connection; the rest is settled as the connections end."""
        self._waiting.clear()
        for flight in [flight for flight in self._flights if flight.connection is None]:
            self._abandon(flight, why)

    def _delivered(self, holder: Connection) -> None:
        holder.held -= 1
        self._pool.has_room(holder)

    def _wake(self) -> None:
        """Let the dispatcher look again, if it waits and has cause to."""
        if self._input_over and not self._flights:
            self._pause.cancel()
        elif self._waiting.next_at < self._pause.deadline:
            self._pause.deadline = self._waiting.next_at

    def _has_input(self) -> bool:
        """Whether something is there to be sent."""
        channel = self._requests.statistics()
        return channel.tasks_waiting_send > 0 or self._waiting.next_at <= trio.current_time()

    def _lose_patience(self, failure: Unreachable) -> None:
        self.failure = failure
        self.give_up(str(failure))

    def _session(self, is_h2: bool) -> Session:
        host = self._host
        if is_h2:
            return H2Session(host.scheme, host.authority, self._options.max_streams)
        return Http1Session(host.authority)


@asynccontextmanager
async def open_client(
    url: str,
    options: Options | None = None,
    *,
    dial: Dial | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Client]:
    """A client that pushes to the host at `url` while the block runs.

    Close `requests` and read `results` to their end, and nothing is lost; who leaves the block
    before has the connections cut, and hears no more of what was under way. Raises ConfigError
    for an URL that names no host; one that is out of reach shows in `failure`, by `patience_s`.
    `dial` replaces the network.
    """
    options = options or Options()
    host = host_of(url)
    dial = dial or dialer(host, options.http, options.context, options.dial_s)
    client = Client(host, options, dial, clock or Clock())
    body = Body()
    with body.unwrapped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client._run)
            try:
                with body.running():
                    yield client
            finally:
                nursery.cancel_scope.cancel()
