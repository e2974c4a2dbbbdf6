"""What a device hears, for those who have to look inside: pushes with `{"n": N}`, and sync results.

Used by the devices that come back (`loadtest.returners`). Pure; streams may be cut anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import orjson

from loadtest.frames import frames


class Push(NamedTuple):
    """The `n`th push for a device, and the cursor that stands for it."""

    n: int
    cursor: bytes


class Resumed(NamedTuple):
    """The server's word on what was missed."""

    recovered: bool


#: takes what has come; gives what was said, and what is not all there yet
Parse = Callable[[bytes], tuple[list[Push | Resumed], bytes]]


def parse_events(data: bytes) -> tuple[list[Push | Resumed], bytes]:
    """Server-sent events."""
    *events, rest = data.split(b"\n\n")
    heard: list[Push | Resumed] = []
    for event in events:
        fields = dict(line.partition(b": ")[::2] for line in event.split(b"\n"))
        if fields.get(b"event") == b"sync_result":
            heard.append(Resumed(orjson.loads(fields[b"data"])["recovered"]))
        elif b"data" in fields:
            heard.append(Push(orjson.loads(fields[b"data"])["n"], fields[b"id"]))
    return heard, rest


def parse_messages(data: bytes) -> tuple[list[Push | Resumed], bytes]:
    """WebSocket frames; pings are left unanswered, as no run is long enough for it to matter."""
    heard: list[Push | Resumed] = []
    end = 0
    for opcode, start, end in frames(data):
        if opcode != 1:
            continue
        message = orjson.loads(data[start:end])
        if message["type"] == "sync_result":
            heard.append(Resumed(message["recovered"]))
        elif message["type"] == "notification":
            cursor = f"{message['epoch']}:{message['seq']}".encode()
            heard.append(Push(message["data"]["n"], cursor))
    return heard, data[end:]
