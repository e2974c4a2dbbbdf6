"""Certificates: made, kept in files and read again. Pure but for `publish`, which writes a file.

Used for the development certificate of the TLS listeners and for the test set of APNs credentials.
Keys are of the curve P-256 throughout.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: life of a certificate authority made here
CA_LIFE: Final = timedelta(days=3650)
#: for clients whose clock is behind
_BACKDATED: Final = timedelta(days=1)
PEM: Final = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, kept together in one file so that they always fit."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def to_pem(self) -> bytes:
        key = self.key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + self.certificate.public_bytes(PEM)

    @classmethod
    def from_pem(cls, pem: bytes) -> Identity:
        """Raises ValueError or TypeError."""
        key = serialization.load_pem_private_key(pem, password=None)
        certificate = x509.load_pem_x509_certificate(pem)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("not an elliptic curve key")
        if key.public_key() != certificate.public_key():
            raise ValueError("key and certificate do not belong together")
        return cls(key, certificate)


def make_ca(name_begins: str, now: datetime) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    # A random part tells CAs of several machines, or of before and after a loss, apart.
    name = common_name(f"{name_begins} {secrets.token_hex(4)}")
    builder = (
        _builder(name, name, key.public_key(), key.public_key(), now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    return Identity(key, builder.sign(key, hashes.SHA256()))


def issue(
    ca: Identity,
    subject: x509.Name,
    life: timedelta,
    now: datetime,
    *extensions: x509.ExtensionType,
) -> Identity:
    """A certificate of the CA's with these extensions, none of them critical, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(subject, ca.certificate.subject, key.public_key(), ca.key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Identity(key, builder.sign(ca.key, hashes.SHA256()))


def publish(path: Path, content: bytes, *, mode: int) -> None:
    """Give the file this content, all at once."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    """What both kinds have; strict clients (Python 3.13, Go) want the two key identifiers."""
    start = now - _BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
