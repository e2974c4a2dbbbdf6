"""The whole of `scale` with our own server, tiny."""

from __future__ import annotations

import os
import signal
from math import isfinite

import pytest
import trio

from loadtest.child import Failed
from loadtest.measure import family
from loadtest.scenarios import scale
from loadtest.world import open_world
from tests.serving import PATIENCE_S
from trio_push.swarm.settings import SwarmSettings


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch):
    monkeypatch.setattr(scale, "_SETTLE_S", 0.2)
    monkeypatch.setattr(scale, "_BACK_S", 5)


def plan(**more):
    values = {
        "devices": 60,
        "transport": "mixed",
        "ramp": 200,
        "keepalive_s": 1,
        "idle_s": 1,
        "rate": 100,
        "push_s": 1,
        "server_workers": 1,
        "workers": 2,
    }
    return scale.Scale(**values | more)


async def test_all_stages(tmp_path):
    notes = tmp_path / "notes"
    report = await scale.run(plan(), notes)
    measured = report.measured
    assert list(measured.samples) == [
        "ramp",
        "idle",
        "half",
        "push",
        "broadcast",
        "storm",
        "books",
        "drain",
    ]
    assert measured.figure("broadcast", "count") == 60
    assert measured.figure("storm", "back") == measured.figure("storm", "count") == 6
    assert measured.figure("idle", "server_mib") > 1
    # of so few devices memory and times say nothing: what one takes may seem to be below nothing
    for name in ("server_kib", "swarm_kib"):
        assert isfinite(measured.figure("idle", name))
    verdicts = {bound.what: bound.verdict for bound in report.bounds}
    for what in (
        "devices connected",
        "pushes that had not arrived",
        "lost of the broadcast",
        "resumed without all that was missed",
        "pushes lost",
        "books balanced",
    ):
        assert verdicts[what] == "ok"
    assert notes.exists()


async def test_who_a_broadcast_does_not_reach_is_told():
    """Not even if the server has never heard of them."""
    settings = SwarmSettings(devices=10, ramp=100)
    async with open_world(settings, 1, 0) as world:
        await world.crowd.connect()
        world.crowd.connections.now += 5
        sample = await scale._broadcast(world)
    assert (sample["count"], sample["lost"]) == (10, 5)


async def test_a_worker_of_the_swarm_that_is_lost_ends_it():
    settings = SwarmSettings(devices=10, workers=2)
    with pytest.RaisesGroup(pytest.RaisesExc(Failed, match="SIGKILL"), flatten_subgroups=True):
        async with open_world(settings, 1, 0) as world:
            servers = family(world.server.child.pid)
            worker = [pid for pid in family(os.getpid()) if pid not in servers][-1]
            os.kill(worker, signal.SIGKILL)
            with trio.fail_after(PATIENCE_S):
                await trio.sleep_forever()
