"""`serve --workers N` as it is run, and what its processes are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from tests.fault.process import PATIENCE_S, Serve, serve
from tests.serving import Peer, Response


class Crew(Serve):
    """The running parent, and its descendants."""

    async def get(self, path: str, *, status: int = 200, silent: int = 0) -> Any:
        """What the API answers on a connection of its own, and so from any worker.

        On a busy machine a worker may be too late with its part: it is asked for again, until
        so many are `silent` as should be, and until one that was named is there.
        """
        answer: Any = None

        async def is_whole() -> bool:
            nonlocal answer
            response = await self._ask(path)
            if response.status in (404, 503) and response.status != status:
                return False
            answer = read(response, status)
            return not isinstance(answer, dict) or answer.get("silent", silent) == silent

        await until(is_whole)
        return answer

    async def _ask(self, path: str) -> Response:
        async with Peer.connected(self.api) as peer:
            return await peer.request("GET", path, connection="close")

    async def nodes(self, *, silent: int = 0) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = (await self.get("/v1/nodes", silent=silent))["nodes"]
        return nodes

    async def metrics(self, nodes: int) -> str:
        """Those of so many workers; who is late with its part is not in them."""
        text = ""

        async def is_whole() -> bool:
            nonlocal text
            text = read(await self._ask("/metrics"))
            return f"trio_push_nodes {nodes}.0" in text

        await until(is_whole)
        return text

    async def tokens(self) -> set[str]:
        """Whose devices are connected, to any worker."""
        page = await self.get("/v1/devices?limit=1000")
        return {device["token"] for device in page["devices"]}

    async def logged_n(self, event: str, n: int) -> list[dict[str, Any]]:
        """The first `n` lines about that event, as soon as they are there."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found[:] = [line for line in self.log if line["event"] == event]
            return len(found) >= n

        await until(enough)
        return found

    def processes(self) -> dict[int, str]:
        """Living descendants: pid → command."""
        return descendants(self.process.pid)

    def redis(self) -> int:
        [pid] = [pid for pid, command in self.processes().items() if "redis-server" in command]
        return pid


def read(response: Response, status: int = 200) -> Any:
    assert response.status == status, response
    if "json" in response.headers["content-type"]:
        return json.loads(response.body)
    return response.body.decode()


@asynccontextmanager
async def crew_of(
    workers: int, *flags: str, drain: str = "1s", **options: Any
) -> AsyncIterator[Crew]:
    """So many workers, which are all there; at the end none of their processes is."""
    options = {"api": "127.0.0.1:0", **options}
    processes: dict[int, str] = {}
    try:
        async with serve(
            "--workers", str(workers), "--drain", drain, *flags, kind=Crew, **options
        ) as crew:
            assert isinstance(crew, Crew)
            processes = crew.processes()
            yield crew
            processes |= crew.processes()
    finally:
        with trio.CancelScope(shield=True):
            await until(lambda: not any(is_alive(pid) for pid in processes))


async def until(done: Any) -> None:
    """Until `done()`, or `await done()`, is true of the world outside."""
    with trio.fail_after(PATIENCE_S):
        while True:
            result = done()
            if hasattr(result, "__await__"):
                result = await result
            if result:
                return
            await trio.sleep(0.05)


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return state(pid) != "Z"
    return False


def state(pid: int) -> str:
    """R, S, T (stopped), Z … of proc(5). Raises OSError when there is no such process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def descendants(pid: int) -> dict[int, str]:
    found: dict[int, str] = {}
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                found |= {child: command, **descendants(child)}
    return found


@asynccontextmanager
async def connected(crew: Crew, tokens: list[str]) -> AsyncIterator[dict[str, Peer]]:
    """A device for each token; all of them have come in."""
    async with AsyncExitStack() as stack:
        devices = {}
        for token in tokens:
            peer = await stack.enter_async_context(Peer.connected(crew.url))
            await peer.listen(token)
            devices[token] = peer

        async def are_in() -> bool:
            return await crew.tokens() >= devices.keys()

        await until(are_in)
        yield devices
