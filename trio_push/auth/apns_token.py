"""Provider tokens: whether one is genuine, and whose it is. Pure; how old it may be is not asked.

A provider token is a JWT of ES256 with the key's id (`kid`), the team (`iss`) and when it was made
(`iat`): "Establishing a token-based connection to APNs". Verified once, then remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from trio_push.auth import jws
from trio_push.auth.apns_registry import ProviderKey

#: verified tokens that are remembered, at 500 bytes each: one for each provider and hour
REMEMBERED: Final = 4096
#: epoch seconds beyond which a time is no time (the year 33658)
_MAX_EPOCH_S: Final = 1e12


class ProviderToken(NamedTuple):
    """What a genuine token says."""

    key: ProviderKey
    #: epoch seconds
    issued_at: float


class _Header(msgspec.Struct):
    alg: str
    kid: str
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Payload(msgspec.Struct):
    iss: str
    #: real APNs takes what clients write: kalyke a string, PyAPNs2 a fraction
    iat: int | float | str


_decode_header: Final = msgspec.json.Decoder(_Header).decode
_decode_payload: Final = msgspec.json.Decoder(_Payload).decode


class TokenVerifier:
    """Verifies provider tokens with the keys that `find_key` knows by their id."""

    def __init__(self, find_key: Callable[[str], ProviderKey | None]) -> None:
        self._find_key = find_key
        self._verified: jws.Memory[ProviderToken] = jws.Memory(REMEMBERED)

    def verify(self, raw: bytes) -> ProviderToken | None:
        """What a token says; None for one that is no token, or not genuine."""
        digest = sha256(raw).digest()
        token = self._verified.get(digest)
        # A key may be taken away, or another one put in its place.
        if token is None or self._find_key(token.key.record.key_id) is not token.key:
            try:
                token = self._read(raw)
            except (ValueError, OverflowError):
                return None
            self._verified.add(digest, token)
        return token

    def _read(self, raw: bytes) -> ProviderToken:
        token = jws.split(raw)
        header = jws.decoded(_decode_header, token.header)
        key = self._find_key(header.kid)
        if header.alg != "ES256" or header.crit is not msgspec.UNSET or key is None:
            raise ValueError("no key here is of its alg and kid")
        if not key.key.verifies(token.message, token.signature):
            raise ValueError("its signature is wrong")
        claims = jws.decoded(_decode_payload, token.payload)
        if claims.iss != key.record.team_id:
            raise ValueError("its key is of another team")
        issued_at = float(claims.iat)
        if not 0 <= issued_at <= _MAX_EPOCH_S:
            raise ValueError("its iat is no time")
        return ProviderToken(key, issued_at)
