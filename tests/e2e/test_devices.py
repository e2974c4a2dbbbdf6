"""One server process, one device of a library: what is promised to a device and to a provider."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.e2e.device import Device, Ended, device
from tests.fault.process import Serve, serve
from tests.serving import PATIENCE_S

TOKEN = "c0ffee"


class Provider:
    """Who pushes, by APNs and by the API."""

    def __init__(self, server: Serve, client: httpx.AsyncClient) -> None:
        self._server = server
        self._client = client

    async def apns(self, number: int) -> None:
        answer = await self._client.post(
            f"{self._server.url}/3/device/{TOKEN}",
            json={"n": number},
            # a topic each, or the newer would replace the older while the device is away
            headers={"apns-push-type": "mdm", "apns-topic": f"topic.{number}"},
        )
        answer.raise_for_status()

    async def api(self, path: str = "/v1/push", **push: Any) -> httpx.Response:
        body = {"token": TOKEN, "payload": {}, **push}
        return await self._client.post(f"{self._server.api}{path}", json=body)

    async def ledger(self) -> dict[str, Any]:
        books: dict[str, Any] = (await self._client.get(f"{self._server.api}/v1/ledger")).json()
        return books


@asynccontextmanager
async def serving(*flags: str) -> AsyncIterator[tuple[Serve, Provider]]:
    async with (
        serve(*flags, api="127.0.0.1:0") as server,
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client,
    ):
        yield server, Provider(server, client)


async def numbers(it: Device, count: int) -> list[int]:
    return [(await it.push()).data["n"] for _ in range(count)]


async def test_what_was_missed_comes_once(transport: str) -> None:
    async with serving() as (server, provider):
        async with device(transport, server.url, TOKEN) as it:
            for number in range(3):
                await provider.apns(number)
            seen = [await it.push() for _ in range(3)]
        for number in range(3, 6):
            await provider.apns(number)
        # of the first three it claims to have had only the first
        async with device(transport, server.url, TOKEN, after=seen[0].cursor) as it:
            # over WebSocket it asks when it is there, and so has got what was stored already
            assert sorted(await numbers(it, 5)) == [1, 2, 3, 4, 5]
            assert it.recovered is True
            await provider.apns(6)
            assert await numbers(it, 1) == [6]
        assert (await provider.ledger())["balanced"] is True


async def test_what_was_accepted_outlives_a_kill(transport: str, tmp_path: Path) -> None:
    store = ("--store", f"sqlite:{tmp_path / 'pushes.db'}")
    async with serving(*store) as (server, provider):
        for number in range(20):
            await provider.apns(number)
        (await provider.api(payload={"n": 20}, delay_s=0.5)).raise_for_status()
        server.process.kill()
        await server.process.wait()
    async with serving(*store) as (server, provider):
        async with device(transport, server.url, TOKEN) as it:
            assert await numbers(it, 21) == list(range(21))
        books = await provider.ledger()
        assert (books["restored"], books["balanced"]) == (21, True)


async def test_a_provider_may_wait_for_the_devices_word(transport: str) -> None:
    async with serving() as (server, provider):
        order = {"ack": True, "id": "one"}
        async with device(transport, server.url, TOKEN) as it, trio.open_nursery() as nursery:
            in_vain = await provider.api("/v1/push?wait=ack&timeout_s=0.2", **order)
            assert in_vain.status_code == 408
            await it.push()
            nursery.start_soon(it.acknowledge, "one")
            answer = await provider.api("/v1/push?wait=ack", **order)
            assert answer.json()["outcomes"] == {"acknowledged": 1}
        books = await provider.ledger()
        assert (books["ended"]["acknowledged"], books["balanced"]) == (1, True)


async def test_what_nobody_has_acknowledged_comes_again(transport: str) -> None:
    async with serving() as (server, provider):
        (await provider.api(ack=True, id="one", payload={"n": 1})).raise_for_status()
        for _ in range(2):
            async with device(transport, server.url, TOKEN) as it:
                assert await numbers(it, 1) == [1]
        async with device(transport, server.url, TOKEN) as it:
            await it.push()
            await it.acknowledge("one")
            (await provider.api(payload={"n": 2})).raise_for_status()
            assert await numbers(it, 1) == [2]
        async with device(transport, server.url, TOKEN) as it:
            (await provider.api(payload={"n": 3})).raise_for_status()
            assert await numbers(it, 1) == [3]


async def test_the_newest_connection_wins(transport: str) -> None:
    async with (
        serving() as (server, provider),
        device(transport, server.url, TOKEN) as older,
        device(transport, server.url, TOKEN) as newer,
    ):
        with pytest.raises(Ended):
            await older.push()
        await provider.apns(1)
        assert await numbers(newer, 1) == [1]


async def test_a_server_that_goes_says_when_to_come_back(transport: str) -> None:
    async with serving() as (server, _):
        async with device(transport, server.url, TOKEN) as it:
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(Ended) as ended:
                await it.push()
            assert ended.value.comes_back
        with trio.fail_after(PATIENCE_S):
            assert await server.process.wait() == 0
