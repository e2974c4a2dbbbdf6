"""aioapns: HTTP/2 over TLS without ALPN, `host` instead of `:authority`, answers told by id."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aioapns
import pytest
from aioapns.connection import APNsProductionClientProtocol

from tests.interop.conftest import PUSH_TOPIC, Credentials
from tests.interop.running import Device, Running
from tests.serving import PATIENCE_S

# how aioapns reads the topic from a certificate
pytestmark = pytest.mark.filterwarnings("ignore:X509.get_subject:DeprecationWarning")

MESSAGE = {"mdm": "mágic 🪄"}

Task = Callable[[aioapns.APNs], Coroutine[Any, Any, Any]]
#: runs a test's task with an open client, and closes it
Run = Callable[[Task], Any]


@pytest.fixture(params=["token", "certificate"])
def run(
    request: pytest.FixtureRequest,
    server: Running,
    trust: ssl.SSLContext,
    credentials: Credentials,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    url = urlsplit(server.tls)
    monkeypatch.setattr(APNsProductionClientProtocol, "APNS_SERVER", url.hostname)
    monkeypatch.setattr(APNsProductionClientProtocol, "APNS_PORT", url.port)
    key = credentials.token_key.read_text()
    auth: dict[str, Any] = {"key": key, "key_id": "K" * 10, "team_id": "T" * 10, "topic": "t"}
    if request.param == "certificate":
        auth = {"client_cert": str(credentials.certificate)}
        trust = ssl.create_default_context(cafile=server.ca)

    async def main(task: Task) -> Any:
        client = aioapns.APNs(**auth, ssl_context=trust)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await task(client)
        finally:
            client.pool.close()
            # what close() began ends in the loop
            async with asyncio.timeout(PATIENCE_S):
                while client.pool.connections:
                    await asyncio.sleep(0.01)

    return lambda task: asyncio.run(main(task))


def request_to(token: str, **fields: Any) -> aioapns.NotificationRequest:
    fields = {"push_type": aioapns.PushType.MDM, "message": MESSAGE} | fields
    return aioapns.NotificationRequest(device_token=token, **fields)


def test_a_push_reaches_its_device(run: Run, server: Running, token: str) -> None:
    with Device(server, token) as device:
        result = run(
            lambda client: client.send_notification(
                request_to(
                    token, time_to_live=60, priority=10, collapse_key="k", apns_topic=PUSH_TOPIC
                )
            )
        )
        assert result.is_successful
        assert device.pings(1) == [json.dumps(MESSAGE, ensure_ascii=False).encode()]


def test_refusals_are_told_by_their_id(run: Run, server: Running, token: str) -> None:
    gone = token[::-1]
    since = server.unregister(gone)
    requests = [
        request_to("xyz"),
        request_to(token, push_type=aioapns.PushType.ALERT),
        request_to(token, collapse_key="k" * 65),
        request_to(token, priority=7),
        request_to(token, message={"mdm": "m" * 4096}),
        request_to(gone),
        request_to(token),
    ]

    async def send_all(client: aioapns.APNs) -> list[aioapns.common.NotificationResult]:
        return await asyncio.gather(*map(client.send_notification, requests))

    results = run(send_all)
    assert [r.notification_id for r in results] == [r.notification_id for r in requests]
    assert [(r.status, r.description, r.timestamp) for r in results] == [
        ("400", "BadDeviceToken", None),
        ("400", "InvalidPushType", None),
        ("400", "BadCollapseId", None),
        ("400", "BadPriority", None),
        ("413", "PayloadTooLarge", None),
        ("410", "Unregistered", since),
        ("200", None, None),
    ]


def test_hundreds_at_once(run: Run, server: Running, token: str) -> None:
    ids = [str(uuid4()) for _ in range(500)]
    requests = [request_to(token, message={"n": n}, notification_id=i) for n, i in enumerate(ids)]

    async def send_all(client: aioapns.APNs) -> list[aioapns.common.NotificationResult]:
        return await asyncio.gather(*map(client.send_notification, requests))

    with Device(server, token) as device:
        results = run(send_all)
        assert [(r.notification_id, r.status) for r in results] == [(i, "200") for i in ids]
        assert [json.loads(payload)["n"] for payload in device.pings(500)] == list(range(500))
