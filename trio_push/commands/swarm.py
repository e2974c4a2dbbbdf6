"""`trio-push swarm`: a swarm of simulated devices in this process."""

from __future__ import annotations

import sys

from trio_push.commands.flags import make_command
from trio_push.swarm.settings import SwarmSettings
from trio_push.watch import logs


async def run(settings: SwarmSettings) -> int:
    """Run the swarm to its end; its exit code."""
    from trio_push.swarm.swarm import swarm  # imports httpx and rich: not for --help

    logs.configure("warning", "auto", sys.stderr)
    return await swarm(settings)


swarm = make_command("swarm", SwarmSettings, run)
