"""aioapns against the strict profile, by token and by certificate."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aioapns
import aioapns.connection
import pytest
from aioapns.connection import APNsProductionClientProtocol

from tests.interop.running import Device, Running
from tests.interop.strict import (
    ASKED,
    BACKGROUND,
    BAD_CERTIFICATES,
    BAD_PROVIDERS,
    EXPIRED_AT,
    GOOD_PROVIDERS,
    TOO_MANY,
    VOIP,
    Ask,
    Provider,
    Strict,
    an_hour_ago,
)
from tests.serving import PATIENCE_S

Task = Callable[[aioapns.APNs], Coroutine[Any, Any, Any]]
#: runs a test's task with a client that is open to a server as a provider
Run = Callable[[Running, Provider, Task], Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    async def main(server: Running, provider: Provider, task: Task) -> Any:
        url = urlsplit(server.tls)
        monkeypatch.setattr(APNsProductionClientProtocol, "APNS_SERVER", url.hostname)
        monkeypatch.setattr(APNsProductionClientProtocol, "APNS_PORT", url.port)
        trust = ssl.create_default_context(cafile=server.ca)
        auth: dict[str, Any] = {"client_cert": str(provider.certificate)}
        if provider.certificate is None:
            auth = {"key": provider.key.read_text(), "key_id": provider.key_id}
            auth["team_id"] = provider.team_id
        client = aioapns.APNs(
            **auth,
            topic=VOIP,
            ssl_context=trust,
            max_connections=1,
            max_connection_attempts=1,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await task(client)
        finally:
            client.pool.close()
            # what close() began ends in the loop
            async with asyncio.timeout(PATIENCE_S):
                while client.pool.connections:
                    await asyncio.sleep(0.01)

    return lambda server, provider, task: asyncio.run(main(server, provider, task))


def request_of(ask: Ask, token: str) -> aioapns.NotificationRequest:
    fields = dict(ask.fields)
    push_type = aioapns.PushType(fields.pop("push_type", "voip"))
    return aioapns.NotificationRequest(
        device_token=token if ask.token is None else ask.token,
        message=ask.payload,
        push_type=push_type,
        priority=fields.pop("priority", None),
        collapse_key=fields.pop("collapse_id", None),
        apns_topic=fields.pop("topic", None),
        **fields,
    )


def answer(result: aioapns.common.NotificationResult) -> tuple[int, str, int | None]:
    return int(result.status), result.description or "", result.timestamp


def pushes(*asks: tuple[Ask, str]) -> Task:
    """One after the other."""

    async def task(client: aioapns.APNs) -> list[tuple[int, str, int | None]]:
        return [answer(await client.send_notification(request_of(*each))) for each in asks]

    return task


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_a_push_reaches_its_device(run: Run, strict: Strict, token: str, name: str) -> None:
    with Device(strict.server, token) as device:
        result = run(strict.server, strict.providers[name], pushes((Ask(""), token)))
        assert result == [(200, "", None)]
        assert b'"alert": "h\xc3\xb6i"' in device.pings(1)[0]


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_refusals(run: Run, strict: Strict, token: str, name: str) -> None:
    """One after the other over a connection, each with a push after it that is none."""
    gone = token[::-1]
    since = strict.unregister(gone)
    asked = [*ASKED, BACKGROUND, Ask("Unregistered", token=gone)]
    together = [each for ask in asked for each in ((ask, token), (Ask(""), secrets.token_hex(32)))]
    results = run(strict.server, strict.providers[name], pushes(*together))
    assert [reason for _, reason, _ in results[::2]] == [ask.reason for ask in asked]
    assert set(results[1::2]) == {(200, "", None)}
    gone_since = {reason: at for status, reason, at in results if status == 410}
    assert gone_since == {"Unregistered": since, "ExpiredToken": EXPIRED_AT * 1000}


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_too_many(run: Run, strict: Strict, token: str, name: str) -> None:
    results = run(strict.server, strict.providers[name], pushes(*[(Ask(""), token)] * TOO_MANY))
    assert [status for status, _, _ in results] == [200] * (TOO_MANY - 1) + [429]


@pytest.mark.parametrize("name", [*BAD_PROVIDERS, *BAD_CERTIFICATES])
def test_who_may_not(run: Run, strict: Strict, token: str, name: str) -> None:
    ((_, reason, _),) = run(strict.server, strict.providers[name], pushes((Ask(""), token)))
    assert reason == (BAD_PROVIDERS | BAD_CERTIFICATES)[name]


def test_a_certificate_of_another_authority(run: Run, strict: Strict, token: str) -> None:
    with pytest.raises(aioapns.exceptions.MaxAttemptsExceeded):
        run(strict.server, strict.providers["stranger"], pushes((Ask(""), token)))


def test_an_old_token(
    run: Run, strict: Strict, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioapns.connection, "time", SimpleNamespace(time=an_hour_ago))
    ((_, reason, _),) = run(strict.server, strict.providers["by token"], pushes((Ask(""), token)))
    assert reason == "ExpiredProviderToken"


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_hundreds_at_once_over_a_new_connection(run: Run, strict: Strict, name: str) -> None:
    """By token the first push has the only stream; aioapns lets the others wait."""

    async def task(client: aioapns.APNs) -> set[str]:
        requests = [request_of(Ask(""), secrets.token_hex(32)) for _ in range(300)]
        results = await asyncio.gather(*map(client.send_notification, requests))
        return {result.status for result in results}

    assert run(strict.server, strict.providers[name], task) == {"200"}


def test_refused_streams(
    run: Run,
    launch_strict: Callable[..., Any],
    strict: Strict,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is sent together with a push that is refused, and behind it, is refused by stream.

    aioapns does not notice that a stream is reset: those pushes are never answered.
    """
    asks = [Ask("", fields={"priority": 7}), *[Ask("")] * 20]

    async def task(client: aioapns.APNs) -> tuple[set[str], int]:
        await client.send_notification(request_of(Ask(""), secrets.token_hex(32)))
        requests = [request_of(ask, secrets.token_hex(32)) for ask in asks]
        sends = [asyncio.ensure_future(client.send_notification(each)) for each in requests]
        done, lost = await asyncio.wait(sends, timeout=1)
        for each in lost:
            each.cancel()
        return {each.result().status for each in done}, len(lost)

    with launch_strict(apns_throttle=True) as server:
        statuses, lost = run(server, strict.providers["by token"], task)
    assert "400" in statuses
    assert caplog.text.count("Unknown event: <StreamReset") == lost > 0


def test_throttling(
    run: Run, launch_strict: Callable[..., Any], strict: Strict, token: str
) -> None:
    """aioapns keeps the limit of the moment, one after a refusal."""

    async def task(client: aioapns.APNs) -> list[int]:
        limits = []
        for priority in (10, 7, 7, 10):
            ask = Ask("", fields={"priority": priority})
            await client.send_notification(request_of(ask, token))
            limits.append(client.pool.connections[0].free_channels.bound)
        return limits

    with launch_strict(apns_throttle=True) as server:
        assert run(server, strict.providers["by token"], task) == [1000, 1, 1, 1000]


def test_goaway_at_shutdown(
    run: Run,
    launch_strict: Callable[..., Any],
    strict: Strict,
    token: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with launch_strict(drain_s=1.0) as server:

        async def task(client: aioapns.APNs) -> str:
            result = await client.send_notification(request_of(Ask(""), token))
            await asyncio.to_thread(server.drain)
            with pytest.raises(aioapns.exceptions.MaxAttemptsExceeded):
                await client.send_notification(request_of(Ask(""), token))
            return str(result.status)

        assert run(server, strict.providers["by certificate"], task) == "200"
    assert """additional_data=b'{"reason":"Shutdown"}', last_stream_id=1""" in caplog.text
