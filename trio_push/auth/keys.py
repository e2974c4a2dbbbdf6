"""Keys that JWTs are verified with, out of the files that hold them. Pure.

A key brings its algorithm: RSA is RS256, the curve P-256 is ES256, a secret is HS256. So a token
cannot choose how it is verified, least of all to have a public key taken for a secret. Every
mistake is a ConfigError that tells nothing of what is in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt import PyJWK, PyJWTError
from jwt.algorithms import get_default_algorithms

from trio_push.errors import ConfigError
from trio_push.settings import with_place

#: RFC 7518, section 3.2: a secret is at least as long as its hash
MIN_SECRET_BYTES: Final = 32
#: RFC 7518, section 3.3
MIN_RSA_BITS: Final = 2048

_ALGORITHMS: Final = {
    name: algorithm
    for name, algorithm in get_default_algorithms().items()
    if name in ("RS256", "ES256", "HS256")
}
#: type of a JWK → the algorithm it is for
_OF_JWK: Final = {"RSA": "RS256", "EC": "ES256", "oct": "HS256"}


class Key:
    """A key, its algorithm and, where it has one, its name."""

    __slots__ = ("_key", "_verify", "algorithm", "kid")

    def __init__(
        self,
        key: Any,  # what PyJWT's algorithm takes
        kid: str | None = None,
    ) -> None:
        """Raises ConfigError for a key that is no use, or too weak to be of use."""
        self.algorithm = _algorithm_of(key)
        self.kid = kid
        self._key = key
        self._verify = _ALGORITHMS[self.algorithm].verify

    def __repr__(self) -> str:
        return f"<Key {self.algorithm} kid={self.kid!r}>"

    def verifies(self, message: bytes, signature: bytes) -> bool:
        return self._verify(message, self._key, signature)


class KeySet:
    """The keys that are good at a time."""

    def __init__(self, keys: Iterable[Key]) -> None:
        """Raises ConfigError for no key at all, and for two with the same name and algorithm."""
        self._keys: dict[tuple[str | None, str], Key] = {}
        for key in keys:
            if (key.kid, key.algorithm) in self._keys:
                raise ConfigError(f"two {key.algorithm} keys have the same kid, or none")
            self._keys[key.kid, key.algorithm] = key
        if not self._keys:
            raise ConfigError("no key in it can be used: those for RS256, ES256 and HS256 can")

    def find(self, algorithm: str, kid: str | None) -> Key | None:
        """The key that a token names; of one that names none, the only one it can be."""
        if kid is not None:
            # a key without a name is not contradicted by a token that has one
            return self._keys.get((kid, algorithm)) or self._keys.get((None, algorithm))
        fitting = [key for key in self._keys.values() if key.algorithm == algorithm]
        return fitting[0] if len(fitting) == 1 else None


def parse_key(data: bytes) -> KeySet:
    """The one key of a file: a public key or a certificate in PEM, else the secret itself.

    A line break at the end of a secret is not part of it.
    """
    if b"-----BEGIN" in data:
        return KeySet([Key(public_key(data))])
    keys = KeySet([Key(data.removesuffix(b"\n").removesuffix(b"\r"))])
    _refuse_public(data)  # as it stands: a key in binary may end in what looks like a line break
    return keys


def parse_jwks(data: bytes) -> KeySet:
    """The keys of a JWK set (RFC 7517); those for other algorithms or uses are passed over."""
    try:
        members = msgspec.json.decode(data, type=_JwkSet).keys
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ConfigError('it is no JWK set: {"keys": [{"kty": …}, …]}') from None
    found = (
        with_place(f"key {number} of the set", _key_of_jwk, jwk)
        for number, jwk in enumerate(members, start=1)
    )
    return KeySet(key for key in found if key is not None)


class _JwkSet(msgspec.Struct):
    keys: list[dict[str, Any]]


class _Jwk(msgspec.Struct):
    """What a JWK says about itself."""

    kty: str
    alg: str | None = None
    crv: str | None = None
    d: str | None = None
    key_ops: list[str] | None = None
    kid: str | None = None
    use: str | None = None

    def is_for(self, algorithm: str) -> bool:
        return (
            self.alg in (algorithm, None)
            and self.use in ("sig", None)
            and "verify" in (self.key_ops or ["verify"])
            and (self.kty != "EC" or self.crv == "P-256")
        )


def _key_of_jwk(jwk: dict[str, Any]) -> Key | None:
    """None for a key that is for something else."""
    try:
        about = msgspec.convert(jwk, _Jwk)
        algorithm = _OF_JWK.get(about.kty)
        if algorithm is None or not about.is_for(algorithm):
            return None
        if about.d is not None:
            raise ConfigError("it is a private key: leave out its private members")
        return Key(PyJWK(jwk, algorithm).key, about.kid)
    except (msgspec.ValidationError, PyJWTError, KeyError, ValueError, TypeError):
        raise ConfigError("it is no JWK") from None  # their words may quote the key


def public_key(pem: bytes) -> Any:  # of any type: the caller looks which
    if b"PRIVATE KEY-----" in pem:
        raise ConfigError(
            "it is a private key: this server needs the public one "
            "(openssl pkey -in FILE -pubout -out PUBLIC_FILE)"
        )
    try:
        if b"-----BEGIN CERTIFICATE-----" in pem:
            return load_pem_x509_certificate(pem).public_key()
        return load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("it is no public key and no certificate in PEM") from None


def _algorithm_of(key: object) -> str:
    if isinstance(key, bytes):
        return _algorithm_of_secret(key)
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise ConfigError(f"an RSA key has at least {MIN_RSA_BITS} bits, not {key.key_size}")
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    raise ConfigError("it is a key of another kind than RSA or the curve P-256")


def _algorithm_of_secret(secret: bytes) -> str:
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"a secret has at least {MIN_SECRET_BYTES} bytes, not {len(secret)} "
            "(openssl rand -hex 32 makes one)"
        )
    _refuse_public(secret)
    return "HS256"


def _refuse_public(secret: bytes) -> None:
    """Raise ConfigError for a public key in a form that we do not read: no secret at all."""
    try:
        _ALGORITHMS["HS256"].prepare_key(secret)
    except PyJWTError:
        raise ConfigError("it is a key, but neither in PEM nor a secret") from None
