"""Swarms whose devices live in agents, against the real server."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from loadtest.measure import family
from tests.serving import PATIENCE_S
from tests.swarm.test_swarm import counts, run_swarm, server_of, settings_for
from trio_push.commands.swarm_agent import run as run_command
from trio_push.errors import ConfigError, Unreachable
from trio_push.swarm.agent import AgentSettings, run_agent
from trio_push.swarm.swarm import open_run


@asynccontextmanager
async def agent_of(secret: str = "") -> AsyncIterator[str]:
    """An agent of this machine; gives its address."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(run_agent, AgentSettings(listen="127.0.0.1:0", secret=secret))
        nursery.cancel_scope.cancel()


async def test_agents_report_into_one() -> None:
    async with server_of() as server, agent_of("s3cret") as one, agent_of("s3cret") as two:
        settings = settings_for(
            server.addresses.wire[0],
            agents=(one, two),
            agent_secret="s3cret",
            transport="mixed",
        )
        report = await run_swarm(settings)
        again = await run_swarm(settings)
    for each in (report, again):
        accepted = each.figures["pushes"]["accepted"]
        assert counts(each, "devices", "connected", "failed") == (20, 0)
        assert counts(each, "deliveries", "received", "lost") == (accepted, 0)
        assert accepted == 100
        assert 0 <= each.figures["latency_ms"]["p50"] < 1000
        assert each.figures["books"]["balanced"] is True, each.figures["books"]
    assert family(os.getpid()) == [os.getpid()], "nothing is left behind"


@pytest.mark.parametrize("workers", [0, 3])
async def test_users_on_several_agents(workers: int) -> None:
    """All devices of a user are on the same one; what is read on one the others hear of."""
    async with server_of() as server, agent_of() as one, agent_of() as two:
        settings = settings_for(
            server.addresses.wire[0],
            agents=(one, two),
            workers=workers,
            via="api",
            transport="mixed",
            devices_per_user=3,
            mark_read=True,
            push_rate=30,
        )
        report = await run_swarm(settings)
        users = server.node.router.users
        assert [len(users.tokens(f"user{i}")) for i in range(8)] == [3] * 6 + [2, 0]
    accepted = report.figures["pushes"]["accepted"]
    marks = report.figures["deliveries"]["read_marks"]
    assert accepted > 30
    assert marks > 0
    assert counts(report, "devices", "connected", "failed") == (20, 0)
    assert counts(report, "deliveries", "received", "lost") == (accepted + marks, 0)
    assert counts(report, "deliveries", "duplicate", "misdelivered", "foreign") == (0, 0, 0)
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


async def test_the_secret_is_needed() -> None:
    async with server_of() as server, agent_of("s3cret") as agent:
        url = server.addresses.wire[0]
        with pytest.raises(ConfigError, match="--agent-secret its secret"):
            await run_swarm(settings_for(url, agents=(agent,), agent_secret="other"))
        report = await run_swarm(settings_for(url, agents=(agent,), agent_secret="s3cret"))
    assert report.figures["books"]["balanced"] is True


async def test_an_agent_that_dies_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_push.swarm.run.SETTLE_S", 0.5)
    async with server_of() as server, agent_of() as stays:
        with trio.CancelScope() as scope:
            async with agent_of() as dies:
                settings = settings_for(
                    server.addresses.wire[0], agents=(stays, dies), duration_s=60
                )
                with trio.CancelScope(shield=True), trio.fail_after(PATIENCE_S):
                    async with open_run(settings) as run, trio.open_nursery() as nursery:

                        async def end() -> None:
                            while run.look().phase != "running":
                                await trio.sleep(0.05)
                            scope.cancel()

                        nursery.start_soon(end)
                        report = await run.run()
    [why, *_] = report.figures["books"]["reasons"]
    assert why == f"worker 1 on {dies} has hung up: what its 10 devices got last is not known"
    assert report.exit_code == 99


async def test_nobody_there() -> None:
    async with server_of() as server:
        with pytest.raises(Unreachable, match=r"--agents 127\.0\.0\.1:9 does not answer"):
            await run_swarm(settings_for(server.addresses.wire[0], agents=("127.0.0.1:9",)))


def test_an_agent_that_others_reach_needs_a_secret() -> None:
    with pytest.raises(ConfigError, match="TRIO_PUSH_SWARM_AGENT_SECRET"):
        AgentSettings(listen=":8090")
    settings = AgentSettings(listen=":8090", secret="s3cret")
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    async with trio.open_nursery() as nursery:

        async def interrupt() -> None:
            while "--agents 127.0.0.1:" not in capsys.readouterr().out:
                await trio.sleep(0.05)
            signal.raise_signal(number)

        nursery.start_soon(interrupt)
        with trio.fail_after(PATIENCE_S):
            assert await run_command(AgentSettings(listen="127.0.0.1:0")) == 0
    assert family(os.getpid()) == [os.getpid()]
