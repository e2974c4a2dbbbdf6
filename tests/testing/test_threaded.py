from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from trio_push.errors import ConfigError
from trio_push.testing import Lose, NotReceived, Status, push_server_in_thread

PAYLOAD = {"mdm": "magic"}


def threads() -> int:
    return sum(thread.name == "push-server" for thread in threading.enumerate())


def test_without_any_loop() -> None:
    with (
        push_server_in_thread() as server,
        httpx.Client(verify=server.ssl_context(), http2=True) as client,
    ):
        for url in (server.url, server.tls_url):
            assert client.post(f"{url}/3/device/aa", json=PAYLOAD).status_code == 200
        assert server.wait_for("AA", 2).json == PAYLOAD
        assert len(server.received("aa")) == len(server.received()) == 2
        with pytest.raises(NotReceived):
            server.wait_for("bb", timeout_s=0.01)
        with server.injected(Status(reason="Shutdown")):
            assert client.post(f"{server.url}/3/device/aa", json=PAYLOAD).status_code == 503
        assert client.post(f"{server.url}/3/device/aa", json=PAYLOAD).status_code == 200
        name = server.inject(Lose(), token_prefix="bb")
        assert client.post(f"{server.url}/3/device/bb", json=PAYLOAD).status_code == 200
        assert server.faults[name] == 1
        server.clear_faults()
        server.unregister("cc")
        assert client.post(f"{server.url}/3/device/cc", json=PAYLOAD).status_code == 410
        assert server.refused == {"Shutdown": 1, "Unregistered": 1}
        server.apply("token-churn")
        server.forget()
        assert server.received() == []
        assert server.ledger()["balanced"]
    assert threads() == 0


def test_in_asyncio() -> None:
    async def main() -> None:
        with push_server_in_thread() as server:
            waiting = asyncio.create_task(asyncio.to_thread(server.wait_for, "aa"))
            async with httpx.AsyncClient() as client:
                await client.post(f"{server.url}/3/device/aa", json=PAYLOAD)
            assert (await waiting).json == PAYLOAD

    asyncio.run(main())
    assert threads() == 0


def test_the_strict_profile() -> None:
    with push_server_in_thread(apns="strict") as server:
        assert server.credentials is not None
        context = server.ssl_context()
        context.load_cert_chain(server.credentials.mdm_certificate_file)
        with httpx.Client(verify=context, http2=True) as client:
            url = f"{server.tls_url}/3/device/{'0a' * 32}"
            assert client.post(url, json=PAYLOAD).status_code == 200


def test_it_ends_with_the_block_that_fails() -> None:
    with pytest.raises(ZeroDivisionError), push_server_in_thread():
        _ = 1 / 0
    assert threads() == 0


def test_what_keeps_it_from_starting_is_raised() -> None:
    with pytest.raises(ConfigError, match="too low"), push_server_in_thread(default_ttl_s=-1):
        pass
    assert threads() == 0
