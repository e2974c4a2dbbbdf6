"""The swarm against a server that asks everybody who they are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.auth import issuer
from tests.swarm.test_swarm import counts, run_swarm, server_of, settings_for
from trio_push.errors import ConfigError
from trio_push.server import Server
from trio_push.swarm.report import Report
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.swarm import swarm

KEY = "an-api-key-of-good-length"


@asynccontextmanager
async def closed_server(
    folder: Path, algorithm: str = "HS256", **more: Any
) -> AsyncIterator[Server]:
    """Devices show a JWT, everybody else a key. Beside it lies what its issuer signs with."""
    (folder / "verify").write_bytes(issuer.key_file(algorithm))
    key = issuer.signing_key(algorithm)
    (folder / "sign").write_bytes(key if algorithm == "HS256" else issuer.private_pem(key))
    demands = {
        "device_auth": "jwt",
        "jwt_key": str(folder / "verify"),
        "api_key": (KEY,),
        "apns_auth": True,
        "auth_leeway_s": 0.0,
    }
    async with server_of(**demands | more) as server:
        yield server


def settings_of(server: Server, folder: Path, **more: Any) -> SwarmSettings:
    known = {"api_key": KEY, "jwt_key": str(folder / "sign")}
    return settings_for(server.addresses.wire[0], **known | more)


def assert_whole(report: Report) -> None:
    accepted, refused = counts(report, "pushes", "accepted", "refused")
    assert (accepted > 0, refused) == (True, 0)
    assert counts(report, "deliveries", "received", "lost", "duplicate") == (accepted, 0, 0)
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


@pytest.mark.parametrize("client", ["lean", "library"])
@pytest.mark.parametrize("transport", ["sse", "ws"])
@pytest.mark.parametrize("via", ["apns", "apns-h2", "api"])
async def test_everybody_shows_who_they_are(
    via: str, transport: str, client: str, tmp_path: Path
) -> None:
    async with closed_server(tmp_path) as server:
        report = await run_swarm(
            settings_of(server, tmp_path, via=via, transport=transport, client=client, devices=8)
        )
    assert counts(report, "devices", "connected", "failed") == (8, 0)
    assert_whole(report)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_other_keys_and_an_audience(algorithm: str, tmp_path: Path) -> None:
    async with closed_server(tmp_path, algorithm, jwt_audience="push") as server:
        report = await run_swarm(settings_of(server, tmp_path, jwt_audience="push", devices=5))
    assert_whole(report)


@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_devices_whose_jwt_expires_come_back_with_a_new_one(
    transport: str, tmp_path: Path
) -> None:
    async with closed_server(tmp_path) as server:
        settings = settings_of(
            server,
            tmp_path,
            transport=transport,
            via="api",
            reconnect="scale",
            jwt_lifetime_s=0.5,
            duration_s=3.5,
        )
        report = await run_swarm(settings)
    assert counts(report, "devices", "not_recovered") == (0,)
    assert report.figures["devices"]["reconnects"] >= 20
    assert_whole(report)
    if transport == "ws":
        assert set(report.figures["devices"]["closes"]) == {"auth_expired"}


async def test_devices_without_a_jwt_are_told_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_push.swarm.run.SETTLE_S", 0.5)
    async with closed_server(tmp_path) as server:
        report = await run_swarm(settings_of(server, tmp_path, jwt_key=None, duration_s=0.3))
    assert set(report.figures["devices"]["failures"]) == {"status 401"}
    assert any("--jwt-key FILE has them show a JWT" in each for each in report.warnings)


async def test_a_jwt_that_the_server_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_push.swarm.run.SETTLE_S", 0.5)
    async with closed_server(tmp_path) as server:
        (tmp_path / "sign").write_bytes(b"x" * 32)
        report = await run_swarm(settings_of(server, tmp_path, duration_s=0.3))
    assert set(report.figures["devices"]["failures"]) == {"status 401"}
    assert any("not take JWTs signed with this --jwt-key" in each for each in report.warnings)


async def test_without_a_key_the_books_are_not_compared(tmp_path: Path) -> None:
    async with closed_server(tmp_path) as server:
        settings = settings_of(server, tmp_path, api_key=None, duration_s=0.3)
        report = await run_swarm(settings)
        with pytest.raises(ConfigError, match="give --api-url, and --api-key"):
            await run_swarm(settings_of(server, tmp_path, api_key=None, via="api"))
        with pytest.raises(ConfigError, match="asks for an --api-key"):
            await run_swarm(
                settings_of(server, tmp_path, api_key=None, api_url=(server.addresses.api,))
            )
    assert report.figures["books"]["balanced"] is None
    assert "give --api-key" in report.figures["books"]["reasons"][0]
    assert set(report.figures["pushes"]["reasons"]) == {"MissingProviderToken"}


async def test_a_wrong_key_is_found_out_at_the_start(tmp_path: Path) -> None:
    wrong = "another-key-of-good-length"
    async with closed_server(tmp_path) as server:
        for api_url in (), (server.addresses.api,):
            with pytest.raises(ConfigError, match="takes another key than --api-key") as caught:
                await run_swarm(settings_of(server, tmp_path, api_key=wrong, api_url=api_url))
            assert wrong not in str(caught.value)


async def test_no_secret_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    async with closed_server(tmp_path) as server:
        settings = settings_of(server, tmp_path, json=str(path), duration_s=0.3)
        assert await swarm(settings) == 0
    out, err = capfd.readouterr()
    shown = out + err + path.read_text() + repr(settings)
    assert json.loads(path.read_bytes())["books"]["balanced"] is True
    assert KEY not in shown
    assert issuer.SECRET.decode() not in shown
    assert "eyJ" not in shown  # how every JWT begins
