"""The driver's end of a crowd of devices (`loadtest.clients`, a process of its own)."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from loadtest.child import Address, Child, Failed, running

#: a server that takes 2 ms to accept a device still has time for 15,000
_CONNECT_S = 120
#: one event to all devices, or a second's worth of pushes, is never so long under way
_RECEIVE_S = 60


@dataclass(frozen=True)
class Received:
    """What all devices together had received when the expected number of events was there."""

    bytes: int
    at_s: float


@dataclass(frozen=True)
class Crowd:
    """Devices that are connected."""

    connect_s: float
    _child: Child

    async def expect(self, events: int) -> None:
        """Say which number of events, all counted since they connected, is to be reported."""
        await self._child.tell(f"expect {events}")

    async def received(self) -> Received:
        """Wait until as many as expected came. Raises Failed when they do not."""
        with trio.move_on_after(_RECEIVE_S):
            event = await self._child.event("received")
            return Received(event["bytes"], event["at_s"])
        raise Failed(f"not all events arrived within {_RECEIVE_S} s")


@asynccontextmanager
async def connected(
    address: Address, path: str, devices: int, transport: str = "sse"
) -> AsyncIterator[Crowd]:
    """Keep `devices` connected while the block runs. Raises Failed when some cannot."""
    host, port = address
    command = [
        sys.executable,
        "-m",
        "loadtest.clients",
        host,
        str(port),
        path,
        str(devices),
        transport,
    ]
    async with running(command) as child:
        count = 0
        with trio.move_on_after(_CONNECT_S):
            event = await child.event("connected")
            count = event["devices"]
        if count != devices:
            raise Failed(f"only {count} of {devices} devices connected within {_CONNECT_S} s")
        yield Crowd(event["seconds"], child)
