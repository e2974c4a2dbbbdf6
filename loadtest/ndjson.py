"""POST a long list of JSON lines, reading the answer's lines while still sending.

httpx sends a whole request before it reads: with a million lines both sides would come to
wait for the other to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

import h11
import trio

from loadtest.child import Address, Failed

_LINES_PER_WRITE: Final = 500
_RECEIVE_BYTES: Final = 65536


async def post_lines(
    address: Address, path: str, lines: Iterable[bytes], take: Callable[[bytes], None]
) -> None:
    """Send `lines` and hand each line of the answer to `take`.

    Raises Failed when the answer is not 200.
    """
    protocol = h11.Connection(h11.CLIENT)
    async with (
        await trio.open_tcp_stream(*address) as stream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_send, stream, protocol, path, lines)
        await _receive(stream, protocol, take)
        nursery.cancel_scope.cancel()


async def _send(
    stream: trio.SocketStream, protocol: h11.Connection, path: str, lines: Iterable[bytes]
) -> None:
    """Send it all, unless the server will not read on: why, its answer says."""
    headers = [
        ("Host", "localhost"),
        ("Content-Type", "application/x-ndjson"),
        ("Transfer-Encoding", "chunked"),
    ]
    head = h11.Request(method="POST", target=path, headers=headers)
    with suppress(trio.BrokenResourceError):
        await stream.send_all(_bytes(protocol, head))
        for batch in _batches(lines):
            data = h11.Data(data=b"".join(line + b"\n" for line in batch))
            await stream.send_all(_bytes(protocol, data))
        await stream.send_all(_bytes(protocol, h11.EndOfMessage()))


def _bytes(protocol: h11.Connection, event: h11.Event) -> bytes:
    data = protocol.send(event)
    assert data is not None
    return data


def _batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = iter(lines)
    while batch := list(islice(rest, _LINES_PER_WRITE)):
        yield batch


async def _receive(
    stream: trio.SocketStream, protocol: h11.Connection, take: Callable[[bytes], None]
) -> None:
    torn = b""
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(await stream.receive_some(_RECEIVE_BYTES))
        elif isinstance(event, h11.Response) and event.status_code != 200:
            raise Failed(f"refused with {event.status_code}")
        elif isinstance(event, h11.Data):
            *whole, torn = (torn + bytes(event.data)).split(b"\n")
            for line in whole:
                take(line)
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return
