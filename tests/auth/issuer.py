"""The tests' issuer of JWTs: keys of each kind, and tokens right or wrong on purpose."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, RSAAlgorithm

from tests.fakes import T0

SECRET: Final = b"0123456789abcdef0123456789abcdef"
DEVICE: Final = "c0ffee"
ALGORITHMS: Final = ("HS256", "RS256", "ES256")
_TO_JWK: Final[dict[str, Any]] = {
    "HS256": HMACAlgorithm.to_jwk,
    "RS256": RSAAlgorithm.to_jwk,
    "ES256": ECAlgorithm.to_jwk,
}


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


def signing_key(algorithm: str) -> Any:
    return {"HS256": SECRET, "RS256": rsa_key(), "ES256": ec_key()}[algorithm]


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def key_file(algorithm: str) -> bytes:
    """What the server is given to verify with."""
    return SECRET + b"\n" if algorithm == "HS256" else public_pem(signing_key(algorithm))


def jwk(algorithm: str, **members: Any) -> dict[str, Any]:
    key = signing_key(algorithm)
    public = key if algorithm == "HS256" else key.public_key()
    made: dict[str, Any] = _TO_JWK[algorithm](public, as_dict=True)
    made.pop("key_ops", None)
    return {**made, **members}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(**more: Any) -> dict[str, Any]:
    """Of a token that is good for an hour; a claim that is None is left out."""
    given = {"sub": DEVICE, "exp": T0 + 3600, **more}
    return {name: value for name, value in given.items() if value is not None}


def token(algorithm: str = "HS256", *, key: Any = None, header: Any = None, **more: Any) -> bytes:
    """A token that is signed as it should be, unless told otherwise."""
    signer = signing_key(algorithm) if key is None else key
    return jwt.encode(claims(**more), signer, algorithm, headers=header).encode()


def base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def signed_by_hand(header: bytes, payload: bytes, key: bytes = SECRET) -> bytes:
    """HS256 over any header and any payload, which no library would sign."""
    message = base64(header) + b"." + base64(payload)
    return message + b"." + base64(HMACAlgorithm(HMACAlgorithm.SHA256).sign(message, key))
