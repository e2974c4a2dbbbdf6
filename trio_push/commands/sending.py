"""Sends orders to the server's own API: one, or those of a file as fast as it answers.

Used by `push --via api`. Bounded: a file of any length is read no faster than it is sent.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from dataclasses import replace

import httpx
import trio

from trio_push.clock import Clock
from trio_push.commands import orders
from trio_push.commands.client import json_object, reaching
from trio_push.commands.orders import Answer, Order
from trio_push.errors import ConfigError, PushError, Unreachable
from trio_push.settings import with_place

#: requests under way at once: as many connections as httpx keeps open between requests
CONCURRENCY = 20
#: how much of a file is read at a time
CHUNK_BYTES = 64 * 1024


class Sender:
    """Speaks with the API at `url`."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self._clock = Clock()

    def request(self, order: Order) -> httpx.Request:
        """The request that carries `order`; ConfigError if it cannot be said this way."""
        return orders.api_request(self._client, self._url, order, self._clock.wall())

    async def send(self, order: Order, request: httpx.Request) -> Answer:
        """Raises Unreachable; cancelled, nobody knows whether the push was accepted."""
        with reaching(self._url):
            response = await self._client.send(request)
        return orders.api_answer(order, response)


async def find_api(client: httpx.AsyncClient, url: str) -> str:
    """The URL of the API of the server at `url`; that may be the API already."""
    with reaching(url):
        response = await client.get(f"{url}/stats")
    if response.status_code == 404:
        return url
    api = json_object(response).get("api")
    if not isinstance(api, str):
        raise ConfigError(f"{url} tells of no API (/stats): give the API's own address as --url")
    # one that listens on every interface is reached as the wire listener was
    if httpx.URL(api).host in ("0.0.0.0", "::"):
        api = httpx.URL(api).copy_with(host=httpx.URL(url).host)
    return str(api).rstrip("/")


async def send_lines(
    lines: AsyncIterable[bytes],
    place: str,
    defaults: Order,
    sender: Sender,
    take: Callable[[Answer], None],
) -> None:
    """Send the order in each of `lines`; `take` gets the answers as they come.

    Raises Unreachable, and ConfigError for a line that is no order, after those before it were
    sent.
    """
    send_end, receive_end = trio.open_memory_channel[tuple[int, Order, httpx.Request]](0)
    # kept until the tasks have ended: it is raised by itself, not once per task
    problem: PushError | None = None
    number = 0

    def parse(line: bytes) -> tuple[int, Order, httpx.Request]:
        order = orders.order_of_line(line, defaults)
        return number, order, sender.request(order)

    async def work() -> None:
        nonlocal problem
        try:
            async for line, order, request in receive_end:
                take(replace(await sender.send(order, request), line=line))
        except Unreachable as exc:
            problem = exc
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery, send_end:
        for _ in range(CONCURRENCY):
            nursery.start_soon(work)
        try:
            async for line in lines:
                number += 1
                if line.strip():
                    await send_end.send(with_place(f"{place}:{number}", parse, line))
        except ConfigError as exc:
            problem = exc
    if problem is not None:
        raise problem


async def lines_of(fd: int, on_read: Callable[[int], None]) -> AsyncGenerator[bytes]:
    """The lines of an open file, be it a pipe, a terminal or on disk; close it with `aclosing`.

    `on_read` is told of the bytes as they are read. Waiting for them can be cancelled, which
    leaves a thread behind that waits on: only when the process is about to end.
    """
    rest = b""
    while chunk := await trio.to_thread.run_sync(os.read, fd, CHUNK_BYTES, abandon_on_cancel=True):
        on_read(len(chunk))
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
    yield rest
