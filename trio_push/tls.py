"""TLS for the wire listeners: the operator's certificate, or one made for development.

Called once at start by `server.py`; reads and writes files, and blocks while it does. The
development certificate answers to localhost and to Apple's push hosts, so that a real APNs
client needs nothing but trust in the CA.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trio_push.errors import ConfigError

DEV_NAMES: Final = (
    "localhost",
    "api.push.apple.com",
    "api.sandbox.push.apple.com",
    "api.development.push.apple.com",
    "*.push.apple.com",
)
DEV_ADDRESSES: Final = ("127.0.0.1", "::1")
#: the longest that clients accept of a server's certificate
CERTIFICATE_LIFE: Final = timedelta(days=397)
#: a certificate that ends within this is replaced, so that a server may run for a month
RENEW_BEFORE: Final = timedelta(days=30)
CA_LIFE: Final = timedelta(days=3650)
#: for clients whose clock is behind
_BACKDATED: Final = timedelta(days=1)


class DevTls(NamedTuple):
    """What `--tls-dev` serves with, and the certificate that clients must trust."""

    context: ssl.SSLContext
    ca_path: str


def server_context(cert: str, key: str | None) -> ssl.SSLContext:
    """TLS 1.2 or later, with h2 and http/1.1 to choose from.

    `cert` is a PEM file with the chain, `key` one with its private key (None: it is in `cert`).
    Raises ConfigError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    # To a peer that goes without a closure alert OpenSSL 3 replies with a fatal one; requests
    # tell their own end, so nothing can be cut off unseen.
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    _require_readable("--tls-cert", cert)
    if key is not None:
        _require_readable("--tls-key", key)

    def encrypted() -> str:
        # Without an answer of ours OpenSSL would ask at the terminal and wait.
        raise ConfigError(
            f"--tls-key {key or cert}: the key is encrypted; "
            "decrypt it with 'openssl pkey -in KEY -out KEY.plain'"
        )

    try:
        context.load_cert_chain(cert, key, password=encrypted)
    except ssl.SSLError as exc:
        raise ConfigError(_explain(exc, cert, key)) from exc
    return context


def _require_readable(setting: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as exc:
        raise ConfigError(
            f"{setting} {path}: {exc.strerror}; give a PEM file that this user may read"
        ) from exc


def _explain(exc: ssl.SSLError, cert: str, key: str | None) -> str:
    if exc.reason == "KEY_VALUES_MISMATCH":
        return f"--tls-key {key or cert}: not the key of --tls-cert {cert}; give the pair"
    return (
        f"--tls-cert {cert}, --tls-key {key or cert}: {exc.reason or exc}; "
        "give a certificate chain and its private key, both in PEM"
    )


def dev_context(directory: str | Path, *, now: datetime | None = None) -> DevTls:
    """Serve with the development certificate kept in `directory`; make what is missing.

    The CA is made once and lives ten years; the certificate is made anew when it is about to
    expire, or does not fit. Private keys are readable for the owner alone. Several processes
    may do this at once: one after the other does, and they agree. Raises ConfigError.
    """
    directory = Path(directory).expanduser()
    now = now or datetime.now(UTC)
    ca_path, server_path = directory / "ca.pem", directory / "server.pem"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            ca = _load_or_make_ca(directory / "ca-key.pem", now)
            public = ca.certificate.public_bytes(_PEM)
            if not ca_path.exists() or ca_path.read_bytes() != public:
                _publish(ca_path, public, mode=0o644)
            if not _still_good(server_path, ca, now):
                _publish(server_path, _issue(ca, now).to_pem(), mode=0o600)
            # Within the lock: OpenSSL reads the file twice, and both times it must be the same.
            return DevTls(server_context(str(server_path), None), str(ca_path))
    except OSError as exc:
        raise ConfigError(
            f"--tls-dev-dir {directory}: {exc.strerror}; give a directory that can be written"
        ) from exc


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes (and threads) that do the same out of the directory."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


_PEM: Final = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class _Identity:
    """A certificate and its key, kept together in one file so that they always fit."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def to_pem(self) -> bytes:
        key = self.key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + self.certificate.public_bytes(_PEM)

    @classmethod
    def from_pem(cls, pem: bytes) -> _Identity:
        """Raises ValueError or TypeError."""
        key = serialization.load_pem_private_key(pem, password=None)
        certificate = x509.load_pem_x509_certificate(pem)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("not an elliptic curve key")
        if key.public_key() != certificate.public_key():
            raise ValueError("key and certificate do not belong together")
        return cls(key, certificate)


def _load_or_make_ca(path: Path, now: datetime) -> _Identity:
    try:
        ca = _load_ca(path)
    except FileNotFoundError:
        ca = None
    if ca is None or ca.certificate.not_valid_after_utc - CERTIFICATE_LIFE < now:
        ca = _make_ca(now)
        _publish(path, ca.to_pem(), mode=0o600)
    return ca


def _load_ca(path: Path) -> _Identity:
    try:
        return _Identity.from_pem(path.read_bytes())
    except (ValueError, TypeError) as exc:
        raise ConfigError(
            f"--tls-dev-dir: {path} is damaged ({exc}); remove it, and a new CA is made, "
            "which clients must be told to trust"
        ) from exc


def _still_good(path: Path, ca: _Identity, now: datetime) -> bool:
    """Whether the certificate there is of this CA, for these names, and for long enough."""
    try:
        certificate = _Identity.from_pem(path.read_bytes()).certificate
        certificate.verify_directly_issued_by(ca.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return names == _DEV_SAN and certificate.not_valid_after_utc - RENEW_BEFORE > now


def _publish(path: Path, content: bytes, *, mode: int) -> None:
    """Give the file this content, all at once."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


_DEV_SAN: Final = x509.SubjectAlternativeName(
    [x509.DNSName(name) for name in DEV_NAMES]
    + [x509.IPAddress(ip_address(address)) for address in DEV_ADDRESSES]
)


def _make_ca(now: datetime) -> _Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    # A random part tells CAs of several machines, or of before and after a loss, apart.
    name = _name(f"trio-push development CA {secrets.token_hex(4)}")
    builder = (
        _builder(name, name, key.public_key(), key.public_key(), now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    return _Identity(key, builder.sign(key, hashes.SHA256()))


def _issue(ca: _Identity, now: datetime) -> _Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(
            _name("trio-push development server"),
            ca.certificate.subject,
            key.public_key(),
            ca.key.public_key(),
            now,
            CERTIFICATE_LIFE,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_DEV_SAN, critical=False)
    )
    return _Identity(key, builder.sign(ca.key, hashes.SHA256()))


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


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


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
