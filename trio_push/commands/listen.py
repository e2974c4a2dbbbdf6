"""`trio-push listen`: be one device in a terminal and print what it gets.

Events go to stdout, what becomes of the connection to stderr. When the connection ends it is
opened again, and goes on after the last event that was seen.
"""

from __future__ import annotations

import json
import random
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import httpx
import trio
from cyclopts import Parameter
from httpx_sse import ServerSentEvent, aconnect_sse
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from trio_push.commands.client import base_url, open_client, reason_in, reason_of, unreachable
from trio_push.commands.flags import make_command
from trio_push.errors import ConfigError
from trio_push.settings import setting
from trio_push.swarm.reconnect import delay_s, is_healthy

#: a stream that is silent for this long is dead: three times the server's usual keep-alive
SILENCE_S = 90

_is_jwt = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII).fullmatch


def _check_jwt(text: str) -> None:
    if not _is_jwt(text):
        raise ConfigError("a JWT is three parts of letters, digits, - and _, with dots between")


@dataclass(frozen=True, kw_only=True, slots=True)
class ListenSettings:
    """What `trio-push listen` can be told."""

    url: str = setting("http://127.0.0.1:8080", "The server.", unit="url", check=base_url)
    count: int | None = setting(None, "End after so many events.", unit="events", minimum=1)
    json: bool = setting(False, "Print each event as a line of JSON.")
    ca: str | None = setting(None, "PEM file of the CA to trust.", unit="file")
    jwt: str | None = setting(
        None,
        "The device's JWT, if the server asks for one; better as TRIO_PUSH_JWT.",
        check=_check_jwt,
        secret=True,
    )


async def run(
    settings: ListenSettings, token: Annotated[str, Parameter(help="The device token, hex.")]
) -> int:
    """Be the device until enough was seen, or SIGINT or SIGTERM ends it."""
    url = base_url(settings.url)
    device = Device(url, token, print_json if settings.json else print_pretty, settings.count)
    timeout = httpx.Timeout(10, read=SILENCE_S)
    code = 0 if settings.count is None else 130
    async with (
        open_client(ca=settings.ca, timeout=timeout, http2=False, bearer=settings.jwt) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_cancel_on_signal, nursery.cancel_scope)
        code = await device.run(client)
        nursery.cancel_scope.cancel()
    return code


listen = make_command(
    "listen",
    ListenSettings,
    run,
    epilogue="Ctrl-C ends it; the exit code is then 0, or 130 before --count is reached.",
)


async def _cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


class Device:
    """One device: connects, shows each event, connects again."""

    def __init__(
        self,
        url: str,
        token: str,
        show: Callable[[ServerSentEvent], None],
        count: int | None = None,
    ) -> None:
        self._url = url
        self._token = token
        self._show = show
        #: end after so many events; None: never
        self._count = count
        self._seen = 0
        #: where the next connection goes on
        self._last_event_id = ""
        #: the least wait before it, as the server asked with `retry:`
        self._retry_s = 0.0
        self._was_connected = False

    async def run(self, client: httpx.AsyncClient) -> int:
        """Be the device until `count` events were seen or the server wants it no more.

        Returns the exit code. Raises Unreachable if not even the first connection succeeds.
        """
        failures = 0
        while True:
            began, seen = trio.current_time(), self._seen
            try:
                code = await self._stream(client)
                if code is not None:
                    return code
            except httpx.TransportError as exc:
                if not self._was_connected:
                    raise unreachable(self._url, exc) from exc
                _say(f"disconnected: {reason_of(exc)}")
            healthy = is_healthy(trio.current_time() - began, self._seen - seen)
            failures = 0 if healthy else failures + 1
            wait_s = delay_s(failures, random.random(), at_least_s=self._retry_s)
            _say(f"connecting again in {wait_s:.1f}s")
            await trio.sleep(wait_s)

    async def _stream(self, client: httpx.AsyncClient) -> int | None:
        """One connection; returns an exit code, or None when another one is to follow."""
        headers = {"Last-Event-ID": self._last_event_id} if self._last_event_id else {}
        async with aconnect_sse(
            client, "GET", f"{self._url}/events", params={"token": self._token}, headers=headers
        ) as source:
            self._was_connected = True
            if not _is_event_stream(source.response):
                await source.response.aread()
                return self._refused(source.response)
            _say(f"connected to {self._url} as {self._token}")
            # httpx's generators clean up when cancelled, but not when merely dropped
            with trio.CancelScope() as enough:
                async for event in source.aiter_sse():
                    if not enough.cancel_called:
                        self._take(event)
                    if self._seen == self._count:
                        enough.cancel()
            if enough.cancel_called:
                return 0
            _say("the server ended the stream")
            return None

    def _take(self, event: ServerSentEvent) -> None:
        if event.retry is not None:
            self._retry_s = event.retry / 1000
        self._last_event_id = event.id or self._last_event_id
        if event.data:
            self._seen += 1
            self._show(event)

    def _refused(self, response: httpx.Response) -> int | None:
        """What an answer without events means; an exit code, or None: try again."""
        if response.status_code == 204:
            _say("the server has no more for this device")
            return 0
        _say(f"{self._url} gave no events: {response.status_code} {reason_in(response)}")
        retry_after = response.headers.get("Retry-After", "")
        if retry_after.isdecimal():
            self._retry_s = float(retry_after)
        return None if response.status_code >= 500 else 1


def _is_event_stream(response: httpx.Response) -> bool:
    content_type = response.headers.get("Content-Type", "")
    return response.status_code == 200 and content_type.startswith("text/event-stream")


def print_json(event: ServerSentEvent) -> None:
    """One line: when it came (UTC), id, event, and data, as JSON if that is what it is."""
    try:
        data = event.json()
    except ValueError:
        data = event.data
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "id": event.id, "event": event.event, "data": data}
    print(json.dumps(line, ensure_ascii=False), flush=True)


def print_pretty(event: ServerSentEvent) -> None:
    """When it came, event and id; then the data, indented and in colours if it is JSON."""
    now = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
    parts = [(now, "dim"), (_printable(event.event), "bold"), (_printable(event.id), "dim")]
    head = Text("  ").join(Text(*part) for part in parts)
    try:
        data = Text(_printable(json.dumps(event.json(), indent=2, ensure_ascii=False)))
        JSONHighlighter().highlight(data)
    except ValueError:
        data = Text(_printable(event.data))
    # the console is made each time: it looks then whether stdout is a terminal
    Console().print(head, data, sep="\n", soft_wrap=True)


def _printable(text: str) -> str:
    """`text` without what a terminal would obey: an event comes from anyone."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def _say(what: str) -> None:
    print(f"trio-push: {what}", file=sys.stderr, flush=True)
