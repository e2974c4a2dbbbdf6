from __future__ import annotations

from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from trio_push.apns import Bearer, ProviderToken
from trio_push.apns.authorization import LEAST_AGE_S, REFRESH_S
from trio_push.errors import ConfigError

KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.fixture
def token() -> ProviderToken:
    return ProviderToken(key=pem(KEY), key_id="K" * 10, team_id="T" * 10)


def test_is_a_jwt_as_apple_wants_it(token: ProviderToken) -> None:
    scheme, _, encoded = token.header(1_700_000_000.7).partition(b" ")
    assert scheme == b"bearer"
    header = jwt.get_unverified_header(encoded)
    assert (header["alg"], header["kid"]) == ("ES256", "K" * 10)
    claims = jwt.decode(
        encoded, KEY.public_key(), algorithms=["ES256"], options={"verify_iat": False}
    )
    assert claims == {"iss": "T" * 10, "iat": 1_700_000_000}


def test_is_made_once_and_anew_in_time(token: ProviderToken) -> None:
    first = token.header(1000.0)
    assert token.header(1000.0 + REFRESH_S - 1) is first
    assert token.header(1000.0 + REFRESH_S) != first
    assert 20 * 60 <= LEAST_AGE_S < REFRESH_S < 60 * 60


def test_a_clock_that_was_set_back(token: ProviderToken) -> None:
    first = token.header(5000.0)
    assert token.header(4000.0) != first


def test_one_that_was_called_expired_is_replaced_but_not_too_often(token: ProviderToken) -> None:
    first = token.header(0.0)
    assert not token.expired(LEAST_AGE_S - 1)
    assert token.header(LEAST_AGE_S - 1) is first
    assert token.expired(LEAST_AGE_S)
    assert token.header(LEAST_AGE_S) != first


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key.p8"
    path.write_bytes(pem(KEY))
    assert ProviderToken.read(str(path), key_id="k", team_id="t").header(0)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        ProviderToken.read(str(tmp_path / "none"), key_id="k", team_id="t")


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (b"nonsense", "no private key in PEM"),
        (pem(rsa.generate_private_key(65537, 2048)), "not one of ES256"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "not one of ES256"),
    ],
)
def test_keys_that_are_none(key: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        ProviderToken(key=key, key_id="k", team_id="t")


def test_bearer() -> None:
    bearer = Bearer("key")
    assert bearer.header(0) == b"Bearer key"
    assert not bearer.expired(1e9)
