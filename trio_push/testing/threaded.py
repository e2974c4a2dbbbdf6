"""The push server of a test that runs no trio: asyncio, Django, or no loop at all.

The server has a thread and a trio loop of its own; everything here is asked from outside, waits
for its answer, and may be asked from any thread. A test in asyncio waits in a thread, so that its
own loop goes on:

    push = await asyncio.to_thread(server.wait_for, token)
"""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import trio

from trio_push.faults.actions import Action
from trio_push.testing.record import Received
from trio_push.testing.server import PATIENCE_S, PushServer, push_server

T = TypeVar("T")

#: seconds within which the server starts and stops, on a busy machine
_START_STOP_S = 30.0


class ThreadedPushServer:
    """A `PushServer` seen from outside its loop. Made by `push_server_in_thread`."""

    def __init__(self, server: PushServer) -> None:
        self._server = server
        self._token = trio.lowlevel.current_trio_token()
        self.url = server.url
        self.tls_url = server.tls_url
        self.api_url = server.api_url
        self.ca_file = server.ca_file
        self.credentials = server.credentials

    def ssl_context(self) -> ssl.SSLContext:
        """For a client that trusts the server, and nobody else."""
        return self._server.ssl_context()

    def received(self, token: str | None = None) -> list[Received]:
        """The pushes accepted so far for a token, or for all of them, in order."""
        return self._call(lambda: self._server.received(token))

    def wait_for(self, token: str, n: int = 1, *, timeout_s: float = PATIENCE_S) -> Received:
        """The `n`th push for a token, as soon as it is there. Raises NotReceived. Blocks."""

        async def wait() -> Received:
            return await self._server.wait_for(token, n, timeout_s=timeout_s)

        return trio.from_thread.run(wait, trio_token=self._token)

    def forget(self) -> None:
        """Begin anew: nothing was received."""
        self._call(self._server.forget)

    @property
    def refused(self) -> dict[str, int]:
        """How many requests were refused, by reason."""
        return self._call(lambda: self._server.refused)

    def ledger(self) -> dict[str, Any]:
        """The books, as `GET /v1/ledger` shows them."""
        return self._call(self._server.ledger)

    def inject(self, action: Action, *, seed: int = 0, **match: Any) -> str:
        """Add a fault: what happens, and for whom (the fields of `Match`). Returns its name.

        Raises ConfigError for what makes no sense.
        """
        return self._call(lambda: self._server.inject(action, seed=seed, **match))

    @contextmanager
    def injected(self, action: Action, *, seed: int = 0, **match: Any) -> Iterator[None]:
        """A fault for as long as the block runs."""
        fault = self._server.injected(action, seed=seed, **match)
        self._call(fault.__enter__)
        try:
            yield
        finally:
            self._call(lambda: fault.__exit__(None, None, None))

    def apply(self, scenario: str) -> None:
        """Add the faults of a scenario. Raises ConfigError when there is none of the name."""
        self._call(lambda: self._server.apply(scenario))

    def clear_faults(self) -> None:
        """Remove every fault but the magic tokens."""
        self._call(self._server.clear_faults)

    @property
    def faults(self) -> dict[str, int]:
        """How often each fault was applied, by name."""
        return self._call(lambda: self._server.faults)

    def unregister(self, token: str) -> int:
        """Refuse a token from now on with 410; since when, in epoch milliseconds."""
        return self._call(lambda: self._server.unregister(token))

    def _call(self, function: Callable[[], T]) -> T:
        return trio.from_thread.run_sync(function, trio_token=self._token)


@contextmanager
def push_server_in_thread(**settings: Any) -> Iterator[ThreadedPushServer]:
    """Like `push_server`, in a thread of its own. Raises what starting the server raises."""
    started: queue.Queue[tuple[ThreadedPushServer, trio.Event] | BaseException] = queue.Queue()

    async def serve() -> None:
        async with push_server(**settings) as server:
            over = trio.Event()
            started.put((ThreadedPushServer(server), over))
            await over.wait()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as error:
            started.put(error)

    # a daemon: a test that is given up must not keep the interpreter
    thread = threading.Thread(target=run, name="push-server", daemon=True)
    thread.start()
    begun = started.get(timeout=_START_STOP_S)
    if isinstance(begun, BaseException):
        raise begun
    server, over = begun
    try:
        yield server
    finally:
        with suppress(trio.RunFinishedError):
            server._call(over.set)
        thread.join(_START_STOP_S)
        if not started.empty():
            error = started.get()
            assert isinstance(error, BaseException)
            raise error
