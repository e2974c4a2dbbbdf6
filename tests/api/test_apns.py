"""What the strict profile knows, through the API: shown, changed, and heeded by the next push."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import make_node, serving
from tests.api.test_push import assert_problem
from tests.auth import provider
from tests.auth.issuer import public_pem
from tests.auth.provider import APP, KEY, TEAM
from trio_push.config import ServeSettings
from trio_push.node import Node

PUBLIC = public_pem(provider.private_key(KEY)).decode()


@pytest.fixture
async def node() -> Node:
    return make_node(ServeSettings(apns="strict", drain_s=1.0))


async def test_nothing_is_known_at_first(client: httpx.AsyncClient) -> None:
    known = {"environment": "production", "keys": [], "teams": [], "tokens": 0}
    assert (await client.get("/v1/apns")).json() == known


async def test_a_key(client: httpx.AsyncClient, node: Node) -> None:
    body = {"team_id": TEAM, "public_key": PUBLIC, "topics": [APP]}
    answer = await client.put(f"/v1/apns/keys/{KEY}", json=body)
    assert answer.status_code == 200
    record = {"key_id": KEY, **body}
    assert answer.json() == record
    assert (await client.get("/v1/apns")).json()["keys"] == [record]
    assert node.apns_registry is not None
    assert node.apns_registry.find_key(KEY) is not None
    assert (await client.delete(f"/v1/apns/keys/{KEY}")).json() == record
    assert node.apns_registry.find_key(KEY) is None
    assert_problem(await client.delete(f"/v1/apns/keys/{KEY}"), 404)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (f"keys/{KEY}", {"team_id": TEAM}, "public_key"),
        (f"keys/{KEY}", {"team_id": TEAM, "public_key": "PEM"}, "public_key"),
        (f"keys/{KEY}", {"team_id": "?", "public_key": PUBLIC}, "team_id"),
        ("keys/a-b", {"team_id": TEAM, "public_key": PUBLIC}, "key_id"),
        (f"keys/{KEY}", {"key_id": KEY, "team_id": TEAM, "public_key": PUBLIC}, "key_id"),
        (f"teams/{TEAM}", {}, "topics"),
        (f"teams/{TEAM}", {"topics": ["*"]}, "topics"),
        ("tokens/ab", {"environment": "sandbox"}, "environment"),
        ("tokens/ab", {"expired_at": -1}, "expired_at"),
        ("tokens/ab", {"expired_at": "now"}, "expired_at"),
    ],
)
async def test_what_is_wrong(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], field: str
) -> None:
    assert_problem(await client.put(f"/v1/apns/{path}", json=body), 400, field=field)


async def test_a_token_that_is_none(client: httpx.AsyncClient) -> None:
    for method in ("PUT", "GET", "DELETE"):
        answer = await client.request(
            method, "/v1/apns/tokens/xyz", json={} if method == "PUT" else None
        )
        assert answer.json()["reason"] == "BadDeviceToken"


async def test_a_team(client: httpx.AsyncClient) -> None:
    record = {"team_id": TEAM, "topics": [APP]}
    answer = await client.put(f"/v1/apns/teams/{TEAM}", json={"topics": [APP]})
    assert answer.json() == record
    assert (await client.get("/v1/apns")).json()["teams"] == [record]
    assert (await client.delete(f"/v1/apns/teams/{TEAM}")).json() == record
    assert_problem(await client.delete(f"/v1/apns/teams/{TEAM}"), 404)


async def test_a_device_token(client: httpx.AsyncClient) -> None:
    body = {"topics": [APP], "environment": "development", "expired_at": 1.5}
    record = {"token": "ab12", **body}
    assert (await client.put("/v1/apns/tokens/AB12", json=body)).json() == record
    assert (await client.get("/v1/apns/tokens/Ab12")).json() == record
    assert (await client.get("/v1/apns")).json()["tokens"] == 1
    assert (await client.delete("/v1/apns/tokens/ab12")).json() == record
    assert_problem(await client.get("/v1/apns/tokens/ab12"), 404)
    assert_problem(await client.delete("/v1/apns/tokens/ab12"), 404)


async def test_it_is_described(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    found = {
        f"{method.upper()} {path.removeprefix('/v1/apns')}"
        for path, operations in document["paths"].items()
        if path.startswith("/v1/apns")
        for method in operations
    }
    assert found == {
        "GET ",
        "PUT /keys/{key_id}",
        "DELETE /keys/{key_id}",
        "PUT /teams/{team_id}",
        "DELETE /teams/{team_id}",
        "PUT /tokens/{token}",
        "GET /tokens/{token}",
        "DELETE /tokens/{token}",
    }
    assert "APNs" in (await client.get("/docs")).text


async def test_other_profiles_have_nothing_of_it() -> None:
    async with serving(make_node()) as api, httpx.AsyncClient(base_url=api.url) as client:
        assert_problem(await client.get("/v1/apns"), 404)
        assert "APNs" not in [
            tag["name"] for tag in (await client.get("/openapi.json")).json()["tags"]
        ]
