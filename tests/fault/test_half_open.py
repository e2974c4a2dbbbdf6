"""A device whose network goes away without a word: in a network namespace, by pulling its cable."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.fault.network import Island, island
from tests.serving import Peer, serving, settle
from trio_push import sockets
from trio_push.push import Push, State


@pytest.fixture
def elsewhere() -> Iterator[Island]:
    with island(cables=1) as there:
        yield there


def push(token: str, payload: bytes) -> Push:
    return Push("id", token, payload, expires_at=time.time() + 3600)


@pytest.mark.parametrize("waiting", [False, True], ids=["nothing waits", "something waits"])
async def test_a_device_that_falls_silent_is_noticed(
    elsewhere: Island, monkeypatch: pytest.MonkeyPatch, waiting: bool
) -> None:
    """By what is written to it and never acknowledged, be it a keep-alive comment or a push."""
    monkeypatch.setattr(sockets, "USER_TIMEOUT_MS", 500)
    [(here, _)] = elsewhere.ends
    async with (
        serving(listen=(f"{here}:0",), no_auth=True, keepalive_s=0.25) as server,
        Peer.connected(server) as other,
        Peer.connected(server, using=elsewhere.socket()) as silent,
    ):
        submit, counts = server.node.push_channel.submit, server.node.ledger.counts
        await other.listen("bb")
        await silent.listen("aa")
        await submit([push("aa", b"before")])
        assert (await silent.event()).data == "before"

        elsewhere.cut()
        long = b"x" * 10_000_000
        if waiting:
            assert await submit([push("aa", long)]) == [State.IN_FLIGHT]
        await settle(lambda: server.node.directory.get("aa") is None)
        assert counts[State.STORED] == waiting
        assert (
            server.node.router.delivery.dismissed["too_slow"] == 0
        )  # the kernel gave it up before that
        assert await submit([push("aa", b"after"), push("bb", b"meanwhile")]) == [
            State.STORED,
            State.DELIVERED_LIVE,
        ]
        assert (await other.event()).data == "meanwhile"

        elsewhere.mend()
        async with Peer.connected(server, using=elsewhere.socket()) as returned:
            await returned.listen("aa")
            if waiting:
                assert (await returned.event()).data.encode() == long
            assert (await returned.event()).data == "after"
