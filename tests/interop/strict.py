"""What the interop tests of the strict profile share: a server, its providers, what goes wrong.

The server knows a test set as `trio-push apns-credentials` makes it, and some more keys and
device tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.auth import provider
from tests.auth.issuer import private_pem
from tests.interop.running import Running, running
from trio_push.auth.apns_registry import KeyRecord, TokenRecord
from trio_push.certificates import Identity, common_name, issue, make_ca
from trio_push.commands.apns_credentials import (
    CERTIFICATE_LIFE,
    CredentialSet,
    make_credentials,
    make_push_certificate,
    write,
)

APP = "com.example.app"
VOIP = f"{APP}.voip"
PAYLOAD = {"aps": {"alert": "höi"}}
OTHER_APPS_TOKEN = "a1" * 32
SANDBOX_TOKEN = "a2" * 32
EXPIRED_TOKEN = "a3" * 32
EXPIRED_AT = 1_700_000_000
#: pushes to one device token of which the last is refused, however slowly they come
TOO_MANY = 11
_RATE = 0.01


class Provider(NamedTuple):
    """What a client is set up with to prove who it is: a key, or a certificate."""

    key_id: str = ""
    team_id: str = ""
    #: file of the private key
    key: Path = Path()
    #: file of certificate and key; None: it is by token
    certificate: Path | None = None


class Strict(NamedTuple):
    """A running server, and providers right and wrong by their names."""

    server: Running
    providers: dict[str, Provider]
    mdm_topic: str

    def unregister(self, token: str) -> int:
        """Since when, in epoch milliseconds."""
        return self.server.unregister(token)


class Ask(NamedTuple):
    """A push that is refused, and why. Fields are those of Apple's headers, without `apns-`."""

    reason: str
    token: str | None = None
    payload: dict[str, Any] = PAYLOAD
    fields: Mapping[str, Any] = MappingProxyType({})

    def __str__(self) -> str:
        return "-".join([self.reason, *(f"{k}={str(v)[:12]}" for k, v in self.fields.items())])


#: refusals that every client can be brought to cause, by token and by certificate
ASKED = [
    Ask("BadDeviceToken", token="xyz"),
    Ask("BadDeviceToken", token=SANDBOX_TOKEN),
    Ask("DeviceTokenNotForTopic", token=OTHER_APPS_TOKEN),
    Ask("ExpiredToken", token=EXPIRED_TOKEN),
    Ask("MissingDeviceToken", token=""),
    Ask("BadTopic", fields={"topic": "com_example.voip"}),
    Ask("TopicDisallowed", fields={"topic": "com.example.other.voip"}),
    Ask("InvalidPushType", fields={"push_type": "complication"}),
    Ask("BadCollapseId", fields={"collapse_id": "k" * 65}),
    Ask("PayloadTooLarge", payload={"aps": "m" * 5120}),
]
#: those that depend on the push type or that a client may not be able to write
BACKGROUND = Ask("BadPriority", fields={"topic": APP, "push_type": "background", "priority": 10})
MISSING_TOPIC = Ask("MissingTopic", fields={"topic": None})
BAD_ID = Ask("BadMessageId", fields={"id": "5c2b6c288ea34ffeaaaa0123456789ab"})
BAD_EXPIRATION = Ask("BadExpirationDate", fields={"expiration": "tomorrow"})

#: provider → why it is refused whatever it asks
BAD_PROVIDERS = {
    "of another key": "InvalidProviderToken",
    "of another team": "InvalidProviderToken",
    "for development": "BadEnvironmentKeyIdInToken",
    "scoped": "TopicDisallowed",
}
BAD_CERTIFICATES = {
    "no push certificate": "BadCertificate",
    "certificate for development": "BadCertificateEnvironment",
}
GOOD_PROVIDERS = ("by token", "by certificate")


@pytest.fixture(scope="session")
def strict_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[CredentialSet, Path]:
    folder = tmp_path_factory.mktemp("strict")
    made = make_credentials(APP, datetime.now(UTC))
    write(made, folder)
    known = msgspec.json.decode((folder / "apns.json").read_bytes())
    known["keys"] += map(_key_record, ("SANDBOX", "SCOPED"), (made.team_id,) * 2)
    known["tokens"] = [
        TokenRecord(OTHER_APPS_TOKEN, topics=["com.example.other"]),
        TokenRecord(SANDBOX_TOKEN, environment="development"),
        TokenRecord(EXPIRED_TOKEN, expired_at=EXPIRED_AT),
    ]
    (folder / "apns.json").write_bytes(msgspec.json.encode(known))
    return made, folder


def _key_record(key_id: str, team_id: str) -> KeyRecord:
    limits: dict[str, Any] = {
        "SANDBOX": {"environment": "development"},
        "SCOPED": {"topics": ["com.example.other"]},
    }[key_id]
    return provider.key_record(key_id, team_id, **limits)


@pytest.fixture(scope="session")
def providers(strict_files: tuple[CredentialSet, Path]) -> dict[str, Provider]:
    made, folder = strict_files
    now = datetime.now(UTC)

    def by_token(key_id: str, team_id: str) -> Provider:
        path = folder / f"AuthKey_{key_id}.p8"
        path.write_bytes(private_pem(provider.private_key(key_id)))
        return Provider(key_id, team_id, path)

    def by_certificate(name: str, identity: Identity) -> Provider:
        (folder / name).write_bytes(identity.to_pem())
        return Provider(certificate=folder / name)

    good = Provider(made.key_id, made.team_id, folder / made.key_file)
    other = by_token("UNKNOWN", made.team_id)
    anybody = issue(made.authority, common_name("anybody"), CERTIFICATE_LIFE, now)
    sandbox = make_push_certificate(made.authority, VOIP, "v", now, environments=("development",))
    stranger = make_push_certificate(make_ca("another", now), VOIP, "v", now)
    expired = make_push_certificate(made.authority, VOIP, "v", now - 2 * CERTIFICATE_LIFE)
    return {
        "by token": good,
        "by certificate": Provider(certificate=folder / "app.pem"),
        "mdm": Provider(certificate=folder / "mdm.pem"),
        "of another key": other._replace(key_id=made.key_id),
        "of another team": good._replace(team_id="TEAM000000"),
        "for development": by_token("SANDBOX", made.team_id),
        "scoped": by_token("SCOPED", made.team_id),
        "no push certificate": by_certificate("anybody.pem", anybody),
        "certificate for development": by_certificate("sandbox.pem", sandbox),
        "stranger": by_certificate("stranger.pem", stranger),
        "expired": by_certificate("expired.pem", expired),
    }


@pytest.fixture(scope="session")
def launch_strict(
    tls_dir: Path, strict_files: tuple[CredentialSet, Path], providers: dict[str, Provider]
) -> Callable[..., Any]:
    """Opens, as a context, a server of the strict profile."""
    folder = strict_files[1]
    settings = {"apns": "strict", "apns_credentials": str(folder / "apns.json")}

    def open_strict(**more: Any) -> Any:
        return running(tls_dir, **{**settings, "apns_token_rate": 1, **more})

    return open_strict


@pytest.fixture(scope="session")
def strict(
    launch_strict: Callable[..., Any],
    strict_files: tuple[CredentialSet, Path],
    providers: dict[str, Provider],
) -> Iterator[Strict]:
    """One server for all tests that leave it as it is."""
    with pytest.MonkeyPatch.context() as patch, launch_strict(apns_token_rate=_RATE) as server:
        patch.setattr("trio_push.wire.apns_strict_rate.BURST_S", (TOO_MANY - 1) / _RATE)
        yield Strict(server, providers, strict_files[0].mdm_topic)


def an_hour_ago() -> float:
    return time.time() - 3700
