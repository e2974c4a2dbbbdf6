"""trio-push under the strict profile of APNs, and the provider that may push to it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import jwt
import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from loadtest.child import running
from loadtest.peers.peer import Peer, Server
from trio_push.commands.apns_credentials import CredentialSet, make_credentials


@cache
def _credentials() -> CredentialSet:
    return make_credentials("com.example.app", datetime.now(UTC))


def headers() -> tuple[str, ...]:
    """Of a push that nothing is wrong with; good for an hour."""
    made = _credentials()
    key = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    claims = {"iss": made.team_id, "iat": int(time.time())}
    token = jwt.encode(claims, key, "ES256", headers={"kid": made.key_id})
    return (
        "apns-push-type: alert",
        f"apns-topic: {made.topic}",
        "apns-expiration: 0",
        f"authorization: bearer {token}",
    )


@asynccontextmanager
async def _serve() -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(prefix="loadtest-strict-") as directory:
        file = Path(directory) / "apns.json"
        file.write_bytes(msgspec.json.encode(_credentials().for_server()))
        command = (
            *(sys.executable, "-m", "trio_push", "serve"),
            *("--listen", "127.0.0.1:0", "--api", "off"),
            *("--apns", "strict", "--apns-credentials", str(file), "--apns-token-rate", "0"),
        )
        async with running(command) as child:
            wire = await child.listening("wire")
            yield Server(child, wire, wire, _no_broadcast)


async def _no_broadcast(text: str) -> None:
    raise NotImplementedError("this peer takes pushes alone")


STRICT = Peer("trio-push, strict", _serve)
