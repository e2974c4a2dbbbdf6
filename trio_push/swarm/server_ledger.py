"""The ledger of the server under test: where it is, and what it says."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from trio_push.errors import ConfigError, Unreachable
from trio_push.swarm.books import Reading, parse_reading
from trio_push.swarm.target import Target

#: time for one answer: of a server under full load, but not for ever
_TIMEOUT_S = 10.0

_NO_LEDGER = "the server keeps no ledger: the swarm audits its own side alone"


class ServerLedger:
    """Reads the ledger. Made by `open_ledger`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        #: the server's API; None: it has none that is known
        self.api_url: str | None = None
        #: why there is nothing to read, in words
        self.missing = _NO_LEDGER

    async def read(self) -> Reading | None:
        """What the ledger says now; None when it does not answer or there is none."""
        if self.api_url is None:
            return None
        try:
            response = await self._client.get(f"{self.api_url}/v1/ledger")
        except httpx.HTTPError:
            return None
        return parse_reading(response.content) if response.status_code == 200 else None

    async def use(self, api_url: str) -> None:
        """Read from the API that the user names. Raises Unreachable or ConfigError."""
        try:
            await self._client.get(f"{api_url}/v1/ledger")
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise Unreachable(f"--api-url {api_url} does not answer: {exc}") from exc
        self.api_url = api_url
        if await self.read() is None:
            raise ConfigError(f"--api-url {api_url} has no /v1/ledger: is it trio-push's API?")

    async def find(self, target: Target) -> None:
        """Ask the server where its API is; that it has none is no error."""
        stats = await self._stats(target)
        if not isinstance(stats.get("api"), str):
            return
        self.api_url = api_url = stats["api"]
        reading = await self.read()
        # an address of loopback may lead to another server than the one that named it
        if reading is None or reading.node != stats.get("node_id"):
            self.api_url = None
            self.missing = f"the server's ledger is not at {api_url}, as it says: give --api-url"

    async def _stats(self, target: Target) -> dict[str, Any]:
        """`/stats` as far as it is what our server answers; Any: it is whatever was sent."""
        try:
            stats = (await self._client.get(f"{target.url}/stats")).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return stats if isinstance(stats, dict) else {}


@asynccontextmanager
async def open_ledger(target: Target, api_url: str | None) -> AsyncIterator[ServerLedger]:
    """The ledger of the server at `target`, at the API given or else the one that it names."""
    # trust_env would bring in proxies, which the devices do not use either
    verify = ssl.create_default_context()
    async with httpx.AsyncClient(verify=verify, timeout=_TIMEOUT_S, trust_env=False) as client:
        ledger = ServerLedger(client)
        if api_url is not None:
            await ledger.use(api_url.rstrip("/"))
        else:
            await ledger.find(target)
        yield ledger
