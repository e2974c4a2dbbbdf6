"""No more files for a worker, no more disk under the store: under load, and both books agree."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from tests.fault.load import CALM_S, agree, loaded
from tests.fault.process import serve
from tests.serving import Peer
from tests.workers.running import Crew, connected, crew_of, until

#: what a connection and the API may have open for a moment when it is looked
SPARE = 4
CROWD = [f"ab{n:02x}" for n in range(60)]


@contextmanager
def squeezed(pid: int, limit: int, most: int) -> Iterator[None]:
    """A process may have no more than `most` of something while the block runs."""
    before, hard = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (most, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, limit, (before, hard))


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def test_the_first_request_to_the_api_opens_no_file() -> None:
    async with serve(api="127.0.0.1:0", kind=Crew) as server:
        assert isinstance(server, Crew)
        await trio.sleep(CALM_S)  # what its start had open is closed
        files = open_files(server.process.pid)
        with squeezed(server.process.pid, resource.RLIMIT_NOFILE, files + 1):
            assert (await server.get("/v1/ledger"))["balanced"]


@pytest.mark.needs("redis-server")
async def test_other_workers_take_over_from_one_that_can_open_no_more_files() -> None:
    async with crew_of(2) as crew, loaded(crew) as load:
        await trio.sleep(CALM_S)
        full, other = await crew.nodes()
        files = open_files(full["pid"])
        with squeezed(full["pid"], resource.RLIMIT_NOFILE, files + SPARE):
            async with connected(crew, CROWD):
                devices = {node["pid"]: node["devices"] for node in await crew.nodes()}
                assert devices[full["pid"]] <= full["devices"] + SPARE + len(load.tokens)
                assert devices[other["pid"]] > len(CROWD) - SPARE - len(load.tokens)
                await trio.sleep(CALM_S)
        await trio.sleep(CALM_S)
        assert (await agree(load, crew))["ended"]["lost"] == 0


@pytest.mark.needs("redis-server")
async def test_a_worker_that_is_full_leaves_the_rest_to_the_others() -> None:
    """It says so before the kernel does: 44 devices and what else it needs fit into 300 files."""
    async with crew_of(2, open_files=300) as crew, loaded(crew) as load:
        room = (await crew.logged("ready"))["devices_fit"]
        async with AsyncExitStack() as stack:
            for n in range(room - len(load.tokens) - 12):
                peer = await stack.enter_async_context(Peer.connected(crew.url))
                await peer.listen(f"ab{n:02x}")
            await trio.sleep(CALM_S)
            nodes = await crew.nodes()
            assert max(node["devices"] for node in nodes) <= room / 2
        await agree(load, crew)


@asynccontextmanager
async def storing(path: Path) -> AsyncIterator[Crew]:
    async with serve("--store", f"sqlite:{path}", api="127.0.0.1:0", kind=Crew) as server:
        assert isinstance(server, Crew)
        yield server


async def is_ready(server: Crew, status: int) -> bool:
    async with Peer.connected(server.api) as peer:
        return (await peer.request("GET", "/readyz")).status == status


async def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """What cannot be written is refused; what was promised before and after arrives."""
    path = tmp_path / "pushes.db"
    async with storing(path) as server, loaded(server) as load:
        for _ in range(2):
            await trio.sleep(2 * CALM_S)
            # no file may be written at all
            with squeezed(server.process.pid, resource.RLIMIT_FSIZE, 0):
                await until(lambda: is_ready(server, 503))
                await trio.sleep(2 * CALM_S)
            await until(lambda: is_ready(server, 200))
        await trio.sleep(2 * CALM_S)
        books = await agree(load, server)
        assert load.account.refused
        assert books["refused"]["ServiceUnavailable"] > 0
