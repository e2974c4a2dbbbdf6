"""kill -9, for real: a server under load is killed at random moments and started again.

Whatever got its 200 arrives; whatever was recalled with a 200 does not; and what arrives twice
was delivered in the moment before a kill.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import trio

from loadtest.child import Address, Child, running
from trio_push.wire.sse_parser import EventStreamParser

ROUNDS = 5
#: how long the server lives in each round
LIFE_S = (0.2, 0.9)
#: by then a delivery is written down, on a busy machine too
WRITTEN_S = 1.0
#: pushes of one connection that are under way together
PIPELINED = 8
PATIENCE_S = 20

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
        #: those among them that want their acknowledgement
        self.acking: set[int] = set()
        self.recalled: set[int] = set()
        #: when each was read, by time.monotonic
        self.read: defaultdict[int, list[float]] = defaultdict(list)
        self.kills: list[float] = []

    def next(self) -> int:
        self._number += 1
        return self._number

    @property
    def expected(self) -> set[int]:
        return self.accepted - self.recalled

    def missing(self) -> set[int]:
        return self.expected - self.read.keys()


class Life:
    """One process, from its start to its death."""

    def __init__(self, child: Child, wire: Address, api: Address, account: Account) -> None:
        self._child = child
        self._wire = wire
        self._account = account
        self.api = httpx.AsyncClient(base_url=f"http://{api[0]}:{api[1]}", timeout=PATIENCE_S)

    def kill(self) -> None:
        os.kill(self._child.pid, signal.SIGKILL)
        self._account.kills.append(time.monotonic())

    # -- senders; each ends when the server does

    async def push_over_apns(self) -> None:
        """Pipelined, each with a topic of its own, or the newer would replace the older."""
        stream = await trio.open_tcp_stream(*self._wire)
        async with stream:
            while True:
                numbers = [self._account.next() for _ in range(PIPELINED)]
                await stream.send_all(b"".join(map(_apns_request, numbers)))
                answers = b""
                for number in numbers:
                    while b"\r\n\r\n" not in answers:
                        chunk = await stream.receive_some()
                        if not chunk:
                            return
                        answers += chunk
                    head, _, answers = answers.partition(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200 "), head
                    self._account.accepted.add(number)

    async def push_over_the_api(self, rng: random.Random) -> None:
        while True:
            number = self._account.next()
            acked = rng.random() < 0.5
            order: dict[str, Any] = {"id": str(number), "payload": {"n": number}}
            if acked:
                order |= {"token": rng.choice(ACKING), "ack": True}
            else:
                order |= {"token": rng.choice(AWAY + RESTLESS), "delay_s": rng.uniform(0.5, 2)}
            answer = await self.api.post("/v1/push", json=order)
            assert answer.status_code == 200, answer.text
            self._account.accepted.add(number)
            if acked:
                self._account.acking.add(number)
            elif rng.random() < 0.3 and await self._recall(number):
                self._account.recalled.add(number)

    async def _recall(self, number: int) -> bool:
        return (await self.api.delete(f"/v1/push/{number}")).status_code == 200

    # -- devices

    async def listen(self, token: str) -> None:
        """Read until the server ends; acknowledge half of what asks for it."""
        stream = await trio.open_tcp_stream(*self._wire)
        async with stream:
            await stream.send_all(b"GET /events?token=%b HTTP/1.1\r\nHost: x\r\n\r\n" % _b(token))
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some()
            parser = EventStreamParser()
            chunk = head.partition(b"\r\n\r\n")[2]
            while True:
                for event in parser.feed(chunk):
                    number = json.loads(event.data)["n"]
                    self._account.read[number].append(time.monotonic())
                    if number in self._account.acking and number % 2:
                        await self._acknowledge(token, number)
                chunk = await stream.receive_some()
                if not chunk:
                    return

    async def _acknowledge(self, token: str, number: int) -> None:
        url = f"http://{self._wire[0]}:{self._wire[1]}/events/ack?token={token}"
        await self.api.post(url, json={"notification_id": str(number)})


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
    command = (
        *(sys.executable, "-m", "trio_push", "serve"),
        *("--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"),
        *("--store", f"sqlite:{path}", "--store-per-token", "100000"),
    )
    async with running(command) as child:
        wire, api = await child.listening("wire"), await child.listening("api")
        life = Life(child, wire, api, account)
        async with life.api:
            yield life


async def until_its_end(work: Any, *args: Any) -> None:
    """Do the work of a client of a server that dies under it."""
    with suppress(OSError, trio.BrokenResourceError, httpx.HTTPError):
        await work(*args)


async def test_nothing_that_was_accepted_is_lost(tmp_path: Path) -> None:
    account, rng = Account(), random.Random(9)
    path = tmp_path / "pushes.db"
    for _ in range(ROUNDS):
        with trio.fail_after(PATIENCE_S):
            async with living(path, account) as life, trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(until_its_end, life.push_over_apns)
                for _ in range(2):
                    nursery.start_soon(until_its_end, life.push_over_the_api, rng)
                for token in [*rng.sample(RESTLESS, 2), *ACKING]:
                    nursery.start_soon(until_its_end, life.listen, token)
                await trio.sleep(rng.uniform(*LIFE_S))
                life.kill()
    assert len(account.accepted) > 100 * ROUNDS
    assert account.recalled

    async with living(path, account) as life, trio.open_nursery() as nursery:
        for token in TOKENS:
            nursery.start_soon(until_its_end, life.listen, token)
        with trio.move_on_after(PATIENCE_S):
            while account.missing():
                await trio.sleep(0.1)
        await trio.sleep(0.5)
        books = (await life.api.get("/v1/ledger")).json()
        life.kill()

    assert account.missing() == set()
    assert account.recalled.isdisjoint(account.read)
    assert books["balanced"], books
    assert books["restored"] > 0
    for number, times in account.read.items():
        for earlier in times[:-1]:
            in_time = any(0 <= kill - earlier < WRITTEN_S for kill in account.kills)
            assert in_time or number in account.acking, (number, times, account.kills)
