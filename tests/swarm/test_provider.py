from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from tests.auth import provider
from tests.auth.issuer import private_pem
from trio_push.errors import ConfigError
from trio_push.swarm.provider import Provider
from trio_push.swarm.settings import SwarmSettings

TLS = "https://localhost:8443"


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "AuthKey_K.p8"
    path.write_bytes(private_pem(provider.private_key("K")))
    return str(path)


def test_one_that_shows_nothing() -> None:
    assert Provider.of(SwarmSettings()) == Provider(topic=None, push_type="mdm")


def test_what_it_pushes() -> None:
    of = Provider.of(SwarmSettings(topic="com.example", push_type="alert"))
    assert (of.topic, of.push_type) == ("com.example", "alert")


def test_a_provider_token(key: str) -> None:
    of = Provider.of(SwarmSettings(key=key, key_id="K", team_id="T", api_key="k" * 16))
    assert of.authorization is not None
    scheme, _, token = of.authorization.header(1000.0).decode().partition(" ")
    assert scheme == "bearer"
    assert jwt.get_unverified_header(token)["kid"] == "K"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims == {"iss": "T", "iat": 1000}


def test_a_plain_key() -> None:
    of = Provider.of(SwarmSettings(api_key="k" * 16))
    assert of.authorization is not None
    assert of.authorization.header(0) == b"Bearer " + b"k" * 16


def test_a_certificate(tmp_path: Path) -> None:
    path = tmp_path / "app.pem"
    path.write_bytes(provider.app_certificate().to_pem())
    assert Provider.of(SwarmSettings(url=TLS, cert=str(path))).context is not None


def test_files_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        Provider.of(SwarmSettings(key="nowhere", key_id="K", team_id="T"))
    with pytest.raises(ConfigError, match="--cert nowhere cannot be used"):
        Provider.of(SwarmSettings(url=TLS, cert="nowhere"))
