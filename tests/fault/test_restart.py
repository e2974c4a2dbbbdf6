"""A server with a durable store that is stopped and started, as whoever runs it sees it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from tests.fault.process import ROOT, Serve, serve
from tests.serving import PATIENCE_S
from trio_push.wire.sse_parser import EventStreamParser


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'pushes.db'}"


async def connect(server: Serve) -> trio.SocketStream:
    url = urlsplit(server.url)
    return await trio.open_tcp_stream(str(url.hostname), int(url.port or 0))


async def push(server: Serve) -> None:
    async with await connect(server) as stream:
        await stream.send_all(
            b"POST /3/device/aa HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"apns-push-type: mdm\r\napns-topic: t\r\nContent-Length: 4\r\n\r\nkept"
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


async def first_event(server: Serve) -> str:
    async with await connect(server) as stream:
        await stream.send_all(b"GET /events?token=aa HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        with trio.fail_after(PATIENCE_S):
            while True:
                data += await stream.receive_some()
                events = EventStreamParser().feed(data.partition(b"\r\n\r\n")[2])
                if events:
                    return events[0].data


def refused(store: str) -> str:
    """What the server says that does not start."""
    command = [sys.executable, "-m", "trio_push", "serve", "--listen", "127.0.0.1:0"]
    ended = subprocess.run(
        [*command, "--api", "off", "--store", store],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 2
    return ended.stderr


async def test_stopped_and_started(store: str) -> None:
    async with serve("--store", store) as server:
        await push(server)
        server.terminate()
        stopped = await server.logged("stopped")
        assert (stopped["held"], stopped["lost"]) == (1, 0)
        assert (await server.ended())[0] == 0
    async with serve("--store", store) as server:
        assert (await server.logged("restored"))["pushes"] == 1
        assert await first_event(server) == "kept"


async def test_one_server_one_file(store: str) -> None:
    async with serve("--store", store) as server:
        why = await trio.to_thread.run_sync(refused, store)
        assert "another server has it open; stop that, or use another file" in why
        await push(server)


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    assert "its directory must exist" in refused(f"sqlite:{tmp_path}/nowhere/pushes.db")
    assert "write sqlite:FILE" in refused("sqlite:")
    assert "'redis' is no store" in refused("redis")


async def test_a_damaged_row(store: str) -> None:
    async with serve("--store", store):
        pass
    with sqlite3.connect(store.removeprefix("sqlite:")) as database:
        database.execute("INSERT INTO held VALUES (1, 'aa', 2, 'what is this')")
    database.close()
    why = await trio.to_thread.run_sync(refused, store)
    assert "its table held is damaged" in why
    assert "Traceback" not in why
