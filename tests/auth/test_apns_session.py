"""One connection's provider: which token it may show when, and what is remembered of it."""

from __future__ import annotations

import pytest

from tests.auth import provider
from tests.auth.issuer import public_pem
from tests.auth.provider import APP, KEY, MDM, bearer, der, key_record
from tests.fakes import T0
from trio_push.auth.apns_certificate import parse_certificate
from trio_push.auth.apns_registry import KeyRecord, Registry, TeamRecord
from trio_push.auth.apns_session import (
    LEEWAY_S,
    TOKEN_LIFE_S,
    TOKEN_REST_S,
    Authority,
    ProviderSession,
)
from trio_push.auth.apns_session import bearer as read_bearer
from trio_push.auth.apns_token import TokenVerifier
from trio_push.config import MINUTES
from trio_push.errors import Refusal
from trio_push.wire.apns_strict import Sender


@pytest.fixture
def registry() -> Registry:
    return provider.registry()


@pytest.fixture
def authority(registry: Registry) -> Authority:
    return Authority(registry, TokenVerifier(registry.find_key), "production")


@pytest.fixture
def session(authority: Authority) -> ProviderSession:
    return ProviderSession(authority, None)


def reason(session: ProviderSession, header: bytes | None, now: float = T0) -> str:
    """Why the provider is refused; "" if it is not."""
    try:
        session.authenticate(header, now)
    except Refusal as refusal:
        return refusal.reason.name
    return ""


def test_nothing_is_proved_until_a_token_is_valid(session: ProviderSession) -> None:
    assert not session.is_proved
    assert reason(session, bearer("UNKNOWN")) == "InvalidProviderToken"
    assert not session.is_proved
    assert session.authenticate(bearer(), T0) == Sender(frozenset([APP.encode()]))
    assert session.is_proved
    assert reason(session, None) == "MissingProviderToken"
    assert session.is_proved


def test_a_token_ages(session: ProviderSession) -> None:
    header = bearer()
    assert reason(session, header, T0 - LEEWAY_S - 1) == "InvalidProviderToken"
    assert reason(session, header, T0 - LEEWAY_S) == ""
    assert reason(session, header, T0 + TOKEN_LIFE_S) == ""
    assert reason(session, header, T0 + TOKEN_LIFE_S + 1) == "ExpiredProviderToken"


@pytest.mark.parametrize("iat", [int(T0), T0 + 0.5, str(int(T0)), str(T0)])
def test_the_time_of_a_token_as_clients_write_it(session: ProviderSession, iat: object) -> None:
    assert reason(session, bearer(iat=iat), T0 + 1) == ""


@pytest.mark.parametrize("iat", [None, [], {}, True, "", "nan", "inf", -1, 1e13, "1e400", 10**400])
def test_what_is_no_time(session: ProviderSession, iat: object) -> None:
    assert reason(session, bearer(iat=iat)) == "InvalidProviderToken"


def test_a_token_is_renewed_when_it_has_rested(session: ProviderSession) -> None:
    first, second, third = bearer(), bearer(age_s=-TOKEN_REST_S), bearer(age_s=-2 * TOKEN_REST_S)
    assert reason(session, first) == ""
    assert reason(session, second, T0 + TOKEN_REST_S - 1) == "TooManyProviderTokenUpdates"
    assert reason(session, first, T0 + TOKEN_REST_S - 1) == ""
    assert reason(session, second, T0 + TOKEN_REST_S) == ""
    assert reason(session, first, T0 + TOKEN_REST_S) == "TooManyProviderTokenUpdates"
    assert reason(session, third, T0 + 2 * TOKEN_REST_S) == ""


def test_old_tokens_do_not_replace_each_other_any_faster(session: ProviderSession) -> None:
    """However old they say they are."""
    first, second, third = (bearer(age_s=30 * MINUTES + n) for n in range(3))
    assert reason(session, first) == ""
    assert reason(session, second) == ""
    assert reason(session, third, T0 + TOKEN_REST_S - 1) == "TooManyProviderTokenUpdates"
    assert reason(session, second, T0 + TOKEN_REST_S - 1) == ""
    assert reason(session, third, T0 + TOKEN_REST_S) == ""


def test_claims_that_are_signed_again_are_another_token(session: ProviderSession) -> None:
    assert reason(session, bearer()) == ""
    assert reason(session, bearer()) == "TooManyProviderTokenUpdates"


def test_another_connection_knows_nothing_of_it(authority: Authority) -> None:
    for _ in range(3):
        assert reason(ProviderSession(authority, None), bearer()) == ""


def test_a_connection_is_of_one_team_and_one_key(session: ProviderSession) -> None:
    mine = bearer()
    assert reason(session, mine) == ""
    later = T0 + 30 * MINUTES
    assert reason(session, bearer(provider.OTHER_TEAMS_KEY), later) == "InvalidProviderToken"
    assert reason(session, bearer(provider.SECOND_KEY), later) == "UnrelatedKeyIdInToken"
    assert reason(session, mine, later) == ""


def test_what_is_known_of_a_key_may_change(session: ProviderSession, registry: Registry) -> None:
    mine = bearer()
    session.authenticate(mine, T0)
    registry.put_team(TeamRecord(provider.TEAM, ["com.example.new"]))
    assert session.authenticate(mine, T0) == Sender(frozenset([b"com.example.new"]))
    registry.drop_team(provider.TEAM)
    assert session.authenticate(mine, T0).topics is None
    registry.put_key(key_record(KEY, environment="development"))
    assert reason(session, mine) == "BadEnvironmentKeyIdInToken"
    public = public_pem(provider.private_key("another")).decode()
    registry.put_key(KeyRecord(KEY, provider.TEAM, public))
    assert reason(session, mine) == "InvalidProviderToken"
    registry.drop_key(KEY)
    assert reason(session, mine) == "InvalidProviderToken"
    registry.put_key(key_record(KEY))
    assert reason(session, mine) == ""


def test_a_token_is_verified_once(
    authority: Authority, session: ProviderSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = bearer()
    session.authenticate(mine, T0)
    monkeypatch.setattr(authority.verifier, "_read", lambda raw: pytest.fail("again"))
    session.authenticate(mine, T0)
    ProviderSession(authority, None).authenticate(mine, T0)


def test_by_certificate(authority: Authority) -> None:
    certificate = parse_certificate(der(provider.mdm_certificate()))
    session = ProviderSession(authority, certificate)
    assert session.is_proved
    for ignored in (None, b"bearer x", bearer("UNKNOWN")):
        sender = session.authenticate(ignored, T0)
        assert sender == Sender(frozenset([MDM.encode()]), MDM.encode(), by_certificate=True)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, b""),
        (b"", b""),
        (b"bearer", b""),
        (b"bearer ", b""),
        (b"basic abc", b""),
        (b"bearer a.b.c", b"a.b.c"),
        (b"Bearer  a.b.c ", b"a.b.c"),
        (b"BEARER a", b"a"),
    ],
)
def test_the_authorization_header(header: bytes | None, token: bytes) -> None:
    assert read_bearer(header) == token
