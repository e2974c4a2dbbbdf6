"""`serve --workers N`: opens, in order of need, the listeners, a fork server, Redis, the parent.

The command `serve` calls it. What is opened last is closed first: Redis outlives the workers.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import trio

from trio_push.banner import Addresses
from trio_push.capacity import raise_file_limit
from trio_push.config import ServeSettings
from trio_push.listeners import Listeners
from trio_push.server import addresses_of, tls_context
from trio_push.workers import redis_server
from trio_push.workers.forking import ForkServer, open_fork_server
from trio_push.workers.parent import Parent


async def serve_workers(settings: ServeSettings, announce: Callable[[Addresses], None]) -> bool:
    """Serve until SIGTERM or SIGINT, then drain and return; a second signal ends it at once.

    SIGHUP replaces the workers one by one. Calls `announce` once all workers are ready. Returns
    whether all went well: false when a worker ended before it was. Raises ConfigError.
    """
    raise_file_limit()
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
        ExitStack() as files,
    ):
        listeners = Listeners.open(settings, files)
        _, ca_file = tls_context(settings)
        addresses = addresses_of(settings, listeners, ca_file)
        is_kept = settings.redis is not None
        async with _open_forks(settings) as (forks, settings):
            parent = Parent(settings, forks, listeners, lambda: announce(addresses))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(parent.follow, signals)
                await parent.run()
                nursery.cancel_scope.cancel()
            parent.close_books(is_kept=is_kept)
    return not parent.failed


@asynccontextmanager
async def _open_forks(
    settings: ServeSettings,
) -> AsyncIterator[tuple[ForkServer, ServeSettings]]:
    """A fork server, and the settings with a Redis in them: the one they name, or a private one."""
    if settings.redis is not None:
        async with open_fork_server(settings.drain_s, None) as forks:
            yield forks, settings
        return
    path = redis_server.find()
    with _directory() as directory:
        async with open_fork_server(settings.drain_s, str(directory)) as forks:
            redis = redis_server.PrivateRedis(forks, path, directory)
            async with trio.open_nursery() as nursery:
                await nursery.start(redis.run)
                yield forks, replace(settings, redis=redis.url)
                nursery.cancel_scope.cancel()


@contextmanager
def _directory() -> Iterator[Path]:
    """For the private Redis; the fork server removes it when we cannot any more."""
    with tempfile.TemporaryDirectory(prefix="trio-push-", ignore_cleanup_errors=True) as path:
        yield Path(path)
