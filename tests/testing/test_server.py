from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from trio_push.apns import Options, ProviderToken, Request, client_context, open_client
from trio_push.errors import ConfigError
from trio_push.testing import (
    Delay,
    Fixed,
    Lose,
    NotReceived,
    ProviderCredentials,
    Status,
    push_server,
)
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


@pytest.mark.parametrize("by", ["token", "certificate", "mdm", "nothing"])
async def test_the_strict_profile_knows_its_providers(by: str) -> None:
    async with push_server(apns="strict") as server:
        made = server.credentials
        assert made is not None
        certificates = {"certificate": made.certificate_file, "mdm": made.mdm_certificate_file}
        context = client_context(ca=server.ca_file, certificate=certificates.get(by))
        token = ProviderToken.read(made.key_file, key_id=made.key_id, team_id=made.team_id)
        options = Options(context=context, authorization=token if by == "token" else None)
        is_mdm = by == "mdm"
        request = Request(
            token="0a" * 32,
            payload=b'{"mdm":"x"}' if is_mdm else b'{"aps":{"alert":"hi"}}',
            topic=made.mdm_topic if is_mdm else made.topic,
            push_type="mdm" if is_mdm else "alert",
        )
        async with open_client(server.tls_url, options) as client:
            await client.requests.send(request)
            result = await client.results.receive()
        assert result.reason == ("MissingProviderToken" if by == "nothing" else "")
        assert len(server.received()) == (by != "nothing")


async def test_credentials_of_its_own(tmp_path: Path) -> None:
    """A test that brings them is not given others."""
    made = ProviderCredentials.make(tmp_path)
    async with push_server(apns="strict", apns_credentials=made.server_file) as server:
        assert server.credentials is None


@pytest.mark.parametrize(
    ("action", "match", "problem"),
    [
        (Status(reason="Shutdown"), {"share": 7}, "<= 1.0"),
        (Status(reason="Shutdown"), {"token": "aa"}, "unknown field `token`"),
        (Status(reason="Shutdown"), {"tokens": []}, "length >= 1"),
        ("status", {}, r"Expected `object`, got `str` - at `\$.action`"),
    ],
)
async def test_faults_that_make_no_sense(action: Any, match: dict[str, Any], problem: str) -> None:
    async with push_server() as server:
        with pytest.raises(ConfigError, match=problem):
            server.inject(action, **match)
        assert (await push(server, "aa")).status_code == 200


async def test_what_a_test_raises_comes_out_as_it_is() -> None:
    with pytest.raises(NotReceived):
        async with push_server() as server:
            await server.wait_for("aa", timeout_s=0.01)
