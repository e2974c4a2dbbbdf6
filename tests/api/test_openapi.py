"""The OpenAPI document tells the truth about the API."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.api.conftest import Running
from tests.api.test_push import push


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    return (await client.get("/openapi.json")).json()


def refs(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*map(refs, value.values()))
    if isinstance(value, list):
        return set().union(*map(refs, value))
    return set()


async def test_paths(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    operations = {
        f"{method.upper()} {path}" for path, ops in document["paths"].items() for method in ops
    }
    assert operations == {
        "POST /v1/push",
        "POST /v1/pushes",
        "DELETE /v1/push/{id}",
        "GET /v1/devices",
        "GET /v1/devices/{token}",
        "PUT /v1/devices/{token}",
        "DELETE /v1/devices/{token}",
        "GET /v1/faults",
        "POST /v1/faults",
        "DELETE /v1/faults",
        "DELETE /v1/faults/{name}",
        "POST /v1/faults/scenarios/{name}",
        "GET /v1/ledger",
        "GET /v1/nodes",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = {ref.removeprefix("#/components/schemas/") for ref in refs(document)}
    assert names == document["components"]["schemas"].keys()


async def test_operations_are_described(document: dict[str, Any]) -> None:
    ids = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            ids.append(operation["operationId"])
            assert operation["summary"]
            assert operation["responses"]
            assert operation["tags"]
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            assert all(p["description"] for p in operation["parameters"])
    assert len(ids) == len(set(ids))


async def test_fields_are_described(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for shape in ("PushRequest", "PushLine", "DevicesQuery", "Problem", "Rule", "Match"):
        for name, field in schemas.get(shape, {"properties": {}})["properties"].items():
            assert field.get("description"), f"{shape}.{name}"


async def test_examples_are_taken(
    api: Running, client: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    body = document["paths"]["/v1/push"]["post"]["requestBody"]["content"]["application/json"]
    assert (await push(client, **body["example"])).status_code == 200
