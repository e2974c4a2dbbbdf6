"""The settings of `trio-push push`, and what the provider client is told of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from trio_push.apns import (
    Exponential,
    Options,
    Retries,
    Scaling,
    client_context,
)
from trio_push.apns.authorization import authorization_of
from trio_push.commands.client import base_url
from trio_push.config import check_api_key, check_provider
from trio_push.errors import ConfigError
from trio_push.settings import setting

#: time that the server has to answer
ANSWER_S: Final = 30.0
#: time for which it may be out of reach before the command ends: enough to be started anew
_PATIENCE_S: Final = 2.0
#: of no use with `--via api`
_APNS_ONLY: Final = frozenset(
    ("push_type", "rate", "bandwidth", "connections", "retries", "cert", "cert_key", "key")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PushSettings:
    """What `trio-push push` can be told."""

    url: str = setting(
        "http://127.0.0.1:8080",
        "The server; with --via api either of its addresses will do.",
        unit="url",
        check=base_url,
    )
    via: str = setting(
        "apns",
        "How: as to APNs over HTTP/1.1 (with TLS over what it agrees on), as to APNs over "
        "HTTP/2, or by the server's own API.",
        choices=("apns", "apns-h2", "api"),
    )
    apns: str | None = setting(
        None,
        "A host that speaks APNs over HTTP/2, instead of --url and --via: "
        "https://api.push.apple.com, or any other.",
        unit="url",
        check=base_url,
    )
    topic: str | None = setting(None, "The topic.")
    push_type: str | None = setting(None, "The push type: alert, mdm …; not with --via api.")
    ttl_s: float | None = setting(
        None, "Time to keep it for a device that is away; 0: now or never.", unit="s"
    )
    expiration: int | None = setting(
        None, "Until when to keep it, instead of --ttl; 0: now or never.", unit="epoch-seconds"
    )
    priority: int | None = setting(None, "10, 5 or 1.")
    collapse_id: str | None = setting(
        None, "Replace a push with this collapse id that still waits."
    )
    id: str | None = setting(None, "The push's id; as to APNs a UUID.")
    event: str | None = setting(None, "Name of the device's event; --via api only.")
    delay_s: float | None = setting(None, "Time to hold it before; --via api only.", unit="s")
    broadcast: bool = setting(
        False, "Push to every connected device: leave out TOKEN. --via api only."
    )
    file: str | None = setting(
        None,
        "Send a push for each line of JSON: token, payload and more, as POST /v1/pushes takes "
        "them; flags stand for what a line leaves out. '-' is stdin.",
        unit="file",
    )
    rate: float | None = setting(
        None, "Pushes that are sent in a second at most; not with --via api.", unit="1/s"
    )
    bandwidth: float | None = setting(
        None, "Bytes that are sent in a second at most; not with --via api.", unit="bytes"
    )
    connections: int = setting(
        20, "Connections that there may be if one is not enough; not with --via api.", minimum=1
    )
    retries: int = setting(
        0, "Times that a push is sent again that is refused with 429 or 5xx; not with --via api."
    )
    json: bool = setting(False, "Print what became of each push as a line of JSON.")
    ca: str | None = setting(None, "PEM file of the CA to trust.", unit="file")
    cert: str | None = setting(
        None,
        "PEM file with the push certificate, and with its key without --cert-key.",
        unit="file",
    )
    cert_key: str | None = setting(None, "PEM file with the certificate's key.", unit="file")
    key: str | None = setting(
        None, "Apple's .p8 file to sign provider tokens with; needs the next two.", unit="file"
    )
    key_id: str | None = setting(None, "The id of --key: the part of its name after AuthKey_.")
    team_id: str | None = setting(None, "The team that --key belongs to.")
    api_key: str | None = setting(
        None,
        "A key of the server's API, if it asks for one; better as TRIO_PUSH_API_KEY.",
        unit="key",
        check=check_api_key,
        secret=True,
    )

    def __post_init__(self) -> None:
        if self.ttl_s is not None and self.expiration is not None:
            raise ConfigError("--ttl and --expiration both say how long: leave one out")
        if self.file and (self.id or self.broadcast):
            raise ConfigError("--id and --broadcast are for one push: leave out --file")
        if self.apns and self.via == "api":
            raise ConfigError("--apns is a way to push, and so is --via api: leave one out")
        check_provider(self)
        if self.key and self.api_key:
            raise ConfigError("--key and --api-key both say who pushes: leave one out")
        for name in ("rate", "bandwidth"):
            if getattr(self, name) == 0:
                raise ConfigError(f"--{name} 0 would send nothing: leave it out for no limit")
        if self.by_api:
            self._check_api()

    def _check_api(self) -> None:
        """Refuse what would be asked for in vain."""
        for field in fields(self):
            if field.name in _APNS_ONLY and getattr(self, field.name) != field.default:
                flag = field.name.replace("_", "-")
                raise ConfigError(f"--{flag} is for pushes by APNs: leave it out, or --via api")

    @property
    def by_api(self) -> bool:
        return self.via == "api"

    @property
    def host(self) -> str:
        """The URL that pushes go to."""
        return base_url(self.apns or self.url)

    def options(self) -> Options:
        """What the provider client is told. Reads files; raises ConfigError."""
        context = None
        if self.ca or self.cert or self.host.startswith("https:"):
            context = client_context(ca=self.ca, certificate=self.cert, key=self.cert_key)
        return Options(
            http="h2" if self.apns or self.via == "apns-h2" else "any",
            context=context,
            authorization=authorization_of(
                key=self.key, key_id=self.key_id, team_id=self.team_id, bearer=self.api_key
            ),
            scaling=Scaling(
                law=Exponential(2), most=self.connections, sustain_s=0.2, settle_s=0.2, poll_s=0.05
            ),
            retries=Retries(most=self.retries),
            rate_per_s=self.rate,
            bandwidth_bytes_per_s=self.bandwidth,
            patience_s=_PATIENCE_S,
            answer_s=ANSWER_S,
        )
