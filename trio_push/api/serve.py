"""Serves the API on its listeners: Hypercorn's protocols in a server of our own.

Hypercorn's own `serve` takes no sockets, dies with the first connection that raises, and waits
for ever at shutdown for a client that does not read. `server.py` starts this one.
"""

from __future__ import annotations

# Quart names hosts by it from the first request on, when there may be no file left to import it.
import encodings.idna  # noqa: F401
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from trio_push.api.app import make_app
from trio_push.api.base import Api
from trio_push.api.transport import Connection
from trio_push.config import SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_push.node import Node

log = structlog.get_logger()

#: time a connection may lie between two requests, or take for the head of one
KEEP_ALIVE_S = 60 * SECONDS
#: time that a connection taken in the last moment has to say what it wants
LATE_S = 0.1


async def serve_api(
    node: Node,
    listeners: list[trio.SocketListener],
    *,
    shutdown: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown` is set, then end: within `drain_s` in any case.

    Closes the listeners. Requests that are running at shutdown are answered. A client that does
    not read is given up as its listener's TCP_USER_TIMEOUT says: see `sockets.listen`.
    """
    app = make_app(node, shutdown)
    server = _Server(app)
    with app.metrics.loop.watching():
        async with server.lifespan():
            task_status.started()
            await server.serve(listeners, shutdown, node.settings.drain_s)


class _Server:
    """The connections of the API."""

    def __init__(self, app: Api) -> None:
        self._app = app
        self._asgi = ASGIWrapper(app)
        self._config = _hypercorn_config()
        self._context = WorkerContext(max_requests=None)
        self._state: LifespanState = {}
        self._connections: set[Connection] = set()
        self._one_left = trio.Event()

    async def serve(
        self, listeners: list[trio.SocketListener], shutdown: trio.Event, drain_s: float
    ) -> None:
        async with trio.open_nursery() as handlers:
            try:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(
                        partial(
                            trio.serve_listeners, self._handle, listeners, handler_nursery=handlers
                        )
                    )
                    await shutdown.wait()
                    accepting.cancel_scope.cancel()
                if self._connections:
                    await trio.sleep(LATE_S)
                await self._context.terminated.set()
                with trio.move_on_after(drain_s):
                    await self._wait_all_left()
            finally:
                for connection in self._connections:
                    connection.abort()
                handlers.cancel_scope.cancel()

    async def _wait_all_left(self) -> None:
        while self._connections:
            await self._one_left.wait()

    async def _handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection; whatever happens to it is its own affair."""
        connection = Connection(
            self._asgi,
            self._config,
            self._context,
            ConnectionState(self._state.copy()),
            stream,  # type: ignore[arg-type]  # annotated for TLS, made for both
        )
        self._connections.add(connection)
        try:
            await connection.run()
        except* Exception as group:
            self._app.metrics.faults["api"] += 1
            log.warning("connection_failed", listener="api", error=repr(_first(group)))
        finally:
            self._connections.discard(connection)
            self._one_left.set()
            self._one_left = trio.Event()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """The application is started inside, and shut down after."""
        lifespan = Lifespan(self._asgi, self._config, self._state)
        async with trio.open_nursery() as nursery:
            await nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            yield
            await lifespan.wait_for_shutdown()
            nursery.cancel_scope.cancel()


def _first(error: BaseException) -> BaseException:
    """What went wrong first in a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _hypercorn_config() -> Config:
    config = Config()
    config.keep_alive_timeout = KEEP_ALIVE_S
    # At this many requests Hypercorn closes an HTTP/2 connection with those in flight.
    config.keep_alive_max_requests = 10**9
    # It kills the connection of a client that opens more; APNs clients are used to 1000.
    config.h2_max_concurrent_streams = 1000
    config.include_server_header = False
    config.logger_class = _Log
    return config


class _Log(Logger):
    """What Hypercorn has to say goes where everything else does, a line at a time.

    What fails in a handler has been logged when it gets here, so this is about clients.
    """

    def __init__(self, config: Config) -> None:
        self.access_logger = None
        self.error_logger = None

    async def warning(self, message: str, *args: Any, **kwargs: Any) -> None:
        log.warning("hypercorn", message=message)

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        error = sys.exception()
        log.warning("request_failed", error=repr(error and _first(error)))
