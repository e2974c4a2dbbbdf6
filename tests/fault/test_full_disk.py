"""A full disk, as providers, users of the API and devices see it, and what they see after."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from tests.fakes import FakeDevice
from tests.serving import PATIENCE_S
from trio_push.config import ServeSettings
from trio_push.mailbox.sqlite import SqliteJournal
from trio_push.push import State
from trio_push.server import Server, open_server


class Sight:
    """A server and its clients."""

    def __init__(self, server: Server, client: httpx.AsyncClient) -> None:
        self.node = server.node
        self.client = client
        self.wire = server.addresses.wire[0]
        self.api = str(server.addresses.api)
        assert isinstance(server.node.journal, SqliteJournal)
        self._database = server.node.journal._file._db

    def fill_disk(self) -> None:
        [[pages]] = self._database.execute("PRAGMA page_count").fetchall()
        self._database.execute(f"PRAGMA max_page_count = {pages}")

    def make_room(self) -> None:
        self._database.execute("PRAGMA max_page_count = 1000000")

    async def push(self, topic: str, token: str = "aa") -> httpx.Response:
        headers = {
            "apns-push-type": "mdm",
            "apns-topic": topic,
            "apns-expiration": "4000000000",
        }
        url = f"{self.wire}/3/device/{token}"
        return await self.client.post(url, content=b"x" * 4000, headers=headers)

    async def order(self, **order: object) -> httpx.Response:
        return await self.client.post(f"{self.api}/v1/push", json={"payload": "x" * 4000} | order)

    async def readiness(self) -> tuple[int, str]:
        answer = await self.client.get(f"{self.api}/readyz")
        return answer.status_code, answer.json()["status"]

    async def recovered(self) -> None:
        with trio.fail_after(PATIENCE_S):
            while self.node.journal.failure is not None:
                await trio.sleep(0.05)


@asynccontextmanager
async def sight(path: Path) -> AsyncIterator[Sight]:
    settings = ServeSettings(
        listen=("127.0.0.1:0",), api="127.0.0.1:0", store=f"sqlite:{path}", drain_s=1
    )
    async with (
        open_server(settings) as server,
        httpx.AsyncClient(timeout=PATIENCE_S) as client,
    ):
        yield Sight(server, client)
        books = server.node.ledger.snapshot(server.node.router.held())
        assert books["balanced"], books


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pushes.db"


async def test_a_provider_is_refused_until_there_is_room(path: Path) -> None:
    async with sight(path) as it:
        assert (await it.push("t1")).status_code == 200
        assert await it.readiness() == (200, "ready")
        it.fill_disk()
        for topic in ("t2", "t3"):
            refused = await it.push(topic)
            assert refused.status_code == 503
            assert refused.json() == {"reason": "ServiceUnavailable"}
            assert "retry-after" in refused.headers
        assert await it.readiness() == (503, "store_failed")
        it.make_room()
        await it.recovered()
        assert await it.readiness() == (200, "ready")
        assert (await it.push("t4")).status_code == 200
    async with sight(path) as it:
        assert [push.topic for push in it.node.router.stored("aa")] == ["t1", "t4"]


async def test_live_delivery_goes_on(path: Path) -> None:
    async with sight(path) as it:
        device = FakeDevice("aa")
        it.node.router.attach(device)
        it.fill_disk()
        assert (await it.push("t1", "bb")).status_code == 503
        assert (await it.push("t2", "aa")).status_code == 200
        assert len(device.fields(b"data", b"ping")) == 1


async def test_the_first_to_notice_among_many(path: Path) -> None:
    """What was routed before it was known is refused one by one, and can be sent again."""
    async with sight(path) as it:
        it.fill_disk()
        answer = await it.order(tokens=["aa", "bb"], id="once")
        assert answer.json()["outcomes"] == {"refused": 2}
        assert {each["reason"] for each in answer.json()["results"]} == {"ServiceUnavailable"}
        assert it.node.ledger.counts[State.LOST] == 2
        it.make_room()
        await it.recovered()
        assert (await it.order(tokens=["aa", "bb"], id="twice")).json()["outcomes"] == {"stored": 2}


async def test_an_id_that_was_refused_is_free(path: Path) -> None:
    async with sight(path) as it:
        it.fill_disk()
        refused = await it.order(token="aa", id="once")
        assert (refused.status_code, refused.json()["reason"]) == (503, "ServiceUnavailable")
        it.make_room()
        await it.recovered()
        assert (await it.order(token="aa", id="once")).json()["outcomes"] == {"stored": 1}


async def test_lines_are_refused_one_by_one(path: Path) -> None:
    async with sight(path) as it:
        it.fill_disk()
        lines = [
            {"token": "aa", "payload": "x" * 4000, "id": "1"},
            {"token": "aa", "payload": "x" * 4000, "ttl_s": 0},
        ]
        answer = await it.client.post(
            f"{it.api}/v1/pushes",
            content="".join(json.dumps(line) + "\n" for line in lines),
            headers={"Content-Type": "application/x-ndjson"},
        )
        first, second = map(json.loads, answer.text.splitlines())
        assert first["error"]["reason"] == "ServiceUnavailable"
        assert second["outcome"] == "discarded"


async def test_what_is_done_through_the_api_is_told_to_be_unwritten(path: Path) -> None:
    async with sight(path) as it:
        for n in range(3):
            await it.order(token="aa", id=f"r{n}")
        # Not even the write-ahead log can be written: taking out needs less room than putting in.
        it._database.execute("PRAGMA query_only = ON")
        for method, url in (
            ("DELETE", "/v1/push/r1"),
            ("DELETE", "/v1/devices/bb"),
            ("PUT", "/v1/devices/cc"),
        ):
            answer = await it.client.request(method, it.api + url)
            assert answer.status_code == 503
            assert "done, but not written down yet" in answer.json()["detail"]
        it._database.execute("PRAGMA query_only = OFF")
        await it.recovered()
    async with sight(path) as it:
        assert [push.id for push in it.node.router.stored("aa")] == ["r0", "r2"]
        assert (await it.client.get(f"{it.api}/v1/devices/bb")).status_code == 410
