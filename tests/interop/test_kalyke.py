"""kalyke-apns: a new TLS connection with HTTP/2 by ALPN for each push, and errors by name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest
from kalyke import ApnsClient, ApnsConfig, ApnsPushType, exceptions

from tests.interop.conftest import PUSH_TOPIC, Credentials
from tests.interop.running import Device, Running

MESSAGE = {"mdm": "mágic"}


@pytest.fixture
def client(
    server: Running, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> ApnsClient:
    class OurClient(ApnsClient):  # type: ignore[misc]
        @property
        def _base_url(self) -> str:
            return server.tls

    monkeypatch.setenv("SSL_CERT_FILE", server.ca)
    return OurClient(
        use_sandbox=False,
        team_id="T" * 10,
        auth_key_id="K" * 10,
        auth_key_filepath=Path(credentials.token_key),
    )


def config(**fields: object) -> ApnsConfig:
    return ApnsConfig(**{"topic": PUSH_TOPIC, "push_type": ApnsPushType.MDM} | fields)


def test_a_push_reaches_its_device(client: ApnsClient, server: Running, token: str) -> None:
    apns_id = str(uuid4()).upper()
    with Device(server, token) as device:
        answer = client.send_message(token, MESSAGE, config(identifier=apns_id))
        assert asyncio.run(answer) == apns_id
        (payload,) = device.pings(1)
    assert json.loads(payload) == MESSAGE


@pytest.mark.parametrize(
    ("error", "of"),
    [
        (exceptions.BadDeviceToken, {"device_token": "xyz"}),
        (exceptions.InvalidPushType, {"push_type": ApnsPushType.ALERT}),
        (exceptions.BadCollapseId, {"collapse_id": "k" * 65}),
        (exceptions.PayloadTooLarge, {"payload": {"mdm": "m" * 4096}}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_reason_is_its_exception(
    client: ApnsClient, token: str, error: type[Exception], of: dict[str, object]
) -> None:
    device_token = of.pop("device_token", token)
    payload = of.pop("payload", MESSAGE)
    with pytest.raises(error):
        asyncio.run(client.send_message(device_token, payload, config(**of)))


def test_an_unregistered_token(client: ApnsClient, server: Running, token: str) -> None:
    since = server.unregister(token)
    with pytest.raises(exceptions.Unregistered) as caught:
        asyncio.run(client.send_message(token, MESSAGE, config()))
    assert caught.value.error == {"timestamp": since}


def test_many_at_once(client: ApnsClient, server: Running, token: str) -> None:
    async def send_all() -> list[str]:
        sends = [client.send_message(token, {"n": n}, config()) for n in range(20)]
        return await asyncio.gather(*sends)

    with Device(server, token) as device:
        assert len(set(asyncio.run(send_all()))) == 20
        assert sorted(json.loads(payload)["n"] for payload in device.pings(20)) == list(range(20))
