"""Workers, their parent and their Redis are killed and stopped; what is left goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Peer
from tests.workers.running import Crew, connected, crew_of, is_alive, until

pytestmark = pytest.mark.needs("redis-server")

TOKENS = [f"{n:04x}" for n in range(60)]


async def push_some(crew: Crew, n: int) -> None:
    for _ in range(n):
        async with Peer.connected(crew.url) as provider:
            assert (await provider.push("ff")).status == 200


async def is_cut(peer: Peer) -> bool:
    """Whether the stream has ended, in whatever way; for one that is known to end."""
    await peer.events(may_be_reset=True)
    return True


async def are_there(crew: Crew, devices: Collection[str]) -> bool:
    return await crew.tokens() >= set(devices)


def still_held(books: dict[str, Any]) -> int:
    """Pushes that wait for a device, at a worker or in Redis."""
    held: int = sum(books["open"].values()) + books["ended"].pop("handed_over")
    return held


async def test_a_worker_that_is_killed_harms_its_own_devices_only() -> None:
    async with crew_of(2) as crew, connected(crew, TOKENS) as devices:
        await push_some(crew, 50)
        before = await crew.get("/v1/ledger")
        metrics = await crew.metrics(2)
        victim, survivor = await crew.nodes()
        os.kill(victim["pid"], signal.SIGKILL)
        ended = await crew.logged("worker_ended")
        assert (ended["worker"], ended["code"]) == (1, -signal.SIGKILL)
        left: set[str] = set()

        async def are_left() -> bool:
            left.clear()
            left.update(await crew.tokens())
            return len(left) == survivor["devices"]

        await until(are_left)
        for token in TOKENS:
            if token not in left:
                assert await is_cut(devices[token])
        # what the dead one had counted is still in the books, and no counter has gone back
        after = await crew.get("/v1/ledger")
        assert after["accepted"] == 50
        assert still_held(after) == still_held(before)
        assert after["ended"].items() <= before["ended"].items()
        assert (after["nodes"], after["balanced"]) == (1, True)
        assert "trio_push_accepted_total 50.0" in metrics
        metrics = await crew.metrics(1)
        assert "trio_push_accepted_total 50.0" in metrics
        assert "trio_push_worker_deaths_total 1.0" in metrics

        # the survivor's devices have noticed nothing; the others come back, to a new worker
        await crew.logged_n("worker_ready", 3)
        gone = [token for token in TOKENS if token not in left]
        async with connected(crew, gone):
            spread = [node["devices"] for node in await crew.nodes()]
            assert max(spread) - min(spread) < len(TOKENS) / 3


async def test_whoever_kills_workers_again_and_again_waits_longer_for_the_next() -> None:
    async with crew_of(2) as crew:
        for n in range(3):
            [*_, newest] = await crew.logged_n("worker_ready", 2 + n)
            os.kill(newest["pid"], signal.SIGKILL)
        await crew.logged_n("worker_ready", 5)
        assert (await crew.get("/readyz"))["status"] == "ready"
        assert (await crew.get("/v1/ledger"))["balanced"]


async def test_when_the_parent_is_killed_all_say_good_bye_and_nothing_is_left() -> None:
    async with crew_of(2) as crew, connected(crew, TOKENS) as devices:
        processes = crew.processes()
        [directory] = [
            Path(command.partition("unixsocket:")[2].strip()).parent
            for command in processes.values()
            if "unixsocket:" in command
        ]
        assert directory.is_dir()
        crew.process.kill()
        for device in devices.values():
            assert await device.events() == []
            assert device.retry_ms is not None
        await until(lambda: not any(is_alive(pid) for pid in processes))
        await until(lambda: not directory.exists())


async def test_a_stopped_worker_is_done_without_until_it_goes_on() -> None:
    async with crew_of(2) as crew, connected(crew, TOKENS) as devices:
        await push_some(crew, 20)
        stopped, other = await crew.nodes()
        os.kill(stopped["pid"], signal.SIGSTOP)
        try:
            # who comes now is taken by the other, at once or after a moment
            async with connected(crew, [f"ab{n:02x}" for n in range(20)]):
                books = await crew.get("/v1/ledger", silent=1)
                assert books["nodes"] == 2
                assert (books["accepted"], books["balanced"]) == (20, True)
                [node] = await crew.nodes(silent=1)
                assert node["node"] == other["node"]
                assert node["devices"] == other["devices"] + 20
        finally:
            os.kill(stopped["pid"], signal.SIGCONT)
        assert [node["pid"] for node in await crew.nodes()] == [stopped["pid"], other["pid"]]
        await until(lambda: are_there(crew, devices))


async def test_a_stopped_worker_does_not_hold_up_the_end() -> None:
    async with crew_of(2, drain="0s") as crew:
        [stopped, _] = await crew.nodes()
        os.kill(stopped["pid"], signal.SIGSTOP)
        crew.terminate()
        assert (await crew.ended())[0] == 0
        assert (await crew.logged("worker_killed"))["worker"] == 1


async def test_a_private_redis_that_is_killed_is_started_again() -> None:
    async with crew_of(2) as crew:
        first = crew.redis()
        os.kill(first, signal.SIGKILL)
        await crew.logged("redis_ended")
        await until(lambda: any("redis-server" in each for each in crew.processes().values()))
        assert crew.redis() != first

        async def is_whole_again() -> bool:
            async with Peer.connected(crew.url) as provider:
                return (await provider.push("ff")).status == 200

        await until(is_whole_again)


async def test_a_fork_server_that_is_killed_is_replaced_and_the_workers_live_on() -> None:
    async with crew_of(2) as crew, connected(crew, TOKENS) as devices:
        nodes = await crew.nodes()
        [fork_server] = [
            pid
            for pid, command in crew.processes().items()
            if "fork_server" in command and pid not in {node["pid"] for node in nodes}
        ]
        os.kill(fork_server, signal.SIGKILL)
        await crew.logged("fork_server_ended")
        assert [node["pid"] for node in await crew.nodes()] == [node["pid"] for node in nodes]
        await until(lambda: are_there(crew, devices))
        # and it can still replace one that dies
        os.kill(nodes[0]["pid"], signal.SIGKILL)
        await crew.logged_n("worker_ready", 3)
        assert len(await crew.nodes()) == 2
        crew.terminate()
        assert (await crew.ended())[0] == 0
        await until(lambda: not any(is_alive(node["pid"]) for node in nodes))
