from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.api.conftest import Running
from tests.api.test_push import assert_problem, push

CONNECTED = {
    "connected": True,
    "connected_at": 0.0,
    "transport": "sse",
    "remote": "",
    "queued": 0,
}


async def test_pages(api: Running, client: httpx.AsyncClient) -> None:
    tokens = [f"{n:04x}" for n in range(25)]
    api.connect(*reversed(tokens))
    seen: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        query = {"limit": 10, **({"after": page["next"]} if page["next"] else {})}
        page = (await client.get("/v1/devices", params=query)).json()
        assert page["total"] == 25
        seen += [device["token"] for device in page["devices"]]
    assert seen == tokens
    assert page["devices"][0] == {"token": tokens[20], **CONNECTED}


async def test_nobody(client: httpx.AsyncClient) -> None:
    page = (await client.get("/v1/devices")).json()
    assert page == {"total": 0, "devices": [], "next": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("page=2", "page")],
)
async def test_bad_query(client: httpx.AsyncClient, query: str, field: str) -> None:
    assert_problem(await client.get(f"/v1/devices?{query}"), 400, field=field)


async def test_one(api: Running, client: httpx.AsyncClient) -> None:
    api.connect("aa")
    await push(client, token="aa", delay_s=60)
    device = (await client.get("/v1/devices/AA")).json()
    assert device == {"token": "aa", **CONNECTED, "stored": 0, "delayed": 1}


async def test_one_that_is_not_there(api: Running, client: httpx.AsyncClient) -> None:
    await push(client, token="aa")
    device = (await client.get("/v1/devices/aa")).json()
    assert device == {
        "token": "aa",
        "connected": False,
        "queued": 0,
        "stored": 1,
        "delayed": 0,
    }


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_bad_token(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/v1/devices/xyz")
    assert_problem(response, 400, reason="BadDeviceToken")


async def test_unregistered_and_registered_again(api: Running, client: httpx.AsyncClient) -> None:
    [device] = api.connect("aa")
    gone = (await client.delete("/v1/devices/AA")).json()
    assert gone["token"] == "aa"
    assert abs(gone["timestamp"] / 1000 - time.time()) < 60
    assert device.closed
    assert (await client.delete("/v1/devices/aa")).json() == gone
    assert_problem(await push(client, token="aa"), 410, timestamp=gone["timestamp"])
    assert_problem(await client.get("/v1/devices/aa"), 410, reason="Unregistered")
    assert (await client.put("/v1/devices/aa")).json()["connected"] is False
    assert (await push(client, token="aa")).status_code == 200
