"""A device's JWT: whether it is genuine, valid now, and what it says. Pure; `now` is an argument.

Only a token's `alg` and `kid` are looked at before its signature is verified, and only to find the
key. The signature is PyJWT's work. Reconnecting devices show the same token again: what was
verified is remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from trio_push.auth import jws
from trio_push.auth.keys import KeySet
from trio_push.errors import Refusal
from trio_push.wire.reasons import EXPIRED_ACCESS_TOKEN, INVALID_ACCESS_TOKEN
from trio_push.wire.tokens import parse_token

#: verified tokens that are remembered, at 500 bytes each; twice as many at most
REMEMBERED: Final = 16_384
#: characters of a user's and a device's name
MAX_NAME_CHARS: Final = 200
#: epoch seconds beyond which a time is no time (the year 33658)
_MAX_EPOCH_S: Final = 1e12


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
        self._verified = jws.Memory[Claims](REMEMBERED)
        #: the keys that these were verified with
        self._verified_with = keys()

    def verify(self, raw: bytes, now: float) -> Claims:
        """What a token says. Raises Refusal, whose text tells nothing of the token."""
        keys = self._keys()
        if keys is not self._verified_with:
            self._verified_with = keys
            self._verified = jws.Memory[Claims](REMEMBERED)
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
        try:
            token = jws.split(raw)
            header = jws.decoded(_decode_header, token.header)
            if header.crit is not msgspec.UNSET:  # RFC 7515, section 4.1.11: we know of none
                raise ValueError("it has critical extensions")
            key = keys.find(header.alg, header.kid)
            if key is None:
                raise ValueError("no key here is of its alg and kid")
            if not key.verifies(token.message, token.signature):
                raise ValueError("its signature is wrong")
            return jws.decoded(_decode_payload, token.payload)
        except ValueError as error:
            raise _invalid(str(error)) from None

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


def _invalid(detail: str) -> Refusal:
    return Refusal(INVALID_ACCESS_TOKEN, f"the JWT is not valid here: {detail}")
