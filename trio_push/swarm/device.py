"""The life of a device: connect, receive, wait, connect again; whatever it is made of."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import NoReturn, Protocol

import trio

from trio_push.swarm.population import Population
from trio_push.swarm.reconnect import delay_s, is_healthy


class ConnectFailed(Exception):
    """A device did not get its stream; failures are counted by this message."""


class Device(Protocol):
    """One kind of device. After `connect` it is read until it says that its stream has ended.

    Reading is two calls so that the task of a device that waits has no frame but the one of
    `keep_connected`: a frame takes 220 bytes.
    """

    @property
    def index(self) -> int:
        """Which of the devices it is."""

    @property
    def received(self) -> int:
        """Pushes of the present connection."""

    @property
    def retry_s(self) -> float:
        """The least time before the next connection, as the server asked for it."""

    async def connect(self) -> None:
        """Get the event stream. Raises ConnectFailed; leaves nothing open when it raises."""

    def read(self) -> bool:
        """Report what has arrived; False when the stream has ended, however, and ever after."""

    def wait(self) -> Awaitable[None]:
        """Wait until `read` should be called; meanwhile somebody else may call it."""

    def leave(self, *, suddenly: bool = False) -> bool:
        """Bring the present stream to its end; the task then notices. False: there is none.

        What is on the way is still read, unless it ends suddenly, as when the network is lost.
        """

    async def close(self) -> None:
        """Close the connection, also when cancelled."""


async def keep_connected(device: Device, population: Population) -> NoReturn:
    """Be `device` until cancelled."""
    was_tried = was_connected = False
    waits = 0
    while True:
        connected = await _try_to_connect(device, population, again=was_connected)
        if not was_tried:
            was_tried = True
            population.tried()
        if connected:
            was_connected = True
            connected_at = trio.current_time()
            try:
                while device.read():
                    await device.wait()
            finally:
                population.disconnected(device.index, device.received)
                await device.close()
            if is_healthy(trio.current_time() - connected_at, device.received):
                waits = 0
            if await population.sleep.wait(device.index) and device.retry_s < math.inf:
                waits = 0
                continue
        jitter = population.random.random()
        await trio.sleep(
            delay_s(waits, jitter, at_least_s=device.retry_s, schedule=population.schedule)
        )
        waits += 1


async def _try_to_connect(device: Device, population: Population, *, again: bool) -> bool:
    """Get the stream, or know and count why not; True when there is one."""
    timeout_s = population.destination.connect_timeout_s
    reason = ""
    async with population.connecting:
        began = trio.current_time()
        try:
            with trio.fail_after(timeout_s):
                await device.connect()
        except trio.TooSlowError:
            reason = "timed out"
        except ConnectFailed as exc:
            reason = str(exc)
    if reason:
        population.failed(reason)
    else:
        population.connected(device.index, trio.current_time() - began, again=again)
    return not reason
