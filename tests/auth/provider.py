"""The tests' provider under the strict profile: keys, tokens and certificates, right or wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.auth.issuer import public_pem
from tests.fakes import T0
from trio_push.auth.apns_certificate import encode_topics
from trio_push.auth.apns_registry import Credentials, KeyRecord, Registry, TeamRecord, TokenRecord
from trio_push.certificates import PEM, Identity, common_name, issue, make_ca
from trio_push.commands.apns_credentials import make_push_certificate

APP: Final = "com.example.app"
MDM: Final = "com.apple.mgmt.External.0c5bd1ee"
TEAM: Final = "TEAM000001"
OTHER_TEAM: Final = "TEAM000002"
#: keys by their id: a plain one, one beside it, and those that are limited
KEY: Final = "KEY0000001"
SECOND_KEY: Final = "KEY0000002"
SCOPED_KEY: Final = "KEY0000003"
SANDBOX_KEY: Final = "KEY0000004"
OTHER_TEAMS_KEY: Final = "KEY0000005"

TOKEN: Final = "0123456789abcdef" * 4
OTHER_APPS_TOKEN: Final = "a1" * 32
SANDBOX_TOKEN: Final = "a2" * 32
EXPIRED_TOKEN: Final = "a3" * 32
GONE_TOKEN: Final = "a4" * 32

#: when certificates are made: those that are shown to a server must be valid on its clock
NOW: Final = datetime.now(UTC)


@cache
def private_key(key_id: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_record(key_id: str, team_id: str = TEAM, **limits: Any) -> KeyRecord:
    return KeyRecord(key_id, team_id, public_pem(private_key(key_id)).decode(), **limits)


def credentials(**more: Any) -> Credentials:
    given: dict[str, Any] = {
        "keys": [
            key_record(KEY),
            key_record(SECOND_KEY),
            key_record(SCOPED_KEY, topics=["com.example.other"]),
            key_record(SANDBOX_KEY, environment="development"),
            key_record(OTHER_TEAMS_KEY, OTHER_TEAM),
        ],
        "teams": [TeamRecord(TEAM, [APP])],
        "tokens": [
            TokenRecord(OTHER_APPS_TOKEN, topics=["com.example.other"]),
            TokenRecord(SANDBOX_TOKEN, environment="development"),
            TokenRecord(EXPIRED_TOKEN, expired_at=T0 - 60),
        ],
        **more,
    }
    return Credentials(**given)


def registry(**more: Any) -> Registry:
    return Registry(credentials(**more))


def provider_token(
    key_id: str = KEY,
    *,
    age_s: float = 0,
    iss: str | None = None,
    signed_with: Any = None,
    alg: str = "ES256",
    **claims: Any,
) -> bytes:
    """A provider token of that age at T0; of the key's own team unless `iss` is given."""
    team = OTHER_TEAM if key_id == OTHER_TEAMS_KEY else TEAM
    payload = {"iss": iss or team, "iat": T0 - age_s, **claims}
    key = private_key(key_id) if signed_with is None else signed_with
    return jwt.encode(payload, key, alg, headers={"kid": key_id}).encode()


def bearer(*args: Any, **kwargs: Any) -> bytes:
    """An `authorization` header with a provider token."""
    return b"bearer " + provider_token(*args, **kwargs)


@cache
def authority() -> Identity:
    return make_ca("test authority", NOW)


def der(identity: Identity) -> bytes:
    return identity.certificate.public_bytes(Encoding.DER)


@cache
def app_certificate() -> Identity:
    """For an app's topics."""
    listed = encode_topics([(APP, "app"), (f"{APP}.voip", "voip"), (f"{APP}.location-query", "l")])
    return make_push_certificate(authority(), APP, "app", NOW, listed=listed)


@cache
def mdm_certificate(environments: tuple[str, ...] = ("development", "production")) -> Identity:
    """For one topic."""
    return make_push_certificate(authority(), MDM, "mdm", NOW, environments=environments)


@cache
def plain_certificate() -> Identity:
    """Of the same authority, and no push certificate."""
    return issue(authority(), common_name("somebody"), timedelta(days=365), NOW)


@cache
def stranger_certificate() -> Identity:
    """A push certificate of another authority."""
    return make_push_certificate(make_ca("another", NOW), MDM, "mdm", NOW)


def authority_pem() -> str:
    return authority().certificate.public_bytes(PEM).decode()
