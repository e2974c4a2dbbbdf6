"""Child processes of a run: started in a session of their own, spoken to in lines, always ended.

Every server and load generator is one. A child says what it did in JSON lines
(`{"event": "listening", ...}`), among whatever else it prints.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

import trio

#: a child that does not end by then after SIGTERM is killed; a server drains within 10 s
_TERM_S: Final = 15
#: lines of output kept to tell why a child died
_LAST_LINES: Final = 20
#: events kept for who may ask; servers log few, and what nobody asks for must not pile up
_EVENTS: Final = 1000

Event = dict[str, Any]  # JSON, whatever the child says
Address = tuple[str, int]


class Failed(Exception):
    """A measurement could not be taken; says why."""


class ChildDied(Failed):
    """A child ended before it said what was waited for; carries its last lines."""


class Child:
    """A running child. Made by `running`."""

    def __init__(self, name: str, process: trio.Process) -> None:
        self._name = name
        self._process = process
        self._events: deque[Event] = deque(maxlen=_EVENTS)
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._ended = False
        self._news = trio.lowlevel.ParkingLot()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def event(self, name: str, **having: object) -> Event:
        """Wait for the next event `name` with these fields. Raises ChildDied."""
        while True:
            for event in self._events:
                if event["event"] == name and having.items() <= event.items():
                    self._events.remove(event)
                    return event
            if self._ended:
                raise ChildDied(
                    f"{self._name} ended before {name!r}:\n" + "\n".join(self._last_lines)
                )
            await self._news.park()

    async def listening(self, listener: str) -> Address:
        """Wait until the child says where its listener `listener` is."""
        url = urlsplit((await self.event("listening", listener=listener))["url"])
        assert url.hostname is not None
        assert url.port is not None
        return (url.hostname, url.port)

    async def tell(self, line: str) -> None:
        """Write one line to the child's standard input."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(line.encode() + b"\n")

    async def terminate(self) -> None:
        """Ask the child to end, and wait until it has."""
        self._process.terminate()
        await self._process.wait()

    async def _read(self) -> None:
        """Take in what the child prints; runs as long as it can print."""
        assert self._process.stdout is not None
        rest = b""
        async with self._process.stdout as stdout:
            async for chunk in stdout:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(line)
                self._news.unpark_all()
        self._ended = True
        self._news.unpark_all()

    def _take(self, line: bytes) -> None:
        self._last_lines.append(line.decode(errors="replace"))
        with suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and "event" in event:
                self._events.append(event)

    async def _stop(self) -> None:
        """End the child and all that it started: politely, then not."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        with trio.move_on_after(_TERM_S):
            await self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()


@asynccontextmanager
async def running(command: Sequence[str]) -> AsyncIterator[Child]:
    """Run `command` while the block runs. Its output is read to the end of the block.

    A session of its own keeps a Ctrl-C on the terminal from the child: it is the parent that
    ends its children, in order.
    """
    process = await trio.lowlevel.open_process(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    child = Child(shlex.join(command), process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child._read)
        try:
            yield child
        finally:
            with trio.CancelScope(shield=True):
                await child._stop()
            nursery.cancel_scope.cancel()
