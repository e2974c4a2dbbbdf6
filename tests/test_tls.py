from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.serving import PATIENCE_S
from trio_push import tls
from trio_push.certificates import CA_LIFE
from trio_push.errors import ConfigError
from trio_push.tls import (
    CERTIFICATE_LIFE,
    DEV_ADDRESSES,
    DEV_NAMES,
    RENEW_BEFORE,
    DevTls,
    dev_context,
    server_context,
)

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
APPLE = "api.push.apple.com"


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str = APPLE
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a handshake in memory. Raises ssl.SSLError."""
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(downward, upward, server_hostname=name),
        server.wrap_bio(upward, downward, server_side=True),
    )
    waiting = list(ends)
    while waiting:
        end = waiting.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(end)
    return ends


def trusting(ca_path: str) -> ssl.SSLContext:
    """A client as strict as Python 3.13 makes it."""
    client = ssl.create_default_context(cafile=ca_path)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    return client


def certificate_in(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.fixture(scope="module")
def dev_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which everything has been made; not to be written to."""
    directory = tmp_path_factory.mktemp("tls")
    dev_context(directory)
    return directory


@pytest.fixture
def dev(dev_dir: Path) -> DevTls:
    return dev_context(dev_dir)


# The context.


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),
        (["http/1.1"], "http/1.1"),
        (["spdy/3"], None),
        ([], None),
    ],
)
def test_alpn(dev: DevTls, offered: list[str], chosen: str | None) -> None:
    client = trusting(dev.ca_path)
    if offered:
        client.set_alpn_protocols(offered)
    ours, theirs = handshake(dev.context, client)
    assert ours.selected_alpn_protocol() == theirs.selected_alpn_protocol() == chosen


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_that_are_spoken(dev: DevTls, version: ssl.TLSVersion) -> None:
    client = trusting(dev.ca_path)
    client.minimum_version = client.maximum_version = version
    ours, _ = handshake(dev.context, client)
    assert ours.version() == version.name.replace("_", ".")


def test_older_versions_are_not_spoken(dev: DevTls) -> None:
    assert dev.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_pair_of_files(dev_dir: Path, tmp_path: Path) -> None:
    pem = (dev_dir / "server.pem").read_bytes()
    end_of_key = pem.index(b"-----BEGIN CERTIFICATE")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    key.write_bytes(pem[:end_of_key])
    cert.write_bytes(pem[end_of_key:])
    handshake(server_context(str(cert), str(key)), trusting(str(dev_dir / "ca.pem")))


@pytest.mark.parametrize(
    ("cert", "key", "says"),
    [
        ("absent.pem", "key.pem", r"--tls-cert .*absent\.pem: No such file .*; give a PEM file"),
        ("server.pem", "absent.pem", r"--tls-key .*absent\.pem: No such file .*; give a PEM file"),
        (".", "key.pem", r"--tls-cert .*: Is a directory; give a PEM file"),
        ("ca.pem", "server.pem", r"--tls-key .*server\.pem: not the key of --tls-cert .*give the"),
        ("empty", "empty", r"--tls-cert .*empty.*; give a certificate chain and its private key"),
        ("noise", "server.pem", r"--tls-cert .*noise.*; give a certificate chain"),
        ("server.pem", "noise", r"--tls-key .*noise.*; give a certificate chain"),
        ("ca.pem", None, r"--tls-cert .*ca\.pem.*; give a certificate chain and its private key"),
        ("server.pem", "encrypted", r"--tls-key .*encrypted: the key is encrypted; decrypt it"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(
    dev_dir: Path, tmp_path: Path, cert: str, key: str | None, says: str
) -> None:
    for name in ("server.pem", "ca.pem"):
        (tmp_path / name).write_bytes((dev_dir / name).read_bytes())
    (tmp_path / "key.pem").write_bytes((dev_dir / "server.pem").read_bytes())
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    (tmp_path / "encrypted").write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError, match=says):
        server_context(str(tmp_path / cert), None if key is None else str(tmp_path / key))


# The development certificate.


@pytest.mark.parametrize("name", [*DEV_NAMES, *DEV_ADDRESSES, "anything.push.apple.com"])
def test_it_answers_to_each_name(dev: DevTls, name: str) -> None:
    handshake(dev.context, trusting(dev.ca_path), name.replace("*", "any"))


@pytest.mark.parametrize(
    "name", ["push.apple.com", "example.com", "127.0.0.2", "a.b.push.apple.com"]
)
def test_it_answers_to_no_other_name(dev: DevTls, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(dev.context, trusting(dev.ca_path), name)


def test_it_is_not_trusted_without_the_ca(dev: DevTls) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(dev.context, ssl.create_default_context())


def test_private_keys_are_for_the_owner_alone(dev_dir: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in dev_dir.iterdir()}
    assert modes == {"ca-key.pem": 0o600, "server.pem": 0o600, "ca.pem": 0o644}
    assert b"PRIVATE" not in (dev_dir / "ca.pem").read_bytes()


def test_the_files_are_kept(dev_dir: Path) -> None:
    def inodes() -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in dev_dir.iterdir()}

    before = inodes()
    dev_context(dev_dir)
    dev_context(dev_dir, now=NOW + CERTIFICATE_LIFE - RENEW_BEFORE - 2 * DAY)
    assert inodes() == before


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    made = dev_context(tmp_path / "a" / "b")
    assert made.ca_path == str(tmp_path / "a" / "b" / "ca.pem")
    handshake(made.context, trusting(made.ca_path))


def test_home_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert dev_context("~/tls").ca_path == str(tmp_path / "tls" / "ca.pem")


def test_the_life_of_a_certificate_is_what_clients_accept(dev_dir: Path) -> None:
    certificate = certificate_in(dev_dir / "server.pem")
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == timedelta(days=397)
    assert certificate.not_valid_before_utc <= NOW - DAY + timedelta(hours=1)


@pytest.mark.parametrize("age", [CERTIFICATE_LIFE - RENEW_BEFORE, CERTIFICATE_LIFE + DAY])
def test_a_certificate_about_to_expire_is_renewed_and_the_ca_stays(
    tmp_path: Path, age: timedelta
) -> None:
    dev_context(tmp_path, now=NOW - age)
    before = certificate_in(tmp_path / "server.pem"), certificate_in(tmp_path / "ca.pem")
    renewed = dev_context(tmp_path, now=NOW)
    after = certificate_in(tmp_path / "server.pem"), certificate_in(tmp_path / "ca.pem")
    assert after[0] != before[0]
    assert after[1] == before[1]
    handshake(renewed.context, trusting(renewed.ca_path))


def test_a_ca_that_would_not_outlive_a_certificate_is_renewed(tmp_path: Path) -> None:
    dev_context(tmp_path, now=NOW - CA_LIFE + CERTIFICATE_LIFE)
    before = certificate_in(tmp_path / "ca.pem")
    renewed = dev_context(tmp_path, now=NOW)
    assert certificate_in(tmp_path / "ca.pem") != before
    handshake(renewed.context, trusting(renewed.ca_path))


@pytest.mark.parametrize("damage", [b"", b"noise", None])
def test_a_damaged_certificate_is_replaced(tmp_path: Path, damage: bytes | None) -> None:
    dev_context(tmp_path)
    server, other = tmp_path / "server.pem", tmp_path / "other"
    if damage is None:  # the certificate of another CA
        dev_context(other)
        damage = (other / "server.pem").read_bytes()
    server.write_bytes(damage)
    mended = dev_context(tmp_path)
    handshake(mended.context, trusting(mended.ca_path))


def test_a_certificate_for_other_names_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tls, "_DEV_SAN", x509.SubjectAlternativeName([x509.DNSName("old.example")]))
        dev_context(tmp_path)
    renewed = dev_context(tmp_path)
    handshake(renewed.context, trusting(renewed.ca_path))


def test_a_lost_or_foreign_copy_of_the_ca_is_written_again(tmp_path: Path) -> None:
    dev_context(tmp_path)
    (tmp_path / "ca.pem").write_bytes(b"noise")
    mended = dev_context(tmp_path)
    handshake(mended.context, trusting(mended.ca_path))


@pytest.mark.parametrize("damage", [b"", b"noise"])
def test_a_damaged_ca_is_not_replaced_behind_the_users_back(tmp_path: Path, damage: bytes) -> None:
    dev_context(tmp_path)
    (tmp_path / "ca-key.pem").write_bytes(damage)
    with pytest.raises(ConfigError, match=r"ca-key\.pem is damaged .*; remove it"):
        dev_context(tmp_path)


def test_a_directory_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"--tls-dev-dir .*file/x: Not a directory; give a"):
        dev_context(tmp_path / "file" / "x")


def test_several_at_once_agree_on_one_ca(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: dev_context(tmp_path), range(8)))
    for each in made:
        handshake(each.context, trusting(each.ca_path))
    assert {path.name for path in tmp_path.iterdir()} == {"ca-key.pem", "ca.pem", "server.pem"}


NODE = """
const tls = require("tls"), fs = require("fs")
const [, , cert, ca] = process.argv
const server = tls.createServer({ key: fs.readFileSync(cert), cert: fs.readFileSync(cert) })
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address()
  const client = tls.connect(
    { port, host: "127.0.0.1", servername: "api.push.apple.com", ca: fs.readFileSync(ca) },
    () => { console.log(client.authorized); client.destroy(); server.close() },
  )
})
"""


@pytest.mark.needs("node")
def test_node_accepts_it(dev: DevTls, dev_dir: Path, tool: Callable[[str], str]) -> None:
    done = subprocess.run(
        [tool("node"), "-", str(dev_dir / "server.pem"), dev.ca_path],
        input=NODE,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stdout == "true\n", done.stderr


@pytest.mark.parametrize("authority", ["", "PEM", "é", "-----BEGIN CERTIFICATE-----\nAA\n"])
def test_who_issues_client_certificates_has_to_be_a_certificate(
    tmp_path: Path, authority: str
) -> None:
    context, _ = dev_context(tmp_path)
    with pytest.raises(ConfigError, match="certificate_authorities"):
        tls.ask_for_certificates(context, [authority])
    assert context.verify_mode is ssl.CERT_NONE


def test_nobody_is_asked_for_a_certificate_that_nobody_could_have_issued(tmp_path: Path) -> None:
    context, _ = dev_context(tmp_path)
    tls.ask_for_certificates(context, [])
    assert context.verify_mode is ssl.CERT_NONE
