"""Pushes what it is given through the provider client, and ends politely on Ctrl-C.

Used by `push`. The first Ctrl-C takes no more pushes and waits for the answers under way; the
second, or the end of its patience, does not: every push that was taken has its answer printed,
and what was not taken is said.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Final

import trio

from trio_push.apns import Client, Options, Request, open_client
from trio_push.commands.orders import Answer, apns_answer, line_of
from trio_push.errors import ConfigError

#: time that answers under way have after the first Ctrl-C
_GRACE_S: Final = 5.0
#: how often progress is shown
_SHOW_S: Final = 0.2


async def push_by_apns(
    url: str,
    options: Options,
    pushes: AsyncIterator[Request],
    take: Callable[[Answer], None],
    *,
    show: Callable[[int], None] = lambda connections: None,
    place: str = "",
) -> None:
    """Push all of `pushes`; `take` gets the answers as they come.

    `show` is told now and then how many connections there are. If lines of the file `place` are
    left over, it is said which. Raises ConfigError for what `pushes` raises it for, after those
    before it were sent; Unreachable when the host is out of reach; KeyboardInterrupt after Ctrl-C.
    """
    feed, interrupts = _Feed(pushes), _Interrupts()
    async with open_client(url, options) as client, trio.open_nursery() as nursery:
        nursery.start_soon(interrupts.heed, client, feed)
        nursery.start_soon(_show, client, show)
        nursery.start_soon(feed.run, client)
        async for result in client.results:
            take(apns_answer(result))
        nursery.cancel_scope.cancel()
    if place and not feed.is_over:
        why = "interrupted" if interrupts.came else "given up"
        print(f"{why}: what follows {place}:{feed.line} was not sent", file=sys.stderr)
    if interrupts.came:
        raise KeyboardInterrupt
    if client.failure is not None:
        raise client.failure
    if feed.problem is not None:
        raise feed.problem


async def _show(client: Client, show: Callable[[int], None]) -> None:
    while True:
        show(client.statistics().connections)
        await trio.sleep(_SHOW_S)


class _Interrupts:
    """Ctrl-C: the first one ends the feed; its grace, or a second one, ends the rest."""

    def __init__(self) -> None:
        self.came = False

    async def heed(self, client: Client, feed: _Feed) -> None:
        """Until cancelled; further ones are too late to change anything."""
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            await anext(signals)
            self.came = True
            feed.scope.cancel()
            with trio.move_on_after(_GRACE_S):
                await anext(signals)
            client.give_up("interrupted")
            await trio.sleep_forever()


class _Feed:
    """Hands the pushes to the client, until they end, cannot be used, or nobody takes them."""

    def __init__(self, pushes: AsyncIterator[Request]) -> None:
        self._pushes = pushes
        #: of the last push that was taken
        self.line = 0
        #: there is nothing left to send, or no more that could be used
        self.is_over = False
        self.problem: ConfigError | None = None
        self.scope = trio.CancelScope()

    async def run(self, client: Client) -> None:
        with self.scope:
            try:
                async for request in self._pushes:
                    await client.requests.send(request)
                    self.line = line_of(request) or 0
                self.is_over = True
            except ConfigError as exc:
                self.problem = exc
                self.is_over = True
            except trio.BrokenResourceError:
                pass  # the client has given up, and says why
        client.requests.close()
