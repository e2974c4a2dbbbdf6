"""kill -9, for real: a server under load is killed at random moments and started again.

Whatever got its 200 arrives; whatever was recalled with a 200 does not; and what arrives twice
was delivered in the moment before a kill.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import trio

from tests.fault.process import Serve, serve
from tests.serving import PATIENCE_S
from trio_push.wire.sse_parser import EventStreamParser

ROUNDS = 5
#: how long the server lives in each round
LIFE_S = (0.2, 0.9)
#: pushes that are accepted in each round at least
AT_LEAST = 100
#: pushes of one connection that are under way together
PIPELINED = 8

#: tokens whose devices are away, come and go, and acknowledge
AWAY = [f"a{n}" for n in range(4)]
RESTLESS = [f"b{n}" for n in range(4)]
ACKING = [f"c{n}" for n in range(4)]
TOKENS = AWAY + RESTLESS + ACKING


class Account:
    """What the senders were told and what the devices have read, over all lives."""

    def __init__(self) -> None:
        self._number = 0
        self.accepted: set[int] = set()
        #: those that want their acknowledgement
        self.acking: set[int] = set()
        #: asked to be recalled, and told to have been
        self.recalling: set[int] = set()
        self.recalled: set[int] = set()
        #: of which server, counted from 0, each was read, and when, by time.monotonic
        self.read: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
        #: of each server: what was delivered by this time, by time.monotonic, it has written down
        self.written: list[float] = []

    def next(self) -> int:
        self._number += 1
        return self._number

    def missing(self) -> set[int]:
        return self.accepted - self.recalling - self.read.keys()


class Answer(NamedTuple):
    status: int
    body: bytes


class Connection:
    """HTTP/1.1 that ends with EndOfLife when the server does."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._rest = b""

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *args: object) -> None:
        await trio.aclose_forcefully(self._stream)

    async def send(self, *data: bytes) -> None:
        try:
            await self._stream.send_all(b"".join(data))
        except trio.BrokenResourceError:
            raise EndOfLife from None

    async def receive(self) -> bytes:
        rest, self._rest = self._rest, b""
        if rest:
            return rest
        try:
            chunk = await self._stream.receive_some()
        except trio.BrokenResourceError:
            raise EndOfLife from None
        if not chunk:
            raise EndOfLife
        return bytes(chunk)

    async def request(self, method: str, target: str, json_body: object = None) -> Answer:
        body = b"" if json_body is None else json.dumps(json_body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        await self.send(_b(f"{head}Content-Length: {len(body)}\r\n\r\n"), body)
        return await self.answer()

    async def answer(self) -> Answer:
        """The next one; of one without a length the body is left to be received."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
        size = int(length[1]) if length else 0
        while len(body) < size:
            body += await self.receive()
        self._rest = body[size:]
        return Answer(int(head.split()[1]), body[:size])


class EndOfLife(Exception):
    """The server is gone."""


class Life:
    """One process, from its start to its death."""

    def __init__(self, server: Serve, account: Account) -> None:
        self._server = server
        self._account = account
        self._number = len(account.written)
        account.written.append(0.0)

    def kill(self) -> None:
        self._server.process.kill()

    async def connect(self, url: str) -> Connection:
        place = urlsplit(url)
        return Connection(await trio.open_tcp_stream(str(place.hostname), int(place.port or 0)))

    async def books(self) -> Any:
        async with await self.connect(self._server.api) as api:
            return json.loads((await api.request("GET", "/v1/ledger")).body)

    # -- senders; each ends when the server does

    async def push_over_apns(self) -> None:
        """Pipelined, each with a topic of its own, or the newer would replace the older."""
        async with await self.connect(self._server.url) as wire:
            while True:
                numbers = [self._account.next() for _ in range(PIPELINED)]
                await wire.send(*map(_apns_request, numbers))
                for number in numbers:
                    assert (await wire.answer()).status == 200
                    self._account.accepted.add(number)

    async def push_over_the_api(self, rng: random.Random) -> None:
        async with await self.connect(self._server.api) as api:
            while True:
                number = self._account.next()
                acked = rng.random() < 0.5
                order: dict[str, Any] = {"id": str(number), "payload": {"n": number}}
                if acked:
                    order |= {"token": rng.choice(ACKING), "ack": True}
                    self._account.acking.add(number)
                else:
                    order |= {"token": rng.choice(AWAY + RESTLESS), "delay_s": rng.uniform(0.5, 2)}
                asked = time.monotonic()
                assert (await api.request("POST", "/v1/push", order)).status == 200
                self._account.accepted.add(number)
                # To be answered it had to be written, and with it all that happened before it.
                written = self._account.written
                written[self._number] = max(asked, written[self._number])
                if not acked and rng.random() < 0.3:
                    self._account.recalling.add(number)
                    if (await api.request("DELETE", f"/v1/push/{number}")).status == 200:
                        self._account.recalled.add(number)

    # -- devices

    async def listen(self, token: str) -> None:
        """Read until the server ends; acknowledge half of what asks for it."""
        async with (
            await self.connect(self._server.url) as wire,
            await self.connect(self._server.url) as acks,
        ):
            await wire.send(b"GET /events?token=%b HTTP/1.1\r\nHost: x\r\n\r\n" % _b(token))
            await wire.answer()
            parser = EventStreamParser()
            while True:
                for event in parser.feed(await wire.receive()):
                    number = json.loads(event.data)["n"]
                    self._account.read[number].append((self._number, time.monotonic()))
                    if number in self._account.acking and number % 2:
                        body = {"notification_id": str(number)}
                        await acks.request("POST", f"/events/ack?token={token}", body)


def _b(text: object) -> bytes:
    return str(text).encode()


def _apns_request(number: int) -> bytes:
    token = (AWAY + RESTLESS)[number % 8]
    body = b'{"n":%d}' % number
    return (
        b"POST /3/device/%b HTTP/1.1\r\nHost: x\r\napns-push-type: mdm\r\napns-topic: t%d\r\n"
        b"apns-expiration: %d\r\nContent-Length: %d\r\n\r\n%b"
    ) % (_b(token), number, time.time() + 3600, len(body), body)


@asynccontextmanager
async def living(path: Path, account: Account) -> AsyncIterator[Life]:
    flags = ("--store", f"sqlite:{path}", "--store-per-token", "100000")
    async with serve(*flags, api="127.0.0.1:0") as server:
        yield Life(server, account)


async def until_its_end(work: Any, *args: Any) -> None:
    """Do the work of a client of a server that dies under it."""
    with suppress(EndOfLife, OSError):
        await work(*args)


async def test_nothing_that_was_accepted_is_lost(tmp_path: Path) -> None:
    account, rng = Account(), random.Random(9)
    path = tmp_path / "pushes.db"
    for n in range(ROUNDS):
        with trio.fail_after(PATIENCE_S):
            async with living(path, account) as life, trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(until_its_end, life.push_over_apns)
                for _ in range(2):
                    nursery.start_soon(until_its_end, life.push_over_the_api, rng)
                for token in [*rng.sample(RESTLESS, 2), *ACKING]:
                    nursery.start_soon(until_its_end, life.listen, token)
                await trio.sleep(rng.uniform(*LIFE_S))
                while len(account.accepted) < AT_LEAST * (n + 1) or not account.recalled:
                    await trio.sleep(0.02)
                life.kill()

    async with living(path, account) as life, trio.open_nursery() as nursery:
        for token in TOKENS:
            nursery.start_soon(until_its_end, life.listen, token)
        with trio.move_on_after(PATIENCE_S):
            while account.missing():
                await trio.sleep(0.1)
        await trio.sleep(0.5)
        books = await life.books()
        life.kill()

    assert account.missing() == set()
    assert account.recalled.isdisjoint(account.read)
    assert books["balanced"], books
    assert books["restored"] > 0
    for number, times in account.read.items():
        for life_number, earlier in times[:-1]:
            was_written = earlier < account.written[life_number]
            assert not was_written or number in account.acking, (number, times, account.written)
