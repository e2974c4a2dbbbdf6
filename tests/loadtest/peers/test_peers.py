"""Every peer holds devices, sends one event to all of them and one to a single one."""

from __future__ import annotations

import pytest
import trio

from loadtest import h2load
from loadtest.clients import token_of
from loadtest.crowd import connected
from loadtest.peers.all import DEVICE_PLANE, H2_INTAKE, HTTP1_INTAKE
from loadtest.peers.bare import BARE_SSE, BARE_WS
from loadtest.peers.go import GO, GO_HIJACKED
from loadtest.peers.nginx import NGINX
from loadtest.peers.ours import OURS, OURS_WS
from loadtest.peers.peer import Peer, post
from loadtest.peers.quart import QUART
from loadtest.peers.websocket import TRIO_WEBSOCKET, WEBSOCKETS
from tests.serving import PATIENCE_S

needs_go = pytest.mark.needs("go")
needs_nchan = pytest.mark.needs("nginx", "nchan")
PEERS = [
    pytest.param(OURS, id="ours"),
    pytest.param(BARE_SSE, id="bare"),
    pytest.param(GO, id="go", marks=needs_go),
    pytest.param(GO_HIJACKED, id="go-hijacked", marks=needs_go),
    pytest.param(NGINX, id="nginx", marks=needs_nchan),
    pytest.param(QUART, id="quart"),
    pytest.param(OURS_WS, id="ours-ws"),
    pytest.param(BARE_WS, id="bare-ws"),
]
HOLDERS = [
    *PEERS,
    pytest.param(TRIO_WEBSOCKET, id="trio-websocket"),
    pytest.param(WEBSOCKETS, id="websockets"),
]
DEVICES = 5


@pytest.mark.parametrize("peer", HOLDERS)
async def test_an_event_to_all(peer):
    with trio.fail_after(PATIENCE_S):
        async with (
            peer.serve() as server,
            connected(server.wire, peer.broadcast_path, DEVICES, peer.transport) as crowd,
        ):
            for number in (1, 2):
                await crowd.expect(number * DEVICES)
                await server.broadcast("hello")
                received = await crowd.received()
    assert received.bytes >= 2 * DEVICES * len("hello")


@pytest.mark.parametrize("peer", PEERS)
async def test_a_push_to_one(peer):
    with trio.fail_after(PATIENCE_S):
        async with (
            peer.serve() as server,
            connected(server.wire, peer.events_path, DEVICES, peer.transport) as crowd,
        ):
            await crowd.expect(2)
            for device in (0, DEVICES - 1):
                path = f"/3/device/{token_of(device)}"
                await post(server.wire, path, b'{"mdm":"x"}', "application/json")
            await crowd.received()


@pytest.mark.needs("h2load")
@pytest.mark.parametrize("peer", PEERS[:6])
async def test_the_load_generator_is_content(peer):
    with trio.fail_after(PATIENCE_S):
        if peer in HTTP1_INTAKE:
            await some_are_answered(peer, h2load.http1, "wire")
        if peer in H2_INTAKE:
            await some_are_answered(peer, h2load.h2, "h2")


async def some_are_answered(peer: Peer, load, listener: str) -> None:
    """In a second, or in as many as it takes on a busy machine."""
    pushes, seconds = 0, 1
    while pushes <= 10:
        # anew each time: what a slow one has still to do would hold up what comes next
        async with peer.serve() as server:
            pushes = (await load(getattr(server, listener), seconds)).pushes
        seconds *= 4


def test_a_crowd_is_no_larger_than_the_peer_can_be_expected_to_hold():
    peer = Peer("small", BARE_SSE.serve, most_devices=10)
    assert [peer.crowd(5), peer.crowd(50), BARE_SSE.crowd(50)] == [5, 10, 50]


def test_names_tell_peers_apart():
    for peers in (*DEVICE_PLANE.values(), H2_INTAKE, HTTP1_INTAKE):
        assert len({peer.name for peer in peers}) == len(peers)
