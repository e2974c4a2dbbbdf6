"""A device whose network goes away without a word: in a network namespace, by pulling its cable."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.serving import Peer, serving, settle
from trio_push import sockets
from trio_push.push import Push, State

CLONE_NEWNET = 0x40000000  # <linux/sched.h>
#: others may run these tests at the same time on this machine
NET = f"10.213.{os.getpid() % 256}"
HERE, THERE = f"{NET}.1", f"{NET}.2"


class Elsewhere:
    """A network namespace, joined to ours by one cable."""

    def __init__(self) -> None:
        self.name = f"tp{os.getpid()}"

    def make(self) -> None:
        name = self.name
        ip(f"netns add {name}")
        ip(f"link add {name}h type veth peer name {name}t netns {name}")
        ip(f"addr add {HERE}/30 dev {name}h")
        ip(f"-n {name} addr add {THERE}/30 dev {name}t")
        ip(f"link set {name}h up")
        self.plug_in()

    def remove(self) -> None:
        with suppress(OSError, subprocess.CalledProcessError):
            ip(f"netns del {self.name}")

    def plug_in(self) -> None:
        ip(f"-n {self.name} link set {self.name}t up")

    def pull_out(self) -> None:
        ip(f"-n {self.name} link set {self.name}t down")

    def socket(self) -> socket.socket:
        """A socket of that namespace: it gets the one that the making thread is in."""
        made = []

        def make() -> None:
            with Path(f"/run/netns/{self.name}").open() as namespace:
                assert ctypes.CDLL(None).setns(namespace.fileno(), CLONE_NEWNET) == 0
                made.append(socket.socket())

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, capture_output=True)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    namespace = Elsewhere()
    try:
        try:
            namespace.make()
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs iproute2, and the right to make network namespaces")
        yield namespace
    finally:
        namespace.remove()


def push(token: str, payload: bytes) -> Push:
    return Push("id", token, payload, expires_at=time.time() + 3600)


@pytest.mark.parametrize("waiting", [False, True], ids=["nothing waits", "something waits"])
async def test_a_device_that_falls_silent_is_noticed(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, waiting: bool
) -> None:
    """By what is written to it and never acknowledged, be it a keep-alive comment or a push."""
    monkeypatch.setattr(sockets, "USER_TIMEOUT_MS", 500)
    async with (
        serving(listen=(f"{HERE}:0",), no_auth=True, keepalive_s=0.25) as server,
        Peer.connected(server) as other,
        Peer.connected(server, using=elsewhere.socket()) as silent,
    ):
        submit, counts = server.node.push_channel.submit, server.node.ledger.counts
        await other.listen("bb")
        await silent.listen("aa")
        await submit([push("aa", b"before")])
        assert (await silent.event()).data == "before"

        elsewhere.pull_out()
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

        elsewhere.plug_in()
        async with Peer.connected(server, using=elsewhere.socket()) as returned:
            await returned.listen("aa")
            if waiting:
                assert (await returned.event()).data.encode() == long
            assert (await returned.event()).data == "after"
