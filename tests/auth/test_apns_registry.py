"""What the strict profile knows: read from a file, changed while it runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.auth import provider
from tests.auth.issuer import ec_key, private_pem, public_pem, rsa_key
from tests.auth.provider import APP, KEY, TEAM
from trio_push.auth.apns_registry import KeyRecord, TokenRecord, parse_registry
from trio_push.errors import ConfigError, Refusal
from trio_push.wire.apns_strict import KnownDevice, Sender

PUBLIC = public_pem(provider.private_key(KEY)).decode()


def test_a_file() -> None:
    registry = parse_registry(
        json.dumps(
            {
                "keys": [{"key_id": KEY, "team_id": TEAM, "public_key": PUBLIC}],
                "teams": [{"team_id": TEAM, "topics": [APP]}],
                "tokens": [{"token": "AB12", "topics": [APP], "expired_at": 1.5}],
                "certificate_authorities": ["PEM"],
                "revoked": ["0a:FF", "1"],
            }
        ).encode()
    )
    key = registry.find_key(KEY)
    assert key is not None
    assert registry.sender(key) == Sender(frozenset([APP.encode()]))
    assert registry.device("ab12") == KnownDevice(frozenset([APP.encode()]), None, 1500)
    assert registry.device("ab13") == KnownDevice()
    assert registry.revoked == {0x0AFF, 1}
    assert registry.certificate_authorities == ("PEM",)
    assert parse_registry(b"{}").list_keys() == []


def key(**fields: Any) -> dict[str, Any]:
    return {"keys": [{"key_id": KEY, "team_id": TEAM, "public_key": PUBLIC, **fields}]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no file of credentials"),
        (b"\xff", "no file of credentials"),
        (b"[" * 9999, "no file of credentials"),
        ({"key": []}, "unknown field"),
        (key(key_id="?"), "keys"),
        (key(key_id="KEY\n"), "keys"),
        (key(topics=["*"]), "topics"),
        (key(environment="sandbox"), "environment"),
        (key(public_key="PEM"), "key 1: it is no public key"),
        (key(public_key=private_pem(ec_key()).decode()), "it is a private key"),
        (key(public_key=public_pem(rsa_key()).decode()), "P-256"),
        (key(public_key=public_pem(ec_key(ec.SECP384R1)).decode()), "P-256"),
        ({"tokens": [{"token": "xyz"}]}, "token 1: "),
        ({"tokens": [{"token": "ab", "expired_at": -1}]}, "expired_at"),
        ({"revoked": ["xyz"]}, "revoked: "),
    ],
)
def test_a_file_that_is_wrong(content: Any, problem: str) -> None:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(ConfigError, match=problem) as caught:
        parse_registry(data)
    assert "-----BEGIN" not in str(caught.value)


def test_topics_of_a_key_count_before_those_of_its_team() -> None:
    registry = provider.registry()
    scoped = registry.find_key(provider.SCOPED_KEY)
    others = registry.find_key(provider.OTHER_TEAMS_KEY)
    assert scoped is not None
    assert others is not None
    assert registry.sender(scoped).topics == {b"com.example.other"}
    assert registry.sender(others).topics is None


def test_changes() -> None:
    registry = provider.registry()
    version = registry.version
    assert registry.drop_key(KEY)
    assert not registry.drop_key(KEY)
    assert registry.version > version
    assert KEY not in [record.key_id for record in registry.list_keys()]
    assert registry.drop_team(TEAM)
    assert not registry.drop_team(TEAM)
    assert registry.list_teams() == []
    assert registry.put_token(TokenRecord("AB")) == TokenRecord("ab")
    assert registry.token("ab") == TokenRecord("ab")
    assert registry.count_tokens() == 4
    assert registry.drop_token("ab")
    assert not registry.drop_token("ab")
    with pytest.raises(Refusal):
        registry.put_token(TokenRecord("xyz"))
    with pytest.raises(ConfigError):
        registry.put_key(KeyRecord("K", TEAM, "PEM"))
