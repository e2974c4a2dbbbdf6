"""The server and the swarm as processes, as a user has them: does the report say all is well?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.fault.process import ROOT, serve
from tests.serving import PATIENCE_S


async def swarm(url: str, report: Path, *flags: str) -> dict[str, Any]:
    """What a swarm reports that has ended with exit code 0."""
    command = [sys.executable, "-m", "trio_push", "swarm", "--url", url, "--json", str(report)]
    with trio.fail_after(PATIENCE_S):
        ended = await trio.run_process(
            [*command, *flags],
            cwd=ROOT,
            check=False,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
        )
    assert ended.returncode == 0, ended.stdout.decode()
    figures: dict[str, Any] = json.loads(await trio.Path(report).read_bytes())
    return figures


@pytest.mark.parametrize("via", ["apns", "apns-h2", "api"])
async def test_every_push_arrives(transport: str, via: str, tmp_path: Path) -> None:
    async with serve(api="127.0.0.1:0") as server:
        report = await swarm(
            server.url,
            tmp_path / "report.json",
            *("--transport", transport, "--via", via, "--devices", "200", "--ramp", "1000"),
            *("--push-rate", "500", "--duration", "1s"),
        )
    assert report["devices"]["connected"] == 200
    assert report["pushes"]["accepted"] == 500
    assert report["deliveries"]["received"] == report["pushes"]["accepted"]
    assert (report["deliveries"]["lost"], report["deliveries"]["duplicate"]) == (0, 0)
    assert report["books"]["balanced"] is True


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_restless_crowd_loses_nothing(transport: str, store: str, tmp_path: Path) -> None:
    """Devices drop, leave, dawdle and come back, and resume where they were."""
    where = "memory" if store == "memory" else f"sqlite:{tmp_path / 'pushes.db'}"
    acks = ["--ack"] if transport == "ws" else []
    async with serve("--store", where, api="127.0.0.1:0") as server:
        report = await swarm(
            server.url,
            tmp_path / "report.json",
            *("--transport", transport, "--via", "api", "--devices", "100", "--ramp", "1000"),
            *("--push-rate", "400", "--duration", "3s", "--reconnect", "scale", *acks),
            *("--churn", "20", "--storm", "0.5s", "--storm-share", "0.5"),
        )
    # who has left just then is not dropped
    assert 0 < report["devices"]["dropped"] <= 50
    assert report["devices"]["back"] == report["devices"]["dropped"]
    assert report["devices"]["resumes"] > 50
    assert report["devices"]["not_recovered"] == 0
    assert report["deliveries"]["lost"] == 0
    assert report["deliveries"]["received"] == report["pushes"]["accepted"]
    if acks:
        # what a device had, and dropped before its word was out, comes again
        assert report["deliveries"]["acknowledged"] >= report["pushes"]["accepted"]
    else:
        assert report["deliveries"]["duplicate"] == 0
    assert report["books"]["balanced"] is True
