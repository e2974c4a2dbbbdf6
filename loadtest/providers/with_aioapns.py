"""aioapns on asyncio, its pool as it comes. Run as `python -m loadtest.providers.with_aioapns`."""

from __future__ import annotations

import asyncio

import aioapns
from aioapns.connection import APNsProductionClientProtocol
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from loadtest.providers.pushing import CONCURRENCY, PAYLOAD, TOPIC, Order, Watch, order, token_of


def _key() -> str:
    """A key of Apple's kind; the server does not ask whose."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode()


async def _push(client: aioapns.APNs, watch: Watch, first: int, seconds: float) -> None:
    number = first
    while not watch.over(seconds):
        number += 1
        request = aioapns.NotificationRequest(
            device_token=token_of(number),
            message=PAYLOAD,
            time_to_live=0,
            push_type=aioapns.PushType.MDM,
        )
        result = await client.send_notification(request)
        if result.is_successful:
            watch.accepted += 1
        else:
            watch.failed += 1


async def _main(told: Order) -> None:
    APNsProductionClientProtocol.APNS_SERVER = told.host
    APNsProductionClientProtocol.APNS_PORT = told.port
    client = aioapns.APNs(
        key=_key(),
        key_id="K" * 10,
        team_id="T" * 10,
        topic=TOPIC,
        ssl_context=told.context(),
    )
    watch = Watch()
    async with asyncio.TaskGroup() as tasks:
        for first in range(CONCURRENCY):
            tasks.create_task(_push(client, watch, first * 1000, told.seconds))
    watch.report()
    client.pool.close()


if __name__ == "__main__":
    asyncio.run(_main(order()))
