from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from tests.swarm.fake_server import Handler, serving, unused_target
from trio_push.errors import ConfigError, Unreachable
from trio_push.swarm.server_ledger import open_ledger

LEDGER = {
    "node": "n1",
    "epoch": "e1",
    "accepted": 7,
    "open": {"stored": 0},
    "ended": {"delivered": 7},
    "balanced": True,
}


def pages(**bodies: Any) -> Handler:
    """Serves JSON by the last part of its path."""

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        name = request.split()[1].decode().rpartition("/")[2]
        body = bodies.get(name)
        status = "404 Not Found" if body is None else "200 OK"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        await stream.send_all(head.encode() + data)

    return handler


async def test_found_through_stats() -> None:
    async with serving(pages(ledger=LEDGER)) as api:
        stats = {"node_id": "n1", "api": api.url}
        async with serving(pages(stats=stats)) as server, open_ledger(server, ()) as ledger:
            reading = await ledger.read()
    assert ledger.api_urls == (api.url,)
    assert reading is not None
    assert reading.accepted == 7


async def test_given() -> None:
    async with (
        serving(pages(ledger=LEDGER)) as api,
        serving(pages()) as server,
        open_ledger(server, [api.url + "/"]) as ledger,
    ):
        assert await ledger.read() is not None
        assert ledger.api_urls == (api.url,)


@pytest.mark.parametrize(
    "stats", [None, b"nonsense", [], {}, {"node": {"active_connections": 1}}, {"api": None}]
)
async def test_foreign_server_has_none(stats: Any) -> None:
    """Fleet's mock answers /stats, too."""
    async with serving(pages(stats=stats)) as server, open_ledger(server, ()) as ledger:
        assert (ledger.api_urls, await ledger.read()) == ((), None)
        assert "the swarm audits its own side alone" in ledger.missing


async def test_address_that_leads_elsewhere() -> None:
    """As when the server says 127.0.0.1 and is on another machine than we."""
    async with serving(pages(ledger=LEDGER)) as other:
        stats = {"node_id": "n2", "api": other.url}
        async with serving(pages(stats=stats)) as server, open_ledger(server, ()) as ledger:
            assert await ledger.read() is None
            assert "give --api-url" in ledger.missing


async def test_given_and_wrong() -> None:
    async with serving(pages()) as server:
        with pytest.raises(ConfigError, match=f"--api-url {server.url} has no /v1/ledger"):
            async with open_ledger(server, [server.url]):
                pass
        nobody = await unused_target()
        with pytest.raises(Unreachable, match=f"--api-url {nobody.url} does not answer"):
            async with open_ledger(server, [nobody.url]):
                pass


async def test_a_server_that_goes_away() -> None:
    async with serving(pages()) as server:
        async with serving(pages(ledger=LEDGER)) as api:
            opened = open_ledger(server, [api.url])
            ledger = await opened.__aenter__()
        assert await ledger.read() is None
        await opened.__aexit__(None, None, None)


async def test_nodes_of_several_machines_are_read_together() -> None:
    other = {
        **LEDGER,
        "node": "n2",
        "accepted": 3,
        "taken_over": 2,
        "ended": {"delivered": 5, "handed_over": 0},
    }
    first = {**LEDGER, "ended": {"delivered": 5, "handed_over": 2}}
    async with (
        serving(pages(ledger=first)) as one,
        serving(pages(ledger=other)) as two,
        serving(pages()) as server,
        open_ledger(server, [one.url, two.url]) as ledger,
    ):
        reading = await ledger.read()
        assert ledger.api_urls == (one.url, two.url)
    assert reading is not None
    assert (reading.node, reading.accepted, reading.balanced) == ("n1,n2", 10, True)
    assert reading.ended == {"delivered": 10, "handed_over": 0}


async def test_a_node_that_does_not_answer_leaves_no_reading() -> None:
    async with serving(pages()) as server, serving(pages(ledger=LEDGER)) as one:
        async with serving(pages(ledger=LEDGER)) as two:
            opened = open_ledger(server, [one.url, two.url])
            ledger = await opened.__aenter__()
            assert await ledger.read() is not None
        assert await ledger.read() is None
        await opened.__aexit__(None, None, None)
