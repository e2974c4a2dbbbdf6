"""`trio-push serve`: the push server, in this process or in several workers below it."""

from __future__ import annotations

import sys

import trio

from trio_push import banner
from trio_push.capacity import capacity, file_limit
from trio_push.commands.flags import make_command
from trio_push.config import ServeSettings
from trio_push.watch import logs


async def run(settings: ServeSettings) -> int:
    """Run the push server until SIGTERM or SIGINT."""

    def announce(addresses: banner.Addresses) -> None:
        # the server has raised the file limit by now
        fits = capacity(settings.max_connections, file_limit(), settings.workers)
        banner.announce(addresses, fits)

    logs.configure(settings.log_level, settings.log_format, sys.stderr)
    if settings.workers > 1:
        from trio_push.workers.serve import serve_workers

        return 0 if await serve_workers(settings, announce) else 1

    from trio_push import server  # imports Quart: only when it runs, not for --help

    async with trio.open_nursery() as nursery:
        announce(await nursery.start(server.serve, settings))
    return 0


serve = make_command("serve", ServeSettings, run)
