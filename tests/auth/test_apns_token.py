"""Provider tokens: genuine or not; nothing that is shown makes the verifier fail."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm

from tests.auth import provider
from tests.auth.issuer import base64
from tests.auth.provider import KEY, TEAM, provider_token
from tests.fakes import T0
from trio_push.auth import apns_token
from trio_push.auth.apns_token import TokenVerifier

REGISTRY = provider.registry()


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(REGISTRY.find_key)


def signed(header: bytes, payload: bytes) -> bytes:
    """ES256 over any header and payload, which no library would sign."""
    message = base64(header) + b"." + base64(payload)
    signature = ECAlgorithm(ECAlgorithm.SHA256).sign(message, provider.private_key(KEY))
    return message + b"." + base64(signature)


HEADER = json.dumps({"alg": "ES256", "kid": KEY}).encode()
PAYLOAD = json.dumps({"iss": TEAM, "iat": T0}).encode()


def test_a_genuine_token(verifier: TokenVerifier) -> None:
    token = verifier.verify(provider_token(age_s=5))
    assert token is not None
    assert token.issued_at == T0 - 5
    assert token.key is REGISTRY.find_key(KEY)
    assert verifier.verify(signed(HEADER, PAYLOAD)) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a.b",
        b"a.b.c",
        b"a" * 9000,
        provider_token()[:-2],
        provider_token(signed_with=b"k" * 32, alg="HS256"),
        signed(b'{"alg":"none","kid":"%b"}' % KEY.encode(), PAYLOAD),
        signed(b'{"alg":"ES256"}', PAYLOAD),
        signed(b'{"alg":"ES256","kid":7}', PAYLOAD),
        signed(HEADER[:-1] + b',"crit":["exp"]}', PAYLOAD),
        signed(HEADER, b'{"iat":1}'),
        signed(HEADER, b'{"iss":"%b"}' % TEAM.encode()),
        signed(HEADER, b'{"iss":"OTHER","iat":1}'),
        signed(HEADER, b"[]"),
        signed(HEADER, b"[" * 4000),
        signed(HEADER, b'{"iss":"\xff","iat":1}'),
    ],
)
def test_what_is_not(verifier: TokenVerifier, raw: bytes) -> None:
    assert verifier.verify(raw) is None


def test_memory_is_bounded(verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apns_token, "REMEMBERED", 5)
    small = TokenVerifier(REGISTRY.find_key)
    for age_s in range(30):
        small.verify(provider_token(age_s=age_s))
        assert small.verify(b"a.b.c") is None
    assert len(small._verified._young) + len(small._verified._old) <= 10


_VERIFIER = TokenVerifier(REGISTRY.find_key)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(raw=st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
def test_any_bytes(raw: bytes) -> None:
    assert _VERIFIER.verify(raw) is None


@given(iss=st.just(TEAM) | _json, iat=_json, more=_json)
def test_any_claims(iss: object, iat: object, more: object) -> None:
    raw = signed(HEADER, json.dumps({"iss": iss, "iat": iat, "more": more}).encode())
    token = _VERIFIER.verify(raw)
    assert token is None or iss == TEAM
