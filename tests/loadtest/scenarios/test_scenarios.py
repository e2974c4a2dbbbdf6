"""Each scenario from end to end with the bare loops alone, tiny."""

from __future__ import annotations

import time

import pytest
import trio

from loadtest import governed
from loadtest.bench import Plan
from loadtest.scenarios import (
    acks,
    connect,
    delay,
    fanout,
    hold,
    hop,
    idle,
    intake,
    provider,
    resume,
    steady,
    storm,
)
from tests.serving import PATIENCE_S
from trio_push.apns import Exponential, Scaling

BARE = Plan(1, ("bare",))


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch):
    monkeypatch.setattr(hold, "_SETTLE_S", 0)
    monkeypatch.setattr(fanout, "_SETTLE_S", 0)


@pytest.fixture(params=["sse", "ws"])
def transport(request):
    return request.param


async def test_idle(transport):
    report = await idle.run(20, transport, BARE)
    assert report.measured.figure("bare trio", "devices") == 20
    assert report.measured.figure("bare trio", "ratio") == 1.0
    assert [bound.verdict for bound in report.bounds] == ["not measured"]


async def test_connect(transport):
    report = await connect.run(20, transport, BARE)
    assert 1 < report.measured.figure("bare trio", "connect_us") < 100_000


async def test_fanout(transport):
    report = await fanout.run(20, 2, transport, BARE)
    assert 1 < report.measured.figure("bare trio", "delivery_us") < 100_000
    assert report.measured.figure("bare trio", "bytes") > 100
    assert report.measured.figure("bare trio", "wall_ms") > 0


async def test_acks():
    report = await acks.run(20, 3, Plan(1))
    figure = report.measured.figure
    for subject in ("trio-push", "bare trio"):
        assert figure(subject, "round_trips") == 60
        assert figure(subject, "cpu_us") > 1
    assert figure("trio-push", "unacknowledged") == 0
    assert figure("trio-push", "balanced") == 1


@pytest.mark.needs("h2load")
async def test_intake():
    report = await intake.run(3, "mdm", BARE)
    assert list(report.measured.samples) == ["HTTP/2, bare h2", "HTTP/1.1, bare httptools"]
    assert report.measured.figure("HTTP/2, bare h2", "pushes_per_s") > 10
    assert report.measured.figure("HTTP/1.1, bare httptools", "ratio") == 1.0


@pytest.mark.needs("h2load")
async def test_intake_by_all_of_apples_rules():
    report = await intake.run(5, "strict", Plan(1))
    assert report.measured.figure("HTTP/2, trio-push, strict", "pushes_per_s") > 10
    assert report.measured.figure("HTTP/2, bare h2", "ratio") == 1.0


async def test_delay(monkeypatch):
    monkeypatch.setattr(delay, "_SPREAD_S", 0.2)
    monkeypatch.setattr(delay, "_DUE", 50)
    report = await delay.run(1000, BARE)
    [(name, [sample])] = report.measured.samples.items()
    assert name == "bare heap, bare tasks"
    assert 0 <= sample["p50_ms"] <= sample["p99_ms"] <= sample["max_ms"]


@pytest.mark.needs("redis-server")
async def test_hop(monkeypatch):
    monkeypatch.setattr(hop, "_DEVICES", 20)
    monkeypatch.setattr(hop, "_LONE", 5)
    report = await hop.run(200, 20, Plan(1))
    assert report.measured.figure("trio-push", "lost") == 0
    assert report.measured.figure("trio-push", "lone_p50_ms") > 0


async def test_steady(monkeypatch):
    flags = {}

    async def swarm(given):
        flags.update(given)
        return {
            "devices": {"connected": 10},
            "pushes": {"accepted": 100, "refused": 0},
            "deliveries": {"lost": 1},
            "books": {"balanced": None},
            "latency_ms": {"p50": 1.5, "p99": 2.5, "max": 3.5},
        }

    monkeypatch.setattr(steady, "swarm_report", swarm)
    report = await steady.run(10, 20, 5, "sse", BARE)
    assert flags["devices"] == 10
    assert flags["push-rate"] == 20
    assert flags["duration"] == 5
    assert flags["url"].startswith("http://127.0.0.1:")
    assert report.measured.figure("bare trio", "lost") == 1
    assert report.measured.figure("bare trio", "p99_ms") == 2.5
    assert "balanced" not in report.measured.samples["bare trio"][0]


async def test_steady_with_our_own_server(transport):
    report = await steady.run(10, 20, 1, transport, Plan(1, ("trio-push",)))
    assert [bound.verdict for bound in report.bounds] == ["ok"] * 5


async def test_storm_with_our_own_server(monkeypatch):
    monkeypatch.setattr(storm, "_BEFORE_S", 1)
    monkeypatch.setattr(storm, "_BACK_S", 8)
    report = await storm.run(100, 200, "ws", Plan(1, ("trio-push",)))
    figures = {name: report.measured.figure("trio-push", name) for name in ("dropped", "back")}
    assert figures == {"dropped": 90, "back": 90}
    assert [bound.verdict for bound in report.bounds] == ["ok"] * 6


async def test_storm_that_loses_something(monkeypatch):
    """What the swarm or those left alone have not got misses a bound."""

    async def swarm(given):
        assert given["devices"] == 90
        assert given["push-rate"] == 180
        await trio.sleep(0.5)
        return {
            "devices": {"dropped": 90, "back": 80, "not_recovered": 1},
            "back_ms": {"p99": 31_000.0},
            "pushes": {"accepted": 100},
            "deliveries": {"lost": 2, "duplicate": 3, "received": 99},
        }

    monkeypatch.setattr(storm, "swarm_report", swarm)
    report = await storm.run(100, 200, "sse", Plan(1, ("trio-push",)))
    assert [bound.verdict for bound in report.bounds] == ["ok"] + ["miss"] * 6
    assert not report.ok


async def test_when_a_storm_was_is_seen_from_outside(monkeypatch):
    files = iter([110, 110, 20, 60, 109, 110])
    monkeypatch.setattr(storm, "open_files", lambda pid: next(files))
    watch = storm._Watch(1, 100)
    before = time.monotonic()
    with trio.fail_after(PATIENCE_S):
        await watch.run()
    assert before < watch.began < watch.over < time.monotonic()
    assert next(files) == 110


async def test_resume(transport):
    report = await resume.run(150, 5, 200, transport, Plan(1))
    figure = report.measured.figure
    assert figure("trio-push", "devices") == 150
    assert 1 < figure("trio-push", "connect_us") < 100_000
    assert figure("trio-push", "replayed_per_s") > 10
    assert [bound.verdict for bound in report.bounds] == ["ok"] * 4


@pytest.mark.parametrize("client", ["trio-push", "httpx", "aioapns"])
async def test_provider(client):
    report = await provider.run(3, None, Plan(1, (client,)))
    assert report.measured.figure(client, "pushes_per_s") > 10
    assert report.measured.figure(client, "failed") == 0


async def test_the_governor_is_drawn(monkeypatch, tmp_path):
    quick = Scaling(law=Exponential(2), most=8, sustain_s=0.2, settle_s=0.2, idle_s=0.3, poll_s=0.1)
    phases = (governed.Phase("rush", 3, 1000), governed.Phase("quiet", 4, 20))
    monkeypatch.setattr(governed, "SCALING", quick)
    monkeypatch.setattr(governed, "PHASES", phases)
    seen = await governed.watch_governor()
    assert seen.most > 1
    assert seen.last < seen.most
    assert "input waits" in seen.svg()
