"""httpx."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
import jwt

from tests.interop.running import Running
from tests.interop.strict import VOIP, Ask, Provider
from tests.interop.strict_clients.base import Answer, AsyncioClient, Fate, Push
from tests.serving import PATIENCE_S


class Httpx(AsyncioClient):
    """A client for HTTP/2 of any kind, so that it can ask for anything."""

    never: Final[dict[str, str]] = {}
    never_by_certificate: Final[dict[str, str]] = {}
    refused: Final = "StreamReset"
    reads_when_idle: Final = False
    #: it does not read the answer that follows
    after_goaway: Final = {"at": Fate(told=False, accepted=1), "before": Fate(True, 1)}

    def __init__(self, *, http2: bool = True) -> None:
        self._http2 = http2
        #: of all answers
        self.headers: list[httpx.Headers] = []

    @asynccontextmanager
    async def open(self, server: Running, provider: Provider) -> AsyncIterator[Push]:
        context = ssl.create_default_context(cafile=server.ca)
        headers = {}
        if provider.certificate is not None:
            context.load_cert_chain(provider.certificate)
        elif provider.key_id:
            headers["authorization"] = bearer(provider)
        async with httpx.AsyncClient(
            http1=not self._http2,
            http2=self._http2,
            base_url=server.tls,
            verify=context,
            headers=headers,
            limits=httpx.Limits(max_connections=1),
            trust_env=False,
            timeout=PATIENCE_S,
        ) as client:
            yield lambda ask: self._push(client, ask)

    async def _push(self, client: httpx.AsyncClient, ask: Ask) -> Answer:
        fields = {"topic": VOIP, "push_type": "voip", **ask.fields}
        method, twice = fields.pop("method", "POST"), fields.pop("twice", None)
        headers = [
            (name if name == "authorization" else f"apns-{name.replace('_', '-')}", str(value))
            for name, value in fields.items()
            if value is not None
        ]
        headers += [each for each in headers if each[0] == twice]
        try:
            response = await client.request(
                method, f"/3/device/{ask.token}", headers=headers, json=ask.payload
            )
        except (httpx.TransportError, ssl.SSLError) as exc:
            return Answer(error=f"{type(exc).__name__} {exc}")
        self.headers.append(response.headers)
        body = response.json() if response.content else {}
        return Answer(response.status_code, body.get("reason", ""), body.get("timestamp"))


def bearer(provider: Provider, *, age_s: float = 0) -> str:
    """An `authorization` header."""
    claims = {"iss": provider.team_id, "iat": int(time.time() - provider.behind_s - age_s)}
    key = provider.key.read_text()
    return "bearer " + jwt.encode(claims, key, "ES256", headers={"kid": provider.key_id})
