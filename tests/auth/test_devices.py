"""Where a device may show its JWT, and for whom it then is."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.auth.issuer import DEVICE, SECRET, token
from tests.fakes import T0
from trio_push.auth.devices import Credentials, DeviceAuth
from trio_push.auth.jwt import Claims, Verifier
from trio_push.auth.keys import parse_key
from trio_push.clock import Clock
from trio_push.errors import Refusal

KEYS = parse_key(SECRET)
OPEN = DeviceAuth(Clock(lambda: T0), None)
STRICT = DeviceAuth(Clock(lambda: T0), Verifier(lambda: KEYS))
JWT = token()
OTHER = token(sub="dead")
GOOD = Claims(DEVICE, expires_at=T0 + 3600)


def bearer(jwt: bytes = JWT) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + jwt


def enter(auth: DeviceAuth, *headers: tuple[bytes, bytes], query: bytes = b"") -> Claims | str:
    """The claims, or the status and name of the refusal."""
    try:
        return auth.authenticate(auth.read(headers, query))
    except Refusal as refusal:
        return f"{refusal.status} {refusal.reason.name}"


def test_an_open_door_asks_for_the_token_alone() -> None:
    assert enter(OPEN, query=b"token=C0FFEE") == Claims(DEVICE)
    assert enter(OPEN, bearer(b"junk"), bearer(), query=b"token=dead") == Claims("dead")
    assert enter(OPEN, bearer()) == "400 MissingDeviceToken"
    assert enter(OPEN, query=b"token=" + JWT) == "400 BadDeviceToken"
    assert enter(OPEN, query=b"access_token=" + JWT) == "400 MissingDeviceToken"


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([bearer()], b""),
        ([bearer()], b"token="),
        ([bearer()], b"token=c0ffee"),
        ([bearer()], b"token=C0FFEE&x=y"),
        ([(b"authorization", b"bEARER  " + JWT)], b""),
        ([], b"access_token=" + JWT),
        ([], b"token=c0ffee&access_token=" + JWT),
        ([], b"token=" + JWT),
        ([], b"access_token=" + quote(JWT, safe="").replace("e", "%65").encode()),
        ([], b"token=" + JWT.replace(b".", b"%2e")),
        # the same, said more than once
        ([bearer(), bearer()], b"token=" + JWT + b"&access_token=" + JWT),
        # not for us
        ([(b"authorization", b"Basic dXNlcjpwYXNz"), bearer()], b""),
        ([(b"authorization", b"Basic dXNlcjpwYXNz")], b"token=" + JWT),
    ],
)
def test_ways_to_show_a_jwt(headers: list[tuple[bytes, bytes]], query: bytes) -> None:
    assert enter(STRICT, *headers, query=query) == GOOD


@pytest.mark.parametrize(
    ("headers", "query", "refusal"),
    [
        ([], b"", "401 MissingAccessToken"),
        ([], b"token=c0ffee", "401 MissingAccessToken"),
        ([], b"Token=" + JWT, "401 MissingAccessToken"),
        ([], b"jwt=" + JWT, "401 MissingAccessToken"),
        ([(b"authorization", JWT)], b"", "401 MissingAccessToken"),
        ([(b"authorization", b"Bearer")], b"", "401 MissingAccessToken"),
        ([(b"authorization", b"Bearer ")], b"", "401 MissingAccessToken"),
        ([(b"authorization", b"Basic " + JWT)], b"", "401 MissingAccessToken"),
        ([(b"cookie", b"access_token=" + JWT)], b"", "401 MissingAccessToken"),
        ([bearer(b"junk")], b"", "401 InvalidAccessToken"),
        ([bearer(JWT + b", " + JWT)], b"", "401 InvalidAccessToken"),
        ([bearer(token(exp=T0))], b"", "401 ExpiredAccessToken"),
        # which of the two?
        ([bearer(), bearer(OTHER)], b"", "401 InvalidAccessToken"),
        ([bearer(), bearer(b"junk")], b"", "401 InvalidAccessToken"),
        ([bearer()], b"access_token=" + OTHER, "401 InvalidAccessToken"),
        ([bearer()], b"token=" + OTHER, "401 InvalidAccessToken"),
        ([], b"token=" + JWT + b"&access_token=" + OTHER, "401 InvalidAccessToken"),
        # somebody else's mail
        ([bearer()], b"token=dead", "403 Forbidden"),
        ([], b"token=dead&access_token=" + JWT, "403 Forbidden"),
        ([], b"access_token=" + JWT + b"&token=c0ffee00", "403 Forbidden"),
        ([bearer()], b"token=c0ff", "403 Forbidden"),
        ([bearer()], b"token=xyz", "400 BadDeviceToken"),
        # nobody learns anything without a JWT
        ([bearer(b"junk")], b"token=xyz", "401 InvalidAccessToken"),
        ([], b"token=xyz", "401 MissingAccessToken"),
    ],
)
def test_ways_that_do_not_lead_in(
    headers: list[tuple[bytes, bytes]], query: bytes, refusal: str
) -> None:
    assert enter(STRICT, *headers, query=query) == refusal


def test_a_jwt_may_come_later() -> None:
    """In the first message over a transport that has messages."""
    credentials = STRICT.read([], b"token=c0ffee")
    assert STRICT.demands_jwt
    assert not credentials.jwt
    assert STRICT.authenticate(credentials._replace(jwt=JWT)) == GOOD
    with pytest.raises(Refusal, match="another device token"):
        STRICT.authenticate(credentials._replace(jwt=OTHER))


def test_credentials_show_nothing() -> None:
    shown: Any = repr(Credentials(b"s3cret", b"c0ffee00c0ffee00"))
    assert shown == "<Credentials for b'c0ffee00'>"
