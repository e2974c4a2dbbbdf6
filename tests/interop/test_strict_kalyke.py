"""kalyke-apns against the strict profile: by token, and by certificate for VoIP."""

from __future__ import annotations

import asyncio
import secrets
from datetime import datetime
from typing import Any

import kalyke.clients.apns
import pytest
from kalyke import ApnsClient, ApnsConfig, ApnsPushType, VoIPApnsConfig, exceptions
from kalyke.clients.voip_certificate import VoIPCertificateClient
from kalyke.models import ApnsPriority

from tests.interop.running import Device
from tests.interop.strict import (
    ASKED,
    BACKGROUND,
    BAD_CERTIFICATES,
    BAD_EXPIRATION,
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
    an_hour_ago,
)

pytestmark = pytest.mark.filterwarnings("ignore:VoIPCertificateClient is deprecated")


@pytest.fixture(autouse=True)
def trust_in_the_server(strict: Strict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", strict.server.ca)
    url = property(lambda client: strict.server.tls)
    for client in (ApnsClient, VoIPCertificateClient):
        monkeypatch.setattr(client, "_base_url", url)


def push(provider: Provider, ask: Ask, token: str) -> str:
    """The apns-id of a push, or what kalyke raises."""
    fields: dict[str, Any] = {"topic": VOIP, **ask.fields}
    fields["identifier"] = fields.pop("id", None)
    fields["priority"] = ApnsPriority(fields.pop("priority", 10))
    push_type = ApnsPushType(fields.pop("push_type", "voip"))
    client: Any
    if provider.certificate is None:
        client = ApnsClient(
            use_sandbox=False,
            team_id=provider.team_id,
            auth_key_id=provider.key_id,
            auth_key_filepath=provider.key,
        )
        config = ApnsConfig(**fields, push_type=push_type)
    else:
        client = VoIPCertificateClient(use_sandbox=False, auth_key_filepath=provider.certificate)
        config = VoIPApnsConfig(**fields)
    to = token if ask.token is None else ask.token
    return str(asyncio.run(client.send_message(to, ask.payload, config)))


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_a_push_reaches_its_device(strict: Strict, token: str, name: str) -> None:
    with Device(strict.server, token) as device:
        assert len(push(strict.providers[name], Ask(""), token)) == 36
        assert device.pings(1)


@pytest.mark.parametrize(
    "ask", [*ASKED, BACKGROUND, MISSING_TOPIC, BAD_ID, BAD_EXPIRATION], ids=str
)
def test_each_reason_is_its_exception(strict: Strict, token: str, ask: Ask) -> None:
    with pytest.raises(getattr(exceptions, ask.reason)) as caught:
        push(strict.providers["by token"], ask, token)
    expired = {"timestamp": EXPIRED_AT * 1000}
    assert caught.value.error == (expired if ask.reason == "ExpiredToken" else {})


@pytest.mark.parametrize(
    "ask", [*(ask for ask in ASKED if "push_type" not in ask.fields), BAD_EXPIRATION], ids=str
)
def test_each_reason_by_certificate(strict: Strict, token: str, ask: Ask) -> None:
    with pytest.raises(getattr(exceptions, ask.reason)):
        push(strict.providers["by certificate"], ask, token)


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_gone_and_too_many(strict: Strict, token: str, name: str) -> None:
    gone = secrets.token_hex(32)
    since = strict.unregister(gone)
    with pytest.raises(exceptions.Unregistered) as caught:
        push(strict.providers[name], Ask(""), gone)
    assert caught.value.error == {"timestamp": since}
    for _ in range(TOO_MANY - 1):
        push(strict.providers[name], Ask(""), token)
    with pytest.raises(exceptions.TooManyRequests):
        push(strict.providers[name], Ask(""), token)


@pytest.mark.parametrize("name", [*BAD_PROVIDERS, *BAD_CERTIFICATES])
def test_who_may_not(strict: Strict, token: str, name: str) -> None:
    reason = (BAD_PROVIDERS | BAD_CERTIFICATES)[name]
    # kalyke has no exception for Apple's newest reasons, and raises this one then
    error = getattr(exceptions, reason, AttributeError)
    with pytest.raises(error, match=None if error is not AttributeError else reason):
        push(strict.providers[name], Ask(""), token)


def test_an_old_token(strict: Strict, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls.fromtimestamp(an_hour_ago(), tz)

    monkeypatch.setattr(kalyke.clients.apns, "datetime", Clock)
    with pytest.raises(exceptions.ExpiredProviderToken):
        push(strict.providers["by token"], Ask(""), token)
