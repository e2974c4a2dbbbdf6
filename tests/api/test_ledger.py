from __future__ import annotations

import httpx

from tests.api.conftest import Running
from tests.api.test_push import push
from trio_push import __version__
from trio_push.push import State


async def test_books(api: Running, client: httpx.AsyncClient) -> None:
    await push(client, tokens=["aa", "xyz"])
    books = (await client.get("/v1/ledger")).json()
    assert books["accepted"] == 1
    assert books["open"]["stored"] == 1
    assert books["refused"] == {"BadDeviceToken": 1}
    assert books["balanced"] is True
    assert (books["node"], books["epoch"], books["version"]) == ("n0de", "e90c", __version__)


async def test_books_that_do_not_balance(api: Running, client: httpx.AsyncClient) -> None:
    api.node.ledger.enter(State.STORED)
    assert (await client.get("/v1/ledger")).json()["balanced"] is False
