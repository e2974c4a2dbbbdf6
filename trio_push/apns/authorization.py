"""How a provider says who it is, where it does not do so by a certificate.

Apple's provider tokens are JWTs: good for an hour, and not to be made anew more often than every
20 minutes. Signing takes 60 µs; a token is made once and shown with every push. Asked by the
client at each push; `now` is in epoch seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trio_push.errors import ConfigError

#: between the 20 and the 60 minutes that Apple allows, with room for a clock that is wrong
REFRESH_S: Final = 50 * 60
#: the least age at which a token that was called expired is replaced
LEAST_AGE_S: Final = 20 * 60


class Authorization(Protocol):
    """What goes into the `authorization` header."""

    def header(self, now: float) -> bytes: ...

    def expired(self, now: float) -> bool:
        """The host called it expired; says whether the next header is another one."""


class Bearer:
    """A key that never changes, as our own server may ask for."""

    def __init__(self, key: str) -> None:
        self._header = f"Bearer {key}".encode()

    def header(self, now: float) -> bytes:
        return self._header

    def expired(self, now: float) -> bool:
        return False


class ProviderToken:
    """An ES256 JWT by a key from Apple (`AuthKey_<key id>.p8`), made anew in time.

    Raises ConfigError for a key that is none.
    """

    def __init__(self, *, key: bytes, key_id: str, team_id: str) -> None:
        try:
            loaded = load_pem_private_key(key, password=None)
        except (ValueError, TypeError) as exc:
            raise ConfigError(f"the provider's key is no private key in PEM: {exc}") from exc
        if not isinstance(loaded, EllipticCurvePrivateKey) or not isinstance(
            loaded.curve, SECP256R1
        ):
            raise ConfigError("the provider's key is not one of ES256, as Apple's are")
        self._key = loaded
        self._key_id = key_id
        self._team_id = team_id
        self._made_at = float("-inf")
        self._header = b""

    @classmethod
    def read(cls, path: str, *, key_id: str, team_id: str) -> ProviderToken:
        """With the key in a file. Raises ConfigError when it cannot be read."""
        try:
            key = Path(path).read_bytes()
        except OSError as exc:
            raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
        return cls(key=key, key_id=key_id, team_id=team_id)

    def header(self, now: float) -> bytes:
        # also when the clock was set back behind the token, which would be from the future
        if not 0 <= now - self._made_at < REFRESH_S:
            self._make(now)
        return self._header

    def expired(self, now: float) -> bool:
        if now - self._made_at < LEAST_AGE_S:
            return False
        self._make(now)
        return True

    def _make(self, now: float) -> None:
        token = jwt.encode(
            {"iss": self._team_id, "iat": int(now)},
            self._key,
            algorithm="ES256",
            headers={"kid": self._key_id},
        )
        self._header = f"bearer {token}".encode()
        self._made_at = now


def authorization_of(
    *, key: str | None, key_id: str | None, team_id: str | None, bearer: str | None = None
) -> Authorization | None:
    """What a command is told by its flags: the file of a provider's key, or else a plain key.

    None: neither. Raises ConfigError for what is no provider's key.
    """
    if key is not None:
        return ProviderToken.read(key, key_id=key_id or "", team_id=team_id or "")
    return Bearer(bearer) if bearer else None
