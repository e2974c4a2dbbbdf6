"""What devices show a server that asks who they are: a JWT each, signed here as its issuer would.

Made from the settings; asked by every device that connects. What is in the key file is never
shown: neither in messages nor in a repr.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trio_push.errors import ConfigError

#: RFC 7518, section 3.2: a secret is at least as long as its hash
_MIN_SECRET_BYTES: Final = 32
#: RFC 7518, section 3.3
_MIN_RSA_BITS: Final = 2048


class Signer:
    """Signs a JWT for each device. `now` is epoch time, in seconds."""

    def __init__(
        self,
        key: Any,  # what PyJWT's algorithm takes
        *,
        lifetime_s: float,
        audience: str | None = None,
        now: Callable[[], float],
    ) -> None:
        """Raises ConfigError for a key that no server would verify with."""
        self._algorithm = _algorithm_of(key)
        self._key = key
        self._lifetime_s = lifetime_s
        self._audience = audience
        self._now = now

    def __repr__(self) -> str:
        return f"<Signer {self._algorithm}>"

    def sign(self, token: str, user: str | None = None) -> str:
        """A new JWT for a device: its `exp` is that of now."""
        claims: dict[str, object] = {"sub": token, "exp": self._now() + self._lifetime_s}
        if user is not None:
            claims["user"] = user
        if self._audience is not None:
            claims["aud"] = self._audience
        return jwt.encode(claims, self._key, self._algorithm)


def read_key(path: str) -> Any:  # of any type that signs: `Signer` looks which
    """The key in a file: a private key in PEM, else the secret itself without a last line break.

    Raises ConfigError that tells nothing of what is in the file.
    """
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as exc:
        raise ConfigError(f"--jwt-key {path} cannot be read: {exc.strerror}") from None
    if b"-----BEGIN" not in data:
        return data.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        raise ConfigError(
            f"--jwt-key {path} is no private key in PEM without a password: the swarm signs as "
            "the issuer does, and the public key is the server's"
        ) from None


def _algorithm_of(key: object) -> str:
    if isinstance(key, RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS:
        return "RS256"
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    if isinstance(key, bytes) and len(key) >= _MIN_SECRET_BYTES:
        return "HS256"
    raise ConfigError(
        f"--jwt-key: it is neither a key of RSA with {_MIN_RSA_BITS} bits or more (RS256), nor of "
        f"the curve P-256 (ES256), nor a secret of {_MIN_SECRET_BYTES} bytes or more (HS256)"
    )
