"""What counts as a key, and that nothing else can be one by mistake."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.auth.issuer import (
    ALGORITHMS,
    SECRET,
    ec_key,
    jwk,
    jwks,
    key_file,
    private_pem,
    public_pem,
    rsa_key,
    signing_key,
    token,
)
from trio_push.auth.keys import parse_jwks, parse_key
from trio_push.errors import ConfigError


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, rsa_key().public_key(), 1)
    dated = builder.not_valid_before(start).not_valid_after(start + timedelta(days=1))
    return dated.sign(rsa_key(), hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("data", "algorithm"),
    [(key_file(algorithm), algorithm) for algorithm in ALGORITHMS]
    + [
        (SECRET, "HS256"),
        (SECRET + b"\r\n", "HS256"),
        (certificate(), "RS256"),
        (b"# the issuer's\n" + public_pem(ec_key()), "ES256"),
    ],
)
def test_a_key_brings_its_algorithm(data: bytes, algorithm: str) -> None:
    keys = parse_key(data)
    message, _, signature = token(algorithm).rpartition(b".")
    for other in ALGORITHMS:
        assert (keys.find(other, None) is None) is (other != algorithm)
    # a single key is whatever a token calls it
    key = keys.find(algorithm, "any")
    assert key is not None
    assert key is keys.find(algorithm, None)
    assert not key.verifies(message, b"")
    assert not key.verifies(message, signature[:10])


def der(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def ec_key_that_ends_in(byte: bytes) -> Any:
    """As one of 256 does."""
    while not der(key := ec.generate_private_key(ec.SECP256R1())).endswith(byte):
        pass
    return key


def ssh(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return data


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "at least 32 bytes, not 0"),
        (b"\n", "at least 32 bytes, not 0"),
        (SECRET[:31] + b"\n", "at least 32 bytes, not 31"),
        (private_pem(rsa_key()), "is a private key: .*openssl pkey -in FILE -pubout"),
        (private_pem(ec_key()), "is a private key"),
        (public_pem(rsa_key(1024)), "RSA key has at least 2048 bits, not 1024"),
        (public_pem(ec_key(ec.SECP384R1)), "another kind than RSA or the curve P-256"),
        (public_pem(ed25519.Ed25519PrivateKey.generate()), "another kind"),
        (b"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n", "no public key"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "no certificate"),
        (public_pem(rsa_key())[:100], "no public key"),
        # each of these is public, and as a secret it would let everyone in
        (der(rsa_key()), "neither in PEM nor a secret"),
        (der(ec_key()), "neither in PEM nor a secret"),
        (der(ec_key_that_ends_in(b"\n")), "neither in PEM nor a secret"),
        (der(ec_key_that_ends_in(b"\r")), "neither in PEM nor a secret"),
        (ssh(rsa_key()), "neither in PEM nor a secret"),
        (json.dumps(jwk("RS256")).encode(), "neither in PEM nor a secret"),
        (jwks(jwk("RS256")), "neither in PEM nor a secret"),
    ],
)
def test_what_is_no_key(data: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_key(data)


def test_keys_of_a_set_go_by_name_and_algorithm() -> None:
    keys = parse_jwks(
        jwks(jwk("RS256", kid="a", alg="RS256", use="sig"), jwk("ES256", kid="a"), jwk("HS256"))
    )
    for algorithm, kid, name in [
        ("RS256", "a", "a"),
        ("ES256", "a", "a"),
        # there is only one that it can be
        ("ES256", None, "a"),
        # a key without a name is not contradicted
        ("HS256", "b", None),
    ]:
        key = keys.find(algorithm, kid)
        assert key is not None
        assert (key.algorithm, key.kid) == (algorithm, name)
    assert keys.find("RS256", "b") is None
    assert keys.find("none", "a") is None


def test_without_a_name_nobody_guesses() -> None:
    keys = parse_jwks(jwks(jwk("ES256", kid="a"), jwk("ES256", kid="b")))
    assert keys.find("ES256", None) is None


@pytest.mark.parametrize(
    "other",
    [
        jwk("RS256", use="enc"),
        jwk("RS256", alg="RS512"),
        jwk("RS256", alg="RSA-OAEP"),
        jwk("RS256", key_ops=["encrypt"]),
        jwk("ES256", crv="P-384"),
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty": "new"},
    ],
)
def test_keys_for_something_else_are_passed_over(other: dict[str, Any]) -> None:
    assert parse_jwks(jwks(other, jwk("HS256"))).find("HS256", None) is not None
    with pytest.raises(ConfigError, match="no key in it can be used"):
        parse_jwks(jwks(other))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no JWK set"),
        (b"[]", "no JWK set"),
        (b"{}", "no JWK set"),
        (b'{"keys": {}}', "no JWK set"),
        (b'{"keys": [1]}', "no JWK set"),
        (b"\xff", "no JWK set"),
        (b"[" * 10_000, "no JWK set"),
        (jwks(), "no key in it can be used"),
        (jwks(jwk("HS256"), {"n": "x"}), "^key 2 of the set: it is no JWK"),
        (jwks({"kty": "RSA", "n": "s3cret", "e": "AQAB"}), "^key 1 of the set: "),
        (jwks({"kty": "RSA", "e": "s3cret"}), "it is no JWK"),
        (jwks({"kty": "EC", "crv": "P-256", "x": "s3cret", "y": "s3cret"}), "it is no JWK"),
        (jwks({"kty": "oct"}), "it is no JWK"),
        (jwks({"kty": "oct", "k": "s3cret"}), "a secret has at least 32 bytes, not"),
        (jwks({"kty": "oct", "k": 5}), "it is no JWK"),
        (jwks(jwk("HS256", kid=5)), "it is no JWK"),
        (jwks(jwk("RS256", d="s3cret")), "is a private key: leave out"),
        (jwks(jwk("HS256"), jwk("HS256")), "two HS256 keys have the same kid, or none"),
    ],
)
def test_what_is_no_set_of_keys(data: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        parse_jwks(data)
    assert "s3cret" not in str(caught.value)


def test_a_key_shows_nothing_of_itself() -> None:
    key = parse_key(SECRET).find("HS256", None)
    assert repr(key) == "<Key HS256 kid=None>"


@given(st.binary())
def test_any_file_is_a_key_or_a_config_error(data: bytes) -> None:
    with suppress(ConfigError):
        parse_key(data)
    with suppress(ConfigError):
        parse_jwks(data)


_values = st.one_of(
    st.sampled_from(["RSA", "EC", "oct", "P-256", "AQAB", "RS256", "sig", "x", ""]),
    st.none(),
    st.integers(),
    st.lists(st.text(), max_size=2),
)
_names = st.sampled_from(
    ["kty", "n", "e", "x", "y", "crv", "k", "kid", "alg", "use", "key_ops", "oth", "p"]
)


@given(
    st.sampled_from(ALGORITHMS).map(jwk) | st.just({}),
    st.dictionaries(_names, _values),
)
def test_any_jwk_is_a_key_or_a_config_error(good: dict[str, Any], bad: dict[str, Any]) -> None:
    with suppress(ConfigError):
        parse_jwks(jwks({**good, **bad}))


def test_what_one_key_signs_another_does_not_verify() -> None:
    message, _, _ = token("RS256").rpartition(b".")
    key = parse_key(public_pem(signing_key("ES256"))).find("ES256", None)
    assert key is not None
    for junk in (b"", b"\0" * 64, b"\xff" * 64, b"\0" * 63, b"x" * 256):
        assert not key.verifies(message, junk)
