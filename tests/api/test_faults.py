"""Faults on demand over the API: listed, added, removed, applied by the name of a scenario."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import Running
from trio_push.faults import SCENARIOS
from trio_push.faults.book import MAX_RULES

LOSSY = {"name": "lossy", "match": {"token_prefix": "aa"}, "action": {"kind": "lose"}}


async def names(client: httpx.AsyncClient) -> list[str]:
    page = (await client.get("/v1/faults")).json()
    return [rule["name"] for rule in page["rules"]]


async def push(client: httpx.AsyncClient, token: str) -> dict[str, int]:
    answer = await client.post("/v1/push", json={"token": token, "payload": "x"})
    return answer.json()["outcomes"]


async def test_from_the_first_to_the_last(api: Running, client: httpx.AsyncClient) -> None:
    page = (await client.get("/v1/faults")).json()
    assert page["rules"] == []
    assert {each["name"] for each in page["scenarios"]} == SCENARIOS.keys()
    added = await client.post("/v1/faults", json=LOSSY)
    assert added.status_code == 201
    assert added.json() == LOSSY | {
        "seed": 0,
        "times": 0,
        "age_s": 0.0,
        "nodes": 1,
    }
    [device] = api.connect("aabb")
    assert await push(client, "aabb") == {"lost_by_fault": 1}
    assert await push(client, "bbbb") == {"stored": 1}
    [rule] = (await client.get("/v1/faults")).json()["rules"]
    assert rule["times"] == 1
    books = (await client.get("/v1/ledger")).json()
    assert books["ended"]["lost_by_fault"] == 1
    assert books["faults"] == [{"rule": "lossy", "action": "lose", "times": 1}]
    metrics = (await client.get("/metrics")).text
    assert 'trio_push_injected_faults_total{action="lose",rule="lossy"} 1.0' in metrics
    assert (await client.delete("/v1/faults/lossy")).json() == {"removed": 1}
    assert await push(client, "aabb") == {"delivered": 1}
    assert device.events == [b"x"]


async def test_removing(client: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await client.post("/v1/faults", json=LOSSY | {"name": name})
    assert (await client.delete("/v1/faults/b")).status_code == 200
    assert await names(client) == ["a", "c"]
    missing = await client.delete("/v1/faults/b")
    assert (missing.status_code, missing.json()["detail"]) == (404, "there is no rule named b")
    assert (await client.delete("/v1/faults")).json() == {"removed": 2}
    assert await names(client) == []


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_scenario(client: httpx.AsyncClient, scenario: str) -> None:
    answer = await client.post(f"/v1/faults/scenarios/{scenario}")
    assert answer.status_code == 201
    expected = [rule.name for rule in SCENARIOS[scenario].rules]
    assert [rule["name"] for rule in answer.json()["rules"]] == expected
    assert await names(client) == expected
    again = await client.post(f"/v1/faults/scenarios/{scenario}")
    assert again.status_code == 409
    assert await names(client) == expected


async def test_an_unknown_scenario(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/faults/scenarios/doomsday")
    assert answer.status_code == 404
    assert "goaway-storm" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("rule", "detail"),
    [
        ({}, "the field 'action' is missing"),
        ({"action": {"kind": "explode"}}, "Invalid value 'explode'"),
        ({"action": {"kind": "lose"}, "name": "a/b"}, "name"),
        ({"action": {"kind": "lose"}, "match": {"share": 2}}, "<= 1"),
        ({"action": {"kind": "lose"}, "when": 1}, "there is no field 'when'"),
        ({"action": {"kind": "status", "reason": "X"}}, "no status of its own"),
    ],
)
async def test_what_makes_no_sense(
    client: httpx.AsyncClient, rule: dict[str, Any], detail: str
) -> None:
    answer = await client.post("/v1/faults", json=rule)
    assert answer.status_code == 400
    assert detail in str(answer.json()), answer.json()
    assert await names(client) == []


async def test_no_more_than_a_node_can_have(client: httpx.AsyncClient) -> None:
    rule = {"action": {"kind": "lose"}, "match": {"token_prefix": "aa"}}
    for _ in range(MAX_RULES):
        assert (await client.post("/v1/faults", json=rule)).status_code == 201
    assert (await client.post("/v1/faults", json=rule)).status_code == 409
