"""A server for the commands to talk to, that says what a test wants it to say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import hypercorn.trio
import pytest
import trio
from hypercorn.config import Config


class Seen(NamedTuple):
    """A request as it arrived."""

    http_version: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered. After a chunk that is None nothing comes until the client goes."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunks: tuple[bytes | None, ...] = ()


def json_reply(status: int, body: object, **headers: str) -> Reply:
    return Reply(status, headers, (json.dumps(body).encode(),))


@dataclass
class FakeServer:
    """Answers each request with what `answer` returns for it, and remembers the requests."""

    answer: Callable[[Seen], Reply] = lambda _: Reply()
    seen: list[Seen] = field(default_factory=list)
    url: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):  # startup and shutdown
                event = await receive()
                await send({"type": f"{event['type']}.complete"})
            return
        request = Seen(
            scope["http_version"],
            scope["method"],
            scope["path"],
            scope["query_string"].decode(),
            {name.decode(): value.decode() for name, value in scope["headers"]},
            await _body(receive),
        )
        self.seen.append(request)
        reply = self.answer(request)
        headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        for chunk in reply.chunks:
            if chunk is None:
                await receive()
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            return body


@pytest.fixture
async def server(nursery: trio.Nursery) -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = 0.1
    # else a connection that a busy machine leaves idle is closed as a push is sent on it
    config.keep_alive_timeout = 600
    stop = trio.Event()
    (fake.url,) = await nursery.start(_serve, fake, config, stop)
    yield fake
    stop.set()


async def _serve(
    app: FakeServer, config: Config, stop: trio.Event, *, task_status: trio.TaskStatus[list[str]]
) -> None:
    await hypercorn.trio.serve(app, config, shutdown_trigger=stop.wait, task_status=task_status)
