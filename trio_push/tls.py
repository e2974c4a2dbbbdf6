"""TLS for the wire listeners: the operator's certificate, or one made for development.

Called once at start by `server.py`; reads and writes files, and blocks while it does. The
development certificate answers to localhost and to Apple's push hosts, so that a real APNs
client needs nothing but trust in the CA.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from trio_push.certificates import PEM, Identity, common_name, issue, make_ca, publish
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


def ask_for_certificates(context: ssl.SSLContext, authorities: Sequence[str]) -> None:
    """Have clients show a certificate, if they have one; `authorities` (PEM) are whom to trust.

    One that another authority has issued, or that has expired, ends the handshake. Raises
    ConfigError.
    """
    if not authorities:
        return
    try:
        context.load_verify_locations(cadata="\n".join(authorities))
    except (ssl.SSLError, ValueError, TypeError):
        raise ConfigError(
            "--apns-credentials: one of certificate_authorities is no certificate in PEM"
        ) from None
    context.verify_mode = ssl.CERT_OPTIONAL


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
            public = ca.certificate.public_bytes(PEM)
            if not ca_path.exists() or ca_path.read_bytes() != public:
                publish(ca_path, public, mode=0o644)
            if not _still_good(server_path, ca, now):
                publish(server_path, _issue(ca, now).to_pem(), mode=0o600)
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


def _load_or_make_ca(path: Path, now: datetime) -> Identity:
    try:
        ca = _load_ca(path)
    except FileNotFoundError:
        ca = None
    if ca is None or ca.certificate.not_valid_after_utc - CERTIFICATE_LIFE < now:
        ca = make_ca("trio-push development CA", now)
        publish(path, ca.to_pem(), mode=0o600)
    return ca


def _load_ca(path: Path) -> Identity:
    try:
        return Identity.from_pem(path.read_bytes())
    except (ValueError, TypeError) as exc:
        raise ConfigError(
            f"--tls-dev-dir: {path} is damaged ({exc}); remove it, and a new CA is made, "
            "which clients must be told to trust"
        ) from exc


def _still_good(path: Path, ca: Identity, now: datetime) -> bool:
    """Whether the certificate there is of this CA, for these names, and for long enough."""
    try:
        certificate = Identity.from_pem(path.read_bytes()).certificate
        certificate.verify_directly_issued_by(ca.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return names == _DEV_SAN and certificate.not_valid_after_utc - RENEW_BEFORE > now


_DEV_SAN: Final = x509.SubjectAlternativeName(
    [x509.DNSName(name) for name in DEV_NAMES]
    + [x509.IPAddress(ip_address(address)) for address in DEV_ADDRESSES]
)


def _issue(ca: Identity, now: datetime) -> Identity:
    return issue(
        ca,
        common_name("trio-push development server"),
        CERTIFICATE_LIFE,
        now,
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        _DEV_SAN,
    )
