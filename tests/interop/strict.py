"""What the interop tests of the strict profile share: a server, its providers, what goes wrong.

The server knows a test set as `trio-push apns-credentials` makes it, and some more keys and
device tokens.
"""

from __future__ import annotations

import secrets
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
#: pushes to one device token in a second: the second one is refused, if it comes within 100 s
TOKEN_RATE = 0.01


class Provider(NamedTuple):
    """What a client is set up with to prove who it is: a key, or a certificate, or nothing."""

    key_id: str = ""
    team_id: str = ""
    #: file of the private key
    key: Path = Path()
    #: file of certificate and key; None: it is by token
    certificate: Path | None = None
    #: how far the client's clock is behind, in seconds
    behind_s: float = 0.0


class Strict(NamedTuple):
    """A running server, and providers right and wrong by their names."""

    server: Running
    providers: dict[str, Provider]
    mdm_topic: str

    def unregister(self, token: str) -> int:
        """Since when, in epoch milliseconds."""
        return self.server.unregister(token)


class Ask(NamedTuple):
    """A push, and the reason for which it is refused; "": it is not.

    Fields are those of Apple's headers, without `apns-`; None leaves one out. A client that can,
    takes `method` from them, and gives the one named by `twice` twice.
    """

    reason: str = ""
    #: None: one of its own for each time that it is pushed
    token: str | None = None
    payload: Any = PAYLOAD
    fields: Mapping[str, Any] = MappingProxyType({})

    def made(self) -> Ask:
        """With a device token."""
        return self if self.token is not None else self._replace(token=secrets.token_hex(32))


#: one push for each reason that lies in a push itself, or several
ASKS = [
    Ask("BadPath", token="ab/cd"),
    Ask("MethodNotAllowed", fields={"method": "PUT"}),
    Ask("DuplicateHeaders", fields={"twice": "apns-topic"}),
    Ask("BadMessageId", fields={"id": "5c2b6c288ea34ffeaaaa0123456789ab"}),
    Ask("MissingTopic", fields={"topic": None}),
    Ask("BadTopic", fields={"topic": "com_example.voip"}),
    Ask("InvalidPushType", fields={"push_type": "complication"}),
    Ask("TopicDisallowed", fields={"topic": "com.example.other.voip"}),
    Ask("BadExpirationDate", fields={"expiration": 10**30}),
    Ask("BadPriority", fields={"topic": APP, "push_type": "background", "priority": 10}),
    Ask("BadCollapseId", fields={"collapse_id": "k" * 65}),
    Ask("MissingDeviceToken", token=""),
    Ask("BadDeviceToken", token="xyz"),
    Ask("BadDeviceToken", token=SANDBOX_TOKEN),
    Ask("PayloadTooLarge", payload={"aps": "m" * 5120}),
    Ask("PayloadEmpty", payload=[]),
    Ask("DeviceTokenNotForTopic", token=OTHER_APPS_TOKEN),
    Ask("ExpiredToken", token=EXPIRED_TOKEN),
]
#: by certificate alone
LOCATION = Ask("Forbidden", fields={"topic": f"{APP}.location-query", "push_type": None})

#: provider → why it is refused whatever it asks
BAD_PROVIDERS = {
    "nobody": "MissingProviderToken",
    "of another key": "InvalidProviderToken",
    "of another team": "InvalidProviderToken",
    "an hour behind": "ExpiredProviderToken",
    "for development": "BadEnvironmentKeyIdInToken",
    "scoped": "TopicDisallowed",
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
        "nobody": Provider(),
        "an hour behind": good._replace(behind_s=3700),
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
        return running(tls_dir, **{**settings, "apns_token_rate": TOKEN_RATE, **more})

    return open_strict


@pytest.fixture(scope="session")
def strict(
    launch_strict: Callable[..., Any],
    strict_files: tuple[CredentialSet, Path],
    providers: dict[str, Provider],
) -> Iterator[Strict]:
    """One server for all tests that leave it as it is."""
    with launch_strict() as server:
        yield Strict(server, providers, strict_files[0].mdm_topic)
