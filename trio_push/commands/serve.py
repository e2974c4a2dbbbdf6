"""`trio-push serve`: the push server in this process."""

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
    from trio_push import server  # imports Quart: only when it runs, not for --help

    logs.configure(settings.log_level, settings.log_format, sys.stderr)
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(server.serve, settings)
        # the server has raised the file limit by now
        banner.announce(addresses, capacity(settings.max_connections, file_limit()))
    return 0


serve = make_command("serve", ServeSettings, run)
