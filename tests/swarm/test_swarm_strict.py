"""The swarm as a provider to a server that judges pushes by all of Apple's rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.swarm.fake_server import unused_target
from tests.swarm.test_swarm import counts, run_swarm, server_of, settings_for
from trio_push.commands.apns_credentials import make_credentials, write
from trio_push.errors import Unreachable
from trio_push.server import Server
from trio_push.swarm.report import Report


class Credentials(NamedTuple):
    """A test set, and what the swarm is told of it."""

    folder: Path
    by_token: dict[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    folder = tmp_path_factory.mktemp("apns")
    credentials = make_credentials("com.example.app", datetime.now(UTC))
    write(credentials, folder)
    key = str(folder / credentials.key_file)
    return Credentials(
        folder, {"key": key, "key_id": credentials.key_id, "team_id": credentials.team_id}
    )


@asynccontextmanager
async def strict_server(made: Credentials, **more: Any) -> AsyncIterator[Server]:
    known = str(made.folder / "apns.json")
    async with server_of(apns="strict", apns_credentials=known, **more) as server:
        yield server


def assert_whole(report: Report) -> None:
    accepted, refused = counts(report, "pushes", "accepted", "refused")
    assert (accepted > 0, refused) == (True, 0), report.figures["pushes"]
    assert counts(report, "deliveries", "received", "lost", "duplicate") == (accepted, 0, 0)
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


@pytest.mark.parametrize("via", ["apns", "apns-h2"])
async def test_by_provider_token(made: Credentials, via: str) -> None:
    async with strict_server(made) as server:
        wanted = {"via": via, "topic": "com.example.app", "push_type": "alert", **made.by_token}
        assert_whole(await run_swarm(settings_for(server.addresses.wire[0], **wanted)))


@pytest.mark.parametrize("to", ["--apns", "--via apns", "--via apns-h2"])
async def test_by_certificate(
    made: Credentials, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic of an MDM certificate need not be named."""
    tls = {"tls_listen": ("127.0.0.1:0",), "tls_dev": True, "tls_dev_dir": str(tmp_path)}
    async with strict_server(made, **tls) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.addresses.ca_file))
        over_tls = server.addresses.tls[0].replace("127.0.0.1", "localhost")
        ways = {
            "--apns": {"url": server.addresses.wire[0], "apns": over_tls},
            "--via apns": {"url": over_tls, "client": "library", "via": "apns"},
            "--via apns-h2": {"url": over_tls, "client": "library", "via": "apns-h2"},
        }
        settings = settings_for(cert=str(made.folder / "mdm.pem"), devices=5, **ways[to])
        assert_whole(await run_swarm(settings))


async def test_a_host_to_push_to_that_is_not_there(made: Credentials) -> None:
    nobody = await unused_target()
    async with strict_server(made) as server:
        settings = settings_for(server.addresses.wire[0], apns=nobody.url)
        with pytest.raises(Unreachable, match=nobody.url):
            await run_swarm(settings)


@pytest.mark.parametrize(
    ("told", "reason", "remedy"),
    [
        ([], "MissingProviderToken", "--api-key, --key or --cert says it"),
        (["key"], "MissingTopic", "--topic says it"),
        (["key", "topic"], "InvalidPushType", "--push-type does not go with --topic"),
    ],
)
async def test_one_that_is_told_too_little_says_what_is_missing(
    made: Credentials, told: list[str], reason: str, remedy: str
) -> None:
    known = made.by_token if "key" in told else {}
    known |= {"topic": "com.example.app"} if "topic" in told else {}
    async with strict_server(made) as server:
        settings = settings_for(server.addresses.wire[0], duration_s=0.2, devices=5, **known)
        report = await run_swarm(settings)
    assert set(report.figures["pushes"]["reasons"]) == {reason}
    assert any(reason in each and remedy in each for each in report.warnings), report.warnings
