from __future__ import annotations

import httpx
import pytest

from tests.api.conftest import Running
from tests.api.test_push import push


async def test_alive(api: Running, client: httpx.AsyncClient) -> None:
    for phase in ("starting", "ready", "draining"):
        api.node.phase = phase
        assert (await client.get("/healthz")).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("phase", "status"), [("starting", 503), ("ready", 200), ("draining", 503)]
)
async def test_ready(api: Running, client: httpx.AsyncClient, phase: str, status: int) -> None:
    api.node.phase = phase
    response = await client.get("/readyz")
    assert response.status_code == status
    assert response.json() == {"status": phase}


async def test_metrics(api: Running, client: httpx.AsyncClient) -> None:
    await push(client, token="aa")
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert 'trio_push_open{state="stored"} 1.0' in response.text


async def test_a_connection_that_fails_is_counted(
    api: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("trio_push.api.transport.Connection._read_data", broken)
    async with httpx.AsyncClient(base_url=api.url) as victim:
        with pytest.raises(httpx.RemoteProtocolError):
            await victim.get("/healthz")
    monkeypatch.undo()
    response = await client.get("/metrics")
    assert 'trio_push_faults_total{listener="api"} 1.0' in response.text
