"""What the interop tests share: a server, the credentials of a provider, a way to run tools."""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.interop.running import Running, running
from tests.interop.strict import launch_strict, providers, strict, strict_files
from tests.serving import PATIENCE_S
from trio_push.devices import heartbeat

#: fixtures of the strict profile's tests
__all__ = ["launch_strict", "providers", "strict", "strict_files"]

JS = Path(__file__).parent / "js"

#: what runs tests may stand behind a proxy; the server never does
_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.lower() not in _PROXIES}


@pytest.fixture(scope="session")
def tls_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="session")
def server(tls_dir: Path) -> Iterator[Running]:
    """One server for all tests that leave it as it is."""
    with running(tls_dir) as server:
        yield server


@pytest.fixture
def launch(tls_dir: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers of the test's own."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> Running:
            return stack.enter_context(running(tls_dir, **settings))

        yield start


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers ping often and wait long: a client may get no time on a busy machine."""
    monkeypatch.setattr(heartbeat, "LEAST_SILENCE_S", PATIENCE_S)


@pytest.fixture
def token() -> str:
    """A device token that no other test uses."""
    return secrets.token_hex(32)


@pytest.fixture(scope="session")
def trust(server: Running) -> ssl.SSLContext:
    """Trust in the development CA, and in nothing else."""
    return ssl.create_default_context(cafile=server.ca)


class Credentials(NamedTuple):
    """Files by which a provider proves to Apple who it is; here nobody asks for them."""

    #: private key of provider tokens (JWT), as Apple's .p8
    token_key: Path
    #: push certificate and its private key in one file
    certificate: Path


PUSH_TOPIC = "com.apple.mgmt.External.0c5bd1ee"


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    folder = tmp_path_factory.mktemp("credentials")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    certificate = _push_certificate(key).public_bytes(serialization.Encoding.PEM)
    (folder / "token.p8").write_bytes(pem)
    (folder / "push.pem").write_bytes(pem + certificate)
    return Credentials(folder / "token.p8", folder / "push.pem")


def _push_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Like Apple's: the topic as UID, and marked for both environments."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.USER_ID, PUSH_TOPIC),
            x509.NameAttribute(NameOID.COMMON_NAME, "APSP:0c5bd1ee"),
        ]
    )
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
    )
    for environment in ("1.2.840.113635.100.6.3.1", "1.2.840.113635.100.6.3.2"):
        mark = x509.UnrecognizedExtension(x509.ObjectIdentifier(environment), b"\x05\x00")
        builder = builder.add_extension(mark, critical=False)
    return builder.sign(key, hashes.SHA256())


def run(*command: str | Path, **variables: str) -> str:
    """The standard output of a command that must succeed, with further environment variables."""
    result = subprocess.run(
        [str(word) for word in command],
        env=ENVIRONMENT | variables,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


#: each way of HTTP to the server
WAYS = ("HTTP/1.1", "HTTP/2", "HTTP/1.1 over TLS", "HTTP/2 over TLS")


@pytest.fixture(scope="session")
def open_way(trust: ssl.SSLContext) -> Callable[[Running, str], httpx.Client]:
    """Opens a client of httpx's to a server; that of HTTP/2 knows no other."""

    def open_client(server: Running, way: str) -> httpx.Client:
        http2 = way.startswith("HTTP/2")
        return httpx.Client(
            base_url=server.tls if way.endswith("TLS") else server.plain,
            http1=not http2,
            http2=http2,
            verify=trust,
            trust_env=False,
            timeout=PATIENCE_S,
        )

    return open_client


@pytest.fixture(scope="session")
def ways(
    server: Running, open_way: Callable[[Running, str], httpx.Client]
) -> Iterator[dict[str, httpx.Client]]:
    """A client for each way, and each with one connection for all tests."""
    with contextlib.ExitStack() as stack:
        yield {way: stack.enter_context(open_way(server, way)) for way in WAYS}
