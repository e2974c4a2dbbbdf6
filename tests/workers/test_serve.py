"""`serve --workers N` as processes: started, asked, replaced, drained."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.fault.process import ROOT
from tests.serving import PATIENCE_S, Peer, tls, trust
from tests.workers.running import Crew, connected, crew_of, until

__all__ = ["tls", "trust"]

pytestmark = pytest.mark.needs("redis-server")

TOKENS = [f"{n:04x}" for n in range(40)]


async def push_all(crew: Crew, tokens: list[str]) -> None:
    """A push to each, each over a connection of its own."""
    for token in tokens:
        async with Peer.connected(crew.url) as provider:
            assert (await provider.push(token)).status == 200


async def test_the_start_says_how_many_fit() -> None:
    async with crew_of(2, open_files=1256) as crew:
        ready = await crew.logged("ready")
        assert ready["devices_fit"] == 2000
        assert ready["reason"] == "each of 2 workers may open 1,256 files (ulimit -n)"


async def test_workers_share_what_was_imported() -> None:
    """Forked by a process that has imported all, each has but a part for itself."""
    async with crew_of(3) as crew:
        for node in await crew.nodes():
            kib = memory_kib(node["pid"])
            own = kib["Private_Clean"] + kib["Private_Dirty"]
            assert 0 < own < kib["Rss"] / 2


def memory_kib(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {key: int(n) for key, n in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}


async def test_any_worker_answers_for_all() -> None:
    async with crew_of(2) as crew, connected(crew, TOKENS) as devices:
        await push_all(crew, TOKENS)
        for device in devices.values():
            await device.event()
        books = [await crew.get("/v1/ledger") for _ in range(8)]
        assert all(each == books[0] for each in books)
        assert books[0]["accepted"] == len(TOKENS)
        assert (books[0]["nodes"], books[0]["balanced"]) == (2, True)
        page = await crew.get("/v1/devices?limit=25")
        assert (page["total"], len(page["devices"])) == (len(devices), 25)
        rest = await crew.get(f"/v1/devices?limit=25&after={page['next']}")
        listed = [device["token"] for device in page["devices"] + rest["devices"]]
        assert (listed, rest["next"]) == (TOKENS, None)
        for _ in range(4):
            assert (await crew.get(f"/v1/devices/{TOKENS[0]}"))["connected"]
        metrics = await crew.metrics(2)
        assert f"trio_push_accepted_total {len(TOKENS)}.0" in metrics
        assert f'trio_push_devices{{transport="sse"}} {len(TOKENS)}.0' in metrics
        assert metrics.count("# TYPE trio_push_devices gauge") == 1
        assert "trio_push_worker_deaths_total 0.0" in metrics

        async def stats_agree() -> bool:
            async with Peer.connected(crew.url) as peer:
                stats = (await peer.request("GET", "/stats")).body
            return b'"active_connections":40,"total_pushes":40' in stats and b'"nodes":2' in stats

        await until(stats_agree)


async def test_a_repeated_request_is_known_to_any_worker() -> None:
    async with crew_of(2) as crew:
        answers = [await push_with_id(crew) for _ in range(8)]
        assert [answer.get("duplicate", False) for answer in answers] == [False] + 7 * [True]
        assert {answer["outcomes"]["stored"] for answer in answers} == {1}
        assert (await crew.get("/v1/ledger"))["accepted"] == 1


async def push_with_id(crew: Crew) -> dict[str, Any]:
    """Over a connection of its own; asked again while Redis is too slow to say if it is new."""
    body = b'{"token": "ff", "id": "tea", "payload": 1}'
    headers = {"content_type": "application/json", "connection": "close"}
    with trio.fail_after(2 * PATIENCE_S):
        while True:
            async with Peer.connected(crew.api) as user:
                response = await user.request("POST", "/v1/push", body, **headers)
            if response.status != 503:
                answer: dict[str, Any] = json.loads(response.body)
                return answer


async def test_each_worker_is_shown_on_request() -> None:
    async with crew_of(2) as crew, connected(crew, TOKENS):
        nodes = await crew.nodes()
        assert [node["worker"] for node in nodes] == [1, 2]
        assert sum(node["devices"] for node in nodes) == len(TOKENS)
        assert {node["pid"] for node in nodes} <= crew.processes().keys()
        for node in nodes:
            books = await crew.get(f"/v1/ledger?node={node['node']}")
            assert (books["node"], books["nodes"]) == (node["node"], 1)
            text = await crew.get(f"/metrics?node={node['node']}")
            assert f'trio_push_devices{{transport="sse"}} {node["devices"]}.0' in text
        assert (await crew.get("/v1/ledger?node=nobody", status=404))["status"] == 404
        assert (await crew.get("/metrics?node=nobody", status=404))["status"] == 404


async def test_devices_are_spread_over_the_workers() -> None:
    async with crew_of(3) as crew, connected(crew, [f"{n:04x}" for n in range(300)]):
        devices = [node["devices"] for node in await crew.nodes()]
        assert sum(devices) == 300
        assert max(devices) - min(devices) <= 60


async def test_who_is_full_leaves_devices_to_the_others() -> None:
    async with (
        crew_of(2, "--max-connections", "11") as crew,
        connected(crew, TOKENS[:11]),
        Peer.connected(crew.url) as late,
    ):
        assert sorted(node["devices"] for node in await crew.nodes()) == [5, 6]
        response = await late.request("GET", "/events?token=ffff")
        assert (response.status, response.headers["retry-after"]) == (503, "10")


async def test_tls_is_shared_too(tls: dict[str, Any], trust: ssl.SSLContext) -> None:
    flags = ("--tls-listen", "127.0.0.1:0", "--tls-dev", "--tls-dev-dir", tls["tls_dev_dir"])
    async with crew_of(2, *flags) as crew:
        url = next(line["url"] for line in crew.log if line.get("listener") == "tls")
        for _ in range(4):
            async with Peer.connected(url, trust=trust) as provider:
                assert (await provider.push("ff")).status == 200


async def test_a_drain_ends_all_of_them() -> None:
    async with crew_of(2) as crew, connected(crew, TOKENS) as devices:
        # for a device that is away: it lies in the private Redis, and ends with that
        await push_all(crew, ["ff"])
        crew.terminate()
        for device in devices.values():
            assert await device.events() == []
            assert device.retry_ms is not None
        assert (await crew.ended())[0] == 0
        stopped = await crew.logged("all_stopped")
        assert (stopped["accepted"], stopped["held"], stopped["lost"]) == (1, 0, 1)
        ends = [line["code"] for line in crew.log if line["event"] == "worker_ended"]
        assert ends == [0, 0]
        assert crew.processes() == {}


async def test_a_signal_to_the_whole_group_is_the_parents_affair() -> None:
    """As a terminal does with Ctrl-C, and systemd with SIGTERM."""
    async with crew_of(2) as crew, connected(crew, TOKENS) as devices:
        for pid in [*crew.processes(), crew.process.pid]:
            os.kill(pid, signal.SIGTERM)
        for pid in [*crew.processes(), crew.process.pid]:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGTERM if pid != crew.process.pid else signal.SIGWINCH)
        for device in devices.values():
            await device.events()
            assert device.retry_ms is not None
        assert (await crew.ended())[0] == 0


async def test_a_second_signal_ends_it_at_once() -> None:
    async with crew_of(2, drain="1h") as crew, connected(crew, TOKENS):
        crew.terminate()
        await crew.logged("stopping")
        crew.terminate()
        assert (await crew.ended())[0] == 0


async def test_workers_are_replaced_and_nobody_is_refused() -> None:
    async with crew_of(2) as crew, connected(crew, TOKENS[:10]) as devices:
        before = await crew.nodes()
        answers: Counter[int] = Counter()
        crew.process.send_signal(signal.SIGHUP)
        while sum(line["event"] == "worker_ended" for line in crew.log) < 2:
            async with Peer.connected(crew.url) as provider:
                answers[(await provider.push("ff")).status] += 1
            async with Peer.connected(crew.api) as user:
                response = await user.request("GET", "/healthz", connection="close")
                answers[response.status] += 1
        assert answers.keys() == {200}
        for device in devices.values():
            assert await device.events() == []
            assert device.retry_ms is not None
        after = await crew.nodes()
        assert [node["worker"] for node in after] == [1, 2]
        assert not {node["pid"] for node in before} & {node["pid"] for node in after}
        books = await crew.get("/v1/ledger")
        assert books["balanced"]
        assert books["accepted"] == answers[200] / 2
        metrics = await crew.metrics(2)
        assert f"trio_push_accepted_total {books['accepted']}.0" in metrics


async def test_devices_of_replaced_workers_are_told_what_they_missed() -> None:
    async with crew_of(2) as crew:
        seen = {}
        async with connected(crew, TOKENS[:10]) as devices:
            for _ in range(2):
                await push_all(crew, TOKENS[:10])
            for token, device in devices.items():
                seen[token] = (await device.event()).id
            crew.process.send_signal(signal.SIGHUP)
            await crew.logged_n("worker_ended", 2)
        for token in TOKENS[:10]:
            async with Peer.connected(crew.url) as device:
                await device.listen(token, last_event_id=seen[token])
                assert json.loads((await device.event()).data)["recovered"] is True
                assert (await device.event()).event == "ping"


async def test_a_worker_that_is_told_to_end_is_succeeded() -> None:
    async with crew_of(2) as crew:
        first, second = await crew.nodes()
        os.kill(first["pid"], signal.SIGTERM)
        await crew.logged_n("worker_ready", 3)
        assert (await crew.logged("worker_ended"))["code"] == 0
        assert second["pid"] in [node["pid"] for node in await crew.nodes()]


async def serve_to_its_end(*flags: str, **environ: str) -> tuple[int, str]:
    """Exit code and what it had to say, of a server that does not start."""
    command = [sys.executable, "-m", "trio_push", "serve", "--workers", "2", "--log-format", "json"]
    with trio.fail_after(PATIENCE_S):
        done = await trio.run_process(
            [*command, "--listen", "127.0.0.1:0", "--api", "off", *flags],
            cwd=ROOT,
            env={**os.environ, **environ},
            check=False,
            capture_stderr=True,
            stdin=subprocess.DEVNULL,
        )
    return done.returncode, done.stderr.decode()


async def test_settings_that_no_worker_can_use_end_it() -> None:
    flags = ("--device-auth", "jwt", "--jwt-key", "/nowhere/key.pem")
    code, said = await serve_to_its_end(*flags)
    assert code == 2, said
    assert said.splitlines()[-1].startswith("trio-push: --jwt-key")


async def test_without_redis_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    code, said = await serve_to_its_end(PATH=str(tmp_path))
    assert code == 2, said
    [line] = said.splitlines()
    assert "apt install redis-server" in line
    assert "--redis URL" in line
