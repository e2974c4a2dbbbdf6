"""The provider client against the strict profile, by token and by certificate."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.running import Running
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
from tests.interop.test_provider_client import push_all
from trio_push.apns import ProviderToken, Request, Result, Retries, client_context


def push(server: Running, provider: Provider, wanted: list[Request], **more: Any) -> list[Result]:
    """Push as `provider`; the results in the order of the requests."""
    options: dict[str, Any] = dict(more)
    certificate = provider.certificate
    options["context"] = client_context(
        ca=server.ca, certificate=None if certificate is None else str(certificate)
    )
    if provider.key_id:
        options["authorization"] = ProviderToken.read(
            str(provider.key), key_id=provider.key_id, team_id=provider.team_id
        )
    results = {result.request: result for result in push_all(server.tls, wanted, **options)}
    assert len(results) == len(wanted)
    return [results[request] for request in wanted]


def request(token: str, ask: Ask = Ask("")) -> Request:  # noqa: B008
    fields = {"topic": VOIP, "push_type": "voip", **ask.fields}
    payload = json.dumps(ask.payload).encode()
    return Request(token=token if ask.token is None else ask.token, payload=payload, **fields)


def tokens(count: int) -> list[str]:
    return [secrets.token_hex(32) for _ in range(count)]


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_many(strict: Strict, name: str) -> None:
    """By token the first push goes alone: more streams would be refused."""
    wanted = [request(token) for token in tokens(500)]
    results = push(strict.server, strict.providers[name], wanted)
    assert all(result.is_accepted for result in results)
    assert {result.attempts for result in results} == {1}


def test_mdm(strict: Strict, token: str) -> None:
    wanted = Request(token=token, payload=b'{"mdm":"x"}', topic=strict.mdm_topic, push_type="mdm")
    (result,) = push(strict.server, strict.providers["mdm"], [wanted])
    assert result.is_accepted


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_refusals(strict: Strict, token: str, name: str) -> None:
    asked = [*ASKED, BACKGROUND, MISSING_TOPIC, BAD_ID]
    wanted = [request(token, ask) for ask in asked] + [request(token)]
    results = push(strict.server, strict.providers[name], wanted)
    assert [result.reason for result in results] == [*(ask.reason for ask in asked), ""]
    since = {result.timestamp_ms for result in results if result.status == 410}
    assert since == {EXPIRED_AT * 1000}


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_too_many_to_one_token_are_sent_again(
    launch_strict: Callable[..., Any],
    providers: dict[str, Provider],
    token: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trio_push.wire.apns_strict_rate.BURST_S", 10.0)
    retries = Retries(most=5, first_s=1.0)
    wanted = [request(token) for _ in range(TOO_MANY)]
    with launch_strict() as server:
        results = push(server, providers[name], wanted, retries=retries)
    assert all(result.is_accepted for result in results)
    assert max(result.attempts for result in results) > 1


@pytest.mark.parametrize("name", [*BAD_PROVIDERS, *BAD_CERTIFICATES])
def test_who_may_not(strict: Strict, token: str, name: str) -> None:
    (result,) = push(strict.server, strict.providers[name], [request(token)])
    assert result.reason == (BAD_PROVIDERS | BAD_CERTIFICATES)[name]


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_throttled_to_one_stream_after_each_refusal(
    launch_strict: Callable[..., Any], providers: dict[str, Provider], name: str
) -> None:
    """What the host refuses to look at is sent again; nothing is lost or in doubt."""
    wanted = [request(token if n % 20 else "bad", Ask("")) for n, token in enumerate(tokens(300))]
    with launch_strict(apns_throttle=True) as server:
        results = push(server, providers[name], wanted)
    outcomes = Counter((result.outcome.value, result.reason) for result in results)
    assert outcomes == {("accepted", ""): 285, ("refused", "BadDeviceToken"): 15}
