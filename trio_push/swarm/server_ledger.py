"""The ledger of the server under test: where it is, and what it says."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from trio_push.errors import ConfigError, Unreachable
from trio_push.swarm.books import Reading, parse_reading, together
from trio_push.swarm.target import Target

#: time for one answer: of a server under full load, but not for ever
_TIMEOUT_S = 10.0

_NO_LEDGER = "the server keeps no ledger: the swarm audits its own side alone"


class ServerLedger:
    """Reads the ledger. Made by `open_ledger`."""

    def __init__(self, client: httpx.AsyncClient, api_key: str | None = None) -> None:
        self._client = client
        #: for the API alone: nobody else is to learn it
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        #: the server's API, or that of each of its nodes; none: it has none that is known
        self.api_urls: tuple[str, ...] = ()
        #: why there is nothing to read, in words
        self.missing = _NO_LEDGER

    async def read(self) -> Reading | None:
        """What the ledger says now; None when it does not answer or there is none."""
        readings = [await self._read(api_url) for api_url in self.api_urls]
        known = [reading for reading in readings if reading is not None]
        return together(known) if known and len(known) == len(readings) else None

    async def _read(self, api_url: str) -> Reading | None:
        try:
            response = await self._get(api_url)
        except httpx.HTTPError:
            return None
        return parse_reading(response.content) if response.status_code == 200 else None

    async def use(self, api_url: str) -> None:
        """Read from this API, too, which the user names. Raises Unreachable or ConfigError."""
        try:
            response = await self._get(api_url)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise Unreachable(f"--api-url {api_url} does not answer: {exc}") from exc
        self._check_key(response, api_url)
        self.api_urls += (api_url,)
        if await self._read(api_url) is None:
            raise ConfigError(f"--api-url {api_url} has no /v1/ledger: is it trio-push's API?")

    async def find(self, target: Target) -> None:
        """Ask the server where its API is; that it has none is no error.

        Raises ConfigError when it does not take our key.
        """
        stats = await self._stats(target)
        if not isinstance(stats.get("api"), str):
            return
        api_url = stats["api"]
        try:
            response = await self._get(api_url)
        except (httpx.HTTPError, httpx.InvalidURL):
            response = httpx.Response(404)
        if response.status_code == 401 and not self._headers:
            self.missing = f"the server's ledger, at {api_url}, asks for a key: give --api-key"
            return
        self._check_key(response, api_url)
        reading = parse_reading(response.content)
        # an address of loopback may lead to another server than the one that named it
        whole = stats.get("cluster_id", stats.get("node_id"))
        if reading is not None and reading.node == whole:
            self.api_urls = (api_url,)
        else:
            self.missing = f"the server's ledger is not at {api_url}, as it says: give --api-url"

    async def _get(self, api_url: str) -> httpx.Response:
        return await self._client.get(f"{api_url}/v1/ledger", headers=self._headers)

    def _check_key(self, response: httpx.Response, api_url: str) -> None:
        if response.status_code == 401:
            wrong = "takes another key than --api-key" if self._headers else "asks for an --api-key"
            raise ConfigError(f"the API at {api_url} {wrong}")

    async def _stats(self, target: Target) -> dict[str, Any]:
        """`/stats` as far as it is what our server answers; Any: it is whatever was sent."""
        try:
            stats = (await self._client.get(f"{target.url}/stats")).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return stats if isinstance(stats, dict) else {}


@asynccontextmanager
async def open_ledger(
    target: Target, api_urls: Sequence[str], api_key: str | None = None
) -> AsyncIterator[ServerLedger]:
    """The ledger of the server at `target`, at the APIs given or else the one that it names."""
    # trust_env would bring in proxies, which the devices do not use either
    verify = ssl.create_default_context()
    async with httpx.AsyncClient(verify=verify, timeout=_TIMEOUT_S, trust_env=False) as client:
        ledger = ServerLedger(client, api_key)
        for api_url in api_urls:
            await ledger.use(api_url.rstrip("/"))
        if not api_urls:
            await ledger.find(target)
        yield ledger
