"""Our provider client, with the connections it wants. Run: `python -m loadtest.providers.ours`."""

from __future__ import annotations

import json

import trio

from loadtest.providers.pushing import PAYLOAD, TOPIC, Order, Watch, order, token_of
from trio_push.apns import Client, Options, Request, open_client


async def _feed(client: Client, watch: Watch, seconds: float) -> None:
    payload = json.dumps(PAYLOAD).encode()
    number = 0
    async with client.requests:
        while not watch.over(seconds):
            number += 1
            await client.requests.send(
                Request(
                    token=token_of(number),
                    payload=payload,
                    topic=TOPIC,
                    push_type="mdm",
                    expiration=0,
                )
            )


async def _main(told: Order) -> None:
    async with (
        open_client(told.url, Options(context=told.context())) as client,
        trio.open_nursery() as nursery,
    ):
        watch = Watch()
        nursery.start_soon(_feed, client, watch, told.seconds)
        async for result in client.results:
            if result.is_accepted:
                watch.accepted += 1
            else:
                watch.failed += 1
        watch.report()


if __name__ == "__main__":
    trio.run(_main, order())
