"""Swarms of several processes, against the real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from loadtest.measure import family
from tests.serving import PATIENCE_S
from tests.swarm.test_swarm import counts, run_swarm, server_of, settings_for
from trio_push.errors import ConfigError
from trio_push.swarm.audit import Audit
from trio_push.swarm.crowd import Share
from trio_push.swarm.message_stream import MessageStream
from trio_push.swarm.messages import Failed, Order, Ready, Settled, ToWorker, Tried
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.swarm import open_run
from trio_push.swarm.tokens import GeneratedTokens
from trio_push.swarm.worker_processes import Link
from trio_push.swarm.workers import Workers, orders


@pytest.mark.parametrize("transport", ["sse", "mixed"])
async def test_all_of_it_adds_up(transport: str) -> None:
    async with server_of() as server:
        settings = settings_for(
            server.addresses.wire[0],
            workers=3,
            via="api",
            transport=transport,
            reconnect="scale",
            churn=20,
            storm_s=0.5,
            storm_share=0.5,
            duration_s=2.0,
        )
        report = await run_swarm(settings)
    figures = report.figures
    accepted = figures["pushes"]["accepted"]
    # who has left last may not be back yet on a busy machine
    assert counts(report, "devices", "planned", "peak", "failed") == (20, 20, 0)
    dropped, back, not_recovered = counts(report, "devices", "dropped", "back", "not_recovered")
    # who has left just then is not dropped
    assert 0 < dropped == back <= 11
    assert not_recovered == 0
    assert counts(report, "deliveries", "received", "lost", "foreign") == (accepted, 0, 0)
    assert accepted == pytest.approx(200, abs=1)
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["max"]
    assert figures["connect_ms"]["p50"] > 0
    assert figures["books"]["balanced"] is True, figures["books"]


async def test_source_addresses_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_push.swarm.parts.ephemeral_ports", lambda: 20)
    async with server_of() as server:
        settings = settings_for(server.addresses.wire[0], workers=2, duration_s=60)
        async with open_run(settings) as run, trio.open_nursery() as nursery:
            nursery.start_soon(run.run)
            with trio.fail_after(60):
                while len(server.node.directory) < 20:
                    await trio.sleep(0.05)
            peers = [each.sock.getpeername()[0] for each in server.node.directory.connections()]
            nursery.cancel_scope.cancel()
    # nine of twenty ports of an address are used with ease
    assert Counter(peers) == {"127.0.0.2": 8, "127.0.0.3": 6, "127.0.0.4": 6}


async def test_tokens_of_a_file_and_pushes_that_are_refused(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"{i:02x}\n" for i in range(10)))
    async with server_of() as server:
        server.node.router.unregister("07")
        settings = settings_for(
            server.addresses.wire[0], devices=10, token_file=str(tokens), workers=2
        )
        report = await run_swarm(settings)
    assert report.figures["pushes"]["reasons"] == {"Unregistered": 10}
    assert report.figures["devices"]["failures"] == {"status 410": 1}
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


async def test_a_worker_that_is_killed_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_push.swarm.run.SETTLE_S", 0.5)
    async with server_of() as server:
        settings = settings_for(server.addresses.wire[0], workers=2, duration_s=60)
        async with open_run(settings) as run, trio.open_nursery() as nursery:

            async def kill() -> None:
                while run.look().phase != "running":
                    await trio.sleep(0.05)
                *_, worker = family(os.getpid())
                os.kill(worker, signal.SIGKILL)

            nursery.start_soon(kill)
            with trio.fail_after(PATIENCE_S):
                report = await run.run()
    assert report.exit_code == 99
    assert report.figures["devices"]["connected"] == 10
    [why, *_] = report.figures["books"]["reasons"]
    assert "was ended by SIGKILL: what its 10 devices got last is not known" in why
    assert family(os.getpid()) == [os.getpid()], "nothing is left behind"


async def test_a_swarm_that_is_killed_leaves_nothing_behind() -> None:
    async with server_of() as server:
        command = [sys.executable, "-m", "trio_push", "swarm", "--url", server.addresses.wire[0]]
        more = ["--devices", "20", "--workers", "2", "--duration", "0"]
        process = await trio.lowlevel.open_process([*command, *more], stdout=subprocess.DEVNULL)
        with trio.fail_after(PATIENCE_S):
            while len(server.node.directory) < 20:
                await trio.sleep(0.05)
            members = family(process.pid)
            process.kill()
            await process.wait()
            while any(is_running(pid) for pid in members):
                await trio.sleep(0.05)
    assert len(members) == 4


async def test_ctrl_c_gives_a_report(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    async with server_of() as server:
        command = [sys.executable, "-m", "trio_push", "swarm", "--url", server.addresses.wire[0]]
        more = ["--devices", "20", "--workers", "2", "--duration", "0", "--json", str(report)]
        process = await trio.lowlevel.open_process(
            [*command, *more], stdout=subprocess.DEVNULL, process_group=0
        )
        with trio.fail_after(PATIENCE_S):
            while len(server.node.directory) < 20:
                await trio.sleep(0.05)
            # as a terminal does: to all that are in the foreground
            os.killpg(process.pid, signal.SIGINT)
            assert await process.wait() == 0
    figures = json.loads(report.read_bytes())
    assert figures["devices"]["connected"] == 20
    assert figures["books"]["balanced"] is True


def is_running(pid: int) -> bool:
    """A zombie, whose new parent has not looked yet, is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def share_of(settings: SwarmSettings) -> Share:
    tokens = GeneratedTokens(settings.devices)
    return Share(run="5f", tokens=tokens, sources=["127.0.0.1"], seed=settings.seed)


def test_orders_share_out_devices_and_rates() -> None:
    settings = SwarmSettings(devices=10, ramp=100, churn=5, push_rate=9, duration_s=3)
    one, two, three = orders(settings, share_of(settings), 3)
    assert [order.settings.devices for order in (one, two, three)] == [3, 3, 4]
    assert [order.first for order in (one, two, three)] == [0, 3, 6]
    assert sum(order.settings.ramp for order in (one, two, three)) == pytest.approx(100)
    assert sum(order.settings.churn for order in (one, two, three)) == pytest.approx(5)
    assert {order.settings.push_rate for order in (one, two, three)} == {0}
    assert len({order.seed for order in (one, two, three)}) == 3
    assert one.tokens is None
    assert orders(settings, share_of(settings), 3) == [one, two, three], "the same each time"


Behave = Callable[[MessageStream], Any]


def crowd_of(*behaviours: Behave, nursery: trio.Nursery) -> Workers:
    """Workers whose other ends behave as told."""
    settings = SwarmSettings(devices=4 * len(behaviours))

    async def how_ended() -> str:
        return "ended with code 1"

    @asynccontextmanager
    async def start(count: int) -> AsyncIterator[Sequence[Link]]:
        links = []
        for number, behave in enumerate(behaviours):
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(be, behave, theirs)
            links.append(Link(f"worker {number}", ours, how_ended))
        yield links

    async def be(behave: Behave, stream: trio.abc.Stream) -> None:
        async with stream:
            await behave(MessageStream(stream, ToWorker))

    made = orders(settings, share_of(settings), len(behaviours))
    return Workers(made, start, Audit(settings.devices))


async def good(parent: MessageStream) -> None:
    answers = {"Order": Ready(), "Connect": Tried(), "Settle": Settled()}
    async for message in parent:
        if type(message).__name__ in answers:
            await parent.send(answers[type(message).__name__])


async def dead(parent: MessageStream) -> None:
    async for message in parent:
        if not isinstance(message, Order):
            return
        await parent.send(Ready())


async def hanging(parent: MessageStream) -> None:
    await parent.send(Ready(), Tried())
    await trio.sleep_forever()


async def unwilling(parent: MessageStream) -> None:
    await parent.send(Failed("no such thing here"))


async def babbling(parent: MessageStream) -> None:
    await parent.send(Ready(), Order(SwarmSettings(), "", 0, 0, 8, [], None))
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("behave", "why"),
    [(dead, "worker 1 ended with code 1"), (babbling, "worker 1 cannot be understood")],
)
async def test_a_worker_that_is_lost(
    behave: Behave, why: str, autojump_clock: trio.testing.MockClock
) -> None:
    lost = trio.Event()
    async with trio.open_nursery() as nursery:
        crowd = crowd_of(good, behave, good, nursery=nursery)
        await nursery.start(crowd.run, lost.set)
        await crowd.connect()
        await lost.wait()
        await crowd.settle()
        assert [loss.startswith(why) for loss in crowd.losses] == [True]
        nursery.cancel_scope.cancel()


async def test_a_worker_that_hangs_is_not_waited_for_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        crowd = crowd_of(good, hanging, nursery=nursery)
        await nursery.start(crowd.run, lambda: None)
        await crowd.connect()
        await crowd.settle()
        assert trio.current_time() == 30
        assert crowd.losses == [
            "worker 1 does not answer: what its 4 devices got last is not known"
        ]
        nursery.cancel_scope.cancel()


async def test_a_worker_that_says_nothing_for_long_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lost = trio.Event()
    async with trio.open_nursery() as nursery:
        crowd = crowd_of(hanging, nursery=nursery)
        await nursery.start(crowd.run, lost.set)
        await lost.wait()
        assert trio.current_time() == 60
        [loss] = crowd.losses
        assert loss.startswith("worker 0 has said nothing for 60 s")
        nursery.cancel_scope.cancel()


async def test_a_worker_that_cannot(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.RaisesGroup(ConfigError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            crowd = crowd_of(good, unwilling, nursery=nursery)
            await nursery.start(crowd.run, lambda: None)
