"""@parse/node-apn against the strict profile, by token and by certificate."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.interop.conftest import ENVIRONMENT, JS
from tests.interop.running import Device, Running
from tests.interop.strict import (
    ASKED,
    BACKGROUND,
    BAD_CERTIFICATES,
    BAD_ID,
    BAD_PROVIDERS,
    EXPIRED_AT,
    GOOD_PROVIDERS,
    MISSING_TOPIC,
    TOO_MANY,
    VOIP,
    Ask,
    Provider,
    Strict,
)
from tests.interop.talking import Talker, talking

pytestmark = pytest.mark.needs("node", "npm-packages")


class NodeApn:
    """A provider of node-apn's with one connection."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker

    def push(self, ask: Ask, *tokens: str) -> dict[str, Any]:
        """What came of a push to each of the tokens, sent at once."""
        fields: dict[str, Any] = {"topic": VOIP, "pushType": "voip", "rawPayload": ask.payload}
        names = {"push_type": "pushType", "collapse_id": "collapseId"}
        fields |= {names.get(name, name): value for name, value in ask.fields.items()}
        recipients = tokens if ask.token is None else [ask.token]
        self._talker.tell(json.dumps({"notification": fields, "recipients": recipients}))
        return self._talker.hear("result")

    def refusal(self, ask: Ask, token: str) -> tuple[int, dict[str, Any]]:
        result = self.push(ask, token)
        assert result["sent"] == []
        (failed,) = result["failed"]
        return failed.get("status"), failed.get("response")


Connect = Callable[..., NodeApn]


@pytest.fixture
def connect(tool: Callable[[str], str]) -> Iterator[Connect]:
    with ExitStack() as stack:

        def open_provider(server: Running, provider: Provider, *, behind_s: int = 0) -> NodeApn:
            url = urlsplit(server.tls)
            options: dict[str, Any] = {"address": url.hostname, "port": url.port, "ca": server.ca}
            if provider.certificate is None:
                key = str(provider.key)
                options["token"] = {"key": key, "keyId": provider.key_id}
                options["token"]["teamId"] = provider.team_id
            else:
                options |= dict.fromkeys(["cert", "key"], str(provider.certificate))
            command = [tool("node"), JS / "strict.mjs"]
            talker = stack.enter_context(talking(*command, env=ENVIRONMENT))
            talker.tell(json.dumps({"options": options, "behindS": behind_s}))
            return NodeApn(talker)

        yield open_provider


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_pushes_and_refusals(strict: Strict, connect: Connect, token: str, name: str) -> None:
    client = connect(strict.server, strict.providers[name])
    with Device(strict.server, token) as device:
        assert client.push(Ask(""), token)["sent"]
        assert device.pings(1)
    for ask in [*ASKED, BACKGROUND, MISSING_TOPIC, BAD_ID]:
        _, response = client.refusal(ask, token)
        expired = {"timestamp": EXPIRED_AT * 1000} if ask.reason == "ExpiredToken" else {}
        assert response == {"reason": ask.reason, **expired}
    gone = token[::-1]
    since = strict.unregister(gone)
    refused = client.refusal(Ask(""), gone)
    assert refused == (410, {"reason": "Unregistered", "timestamp": since})
    results = [client.push(Ask(""), token) for _ in range(TOO_MANY)]
    assert results[-1]["failed"][0]["response"] == {"reason": "TooManyRequests"}


@pytest.mark.parametrize("name", [*BAD_PROVIDERS, *BAD_CERTIFICATES])
def test_who_may_not(strict: Strict, connect: Connect, token: str, name: str) -> None:
    client = connect(strict.server, strict.providers[name])
    reason = (BAD_PROVIDERS | BAD_CERTIFICATES)[name]
    assert client.refusal(Ask(""), token)[1] == {"reason": reason}


def test_a_certificate_of_another_authority(strict: Strict, connect: Connect, token: str) -> None:
    (failed,) = connect(strict.server, strict.providers["stranger"]).push(Ask(""), token)["failed"]
    assert "status" not in failed or not failed["status"]
    assert failed["error"]


def test_an_old_token(strict: Strict, connect: Connect, token: str) -> None:
    client = connect(strict.server, strict.providers["by token"], behind_s=3700)
    (failed,) = client.push(Ask(""), token)["failed"]
    # it has tried again with new tokens, as old as the first
    assert (failed["status"], failed["error"]) == (403, "ExpiredProviderToken")


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_hundreds_at_once(strict: Strict, connect: Connect, name: str) -> None:
    client = connect(strict.server, strict.providers[name])
    assert client.push(Ask(""), secrets.token_hex(32))["sent"]
    tokens = [secrets.token_hex(32) for _ in range(300)]
    assert len(client.push(Ask(""), *tokens)["sent"]) == 300


def test_refused_streams(strict: Strict, connect: Connect) -> None:
    """By token, what a new connection sends beside its first push is refused, and may be sent
    again."""
    client = connect(strict.server, strict.providers["by token"])
    result = client.push(Ask(""), *(secrets.token_hex(32) for _ in range(20)))
    assert len(result["sent"]) + len(result["failed"]) == 20
    assert result["sent"]
    refused = "apn write failed: Stream closed with error code NGHTTP2_REFUSED_STREAM"
    assert {failed["error"] for failed in result["failed"]} <= {refused}
    again = [failed["device"] for failed in result["failed"]]
    assert client.push(Ask(""), *again)["failed"] == []


def test_throttling(launch_strict: Callable[..., Any], strict: Strict, connect: Connect) -> None:
    """After a refusal node sends one push at a time; after an accepted one, all at once again."""
    with launch_strict(apns_throttle=True) as server:
        client = connect(server, strict.providers["by token"])
        assert client.push(Ask(""), secrets.token_hex(32))["sent"]
        for _ in range(3):
            refused = client.push(Ask("", fields={"priority": 7}), secrets.token_hex(32))
            assert refused["failed"][0]["response"] == {"reason": "BadPriority"}
        tokens = [secrets.token_hex(32) for _ in range(50)]
        assert len(client.push(Ask(""), *tokens)["sent"]) == 50


def test_goaway_at_shutdown(
    launch_strict: Callable[..., Any], strict: Strict, connect: Connect, token: str
) -> None:
    with launch_strict(drain_s=1.0) as server:
        client = connect(server, strict.providers["by certificate"])
        assert client.push(Ask(""), token)["sent"]
        server.drain()
        assert client.push(Ask(""), token)["failed"]
