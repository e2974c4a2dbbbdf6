"""`trio-push swarm-agent`: lends this machine to swarms that are started elsewhere."""

from __future__ import annotations

import signal

import trio

from trio_push.commands.flags import make_command
from trio_push.swarm.agent import AgentSettings, run_agent


async def run(settings: AgentSettings) -> int:
    """Be an agent until SIGTERM or SIGINT."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            address = await nursery.start(run_agent, settings)
            print(f"swarms find this agent with --agents {address}", flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()
    return 0


swarm_agent = make_command("swarm-agent", AgentSettings, run)
