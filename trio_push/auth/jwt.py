"""A device's JWT: whether it is genuine, valid now, and what it says. Pure; `now` is an argument.

Only a token's `alg` and `kid` are looked at before its signature is verified, and only to find the
key. The signature is PyJWT's work; the form around it is taken apart here, because PyJWT's own
`decode` takes 50 to 75 µs for that, and this 4. Reconnecting devices show the same token again:
what was verified is remembered, by its hash, and takes half a microsecond.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar

import msgspec

from trio_push.auth.keys import KeySet
from trio_push.errors import Refusal
from trio_push.wire.reasons import EXPIRED_ACCESS_TOKEN, INVALID_ACCESS_TOKEN
from trio_push.wire.tokens import parse_token

#: bytes of a JWT; one with a few claims and an RSA signature has 600
MAX_JWT_BYTES: Final = 8192
#: characters of a user's and a device's name
MAX_NAME_CHARS: Final = 200
#: verified tokens that are remembered, at 500 bytes each; twice as many at most
REMEMBERED: Final = 16_384
#: epoch seconds beyond which a time is no time (the year 33658)
_MAX_EPOCH_S: Final = 1e12

_parts_of: Final = re.compile(rb"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII).fullmatch
_TO_BASE64: Final = bytes.maketrans(b"-_", b"+/")

T = TypeVar("T")


class Claims(NamedTuple):
    """Who a device is, and until when that holds."""

    token: str
    user: str | None = None
    device: str | None = None
    #: epoch seconds, the leeway included; None: for ever
    expires_at: float | None = None


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Payload(msgspec.Struct):
    sub: str
    exp: float | None = None
    nbf: float | None = None
    aud: str | list[str] | None = None
    user: str | None = None
    device: str | None = None


_decode_header: Final = msgspec.json.Decoder(_Header).decode
_decode_payload: Final = msgspec.json.Decoder(_Payload).decode


class Verifier:
    """Verifies the JWTs of devices with the keys that `keys` returns at the time."""

    def __init__(
        self, keys: Callable[[], KeySet], *, leeway_s: float = 0.0, audience: str | None = None
    ) -> None:
        self._keys = keys
        self._leeway_s = leeway_s
        self._audience = audience
        self._verified = _Memory()
        #: the keys that these were verified with
        self._verified_with = keys()

    def verify(self, raw: bytes, now: float) -> Claims:
        """What a token says. Raises Refusal, whose text tells nothing of the token."""
        keys = self._keys()
        if keys is not self._verified_with:
            self._verified_with = keys
            self._verified = _Memory()
        digest = sha256(raw).digest()
        claims = self._verified.get(digest)
        if claims is None:
            claims = self._claims(self._payload(raw, keys), now)
            self._verified.add(digest, claims)
        if claims.expires_at is not None and now >= claims.expires_at:
            raise Refusal(EXPIRED_ACCESS_TOKEN)
        return claims

    def _payload(self, raw: bytes, keys: KeySet) -> _Payload:
        """The content of a token that is genuine."""
        parts = _parts_of(raw) if len(raw) <= MAX_JWT_BYTES else None
        if parts is None:
            raise _invalid("it is no JWT")
        header = _decoded(_decode_header, parts[1])
        if header.crit is not msgspec.UNSET:  # RFC 7515, section 4.1.11: we know of none
            raise _invalid("it has critical extensions")
        key = keys.find(header.alg, header.kid)
        if key is None:
            raise _invalid("no key here is of its alg and kid")
        if not key.verifies(raw[: parts.end(2)], _unbase64(parts[3])):
            raise _invalid("its signature is wrong")
        return _decoded(_decode_payload, parts[2])

    def _claims(self, payload: _Payload, now: float) -> Claims:
        nbf, exp = payload.nbf, payload.exp
        for time in (nbf, exp):
            if time is not None and not -_MAX_EPOCH_S <= time <= _MAX_EPOCH_S:
                raise _invalid("its exp or nbf is no time")
        if nbf is not None and now < nbf - self._leeway_s:
            raise _invalid("it is not valid yet")
        self._check_audience(payload.aud)
        for name in (payload.user, payload.device):
            if name is not None and not 1 <= len(name) <= MAX_NAME_CHARS:
                raise _invalid(f"its user or device has not 1 to {MAX_NAME_CHARS} characters")
        try:
            token = parse_token(payload.sub)
        except Refusal:
            raise _invalid("its sub is no device token") from None
        expires_at = None if exp is None else exp + self._leeway_s
        return Claims(token, payload.user, payload.device, expires_at)

    def _check_audience(self, aud: str | list[str] | None) -> None:
        """RFC 7519, section 4.1.3: who is not named by an `aud` refuses."""
        audiences = [aud] if isinstance(aud, str) else aud
        if (self._audience is not None or audiences) and self._audience not in (audiences or ()):
            raise _invalid("it is for another audience")


class _Memory:
    """What was verified of late, by its hash. Two generations: to forget is one assignment."""

    def __init__(self) -> None:
        self._young: dict[bytes, Claims] = {}
        self._old: dict[bytes, Claims] = {}

    def get(self, digest: bytes) -> Claims | None:
        claims = self._young.get(digest)
        if claims is None and (claims := self._old.get(digest)) is not None:
            self.add(digest, claims)
        return claims

    def add(self, digest: bytes, claims: Claims) -> None:
        if len(self._young) >= REMEMBERED:
            self._old, self._young = self._young, {}
        self._young[digest] = claims


def _invalid(detail: str) -> Refusal:
    return Refusal(INVALID_ACCESS_TOKEN, f"the JWT is not valid here: {detail}")


def _decoded(decode: Callable[[bytes], T], part: bytes) -> T:
    try:
        return decode(_unbase64(part))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid("its header or its claims are not what they should be") from None


def _unbase64(part: bytes) -> bytes:
    try:
        return a2b_base64(part.translate(_TO_BASE64) + b"=" * (-len(part) % 4))
    except Base64Error:
        raise _invalid("it is no JWT") from None
