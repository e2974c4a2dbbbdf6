from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from trio_push.certificates import Identity, common_name, issue, make_ca, publish

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_a_certificate_is_of_its_authority() -> None:
    ca = make_ca("test", NOW)
    usage = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
    made = issue(ca, common_name("somebody"), timedelta(days=3), NOW, usage)
    made.certificate.verify_directly_issued_by(ca.certificate)
    assert made.certificate.not_valid_before_utc < NOW < made.certificate.not_valid_after_utc
    assert made.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value == usage


def test_both_in_one_file() -> None:
    ca, other = make_ca("test", NOW), make_ca("test", NOW)
    assert Identity.from_pem(ca.to_pem()).certificate == ca.certificate
    key, certificate = ca.to_pem().split(b"-----BEGIN CERT")
    _, foreign = other.to_pem().split(b"-----BEGIN CERT")
    assert Identity.from_pem(key + b"-----BEGIN CERT" + certificate)
    with pytest.raises(ValueError, match="belong together"):
        Identity.from_pem(key + b"-----BEGIN CERT" + foreign)


def test_a_file_is_written_whole_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    publish(path, b"old", mode=0o644)
    publish(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
