from __future__ import annotations
import httpx
from tests.api.conftest import Running


async def test_one(api: Running, client: httpx.AsyncClient) -> None:
    api.node.connect("aa")
    r = await client.post("/v1/push", json={"token": "AA", "payload": {"a": 1}})
    print(r.status_code, r.headers, r.text)
    r = await client.get("/v1/ledger")
    print(r.text)
    for p in [
        "/",
        "/docs",
        "/openapi.json",
        "/metrics",
        "/healthz",
        "/readyz",
        "/v1/devices",
        "/nix",
        "/v1/devices/aa",
    ]:
        r = await client.get(p)
        print(p, r.status_code, r.headers["content-type"], r.text[:3000])
    assert 0
