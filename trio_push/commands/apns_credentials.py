"""`trio-push apns-credentials`: a test set of APNs credentials, as Apple would give them.

Writes what a provider needs (a key for provider tokens, push certificates), what the server needs
to know of them (`--apns-credentials`), and how to set up the clients that people use.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trio_push.auth.apns_certificate import ENVIRONMENTS, TOPICS, encode_topics
from trio_push.auth.apns_registry import Credentials, KeyRecord, TeamRecord
from trio_push.certificates import PEM, Identity, issue, make_ca, publish
from trio_push.commands.apns_clients import describe
from trio_push.commands.flags import make_command
from trio_push.errors import ConfigError
from trio_push.settings import setting
from trio_push.wire.apns_strict_topics import is_topic

#: as long as Apple's
CERTIFICATE_LIFE: Final = timedelta(days=365)
_ID_CHARS: Final = string.ascii_uppercase + string.digits
#: kind of push → what its topic has after the bundle id, in a certificate for an app
_APP_TOPICS: Final = {"app": "", "voip": ".voip", "complication": ".complication"}


def _check_topic(text: str) -> None:
    if not is_topic(text.encode()):
        raise ConfigError(f"{text!r} is no bundle id: write one like com.example.app")


@dataclass(frozen=True, kw_only=True, slots=True)
class CredentialsSettings:
    """What `trio-push apns-credentials` can be told."""

    topic: str = setting(
        "com.example.app", "Bundle id of the app to push to.", unit="bundle-id", check=_check_topic
    )


@dataclass(frozen=True, slots=True)
class CredentialSet:
    """Credentials that were made, not written yet."""

    topic: str
    mdm_topic: str
    key_id: str
    team_id: str
    key: ec.EllipticCurvePrivateKey
    authority: Identity
    #: push certificates for the app and for MDM
    app: Identity
    mdm: Identity

    def for_server(self) -> Credentials:
        """What `--apns-credentials` takes."""
        public = self.key.public_key().public_bytes(
            PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return Credentials(
            keys=[KeyRecord(self.key_id, self.team_id, public.decode())],
            teams=[TeamRecord(self.team_id, [self.topic])],
            certificate_authorities=[self.authority.certificate.public_bytes(PEM).decode()],
        )

    @property
    def key_file(self) -> str:
        """As the file that Apple gives is called."""
        return f"AuthKey_{self.key_id}.p8"


def make_credentials(topic: str, now: datetime) -> CredentialSet:
    """A new set: no two are the same."""
    authority = make_ca("trio-push test authority of push certificates", now)
    unique = str(uuid4())
    mdm_topic = f"com.apple.mgmt.External.{unique}"
    listed = encode_topics((topic + suffix, kind) for kind, suffix in _APP_TOPICS.items())
    return CredentialSet(
        topic=topic,
        mdm_topic=mdm_topic,
        key_id=_make_id(),
        team_id=_make_id(),
        key=ec.generate_private_key(ec.SECP256R1()),
        authority=authority,
        app=make_push_certificate(
            authority, topic, f"Apple Push Services: {topic}", now, listed=listed
        ),
        mdm=make_push_certificate(authority, mdm_topic, f"APSP:{unique}", now),
    )


def make_push_certificate(
    authority: Identity,
    topic: str,
    name: str,
    now: datetime,
    *,
    listed: bytes | None = None,
    environments: tuple[str, ...] = tuple(ENVIRONMENTS),
) -> Identity:
    """For `topic`, or for those `listed` (DER) beside it, in these environments."""
    subject = x509.Name(
        [x509.NameAttribute(NameOID.USER_ID, topic), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    extensions: list[x509.ExtensionType] = [
        x509.UnrecognizedExtension(ENVIRONMENTS[environment], b"\x05\x00")
        for environment in environments
    ]
    if listed is not None:
        extensions.append(x509.UnrecognizedExtension(TOPICS, listed))
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return issue(authority, subject, CERTIFICATE_LIFE, now, usage, *extensions)


def write(made: CredentialSet, folder: Path) -> None:
    """Raises ConfigError for a folder that has a set already, or cannot be written."""
    credentials = folder / "apns.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if credentials.exists():
            raise ConfigError(f"{credentials} is there already: give a new directory, or remove it")
        key = made.key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        publish(folder / made.key_file, key, mode=0o600)
        publish(folder / "app.pem", made.app.to_pem(), mode=0o600)
        publish(folder / "mdm.pem", made.mdm.to_pem(), mode=0o600)
        publish(folder / "authority.pem", made.authority.to_pem(), mode=0o600)
        publish(folder / "clients.md", describe(made, folder.absolute()).encode(), mode=0o644)
        known = msgspec.json.format(msgspec.json.encode(made.for_server()), indent=2)
        publish(credentials, known + b"\n", mode=0o644)
    except OSError as exc:
        raise ConfigError(
            f"{folder}: {exc.strerror}; give a directory that can be written"
        ) from exc


def make(settings: CredentialsSettings, directory: str) -> str:
    """Make a set in the directory, and say what there is now. Raises ConfigError."""
    made, folder = make_credentials(settings.topic, datetime.now(UTC)), Path(directory).expanduser()
    write(made, folder)
    return f"""\
key {made.key_id} of team {made.team_id}, for {made.topic}: {folder / made.key_file}
push certificate for {made.topic}: {folder / "app.pem"}
push certificate for {made.mdm_topic}: {folder / "mdm.pem"}
how to set up clients: {folder / "clients.md"}
serve with: trio-push serve --apns strict --apns-credentials {folder / "apns.json"} \
--tls-listen 127.0.0.1:8443 --tls-dev"""


async def run(settings: CredentialsSettings, directory: str) -> int:
    """Make a test set of APNs credentials in DIRECTORY."""
    print(make(settings, directory))
    return 0


def _make_id() -> str:
    return "".join(secrets.choice(_ID_CHARS) for _ in range(10))


apns_credentials = make_command("apns-credentials", CredentialsSettings, run)
