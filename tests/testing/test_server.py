from __future__ import annotations

import httpx
import pytest
import trio

from trio_push.errors import ConfigError
from trio_push.testing import Delay, Fixed, Lose, NotReceived, Status, push_server
from trio_push.testing.server import PushServer


async def push(server: PushServer, token: str, *, tls: bool = False) -> httpx.Response:
    url = server.tls_url if tls else server.url
    async with httpx.AsyncClient(verify=server.ssl_context(), http2=tls) as client:
        return await client.post(f"{url}/3/device/{token}", json={"aps": {"alert": "hi"}})


@pytest.mark.parametrize("tls", [False, True])
async def test_what_was_pushed(tls: bool) -> None:
    async with push_server() as server:
        answer = await push(server, "C0FFEE", tls=tls)
        received = await server.wait_for("C0FFEE")
        assert received.id == answer.headers["apns-id"]
        assert received.json == {"aps": {"alert": "hi"}}
        assert server.received("c0ffee") == server.received() == [received]
        assert server.ledger()["accepted"] == 1
        with pytest.raises(NotReceived):
            await server.wait_for("c0ffee", 2, timeout_s=0.01)
        server.forget()
        assert server.received() == []


async def test_magic_tokens_work_at_once() -> None:
    async with push_server() as server:
        assert (await push(server, "fa170410")).status_code == 410
        server.clear_faults()
        assert (await push(server, "fa170429")).status_code == 429
        assert server.refused == {"Unregistered": 1, "TooManyRequests": 1}
        assert server.faults == {"magic-fa170410": 1, "magic-fa170429": 1}
        assert server.received() == []


async def test_faults() -> None:
    async with push_server() as server:
        with server.injected(Status(reason="Shutdown"), first=1):
            assert (await push(server, "aa")).status_code == 503
            assert (await push(server, "aa")).status_code == 200
        name = server.inject(Lose(), tokens=["AA"])
        assert (await push(server, "aa")).status_code == 200
        assert server.faults[name] == 1
        assert [each.outcome for each in server.received("aa")] == ["stored", "lost_by_fault"]
        server.clear_faults()
        server.inject(Delay(latency=Fixed(0.2)))
        began = trio.current_time()
        await push(server, "aa")
        assert trio.current_time() - began >= 0.2


async def test_scenarios() -> None:
    async with push_server() as server:
        server.apply("goaway-storm")
        with pytest.raises(httpx.RemoteProtocolError):
            await push(server, "aa", tls=True)
        with pytest.raises(ConfigError, match="there is no scenario doomsday"):
            server.apply("doomsday")


async def test_a_token_that_is_gone() -> None:
    async with push_server() as server:
        since = server.unregister("AA")
        answer = await push(server, "aa")
        assert (answer.status_code, answer.json()["timestamp"]) == (410, since)


async def test_settings() -> None:
    async with push_server(api="127.0.0.1:0", default_ttl_s=0) as server:
        assert server.api_url is not None
        await push(server, "aa")
        assert server.received()[0].outcome == "discarded"
        body = {"token": "bb", "payload": "over the API"}
        async with httpx.AsyncClient() as client:
            await client.post(f"{server.api_url}/v1/push", json=body)
        assert (await server.wait_for("bb")).payload == b"over the API"
    with pytest.raises(ConfigError):
        async with push_server(default_ttl_s=-1):
            pass
