"""Providers that have to show a key, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.serving import PATIENCE_S
from trio_push.config import ServeSettings
from trio_push.server import Server, open_server

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
APNS_ID = "5f2b9ad4-0c1e-4d6b-9a57-3f1d8c2b7e90"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    settings = ServeSettings(
        listen=("127.0.0.1:0",), api="off", api_key=(KEY, OTHER), apns_auth=True
    )
    async with open_server(settings) as server:
        yield server


@pytest.fixture(params=["h1", "h2"])
async def client(
    server: Server, request: pytest.FixtureRequest
) -> AsyncIterator[httpx.AsyncClient]:
    h2 = request.param == "h2"
    url = server.addresses.wire[0]
    headers = {"apns-id": APNS_ID}
    async with httpx.AsyncClient(
        base_url=url, http1=not h2, http2=h2, timeout=PATIENCE_S, headers=headers
    ) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"bearer {KEY}"},
        {"authorization": f"Bearer {OTHER}"},
        {"x-api-key": KEY},
        # a client that sends what it sends to Apple
        {"authorization": "bearer eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "x-api-key": KEY},
    ],
)
async def test_whoever_has_a_key_may_push(
    client: httpx.AsyncClient, server: Server, headers: dict[str, str]
) -> None:
    answer = await client.post("/3/device/c0ffee", content=b"{}", headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["apns-id"] == APNS_ID
    assert server.node.ledger.accepted == 1


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "MissingProviderToken"),
        ({"authorization": KEY}, "MissingProviderToken"),
        ({"authorization": f"Basic {KEY}"}, "MissingProviderToken"),
        ({"apns-topic": KEY}, "MissingProviderToken"),
        ({"authorization": f"bearer {KEY[:-1]}"}, "InvalidProviderToken"),
        ({"authorization": f"bearer {KEY}0"}, "InvalidProviderToken"),
        ({"authorization": f"bearer {KEY}{OTHER}"}, "InvalidProviderToken"),
        ({"authorization": f"bearer {KEY}", "x-api-key": OTHER[:-1]}, "InvalidProviderToken"),
    ],
)
async def test_whoever_has_none_may_not(
    client: httpx.AsyncClient, server: Server, headers: dict[str, str], reason: str
) -> None:
    answer = await client.post("/3/device/c0ffee", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()) == (403, {"reason": reason})
    assert answer.headers["apns-id"] == APNS_ID
    assert server.node.ledger.accepted == 0
    assert server.node.ledger.refused == {reason: 1}


async def test_strangers_learn_nothing_of_a_token(
    client: httpx.AsyncClient, server: Server
) -> None:
    server.node.router.unregister("c0ffee")
    answer = await client.post("/3/device/c0ffee", content=b"{}")
    assert answer.json() == {"reason": "MissingProviderToken"}


async def test_of_pushes_that_come_together_each_is_judged(server: Server) -> None:
    intake = server._front._http1._profile.connect(None, is_http2=False)

    class Request:
        method, target, body = b"POST", b"/3/device/c0ffee", b"{}"

        def __init__(self, key: str) -> None:
            self.headers = [(b"authorization", b"bearer " + key.encode())]

    answers = await intake.answer([Request(key) for key in (KEY, "wrong", OTHER, "")])
    assert [answer.status for answer in answers] == [200, 403, 200, 403]


async def test_a_key_of_the_api_alone_is_none_of_apns() -> None:
    """Fleet has no key to show; users of the API may have to all the same."""
    settings = ServeSettings(listen=("127.0.0.1:0",), api="off", api_key=(KEY,))
    async with open_server(settings) as server, httpx.AsyncClient() as client:
        url = f"{server.addresses.wire[0]}/3/device/c0ffee"
        assert (await client.post(url, content=b"{}")).status_code == 200
