from __future__ import annotations

import os

import httpx

from tests.api.conftest import Running
from tests.api.test_push import push


async def test_one_that_is_alone(api: Running, client: httpx.AsyncClient) -> None:
    api.connect("aa", "bb")
    await push(client, tokens=["aa", "cc"])
    answer = (await client.get("/v1/nodes")).json()
    [node] = answer["nodes"]
    assert node["memory_bytes"] > 2**20
    assert node["fit"] > 0
    del node["memory_bytes"], node["fit"]
    assert node == {
        "node": api.node.id,
        "worker": 0,
        "pid": os.getpid(),
        "phase": "ready",
        "devices": 2,
        "accepted": 2,
        "open": 1,
    }
    assert answer["silent"] == 0


async def test_it_can_be_asked_for_by_its_id(api: Running, client: httpx.AsyncClient) -> None:
    await push(client, token="aa")
    own = {"node": api.node.id}
    for path in ("/v1/ledger", "/metrics"):
        assert (await client.get(path, params=own)).status_code == 200
        assert (await client.get(path, params={"node": "other"})).status_code == 404
    by_id = (await client.get("/v1/ledger", params=own)).json()
    assert by_id == (await client.get("/v1/ledger")).json()
    assert (by_id["nodes"], by_id["silent"]) == (1, 0)
