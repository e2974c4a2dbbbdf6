"""Users with several devices, and devices that sleep, against the real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.swarm.test_swarm import counts, run_swarm, server_of, settings_for
from tests.swarm.test_swarm_auth import closed_server, settings_of


@pytest.mark.parametrize("transport", ["sse", "ws", "mixed"])
async def test_a_push_to_a_user_reaches_all_of_their_devices(transport: str) -> None:
    async with server_of() as server:
        settings = settings_for(
            server.addresses.wire[0],
            via="api",
            transport=transport,
            devices_per_user=3,
            user_prefix="usr_",
        )
        report = await run_swarm(settings)
        users = server.node.router.users
        assert [len(users.tokens(f"usr_{i}")) for i in range(8)] == [3] * 6 + [2, 0]
    accepted = report.figures["pushes"]["accepted"]
    assert accepted == pytest.approx(100 * 20 / 7, abs=10)
    assert counts(report, "deliveries", "received", "lost", "duplicate") == (accepted, 0, 0)
    assert counts(report, "deliveries", "out_of_order", "misdelivered", "foreign") == (0, 0, 0)
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


async def test_users_of_other_pushes() -> None:
    """By APNs pushes go to device tokens, whosever they are."""
    async with server_of() as server:
        report = await run_swarm(settings_for(server.addresses.wire[0], devices_per_user=3))
        assert len(server.node.router.users) == 7
    assert report.figures["pushes"]["accepted"] == 100
    assert counts(report, "deliveries", "lost", "misdelivered") == (0, 0)
    assert report.figures["books"]["balanced"] is True


@pytest.mark.parametrize("ack", [False, True])
@pytest.mark.parametrize("client", ["lean", "library"])
async def test_what_is_read_on_one_device_the_others_hear_of(client: str, ack: bool) -> None:
    async with server_of() as server:
        settings = settings_for(
            server.addresses.wire[0],
            via="api",
            transport="ws",
            client=client,
            devices_per_user=4,
            mark_read=True,
            ack=ack,
            push_rate=30,
        )
        report = await run_swarm(settings)
    accepted, marked = report.figures["pushes"]["accepted"], report.figures["deliveries"]["marked"]
    assert marked == accepted / 4 > 0
    assert report.figures["deliveries"]["read_marks"] == 3 * marked
    assert counts(report, "deliveries", "received", "lost") == (accepted + 3 * marked, 0)
    assert counts(report, "deliveries", "duplicate", "foreign") == (0, 0)
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


async def test_read_marks_survive_churn_sleep_and_a_storm() -> None:
    async with server_of() as server:
        settings = settings_for(
            server.addresses.wire[0],
            via="api",
            transport="ws",
            devices_per_user=4,
            mark_read=True,
            reconnect="scale",
            push_rate=40,
            duration_s=3.0,
            churn=10,
            storm_s=1.0,
            sleepers=0.5,
            asleep_s=0.5,
            awake_s=0.5,
        )
        report = await run_swarm(settings)
    figures = report.figures
    assert figures["deliveries"]["marked"] > 0
    assert figures["devices"]["sleeps"] > 0
    assert counts(report, "deliveries", "lost", "foreign", "misdelivered") == (0, 0, 0)
    assert figures["books"]["balanced"] is True, figures["books"]


async def test_marks_that_get_lost_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_push.swarm.run.SETTLE_S", 1.0)
    monkeypatch.setattr("trio_push.swarm.run.QUIET_S", 0.5)
    async with server_of() as server:
        users = server.node.router.users
        real, calls = users.others, 0

        def others(token: str) -> list[str]:
            nonlocal calls
            calls += 1
            return real(token)[:-1] if calls % 10 == 0 else real(token)

        monkeypatch.setattr(users, "others", others)
        settings = settings_for(
            server.addresses.wire[0],
            via="api",
            transport="ws",
            devices_per_user=4,
            mark_read=True,
            push_rate=30,
        )
        report = await run_swarm(settings)
    marked = report.figures["deliveries"]["marked"]
    assert report.figures["deliveries"]["read_marks"] == 3 * marked - calls // 10
    assert any("read marks" in reason for reason in report.figures["books"]["reasons"])
    assert report.exit_code == 99
    worst = report.figures["worst"]
    assert worst[0]["unseen"] > 0
    assert sum(each["unseen"] for each in worst) == calls // 10


@pytest.mark.parametrize("via", ["apns", "api"])
@pytest.mark.parametrize("transport", ["sse", "ws"])
@pytest.mark.parametrize("client", ["lean", "library"])
async def test_sleepers_get_what_was_stored_meanwhile(
    client: str, transport: str, via: str
) -> None:
    async with server_of() as server:
        settings = settings_for(
            server.addresses.wire[0],
            via=via,
            transport=transport,
            client=client,
            sleepers=0.5,
            asleep_s=1.0,
            awake_s=0.6,
            duration_s=3.0,
        )
        report = await run_swarm(settings)
    figures = report.figures
    assert figures["devices"]["sleeps"] >= 10
    # all are awake at the end
    assert counts(report, "devices", "connected", "not_recovered") == (20, 0)
    assert counts(report, "deliveries", "lost", "duplicate", "foreign") == (0, 0, 0)
    assert figures["books"]["balanced"] is True, figures["books"]
    assert figures["books"]["server"]["delivered_on_connect"] > 0
    assert figures["deliveries"]["slept_through"] > 0
    if via == "apns":
        assert figures["books"]["server"]["coalesced"] > 0
    else:
        assert figures["deliveries"]["received"] == figures["pushes"]["accepted"]


async def test_users_by_jwt(tmp_path: Path) -> None:
    async with closed_server(tmp_path) as server:
        settings = settings_of(
            server, tmp_path, via="api", transport="ws", devices_per_user=5, mark_read=True
        )
        report = await run_swarm(settings)
        assert len(server.node.router.users.tokens("user3")) == 5
    assert report.figures["deliveries"]["read_marks"] > 0
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


async def test_devices_that_the_server_does_not_know_are_no_loss() -> None:
    """It takes fewer devices of each user than there are."""
    async with server_of(devices_per_user=2) as server:
        settings = settings_for(server.addresses.wire[0], via="api", devices_per_user=4)
        report = await run_swarm(settings)
    assert counts(report, "devices", "failed") == (10,)
    assert set(report.figures["pushes"]["reasons"]) == {"not known as the user's device"}
    assert counts(report, "deliveries", "lost") == (0,)
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


@pytest.mark.parametrize("transport", ["sse", "mixed"])
async def test_users_in_several_processes(transport: str) -> None:
    async with server_of() as server:
        settings = settings_for(
            server.addresses.wire[0],
            via="api",
            transport=transport,
            devices_per_user=3,
            workers=3,
            mark_read=transport == "mixed",
            push_rate=30,
        )
        report = await run_swarm(settings)
        users = server.node.router.users
        assert [len(users.tokens(f"user{i}")) for i in range(8)] == [3] * 6 + [2, 0]
    accepted = report.figures["pushes"]["accepted"]
    assert accepted == pytest.approx(30 * 20 / 7, abs=10)
    marks = report.figures["deliveries"]["read_marks"]
    assert (marks > 0) == settings.mark_read
    assert counts(report, "deliveries", "received", "lost") == (accepted + marks, 0)
    assert counts(report, "deliveries", "duplicate", "misdelivered", "foreign") == (0, 0, 0)
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


async def test_single_devices_of_users_in_several_processes() -> None:
    async with server_of() as server:
        settings = settings_for(server.addresses.wire[0], devices_per_user=3, workers=2)
        report = await run_swarm(settings)
        assert len(server.node.router.users) == 7
    assert counts(report, "deliveries", "lost", "misdelivered") == (0, 0)
    assert report.figures["books"]["balanced"] is True, report.figures["books"]
