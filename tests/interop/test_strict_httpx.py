"""httpx against the strict profile, by token and by certificate: it can ask for anything."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import jwt
import pytest

from tests.interop.running import Device, Running
from tests.interop.strict import (
    APP,
    ASKED,
    BACKGROUND,
    BAD_CERTIFICATES,
    BAD_EXPIRATION,
    BAD_ID,
    BAD_PROVIDERS,
    EXPIRED_AT,
    GOOD_PROVIDERS,
    MISSING_TOPIC,
    PAYLOAD,
    TOO_MANY,
    VOIP,
    Ask,
    Provider,
    Strict,
)
from tests.serving import PATIENCE_S

#: opens a client to a server as a provider
Connect = Callable[..., httpx.Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:

        def open_client(server: Running, provider: Provider, **more: Any) -> httpx.Client:
            context = ssl.create_default_context(cafile=server.ca)
            headers = {}
            if provider.certificate is not None:
                context.load_cert_chain(provider.certificate)
            elif provider.key_id:
                headers["authorization"] = token_of(provider)
            return stack.enter_context(
                httpx.Client(
                    **{"http1": False, "http2": True, **more},
                    base_url=server.tls,
                    verify=context,
                    headers=headers,
                    trust_env=False,
                    timeout=PATIENCE_S,
                )
            )

        yield open_client


def token_of(provider: Provider, *, age_s: float = 0) -> str:
    claims = {"iss": provider.team_id, "iat": int(time.time() - age_s)}
    key = provider.key.read_text()
    return "bearer " + jwt.encode(claims, key, "ES256", headers={"kid": provider.key_id})


def push(client: httpx.Client, ask: Ask, token: str, **headers: str) -> httpx.Response:
    fields = {"topic": VOIP, "push_type": "voip", **ask.fields}
    named = {f"apns-{name.replace('_', '-')}": value for name, value in fields.items()}
    given = {name: str(value) for name, value in named.items() if value is not None}
    path = f"/3/device/{token if ask.token is None else ask.token}"
    return client.post(path, headers=given | headers, json=ask.payload)


def answer(response: httpx.Response) -> tuple[int, str, int | None]:
    body = response.json() if response.content else {}
    return response.status_code, body.get("reason", ""), body.get("timestamp")


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
@pytest.mark.parametrize("http2", [True, False], ids=["HTTP/2", "HTTP/1.1"])
def test_a_push_reaches_its_device(
    strict: Strict, connect: Connect, token: str, name: str, http2: bool
) -> None:
    client = connect(strict.server, strict.providers[name], http1=not http2, http2=http2)
    with Device(strict.server, token) as device:
        for _ in range(3):
            assert push(client, Ask(""), token).status_code == 200
        assert len(device.pings(3)) == 3


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
@pytest.mark.parametrize(
    "ask", [*ASKED, BACKGROUND, MISSING_TOPIC, BAD_ID, BAD_EXPIRATION], ids=str
)
def test_refusals(strict: Strict, connect: Connect, token: str, name: str, ask: Ask) -> None:
    client = connect(strict.server, strict.providers[name])
    status, reason, timestamp = answer(push(client, ask, token))
    assert reason == ask.reason
    assert timestamp == (EXPIRED_AT * 1000 if status == 410 else None)
    assert push(client, Ask(""), token).status_code == 200


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_gone_and_too_many(strict: Strict, connect: Connect, token: str, name: str) -> None:
    client = connect(strict.server, strict.providers[name])
    gone = token[::-1]
    since = strict.unregister(gone)
    assert answer(push(client, Ask(""), gone)) == (410, "Unregistered", since)
    answers = [answer(push(client, Ask(""), token))[:2] for _ in range(TOO_MANY)]
    assert answers == [(200, "")] * (TOO_MANY - 1) + [(429, "TooManyRequests")]


@pytest.mark.parametrize("name", [*BAD_PROVIDERS, *BAD_CERTIFICATES])
def test_who_may_not(strict: Strict, connect: Connect, token: str, name: str) -> None:
    client = connect(strict.server, strict.providers[name])
    reason = (BAD_PROVIDERS | BAD_CERTIFICATES)[name]
    assert answer(push(client, Ask(""), token))[1] == reason


@pytest.mark.parametrize("name", ["stranger", "expired"])
def test_a_certificate_that_is_not_valid(
    strict: Strict, connect: Connect, token: str, name: str
) -> None:
    client = connect(strict.server, strict.providers[name])
    with pytest.raises(httpx.TransportError):
        push(client, Ask(""), token)


def test_tokens_over_time(strict: Strict, connect: Connect, token: str) -> None:
    """What a connection has to say to the tokens that it is shown, one after the other."""
    client = connect(strict.server, Provider())
    by_token = strict.providers["by token"]
    first = token_of(by_token)
    said = [
        answer(push(client, Ask(""), token, authorization=shown))[1]
        for shown in (
            "",
            "bearer x",
            token_of(by_token, age_s=3700),
            first,
            first,
            token_of(by_token, age_s=1),
            token_of(strict.providers["scoped"]),
            first,
        )
    ]
    assert said == [
        "MissingProviderToken",
        "InvalidProviderToken",
        "ExpiredProviderToken",
        "",
        "",
        "TooManyProviderTokenUpdates",
        "UnrelatedKeyIdInToken",
        "",
    ]


def test_what_is_no_push(strict: Strict, connect: Connect, token: str) -> None:
    client = connect(strict.server, strict.providers["by certificate"])
    path = f"/3/device/{token}"
    assert answer(client.put(path))[:2] == (405, "MethodNotAllowed")
    assert answer(client.post("/3/devices"))[:2] == (404, "BadPath")
    twice = [("apns-topic", VOIP)] * 2
    assert answer(client.post(path, headers=twice, json={}))[:2] == (400, "DuplicateHeaders")
    assert answer(client.post(path, headers=dict(twice)))[:2] == (400, "PayloadEmpty")
    by_location = {"topic": f"{APP}.location-query", "push_type": "location"}
    assert answer(push(client, Ask("", fields=by_location), token))[:2] == (403, "Forbidden")


def test_mdm_by_its_certificate(strict: Strict, connect: Connect, token: str) -> None:
    client = connect(strict.server, strict.providers["mdm"])
    with Device(strict.server, token) as device:
        response = client.post(f"/3/device/{token}", json={"mdm": "magic"})
        assert response.status_code == 200
        assert device.pings(1) == [b'{"mdm":"magic"}']


def test_many_at_once_over_a_new_connection(strict: Strict, connect: Connect) -> None:
    """Its first push has the only stream; httpx lets the others wait."""
    provider = strict.providers["by token"]
    headers = {"authorization": token_of(provider), "apns-topic": APP}
    context = ssl.create_default_context(cafile=strict.server.ca)

    async def main() -> list[int]:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(
            http1=False, http2=True, verify=context, limits=limits, trust_env=False
        ) as client:
            urls = [f"{strict.server.tls}/3/device/{secrets.token_hex(32)}" for _ in range(50)]
            sends = [client.post(url, headers=headers, json=PAYLOAD) for url in urls]
            return [response.status_code for response in await asyncio.gather(*sends)]

    assert asyncio.run(main()) == [200] * 50


def test_throttling(
    launch_strict: Callable[..., Any], strict: Strict, connect: Connect, token: str
) -> None:
    """httpx keeps the limit of the moment, so that it only ever notices answers."""
    with launch_strict(apns_throttle=True) as server:
        client = connect(server, strict.providers["by token"])
        bad = Ask("", fields={"priority": 7})
        said = [push(client, ask, token).status_code for ask in (Ask(""), bad, bad, Ask(""))]
        assert said == [200, 400, 400, 200]
        client.close()


def test_goaway_at_shutdown(
    launch_strict: Callable[..., Any], strict: Strict, connect: Connect, token: str
) -> None:
    with launch_strict(drain_s=1.0) as server:
        client = connect(server, strict.providers["by token"])
        assert push(client, Ask(""), token).status_code == 200
        server.drain()
        with pytest.raises(httpx.TransportError):
            push(client, Ask(""), token)
        client.close()


def test_the_unique_id_of_development(
    launch_strict: Callable[..., Any], strict: Strict, connect: Connect, token: str
) -> None:
    with launch_strict(apns_environment="development") as server:
        client = connect(server, strict.providers["for development"])
        response = client.post(f"/3/device/{token}", json=PAYLOAD, headers={"apns-topic": APP})
        assert response.status_code == 200
        assert len(response.headers["apns-unique-id"]) == 36
        client.close()
