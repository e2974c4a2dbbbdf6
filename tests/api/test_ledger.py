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
    assert (books["node"], books["epoch"], books["version"]) == (
        api.node.id,
        api.node.router.epoch,
        __version__,
    )


async def test_books_that_do_not_balance(api: Running, client: httpx.AsyncClient) -> None:
    api.node.ledger.enter(State.STORED)
    assert (await client.get("/v1/ledger")).json()["balanced"] is False
    api.node.ledger.counts[State.STORED] -= 1
    api.node.ledger.accepted -= 1
