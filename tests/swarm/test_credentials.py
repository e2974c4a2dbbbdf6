from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.auth import issuer
from trio_push.auth.jwt import Verifier
from trio_push.auth.keys import parse_key
from trio_push.errors import ConfigError, Refusal
from trio_push.swarm.credentials import Signer, read_key

NOW = 1_700_000_000.0


def signer_of(algorithm: str, path: Path, **more: object) -> Signer:
    key = issuer.signing_key(algorithm)
    path.write_bytes(key + b"\n" if algorithm == "HS256" else issuer.private_pem(key))
    return Signer(read_key(str(path)), lifetime_s=60, now=lambda: NOW, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", issuer.ALGORITHMS)
def test_the_server_takes_what_is_signed(algorithm: str, tmp_path: Path) -> None:
    signer = signer_of(algorithm, tmp_path / "key", audience="push")
    keys = parse_key(issuer.key_file(algorithm))
    verifier = Verifier(lambda: keys, audience="push")
    raw = signer.sign("c0ffee", "alice").encode()
    assert verifier.verify(raw, NOW) == ("c0ffee", "alice", None, NOW + 60)
    with pytest.raises(Refusal):
        verifier.verify(raw, NOW + 60)
    assert verifier.verify(signer.sign("c0ffee").encode(), NOW).user is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"short", "nor a secret of 32 bytes or more"),
        (issuer.public_pem(issuer.ec_key()), "the public key is the server's"),
        (issuer.private_pem(issuer.rsa_key(1024)), "neither a key of RSA with 2048 bits"),
        (issuer.private_pem(issuer.ec_key(ec.SECP384R1)), "nor of the curve P-256"),
        (b"-----BEGIN PRIVATE KEY-----\nSECRET", "no private key in PEM"),
    ],
)
def test_keys_that_sign_nothing(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(ConfigError, match=message) as caught:
        Signer(read_key(str(tmp_path / "key")), lifetime_s=60, now=lambda: NOW)
    assert "SECRET" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--jwt-key .*absent cannot be read: No such file"):
        read_key(str(tmp_path / "absent"))


def test_the_key_is_not_shown() -> None:
    assert repr(Signer(issuer.SECRET, lifetime_s=1, now=lambda: NOW)) == "<Signer HS256>"
