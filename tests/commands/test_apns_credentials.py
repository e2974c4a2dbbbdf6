"""The test set: whole, private, and good for a server of the strict profile."""

from __future__ import annotations

import re
from pathlib import Path

import jwt
import pytest

from tests.auth.provider import der
from trio_push.auth.apns_certificate import parse_certificate
from trio_push.auth.apns_registry import parse_registry
from trio_push.auth.apns_session import Authority, ProviderSession
from trio_push.auth.apns_token import TokenVerifier
from trio_push.certificates import Identity
from trio_push.cli import main


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["apns-credentials", str(tmp_path / "new" / "set")]) == 0
    said = capsys.readouterr().out
    for path in re.findall(r"/\S+", said):
        assert Path(path).exists(), path
    return tmp_path / "new" / "set"


def test_what_is_there(folder: Path) -> None:
    (key,) = folder.glob("AuthKey_*.p8")
    secret = {key.name, "app.pem", "mdm.pem", "authority.pem"}
    assert {path.name for path in folder.iterdir()} == {*secret, "apns.json", "clients.md"}
    for name in secret:
        assert (folder / name).stat().st_mode & 0o077 == 0
    assert "PRIVATE" not in (folder / "apns.json").read_text()


def test_the_key_signs_what_the_server_takes(folder: Path) -> None:
    registry = parse_registry((folder / "apns.json").read_bytes())
    (record,) = registry.list_keys()
    key = (folder / f"AuthKey_{record.key_id}.p8").read_text()
    claims = {"iss": record.team_id, "iat": 1000}
    token = jwt.encode(claims, key, "ES256", headers={"kid": record.key_id}).encode()
    authority = Authority(registry, TokenVerifier(registry.find_key), "production")
    sender = ProviderSession(authority, None).authenticate(b"bearer " + token, 1000.0)
    assert sender.may_push_to(b"com.example.app.voip")
    assert not sender.may_push_to(b"com.example.other")


def test_the_certificates_are_of_the_authority(folder: Path) -> None:
    authority = Identity.from_pem((folder / "authority.pem").read_bytes())
    for name, topics in [("app", 3), ("mdm", 1)]:
        identity = Identity.from_pem((folder / f"{name}.pem").read_bytes())
        identity.certificate.verify_directly_issued_by(authority.certificate)
        certificate = parse_certificate(der(identity))
        assert len(certificate.topics) == topics
        assert certificate.environments == {"development", "production"}


def test_the_page_for_clients_names_what_is_there(folder: Path) -> None:
    page = (folder / "clients.md").read_text()
    for path in re.findall(rf"{folder}/[\w.]+", page):
        assert Path(path).exists()
    (record,) = parse_registry((folder / "apns.json").read_bytes()).list_keys()
    for client in ("aioapns", "kalyke", "node-apn", "httpx", "Fleet"):
        assert client in page
    assert record.key_id in page
    assert "{" + "topic" not in page


def test_a_set_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apns-credentials", str(folder)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [(["--topic", "a b"], "is no bundle id"), ([], "/dev/null/x: Not a directory")],
)
def test_what_cannot_be_done(
    words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["apns-credentials", "/dev/null/x", *words]) == 2
    assert problem in capsys.readouterr().err
