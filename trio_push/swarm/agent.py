"""An agent: a process that lends this machine to swarms whose parents are elsewhere.

It listens, and has each connection answered by a worker of its own (`fork_server`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

import trio

from trio_push.address import Address
from trio_push.errors import ConfigError
from trio_push.settings import setting, validate
from trio_push.sockets import listen
from trio_push.swarm.limits import devices_per_process


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSettings:
    """What `trio-push swarm-agent` can be told. Raises ConfigError."""

    listen: str = setting(
        "127.0.0.1:8090",
        "Where swarms find this agent; no host is every interface.",
        unit="host:port",
        check=Address.parse,
    )
    secret: str = setting(
        "",
        "What a swarm has to know to give orders; needed unless only this machine can reach it.",
        secret=True,
    )

    def __post_init__(self) -> None:
        validate(self)
        if not self.secret and not Address.parse(self.listen).is_loopback:
            raise ConfigError(
                f"--listen {self.listen}: whoever reaches an agent can have it open connections "
                "to any server. Give it a secret (TRIO_PUSH_SWARM_AGENT_SECRET)"
            )


async def run_agent(
    settings: AgentSettings, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> NoReturn:
    """Be an agent until cancelled; starts with its address. Its workers end with it."""
    address = Address.parse(settings.listen)
    with listen(address.host, address.port) as listener:
        devices_per_process()  # raises the limit of open files for all workers
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "trio_push.swarm.fork_server", "--listen", _file(listener)],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert process.stdin is not None
            # neither among the arguments nor in the environment, where others can read it
            async with process.stdin as stdin:
                await stdin.send_all(settings.secret.encode())
            host, port = listener.getsockname()[:2]
            task_status.started(str(Address(host, port)))
            code = await process.wait()
            raise RuntimeError(f"the process that starts workers ended with code {code}")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await process.wait()


def _file(listener: socket.socket) -> str:
    return str(listener.fileno())
