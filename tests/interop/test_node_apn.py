"""@parse/node-apn, by provider token and by certificate."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.interop.conftest import JS, PUSH_TOPIC, Credentials, run
from tests.interop.running import Device, Running

pytestmark = pytest.mark.needs("node", "npm-packages")

#: sends a notification with these fields to the recipients: what node-apn made of it
Send = Callable[..., dict[str, Any]]


@pytest.fixture(params=["token", "certificate"])
def send(
    request: pytest.FixtureRequest,
    tool: Callable[[str], str],
    server: Running,
    credentials: Credentials,
) -> Send:
    url = urlsplit(server.tls)
    provider: dict[str, Any] = {"address": url.hostname, "port": url.port, "ca": server.ca}
    if request.param == "token":
        key = str(credentials.token_key)
        provider["token"] = {"key": key, "keyId": "K" * 10, "teamId": "T" * 10}
    else:
        provider |= dict.fromkeys(["cert", "key"], str(credentials.certificate))

    def send(*recipients: str, **fields: Any) -> dict[str, Any]:
        notification = {
            "topic": PUSH_TOPIC,
            "pushType": "mdm",
            "rawPayload": {"mdm": "mágic"},
        } | fields
        job = {"provider": provider, "notification": notification, "recipients": recipients}
        result: dict[str, Any] = json.loads(run(tool("node"), JS / "push.mjs", json.dumps(job)))
        return result

    return send


def test_pushes_and_refusals(send: Send, server: Running, token: str) -> None:
    gone = token[::-1]
    since = server.unregister(gone)
    with Device(server, token) as device:
        apns_id = str(uuid4())
        result = send(token, "xyz", gone, id=apns_id, collapseId="k", priority=5, expiry=2**32)
        assert device.pings(1) == ['{"mdm":"mágic"}'.encode()]
    assert result["sent"] == [{"device": token, "apns-id": apns_id}]
    assert {one["device"]: (one["status"], one["response"]) for one in result["failed"]} == {
        "xyz": (400, {"reason": "BadDeviceToken"}),
        gone: (410, {"reason": "Unregistered", "timestamp": since}),
    }


def test_a_batch(send: Send, server: Running, token: str) -> None:
    tokens = [f"{token}{n:04x}" for n in range(500)]
    before = server.books()["accepted"]
    result = send(*tokens)
    assert result["failed"] == []
    assert sorted(one["device"] for one in result["sent"]) == tokens
    assert server.books()["accepted"] - before == 500
