"""httpx on trio, its pool as it comes. Run as `python -m loadtest.providers.with_httpx`."""

from __future__ import annotations

import httpx
import trio

from loadtest.providers.pushing import CONCURRENCY, PAYLOAD, TOPIC, Order, Watch, order, token_of

_HEADERS = {"apns-topic": TOPIC, "apns-push-type": "mdm", "apns-expiration": "0"}


async def _push(client: httpx.AsyncClient, watch: Watch, first: int, seconds: float) -> None:
    number = first
    while not watch.over(seconds):
        number += 1
        answer = await client.post(f"/3/device/{token_of(number)}", json=PAYLOAD)
        if answer.status_code == 200:
            watch.accepted += 1
        else:
            watch.failed += 1


async def _main(told: Order) -> None:
    async with httpx.AsyncClient(
        base_url=told.url,
        http1=False,
        http2=True,
        verify=told.context(),
        headers=_HEADERS,
        timeout=60,
        trust_env=False,
    ) as client:
        # its first request alone: those that come while it connects would each open a connection
        await client.post(f"/3/device/{token_of(0)}", json=PAYLOAD)
        watch = Watch()
        # it has 100 streams open at most, and slows down with those that wait for one
        async with trio.open_nursery() as nursery:
            for first in range(min(100, CONCURRENCY)):
                nursery.start_soon(_push, client, watch, first * 1000, told.seconds)
        watch.report()


if __name__ == "__main__":
    trio.run(_main, order())
