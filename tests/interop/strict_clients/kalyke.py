"""kalyke-apns: by token, and by certificate for VoIP."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from unittest.mock import patch

import httpx2
import kalyke.clients.apns
from kalyke import ApnsClient, ApnsConfig, ApnsPushType, VoIPApnsConfig
from kalyke.clients.voip_certificate import VoIPCertificateClient
from kalyke.exceptions import ApnsProviderException
from kalyke.models import ApnsPriority

from tests.interop.running import Running
from tests.interop.strict import VOIP, Ask, Provider
from tests.interop.strict_clients.base import (
    ALWAYS_PROVES,
    KEEPS_ITS_KEY,
    ONLY_POST,
    Answer,
    AsyncioClient,
    Fate,
    Push,
)
from trio_push.wire.reasons import REASONS


class Kalyke(AsyncioClient):
    """It opens a connection for each push."""

    never: Final = {
        **ONLY_POST,
        **ALWAYS_PROVES,
        **KEEPS_ITS_KEY,
        "PayloadEmpty": "it takes no payload but a JSON object",
    }
    never_by_certificate: Final = dict.fromkeys(
        ("BadPriority", "MissingTopic", "InvalidPushType", "Forbidden"),
        "by certificate it only makes pushes for VoIP",
    )
    refused: Final = "StreamReset"
    reads_when_idle: Final = False
    #: it does not read the answer that follows
    after_goaway: Final = {"at": Fate(told=False, accepted=1), "before": Fate(True, 1)}

    @asynccontextmanager
    async def open(self, server: Running, provider: Provider) -> AsyncIterator[Push]:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Clock:
                return cls.fromtimestamp(time.time() - provider.behind_s, tz)

        with (
            patch.dict(os.environ, {"SSL_CERT_FILE": server.ca}),
            patch.object(kalyke.clients.apns, "datetime", Clock),
        ):
            client = self.client(server, provider)
            yield lambda ask: self._push(client, provider, ask)
            await self.close()

    def client(self, server: Running, provider: Provider) -> Any:
        """A client as users make it, but for the host."""

        kind: Any = ApnsClient if provider.certificate is None else VoIPCertificateClient
        mine: Any = type("Mine", (kind,), {"_base_url": server.tls})
        if provider.certificate is not None:
            return mine(use_sandbox=False, auth_key_filepath=provider.certificate)
        return mine(
            use_sandbox=False,
            team_id=provider.team_id,
            auth_key_id=provider.key_id,
            auth_key_filepath=provider.key,
        )

    async def close(self) -> None:
        """Nothing is kept."""

    async def _push(self, client: Any, provider: Provider, ask: Ask) -> Answer:
        try:
            await client.send_message(ask.token, ask.payload, _kalyke_config(provider, ask))
        except ApnsProviderException as exc:
            return _kalyke_answer(type(exc).__name__, exc.error)
        except AttributeError as exc:
            # it has no exception for Apple's newest reasons
            return _kalyke_answer(str(exc.name), {})
        except (httpx2.TransportError, ssl.SSLError) as exc:
            return Answer(error=f"{type(exc).__name__} {exc}")
        return Answer(200)


def _kalyke_config(provider: Provider, ask: Ask) -> ApnsConfig:
    fields: dict[str, Any] = {"topic": VOIP, "push_type": "voip", "priority": 10, **ask.fields}
    fields["identifier"] = fields.pop("id", None)
    fields["priority"] = ApnsPriority(fields["priority"])
    push_type = fields.pop("push_type")
    if provider.certificate is not None:
        return VoIPApnsConfig(**fields)
    return ApnsConfig(**fields, push_type=ApnsPushType(push_type))


def _kalyke_answer(reason: str, rest: dict[str, Any]) -> Answer:
    return Answer(REASONS[reason].status, reason, rest.get("timestamp"))


class SharedKalyke(Kalyke):
    """The same, made to keep one connection: what it opens for each push is replaced.

    By token it is made to keep that, too, as no server would take a new one with every push.
    """

    def __init__(self, *, keeps_token: bool = True) -> None:
        self._keeps_token = keeps_token
        self._opened: httpx2.AsyncClient | None = None

    def client(self, server: Running, provider: Provider) -> Any:
        ordinary = super().client(server, provider)
        shared = self

        class Sharing(type(ordinary)):  # type: ignore[misc]
            def _init_client(self, apns_config: ApnsConfig) -> Any:
                return shared.lend(super()._init_client(apns_config))

            def _make_authorization(self) -> str:
                if shared.token is None or not shared._keeps_token:
                    shared.token = super()._make_authorization()
                return shared.token

        self.token: str | None = None
        return Sharing(**{name: getattr(ordinary, name) for name in ordinary.__dataclass_fields__})

    def lend(self, made: httpx2.AsyncClient) -> _Lent:
        """The first client that was made, with the headers of another."""
        if self._opened is None:
            self._opened = made
        return _Lent(self._opened, made.headers)

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None


class _Lent:
    """What kalyke opens for a push, and closes after it."""

    def __init__(self, client: httpx2.AsyncClient, headers: httpx2.Headers) -> None:
        self._client = client
        self._headers = headers

    async def __aenter__(self) -> _Lent:
        return self

    async def __aexit__(self, *_: object) -> None:
        """It is kept."""

    async def post(self, url: str, json: Any) -> httpx2.Response:
        return await self._client.post(url, json=json, headers=self._headers)
