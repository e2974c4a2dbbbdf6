"""Agents as a swarm reaches them: processes on other machines that become its workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from trio_push.address import Address
from trio_push.errors import Unreachable
from trio_push.swarm.agent_handshake import Welcome, introduce
from trio_push.swarm.worker_processes import Link

#: time that an agent has to accept a connection
CONNECT_S = 10.0


class Agents:
    """Those of `--agents`, with the secret that they share."""

    def __init__(self, addresses: Sequence[str], secret: str) -> None:
        self._addresses = addresses
        self._secret = secret

    def __len__(self) -> int:
        return len(self._addresses)

    async def fit(self) -> int:
        """How many devices go into a process of any of them. Raises Unreachable, ConfigError."""
        fits = []
        for address in self._addresses:
            stream, welcome = await self._connect(address)
            async with stream:
                fits.append(welcome.fit)
        return min(fits)

    @asynccontextmanager
    async def start(self, count: int) -> AsyncIterator[Sequence[Link]]:
        """`count` workers, on each agent in turn. They end with the block."""
        async with AsyncExitStack() as stack:
            links = []
            for number in range(count):
                address = self._addresses[number % len(self._addresses)]
                stream, welcome = await self._connect(address)
                await stack.enter_async_context(stream)
                name = f"worker {number} on {address}"
                links.append(Link(name, stream, _hung_up, welcome.ahead_s))
            yield links

    async def _connect(self, address: str) -> tuple[trio.SocketStream, Welcome]:
        parsed = Address.parse(address)
        try:
            with trio.fail_after(CONNECT_S):
                stream = await trio.open_tcp_stream(parsed.host or "127.0.0.1", parsed.port)
        except (OSError, trio.TooSlowError) as exc:
            raise Unreachable(f"--agents {address} does not answer: {exc}") from exc
        try:
            return stream, await introduce(stream, self._secret, address)
        except BaseException:
            stream.socket.close()
            raise


async def _hung_up() -> str:
    return "has hung up"
