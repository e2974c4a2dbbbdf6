"""Where the numbers of a server's events stand when a run begins.

A device that is cut off before its first event has no event id to come back with, and what it
had been sent would be gone. What it missed came after the beginning of the run: it asks from there.
(To ask from there is to acknowledge what the server had stored for the device before. A device that
is cut off in the moment between the head of its first response and the first event that was
stored from before the run gives those up: the books then show it.)
"""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
import trio

from trio_push.errors import ProtocolError, Unreachable
from trio_push.sockets import receive_some, send_all
from trio_push.swarm.population import EVENTS_PATH, SYNC_RESULT, Destination
from trio_push.swarm.target import Target, open_connection
from trio_push.wire.cursor import Cursor
from trio_push.wire.http_response import ResponseParser
from trio_push.wire.sse_parser import Event, EventStreamParser

#: time that a server has to tell
_TIMEOUT_S: Final = 10.0
#: an event id that no server of ours gives: who asks from it is told where the numbers stand
_UNKNOWN: Final = "-"


class _Stats(msgspec.Struct):
    server: str = ""


class _Answer(msgspec.Struct):
    epoch: str
    to: int


async def find_start(destination: Destination) -> Cursor | None:
    """The last event of a server of ours; None when it is another, or does not tell.

    For that a device that nobody knows is connected, for a moment.
    """
    with trio.move_on_after(_TIMEOUT_S):
        try:
            if await _is_ours(destination.target):
                return await _ask(destination)
        except (OSError, Unreachable, ProtocolError, msgspec.DecodeError):
            pass
    return None


async def _is_ours(target: Target) -> bool:
    body = b""
    with await open_connection(target, timeout_s=_TIMEOUT_S) as sock:
        await send_all(sock, _request(target, "/stats", {"Connection": "close"}))
        response = ResponseParser()
        while not response.complete and (data := await receive_some(sock)):
            body += response.feed(data)
    return msgspec.json.decode(body, type=_Stats).server == "trio-push"


async def _ask(destination: Destination) -> Cursor | None:
    target = destination.target
    token = secrets.token_hex(32)
    headers = {"Last-Event-ID": _UNKNOWN, **destination.proof(token)}
    path = EVENTS_PATH.replace("{token}", token)
    response, events = ResponseParser(), EventStreamParser()
    with await open_connection(target, timeout_s=_TIMEOUT_S) as sock:
        await send_all(sock, _request(target, path, headers))
        while not response.complete and (data := await receive_some(sock)):
            for event in events.feed(response.feed(data)):
                if event.event == SYNC_RESULT:
                    return _cursor(event)
    return None


def _request(target: Target, path: str, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: {target.authority}\r\n{lines}\r\n".encode()


def _cursor(event: Event) -> Cursor:
    answer = msgspec.json.decode(event.data, type=_Answer)
    return Cursor(answer.epoch, answer.to)
