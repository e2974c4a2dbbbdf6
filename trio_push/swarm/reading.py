"""Reads what has arrived for many devices in one turn of the loop.

To wake a task costs twice as much as what its device then reads: among thousands, nothing that it
needs is in the CPU's caches any more. So the task of a lean device sleeps until its stream has
ended, and one task reads for all of them. Run by the crowd.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final, NoReturn, Protocol

import trio
from trio.lowlevel import Abort, Task, wait_task_rescheduled

#: devices that are read before other tasks get a turn
_TURN: Final = 100


class Reader(Protocol):
    """What is read for: a device."""

    def read(self) -> bool:
        """Report what has arrived; False when the stream has ended, and ever after."""


class Reading:
    """Those who wait to be read for. `run` reads."""

    def __init__(self) -> None:
        #: of each socket the device, and the task that waits for the end of its stream
        self._selector = selectors.DefaultSelector()

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._selector)
            for n, (key, _) in enumerate(self._selector.select(0), 1):
                self._read(*key.data)
                if n % _TURN == 0:
                    await trio.lowlevel.checkpoint()

    def wait(self, device: Reader, sock: socket.socket) -> Awaitable[None]:
        """Have `device` read whenever something has arrived, until its stream has ended.

        Called by the device's task, which awaits what this returns; `forget` follows. There is no
        coroutine of ours in between, as its frame would be kept for each device.
        """
        task = trio.lowlevel.current_task()
        task.custom_sleep_data = self
        self._selector.register(sock, selectors.EVENT_READ, (device, task))
        return wait_task_rescheduled(_give_up)  # noqa: ASYNC105

    def forget(self, sock: socket.socket) -> None:
        """The socket is about to be closed, whether it was waited for or not."""
        with suppress(KeyError):
            self._selector.unregister(sock)

    def _read(self, device: Reader, task: Task) -> None:
        # Unless the task was cancelled or waits for something else by now.
        if task.custom_sleep_data is self and not device.read():
            trio.lowlevel.reschedule(task)


def _give_up(_: object) -> Abort:
    return Abort.SUCCEEDED
