"""Faults on demand with `serve --workers N`, and with several servers on one Redis: as one."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.fault.process import serve
from tests.redis import redis_server
from tests.serving import PATIENCE_S, Peer
from tests.swarm.test_swarm import counts, run_swarm, settings_for
from tests.workers.running import Crew, connected, crew_of, until

pytestmark = pytest.mark.needs("redis-server")

LOSSY = {"name": "lossy", "match": {"token_prefix": "aa"}, "action": {"kind": "lose"}}
#: devices for several workers, so that most pushes come in at another than the device's
TOKENS = [f"aa{n:02x}" for n in range(12)]


@asynccontextmanager
async def api_of(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Each request over a connection of its own, and so to any worker."""
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(
        base_url=url, limits=limits, timeout=PATIENCE_S, trust_env=False
    ) as api:
        yield api


async def rules(api: httpx.AsyncClient, nodes: int) -> list[dict[str, Any]]:
    """The rules, as soon as so many nodes have them all."""
    page: dict[str, Any] = {}

    async def all_say() -> bool:
        page.update((await api.get("/v1/faults")).raise_for_status().json())
        return {page["nodes"], *(rule["nodes"] for rule in page["rules"])} == {nodes}

    await until(all_say)
    return list(page["rules"])


async def names(api: httpx.AsyncClient, nodes: int) -> list[str]:
    return [rule["name"] for rule in await rules(api, nodes)]


async def push_each(url: str, tokens: list[str], body: bytes = b"x") -> None:
    """A push to each, over a connection of its own; all are accepted."""
    for token in tokens:
        async with Peer.connected(url) as provider:
            assert (await provider.push(token, body)).status == 200


async def push_in_turn(url: str, token: str, n: int) -> None:
    """So many numbered pushes over one connection: those handed to one worker keep their order."""
    async with Peer.connected(url) as provider:
        for i in range(n):
            assert (await provider.push(token, b"%d" % i)).status == 200


async def lost(crew: Crew) -> int:
    return int((await crew.get("/v1/ledger"))["ended"]["lost_by_fault"])


async def has_lost(crew: Crew, tokens: list[str]) -> None:
    """Whichever worker takes a push, it is lost."""
    before = await lost(crew)
    await push_each(crew.url, tokens)
    assert await lost(crew) == before + len(tokens)


async def test_a_rule_holds_at_every_worker() -> None:
    async with crew_of(3) as crew, api_of(crew.api) as api, connected(crew, TOKENS) as devices:
        assert (await api.post("/v1/faults", json=LOSSY)).status_code == 201
        for _ in range(6):
            assert (await api.post("/v1/faults", json=LOSSY)).status_code == 409
        assert await names(api, 3) == ["lossy"]
        await has_lost(crew, TOKENS)
        answer = await api.post("/v1/push", json={"tokens": TOKENS, "payload": "x"})
        assert answer.json()["outcomes"] == {"lost_by_fault": len(TOKENS)}
        [rule] = await rules(api, 3)
        assert rule["times"] == 2 * len(TOKENS)
        books = await crew.get("/v1/ledger")
        assert books["balanced"]
        assert books["faults"] == [{"rule": "lossy", "action": "lose", "times": 2 * len(TOKENS)}]
        line = f'trio_push_injected_faults_total{{action="lose",rule="lossy"}} {2 * len(TOKENS)}.0'
        assert line in await crew.metrics(3)
        assert (await api.delete("/v1/faults/lossy")).json() == {"removed": 1}
        assert await names(api, 3) == []
        assert (await api.delete("/v1/faults/lossy")).status_code == 404
        await push_each(crew.url, TOKENS, b"back")
        for device in devices.values():
            assert (await device.event()).data == "back"


async def test_what_befalls_devices_of_other_workers() -> None:
    async with crew_of(3) as crew, api_of(crew.api) as api, connected(crew, TOKENS) as devices:
        for prefix, action in (
            ("aa00", {"kind": "duplicate"}),
            ("aa01", {"kind": "reorder", "by": {"law": "fixed", "s": 1}}),
            ("aa02", {"kind": "slow_device", "latency": {"law": "fixed", "s": 0.5}}),
            ("aa03", {"kind": "disconnect_device"}),
            ("aa04", {"kind": "disconnect_device", "when": "before"}),
        ):
            share = {"share": 0.5} if action["kind"] == "reorder" else {}
            rule = {"match": {"token_prefix": prefix, **share}, "action": action}
            assert (await api.post("/v1/faults", json=rule)).status_code == 201
        assert len(await rules(api, 3)) == 5
        for token in ("aa00", "aa01", "aa02"):
            await push_in_turn(crew.url, token, 8)
        assert [(await devices["aa00"].event()).data for _ in range(16)] == [
            str(n // 2) for n in range(16)
        ]
        overtaken = [(await devices["aa01"].event()).data for _ in range(8)]
        assert sorted(overtaken) == [str(n) for n in range(8)]
        slow = [(await devices["aa02"].event()).data for _ in range(8)]
        assert slow == [str(n) for n in range(8)]
        await push_each(crew.url, ["aa03", "aa04"], b"last")
        [event] = await devices["aa03"].events(may_be_reset=True)
        assert event.data == "last"
        assert await devices["aa04"].events(may_be_reset=True) == []
        await api.delete("/v1/faults")
        assert await names(api, 3) == []
        async with connected(crew, ["aa04"]) as back:
            assert (await back["aa04"].event()).data == "last"
        assert (await crew.get("/v1/ledger"))["balanced"]


async def test_requests_and_connections_at_every_worker() -> None:
    async with crew_of(3) as crew, api_of(crew.api) as api:
        refused = {"kind": "status", "reason": "TooManyRequests", "status": 429}
        await api.post("/v1/faults", json={"action": refused})
        assert await names(api, 3) == ["status-1"]
        for _ in range(12):
            async with Peer.connected(crew.url) as provider:
                assert (await provider.push("ff")).status == 429
        await api.delete("/v1/faults")
        await api.post("/v1/faults", json={"action": {"kind": "refuse_connection"}})
        assert await names(api, 3) == ["refuse_connection-1"]
        for _ in range(12):
            with pytest.raises((OSError, trio.BrokenResourceError)):
                async with Peer.connected(crew.url) as provider:
                    await provider.push("ff")
        [rule] = await rules(api, 3)
        assert rule["times"] >= 12
        await api.delete("/v1/faults")
        assert await names(api, 3) == []
        await push_each(crew.url, TOKENS)


async def test_magic_tokens_at_every_worker() -> None:
    async with crew_of(3, "--scenario", "magic-tokens") as crew, api_of(crew.api) as api:
        await has_lost(crew, ["fa17105700"] * 6)
        for _ in range(6):
            async with Peer.connected(crew.url) as provider:
                assert (await provider.push("fa170410")).status == 410
        times = {rule["name"]: rule["times"] for rule in await rules(api, 3)}
        assert (times["magic-fa171057"], times["magic-fa170410"]) == (6, 6)


@pytest.mark.parametrize("how", ["SIGHUP", "SIGKILL"])
async def test_a_worker_that_starts_later_has_the_rules(how: str, tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(
        '[[rules]]\nname = "removed"\naction = { kind = "status", reason = "Shutdown" }\n'
        '[[rules]]\nname = "kept"\nmatch = { token_prefix = "bb" }\naction = { kind = "lose" }\n'
    )
    async with crew_of(3, "--faults", str(file)) as crew, api_of(crew.api) as api:
        assert await names(api, 3) == ["removed", "kept"]
        assert (await api.delete("/v1/faults/removed")).json() == {"removed": 1}
        assert (await api.post("/v1/faults", json=LOSSY)).status_code == 201
        before = {node["node"] for node in await crew.nodes()}
        if how == "SIGHUP":
            crew.process.send_signal(signal.SIGHUP)
        else:
            for node in (await crew.nodes())[:2]:
                os.kill(node["pid"], signal.SIGKILL)
        left = 0 if how == "SIGHUP" else 1

        async def replaced() -> bool:
            now = {node["node"] for node in await crew.nodes()}
            return len(now) == 3 and len(now & before) == left

        await until(replaced)
        assert await names(api, 3) == ["kept", "lossy"]
        await push_each(crew.url, TOKENS)
        await push_each(crew.url, ["bb"] * 6)
        [kept, lossy] = await rules(api, 3)
        assert (kept["times"], lossy["times"]) == (6, len(TOKENS))


async def test_two_servers_on_one_redis(tmp_path: Path) -> None:
    """One of them has workers; what comes later has the rules of those before."""
    with redis_server() as redis:
        async with (
            crew_of(2, "--redis", redis.url_text) as crew,
            api_of(crew.api) as api,
            serve("--redis", redis.url_text, api="127.0.0.1:0") as single,
            api_of(single.api) as single_api,
        ):
            assert await names(api, 3) == []
            assert (await single_api.post("/v1/faults", json=LOSSY)).status_code == 201
            assert await names(api, 3) == ["lossy"]
            await has_lost(crew, TOKENS)
            await push_each(single.url, TOKENS)
            [rule] = await rules(single_api, 3)
            assert rule["times"] == 2 * len(TOKENS)
            async with serve("--redis", redis.url_text, api="127.0.0.1:0") as late:
                await push_each(late.url, ["aa"])
                async with api_of(late.api) as late_api:
                    [rule] = await rules(late_api, 4)
                    assert rule["times"] == 2 * len(TOKENS) + 1
                    assert (await late_api.delete("/v1/faults")).json() == {"removed": 1}
                late.terminate()
                await late.ended()
            assert await names(api, 3) == await names(single_api, 3) == []


async def test_rules_end_with_the_last_server() -> None:
    with redis_server() as redis:
        for _ in range(2):
            async with (
                serve("--redis", redis.url_text, api="127.0.0.1:0") as server,
                api_of(server.api) as api,
            ):
                assert await names(api, 1) == []
                assert (await api.post("/v1/faults", json=LOSSY)).status_code == 201
                server.terminate()
                await server.ended()


@pytest.mark.parametrize("via", ["apns", "apns-h2", "api"])
async def test_a_swarm_sets_them_apart(via: str) -> None:
    async with crew_of(3) as crew, api_of(crew.api) as api:
        for action in ({"kind": "lose"}, {"kind": "duplicate"}):
            rule = {"match": {"share": 0.2}, "action": action}
            assert (await api.post("/v1/faults", json=rule)).status_code == 201
        assert await names(api, 3) == ["lose-1", "duplicate-1"]
        report = await run_swarm(settings_for(crew.url, via=via))
    books = report.figures["books"]
    lost, doubled = books["faults"]["lose"], books["faults"]["duplicate"]
    assert lost > 0
    assert doubled > 0
    assert books["balanced"], books
    assert counts(report, "deliveries", "lost", "duplicate") == (0, doubled)
    [accepted] = counts(report, "pushes", "accepted")
    assert counts(report, "deliveries", "received") == (accepted - lost,)
    assert report.exit_code == 0
