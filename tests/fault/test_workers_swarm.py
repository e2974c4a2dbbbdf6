"""Workers, their parent's Redis and their files under a swarm: its audit and the ledger agree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.fault.process import ROOT
from tests.workers.running import Crew, crew_of
from trio_push.engine.members import LEASE_S

pytestmark = pytest.mark.needs("redis-server")

#: what a swarm sends, and by what its devices hear of it
STORED = ("--via", "apns")
ACKNOWLEDGED = ("--via", "api", "--ack", "--transport", "ws")
#: seconds after which a swarm that does not end is killed
ENDS_S = 120


class Swarm:
    """A swarm that runs, and its report when it has ended."""

    def __init__(self, process: trio.Process, path: Path) -> None:
        self._process = process
        self._path = path

    async def report(self) -> dict[str, Any]:
        with trio.fail_after(ENDS_S):
            await self._process.wait()
        figures: dict[str, Any] = json.loads(self._path.read_text())
        return figures


async def start_swarm(
    nursery: trio.Nursery, crew: Crew, tmp_path: Path, *flags: str, duration_s: float
) -> Swarm:
    """It has connected its devices and pushes to them."""
    path = tmp_path / "report.json"
    command = [sys.executable, "-m", "trio_push", "swarm", "--url", crew.url]
    command += ["--devices", "60", "--ramp", "200", "--push-rate", "150", "--reconnect", "scale"]
    command += ["--duration", f"{duration_s}s", "--json", str(path), *flags]
    process = await trio.lowlevel.open_process(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )

    async def watch() -> None:
        try:
            await trio.sleep_forever()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    nursery.start_soon(watch)
    while (await crew.get("/v1/ledger"))["accepted"] < 50:
        await trio.sleep(0.1)
    return Swarm(process, path)


@pytest.mark.parametrize(
    ("fault", "flags"),
    [("kill", STORED), ("kill", ACKNOWLEDGED), ("stop", ACKNOWLEDGED), ("redis", STORED)],
    ids=["kill-stored", "kill-acknowledged", "stop-acknowledged", "redis-stored"],
)
async def test_the_books_agree(tmp_path: Path, fault: str, flags: tuple[str, ...]) -> None:
    async with crew_of(3) as crew, trio.open_nursery() as nursery:
        swarm = await start_swarm(
            nursery, crew, tmp_path, *flags, duration_s=LEASE_S + 6 if fault == "stop" else 6
        )
        victim = (await crew.nodes())[0]["pid"]
        match fault:
            case "kill":
                os.kill(victim, signal.SIGKILL)
            case "stop":
                os.kill(victim, signal.SIGSTOP)
                await trio.sleep(LEASE_S + 1)
                os.kill(victim, signal.SIGCONT)
            case "redis":
                os.kill(crew.redis(), signal.SIGKILL)
        report = await swarm.report()
        books = report["books"]
        assert books["balanced"], json.dumps(books)
        assert report["deliveries"]["lost"] == 0
        nursery.cancel_scope.cancel()
