"""Who a provider is, on one connection under the strict profile. Pure.

Made by the intake for each connection. A connection belongs to the holder of its certificate or,
without one, to the key and team of its first valid token; that token may be replaced, but not
often: "Establishing a token-based connection to APNs".
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trio_push.auth.apns_certificate import PushCertificate
from trio_push.auth.apns_registry import Registry
from trio_push.auth.apns_token import ProviderToken, TokenVerifier
from trio_push.config import HOURS, MINUTES
from trio_push.wire.apns_strict import Sender
from trio_push.wire.apns_strict_rules import Rule, check
from trio_push.wire.reasons import (
    BAD_CERTIFICATE,
    BAD_CERTIFICATE_ENVIRONMENT,
    BAD_ENVIRONMENT_KEY_ID,
    EXPIRED_PROVIDER_TOKEN,
    INVALID_PROVIDER_TOKEN,
    MISSING_PROVIDER_TOKEN,
    TOO_MANY_TOKEN_UPDATES,
    UNRELATED_KEY_ID,
)

#: Apple's limits on the age of a token: the greatest, and the least at which it is replaced
TOKEN_LIFE_S: Final = 1 * HOURS
TOKEN_REST_S: Final = 20 * MINUTES
#: how far ahead a provider's clock may be
LEEWAY_S: Final = 5 * MINUTES

_BEARER: Final = b"bearer "


class Authority(NamedTuple):
    """What is the same for all connections."""

    registry: Registry
    verifier: TokenVerifier
    #: "production" or "development"
    environment: str


class Shown(NamedTuple):
    """What a provider shows with a request, and showed before."""

    authority: Authority
    certificate: PushCertificate | None
    now: float
    #: b"": none
    raw_token: bytes = b""
    #: None: it is not genuine
    token: ProviderToken | None = None
    #: the connection's last valid one, if this is another
    previous: ProviderToken | None = None
    #: when that one took the place of another; None: it is the first
    replaced_at: float | None = None

    @property
    def age_s(self) -> float:
        assert self.token is not None
        return self.now - self.token.issued_at


def _is_bad_certificate(shown: Shown) -> bool:
    certificate = shown.certificate
    assert certificate is not None
    return not certificate.topics or certificate.serial in shown.authority.registry.revoked


def _is_of_other_environment(shown: Shown) -> bool:
    assert shown.certificate is not None
    marked = shown.certificate.environments
    return bool(marked) and shown.authority.environment not in marked


def _is_invalid(shown: Shown) -> bool:
    token, previous = shown.token, shown.previous
    if token is None or shown.age_s < -LEEWAY_S:
        return True
    return previous is not None and previous.key.record.team_id != token.key.record.team_id


def _is_key_of_other_environment(shown: Shown) -> bool:
    assert shown.token is not None
    environment = shown.token.key.record.environment
    return environment not in (None, shown.authority.environment)


def _is_unrelated(shown: Shown) -> bool:
    token, previous = shown.token, shown.previous
    assert token is not None
    return previous is not None and previous.key.record.key_id != token.key.record.key_id


def _is_replaced_too_soon(shown: Shown) -> bool:
    previous, replaced_at = shown.previous, shown.replaced_at
    if previous is None:
        return False
    # A provider has its tokens made when it likes, and may say of each that it is old.
    last = previous.issued_at if replaced_at is None else max(previous.issued_at, replaced_at)
    return shown.now - last < TOKEN_REST_S


#: of connections with a certificate; what token they show does not matter
CERTIFICATE_RULES: Final[tuple[Rule[Shown], ...]] = (
    Rule(
        BAD_CERTIFICATE,
        "the certificate names no topic, or was revoked",
        "certificate",
        _is_bad_certificate,
    ),
    Rule(
        BAD_CERTIFICATE_ENVIRONMENT,
        "the certificate is marked for the other environment alone",
        "certificate",
        _is_of_other_environment,
    ),
)

#: of connections without a certificate
TOKEN_RULES: Final[tuple[Rule[Shown], ...]] = (
    Rule(
        MISSING_PROVIDER_TOKEN,
        "there is neither a certificate nor a bearer token",
        "token",
        lambda shown: not shown.raw_token,
    ),
    Rule(
        INVALID_PROVIDER_TOKEN,
        "the token is no JWT of ES256, of an unknown key, wrongly signed, of another team than "
        "its key or the connection, or from the future",
        "token",
        _is_invalid,
    ),
    Rule(
        EXPIRED_PROVIDER_TOKEN,
        "the token is over an hour old",
        "token",
        lambda shown: shown.age_s > TOKEN_LIFE_S,
    ),
    Rule(
        BAD_ENVIRONMENT_KEY_ID,
        "the token's key is for the other environment",
        "token",
        _is_key_of_other_environment,
    ),
    Rule(
        UNRELATED_KEY_ID,
        "the token is of another key than the connection's first",
        "token",
        _is_unrelated,
    ),
    Rule(
        TOO_MANY_TOKEN_UPDATES,
        "the token replaces one that is not 20 minutes old, or replaced another within 20 minutes",
        "token",
        _is_replaced_too_soon,
    ),
)


class ProviderSession:
    """The provider on one connection."""

    __slots__ = (
        "_authority",
        "_certificate",
        "_good_until",
        "_header",
        "_replaced_at",
        "_sender",
        "_token",
        "_version",
    )

    def __init__(self, authority: Authority, certificate: PushCertificate | None) -> None:
        """The certificate is one whose issuer is trusted."""
        self._authority = authority
        self._certificate = certificate
        #: the authorization header that was found to be valid, and what followed from it
        self._header: bytes | None = None
        self._token: ProviderToken | None = None
        self._replaced_at: float | None = None
        self._sender = Sender()
        self._good_until = 0.0
        #: of the registry, then
        self._version = 0

    @property
    def is_proved(self) -> bool:
        """Whether it may have more than one stream: it has a certificate, or had a valid token."""
        return self._certificate is not None or self._token is not None

    def authenticate(self, header: bytes | None, now: float) -> Sender:
        """Who asks, by `authorization`, at `now` (epoch seconds). Raises Refusal.

        A token that is refused changes nothing: the one before goes on to be good.
        """
        version = self._authority.registry.version
        if header == self._header and now <= self._good_until and version == self._version:
            return self._sender
        if self._certificate is not None:
            check(CERTIFICATE_RULES, Shown(self._authority, self._certificate, now))
            self._sender = Sender(
                self._certificate.topics, self._certificate.default_topic, by_certificate=True
            )
            return self._sender
        raw = bearer(header)
        token = self._authority.verifier.verify(raw) if raw else None
        previous = None if header == self._header else self._token
        shown = Shown(self._authority, None, now, raw, token, previous, self._replaced_at)
        check(TOKEN_RULES, shown)
        assert token is not None
        if previous is not None:
            self._replaced_at = now
        self._header, self._token, self._version = header, token, version
        self._good_until = token.issued_at + TOKEN_LIFE_S
        self._sender = self._authority.registry.sender(token.key)
        return self._sender


def bearer(header: bytes | None) -> bytes:
    """The token in an `authorization` header; b"" for none, or credentials of another kind."""
    if not header or header[: len(_BEARER)].lower() != _BEARER:
        return b""
    return header[len(_BEARER) :].strip()
