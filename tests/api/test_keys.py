"""The API of a server that has keys: what is open, and what is not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import Running, make_node
from trio_push.api.keys import OPEN
from trio_push.config import ServeSettings
from trio_push.node import Node

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
RIGHT = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
async def node() -> Node:
    return make_node(ServeSettings(drain_s=1.0, api_key=(KEY, OTHER)))


def requests_of(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Every method and path, with something in place of the parameters."""
    return [
        (method.upper(), path.format(token="c0ffee", id="x", name="x"))
        for path, methods in document["paths"].items()
        for method in methods
    ]


async def test_without_a_key_only_the_open_paths_answer(
    api: Running, client: httpx.AsyncClient
) -> None:
    document = (await client.get("/openapi.json")).json()
    requests = requests_of(document)
    assert len(requests) > 8
    for method, path in [*requests, ("GET", "/"), ("GET", "/docs"), ("GET", "/nowhere")]:
        answer = await client.request(method, path)
        assert (answer.status_code == 401) is (path not in OPEN), f"{method} {path}"
    assert api.node.ledger.accepted == 0
    assert api.node.ledger.refused["Unauthorized"] == len(requests) - 2 + 1


async def test_what_is_refused_says_how_to_do_better(
    api: Running, client: httpx.AsyncClient
) -> None:
    answer = await client.get("/v1/ledger")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="trio-push"'
    assert answer.json() == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "an API key is needed",
    }
    wrong = await client.get("/v1/ledger", headers={"X-API-Key": KEY[:-1]})
    assert wrong.json()["detail"] == "the API key is not one of this server's"
    assert KEY[:-1] not in wrong.text


@pytest.mark.parametrize(
    "headers",
    [
        RIGHT,
        {"Authorization": f"bearer {OTHER}"},
        {"X-API-Key": KEY},
        {"x-api-key": OTHER},
        {"Authorization": "Bearer of-a-proxy", "X-API-Key": KEY},
    ],
)
async def test_whoever_has_a_key_gets_in(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await client.get("/v1/ledger", headers=headers)).status_code == 200
    assert (await client.get("/metrics", headers=headers)).status_code == 200
    body = {"token": "aa", "payload": "x"}
    assert (await client.post("/v1/push", json=body, headers=headers)).status_code == 200
    assert (await client.get("/nowhere", headers=headers)).status_code == 404


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/v1/ledger?api_key={KEY}", {}),
        (f"/v1/ledger?access_token={KEY}", {}),
        ("/v1/ledger", {"Cookie": f"api_key={KEY}"}),
        ("/v1/ledger", {"Authorization": KEY}),
        ("/v1/ledger", {"Authorization": f"Basic {KEY}"}),
        ("/v1/ledger", {"Authorization": f"Bearer {KEY}x"}),
        ("/v1/ledger", {"Authorization": f"Bearer x{KEY}"}),
        ("/v1/ledger", {"Authorization": f"Bearer {KEY} {OTHER}"}),
        ("/v1/ledger", {"X-API-Key": f"{KEY}, {OTHER}"}),
        ("/v1/ledger", {"X-API-Key": "", "Authorization": "Bearer"}),
        ("//healthz/../v1/ledger", {}),
        ("/healthz/../v1/ledger", {}),
        ("/v1/ledger/", {}),
        ("/v1/ledger%2f", {}),
        ("/%76%31/ledger", {}),
        ("/v1/ledger?/healthz", {}),
        ("/v1/ledger;/healthz", {}),
    ],
)
async def test_no_other_way_leads_in(
    client: httpx.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    # as it is written: httpx would tidy it up
    url = client.base_url.copy_with(raw_path=path.encode())
    answer = await client.get(url, headers=headers)
    assert answer.status_code == 401


async def test_two_keys_in_two_headers(client: httpx.AsyncClient) -> None:
    headers = [("X-API-Key", KEY), ("X-API-Key", OTHER)]
    assert (await client.get("/v1/ledger", headers=headers)).status_code == 401


async def test_a_stream_of_pushes_is_refused_at_its_beginning(
    api: Running, client: httpx.AsyncClient
) -> None:
    async def lines() -> Any:
        for _ in range(10):
            yield b'{"token":"aa","payload":"x"}\n'

    headers = {"Content-Type": "application/x-ndjson"}
    answer = await client.post("/v1/pushes", content=lines(), headers=headers)
    assert answer.status_code == 401
    assert api.node.ledger.accepted == 0


async def test_the_document_says_what_to_show(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"] == {"type": "http", "scheme": "bearer"}
    assert schemes["header"] == {"type": "apiKey", "name": "X-API-Key", "in": "header"}
    assert document["security"] == [{"bearer": []}, {"header": []}]
    free = [
        path for path, ops in document["paths"].items() if ops.get("get", {}).get("security") == []
    ]
    assert free == ["/healthz", "/readyz"]


async def test_the_page_says_it_too(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "This server asks for an API key" in page
    curls = [line for line in page.splitlines() if "<pre>curl" in line]
    shown = ["Authorization: Bearer $TRIO_PUSH_API_KEY" in line for line in curls]
    assert shown.count(False) == 2
    assert KEY not in page
