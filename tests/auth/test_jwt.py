"""Ways into a server that asks for a JWT: the right one, and the many that must not work."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import jwt as pyjwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.auth.issuer import (
    ALGORITHMS,
    DEVICE,
    SECRET,
    base64,
    claims,
    ec_key,
    jwk,
    jwks,
    key_file,
    public_pem,
    rsa_key,
    signed_by_hand,
    token,
)
from tests.fakes import T0
from trio_push.auth import jwt
from trio_push.auth.jwt import Claims, Verifier
from trio_push.auth.keys import KeySet, parse_jwks, parse_key
from trio_push.errors import Refusal


def verifier(algorithm: str = "HS256", **settings: Any) -> Verifier:
    return having(parse_key(key_file(algorithm)), **settings)


def having(keys: KeySet, **settings: Any) -> Verifier:
    return Verifier(lambda: keys, **settings)


def reason(who: Verifier, raw: bytes, now: float = T0) -> str:
    """Why a token is refused, in the words that its bearer gets."""
    with pytest.raises(Refusal) as caught:
        who.verify(raw, now)
    assert caught.value.status == 401
    text = str(caught.value)
    assert text.isascii()
    assert '"' not in text
    assert "\\" not in text
    return f"{caught.value.reason.name}: {text}"


# -- who is let in


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_token(algorithm: str) -> None:
    raw = token(algorithm, user="usr_42", device="phone")
    expected = Claims(DEVICE, "usr_42", "phone", T0 + 3600)
    who = verifier(algorithm)
    assert [who.verify(raw, T0) for _ in range(3)] == [expected] * 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"exp": None}, Claims(DEVICE)),
        ({"sub": "C0FFEE", "exp": None}, Claims(DEVICE)),
        ({"exp": T0 + 0.5}, Claims(DEVICE, expires_at=T0 + 0.5)),
        ({"exp": int(T0) + 7, "nbf": int(T0)}, Claims(DEVICE, expires_at=T0 + 7)),
        # what it says besides is for others
        ({"iat": "not a number", "jti": 5, "scope": ["x"]}, Claims(DEVICE, expires_at=T0 + 3600)),
        ({"iat": T0 + 999, "exp": None}, Claims(DEVICE)),
    ],
)
def test_claims(given: dict[str, Any], expected: Claims) -> None:
    raw = signed_by_hand(b'{"alg":"HS256"}', json.dumps(claims(**given)).encode())
    assert verifier().verify(raw, T0) == expected


# -- who is not


def test_no_signature_at_all() -> None:
    header, payload, _ = token().split(b".")
    for alg in ("none", "None", "NONE", ""):
        unsigned = base64(json.dumps({"alg": alg, "typ": "JWT"}).encode()) + b"." + payload
        assert "InvalidAccessToken" in reason(verifier(), unsigned + b".")
        assert "no key here" in reason(verifier(), unsigned + b".AA")
    assert "it is no JWT" in reason(verifier(), header + b"." + payload + b".")
    assert "it is no JWT" in reason(verifier(), header + b"." + payload)
    by_library = pyjwt.encode(claims(), None, algorithm="none").encode()
    assert "it is no JWT" in reason(verifier(), by_library)


@pytest.mark.parametrize(
    ("algorithm", "key"), [("RS256", rsa_key()), ("ES256", ec_key())], ids=["RS256", "ES256"]
)
def test_a_public_key_taken_for_a_secret(algorithm: str, key: Any) -> None:
    """What everyone can sign, were the token to choose how it is verified."""
    pem = public_pem(key)
    payload = json.dumps(claims()).encode()
    for secret in (pem, pem.strip(), pem.replace(b"\n", b"\r\n")):
        for alg in ("HS256", algorithm):
            header = json.dumps({"alg": alg, "typ": "JWT"}).encode()
            raw = signed_by_hand(header, payload, secret)
            assert "InvalidAccessToken" in reason(verifier(algorithm), raw)
            both = parse_jwks(jwks(jwk(algorithm), jwk("HS256")))
            assert "InvalidAccessToken" in reason(having(both), raw)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("other", ALGORITHMS)
def test_the_key_says_which_algorithm(algorithm: str, other: str) -> None:
    if algorithm != other:
        assert "no key here is of its alg and kid" in reason(verifier(algorithm), token(other))


def test_another_hash_of_the_same_family() -> None:
    raw = pyjwt.encode(claims(), SECRET * 2, "HS512").encode()
    assert "no key here" in reason(verifier(), raw)
    raw = pyjwt.encode(claims(), rsa_key(), "PS256").encode()
    assert "no key here" in reason(verifier("RS256"), raw)


def test_a_key_of_somebody_elses() -> None:
    assert "signature is wrong" in reason(verifier(), token(key=SECRET[::-1]))
    raw = token("ES256", key=ec_key.__wrapped__())
    assert "signature is wrong" in reason(verifier("ES256"), raw)


def test_a_key_that_the_token_brings_along() -> None:
    mine = ec_key.__wrapped__()
    own = json.loads(pyjwt.algorithms.ECAlgorithm.to_jwk(mine.public_key()))
    header = {"jwk": own, "jku": "https://example.com/keys", "x5c": ["MIIB"]}
    assert "signature is wrong" in reason(
        verifier("ES256"), token("ES256", key=mine, header=header)
    )


def test_the_wrong_kid() -> None:
    keys = parse_jwks(jwks(jwk("RS256", kid="a"), jwk("ES256", kid="b")))
    who = having(keys)
    assert who.verify(token("RS256", header={"kid": "a"}), T0).token == DEVICE
    assert who.verify(token("ES256"), T0).token == DEVICE
    for kid in ("b", "c", "", "../../dev/null", "a' OR 1=1"):
        assert "no key here" in reason(who, token("RS256", header={"kid": kid}))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_changed_bit_anywhere(algorithm: str) -> None:
    who, raw = verifier(algorithm), token(algorithm)
    for i in range(0, len(raw), 7):
        changed = raw[:i] + bytes([raw[i] ^ 0x04]) + raw[i + 1 :]
        assert "InvalidAccessToken" in reason(who, changed)


@pytest.mark.parametrize(
    ("now", "leeway_s", "verdict"),
    [
        (T0 + 59.9, 0, ""),
        (T0 + 60, 0, "ExpiredAccessToken"),
        (T0 + 60, 30, ""),
        (T0 + 89.9, 30, ""),
        (T0 + 90, 30, "ExpiredAccessToken"),
        (T0, 0, ""),
        (T0 - 0.1, 0, "InvalidAccessToken: the JWT is not valid here: it is not valid yet"),
        (T0 - 30, 30, ""),
        (T0 - 30.1, 30, "InvalidAccessToken: the JWT is not valid here: it is not valid yet"),
    ],
)
def test_the_times_at_which_a_token_is_good(now: float, leeway_s: float, verdict: str) -> None:
    raw = token(nbf=T0, exp=T0 + 60)
    who = verifier(leeway_s=leeway_s)
    if verdict:
        assert reason(who, raw, now).startswith(verdict)
    else:
        assert who.verify(raw, now).expires_at == T0 + 60 + leeway_s


@pytest.mark.parametrize(
    "time",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "1e13",
        "-1e13",
        "1" + "0" * 400,
        '"1900000000"',
        "true",
        "[1]",
        "{}",
    ],
)
@pytest.mark.parametrize("claim", ["exp", "nbf"])
def test_what_is_no_time(claim: str, time: str) -> None:
    payload = f'{{"sub":"{DEVICE}","{claim}":{time}}}'.encode()
    raw = signed_by_hand(b'{"alg":"HS256"}', payload)
    assert "InvalidAccessToken" in reason(verifier(), raw)


@pytest.mark.parametrize(
    ("audience", "aud", "good"),
    [
        (None, None, True),
        (None, [], True),
        (None, "push", False),
        (None, ["push"], False),
        ("push", None, False),
        ("push", [], False),
        ("push", "push", True),
        ("push", ["mail", "push"], True),
        ("push", "mail", False),
        ("push", "pus", False),
        ("push", "pushy", False),
        ("push", ["pushy"], False),
    ],
)
def test_whom_a_token_is_for(audience: str | None, aud: Any, good: bool) -> None:
    who, raw = verifier(audience=audience), token(aud=aud)
    if good:
        who.verify(raw, T0)
    else:
        assert "another audience" in reason(who, raw)


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ("{}", "not what they should be"),
        ("[]", "not what they should be"),
        ('"c0ffee"', "not what they should be"),
        ("", "it is no JWT"),
        ("{", "not what they should be"),
        ("\ud800", "not what they should be"),
        ('{"sub":null}', "not what they should be"),
        ('{"sub":12}', "not what they should be"),
        ('{"sub":["c0ffee"]}', "not what they should be"),
        ('{"sub":""}', "sub is no device token"),
        ('{"sub":"usr_42"}', "sub is no device token"),
        ('{"sub":"c0ffe"}', "sub is no device token"),
        ('{"sub":"%s"}' % ("ab" * 101), "sub is no device token"),
        ('{"sub":"c0ffee","user":""}', "not 1 to 200 characters"),
        ('{"sub":"c0ffee","user":5}', "not what they should be"),
        ('{"sub":"c0ffee","user":"\\ud800"}', "not what they should be"),
        ('{"sub":"c0ffee","device":"%s"}' % ("x" * 201), "not 1 to 200 characters"),
        ('{"sub":"c0ffee","aud":5}', "not what they should be"),
        ('{"sub":"c0ffee","x":' + "[" * 3000 + "}", "not what they should be"),
    ],
)
def test_claims_that_are_none(payload: str, problem: str) -> None:
    raw = signed_by_hand(b'{"alg":"HS256"}', payload.encode(errors="surrogatepass"))
    assert problem in reason(verifier(), raw)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("{}", "not what they should be"),
        ("[]", "not what they should be"),
        ('{"alg":null}', "not what they should be"),
        ('{"alg":["HS256"]}', "not what they should be"),
        ('{"alg":"hs256"}', "no key here"),
        ('{"alg":"HS256","kid":5}', "not what they should be"),
        ('{"alg":"HS256","crit":["b64"],"b64":false}', "critical extensions"),
        ('{"alg":"HS256","crit":["exp"]}', "critical extensions"),
        ('{"alg":"HS256","crit":null}', "critical extensions"),
        ("{" * 3000, "not what they should be"),
    ],
)
def test_headers_that_are_none(header: str, problem: str) -> None:
    raw = signed_by_hand(header.encode(), json.dumps(claims()).encode())
    assert problem in reason(verifier(), raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"..",
        b"a.b",
        b"a.b.c.d",
        b"a.b.c.d.e",
        b"....",
        b"\xff.\xff.\xff",
        b"a b.c.d",
        b"a\n.b.c",
        b"a.b.c\n",
        b"=.=.=",
        "ａ.ｂ.ｃ".encode(),
        b"c0ffee",
        b"a" * 10_000,
        b"a." * 4_000,
    ],
)
def test_garbage(raw: bytes) -> None:
    assert "it is no JWT" in reason(verifier(), raw)


def test_only_base64_for_urls_will_do() -> None:
    good = token(user="\x3f\x3e" * 30)
    assert verifier().verify(good, T0)
    for bad in (good + b"=", good + b"==", good.replace(b".", b"=."), good + b"\n", b" " + good):
        assert "it is no JWT" in reason(verifier(), bad)


def test_a_huge_token() -> None:
    padding = "x" * 5_000
    assert verifier().verify(token(padding=padding), T0)
    assert "it is no JWT" in reason(verifier(), token(padding=padding * 2))


@given(st.binary() | st.from_regex(rb"[\w-]{0,40}(\.[\w-]{0,40}){0,4}", fullmatch=True))
def test_any_bytes_are_refused(raw: bytes) -> None:
    reason(verifier(), raw)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    st.sampled_from(["sub", "exp", "nbf", "aud", "user", "device", "iat"]),
)
def test_any_claims_of_a_good_issuer_are_read_or_refused(value: Any, claim: str) -> None:
    payload = json.dumps({"sub": DEVICE, claim: value}).encode()
    raw = signed_by_hand(b'{"alg":"HS256"}', payload)
    with suppress(Refusal):
        found = verifier().verify(raw, T0)
        assert found.expires_at is None or found.expires_at > T0


# -- what is remembered


def counting(monkeypatch: pytest.MonkeyPatch, keys: KeySet) -> list[bytes]:
    """The messages whose signatures are verified from now on."""
    seen: list[bytes] = []
    key = keys.find("HS256", None)
    assert key is not None
    verifies = key.verifies

    def watched(self: Any, message: bytes, signature: bytes) -> bool:
        seen.append(message)
        return verifies(message, signature)

    monkeypatch.setattr("trio_push.auth.keys.Key.verifies", watched)
    return seen


def test_a_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = parse_key(SECRET)
    who, seen = having(keys), counting(monkeypatch, keys)
    for raw in (token(), token(user="u"), token()):
        who.verify(raw, T0)
    assert len(seen) == 2


def test_what_is_remembered_does_not_outlive_its_time() -> None:
    who, raw = verifier(leeway_s=5), token(exp=T0 + 60)
    who.verify(raw, T0)
    who.verify(raw, T0 + 64.9)
    assert "ExpiredAccessToken" in reason(who, raw, T0 + 65)
    # a clock that is set back
    who.verify(raw, T0)


def test_what_is_not_valid_yet_is_looked_at_again() -> None:
    who, raw = verifier(), token(nbf=T0 + 10)
    assert "not valid yet" in reason(who, raw, T0)
    assert who.verify(raw, T0 + 10).token == DEVICE


def test_a_key_that_is_withdrawn_takes_its_tokens_along() -> None:
    keys = [parse_key(SECRET)]
    who, raw = Verifier(lambda: keys[-1]), token()
    who.verify(raw, T0)
    keys.append(parse_key(SECRET[::-1]))
    assert "signature is wrong" in reason(who, raw)
    assert who.verify(token(key=SECRET[::-1]), T0).token == DEVICE
    keys.append(parse_key(SECRET))
    assert who.verify(raw, T0).token == DEVICE


def test_memory_is_bounded_and_keeps_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt, "REMEMBERED", 10)
    keys = parse_key(SECRET)
    who, seen = having(keys), counting(monkeypatch, keys)
    often = token(user="often")
    for i in range(100):
        who.verify(often, T0)
        who.verify(token(user=str(i)), T0)
    memory = who._verified
    assert len(memory._young) + len(memory._old) <= 20
    assert len(seen) == 101


def test_what_is_refused_is_not_remembered() -> None:
    who = verifier()
    for i in range(50):
        reason(who, token(key=SECRET[::-1], user=str(i)))
    assert not who._verified._young
