"""One server and one swarm on this machine, held through all stages of `scale`.

The swarm's parent is this process; server and workers are children, each family with its own cost.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import trio

from loadtest.child import Failed
from loadtest.measure import Usage, family, usage, usage_of
from loadtest.peers import ours
from loadtest.peers.peer import Server, http_client, url
from trio_push.swarm.audit import Audit
from trio_push.swarm.books import Books, Reading, incomplete, reconcile
from trio_push.swarm.crowd import Crowd, Share
from trio_push.swarm.driver import Driver
from trio_push.swarm.lanes import lanes_of
from trio_push.swarm.limits import devices_per_process
from trio_push.swarm.parts import find_processes, make_crowd, make_driver, share_of_all
from trio_push.swarm.provider import Provider
from trio_push.swarm.run import wait_settled
from trio_push.swarm.server_ledger import ServerLedger, open_ledger
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.target import Target, look_up_server
from trio_push.watch.garbage import keep_frozen

#: the server answers a broadcast when it is done; to a million devices that takes a while
_BROADCAST_S: Final = 300
#: the kernel does not spread connections evenly over processes: each gets room for more
_SLACK: Final = 1.05


@dataclass(kw_only=True)
class World:
    """Made by `open_world`: the server is up, no device is connected."""

    settings: SwarmSettings
    server: Server
    crowd: Crowd
    audit: Audit
    ledger: ServerLedger
    #: of both families, before the first device
    empty_server: Usage
    empty_swarm: Usage
    #: pushes that the server accepted in broadcasts, which no plan of the swarm has
    broadcast_pushes: int = 0

    _target: Target
    _share: Share
    _before: Reading

    @property
    def connected(self) -> int:
        return self.crowd.connections.now

    def server_usage(self) -> Usage:
        return usage(self.server.child.pid)

    def swarm_usage(self) -> Usage:
        return _swarm_usage(self.server)

    def driver(self, rate: float) -> Driver:
        """For one stretch of targeted pushes, by APNs over HTTP/1.1."""
        lanes = lanes_of("apns", Provider(), rate)(self._target, None, self.audit)
        return make_driver(self.settings, self._share, self.audit, lanes, rate)

    async def broadcast(self) -> int:
        """One push to all who are connected; how many that were, as the server says."""
        assert self.server.api is not None
        async with http_client(_BROADCAST_S) as client:
            answer = await client.post(
                url(self.server.api, "/v1/push"), json={"broadcast": True, "payload": {"all": 1}}
            )
        answer.raise_for_status()
        pushes = sum(answer.json()["outcomes"].values())
        self.broadcast_pushes += pushes
        return int(pushes)

    async def books(self) -> Books:
        """Bring the devices to rest and compare; nothing may be pushed afterwards."""
        await self.crowd.settle()
        # what went to all is in no plan: it counts as accepted before
        before = msgspec.structs.replace(
            self._before, accepted=self._before.accepted + self.broadcast_pushes
        )
        after, received = await wait_settled(before, self.ledger, self.audit)
        return incomplete(reconcile(before, after, self.audit, received), self.crowd.losses)


@asynccontextmanager
async def open_world(
    settings: SwarmSettings, server_workers: int, keepalive_s: float
) -> AsyncIterator[World]:
    """A world for as long as the block runs; `server_workers` 0: as many as the devices need.

    Raises Failed when a worker of the swarm is lost.
    """
    fit = devices_per_process() / _SLACK
    server_workers = server_workers or math.ceil(settings.devices / fit)
    flags = [f"--keepalive={keepalive_s:g}s"]
    if server_workers > 1:
        flags.append(f"--workers={server_workers}")
    async with ours.serve(*flags) as server:
        assert server.api is not None
        target = await look_up_server(url(server.wire, ""), "--url")
        settings = replace(settings, url=target.url)
        processes = await find_processes(settings)
        audit = Audit(settings.devices)
        share = share_of_all(settings, target)
        crowd = await make_crowd(settings, processes, share, target, audit)
        async with open_ledger(target, [url(server.api, "")]) as ledger:
            before = await ledger.read()
            assert before is not None
            async with trio.open_nursery() as nursery:
                lost = trio.Event()
                await nursery.start(crowd.run, lost.set)
                nursery.start_soon(_fail_when_lost, crowd, lost)
                nursery.start_soon(keep_frozen, lambda: crowd.connections.now)
                yield World(
                    settings=settings,
                    server=server,
                    crowd=crowd,
                    audit=audit,
                    ledger=ledger,
                    empty_server=usage(server.child.pid),
                    empty_swarm=_swarm_usage(server),
                    _target=target,
                    _share=share,
                    _before=before,
                )
                nursery.cancel_scope.cancel()


def _swarm_usage(server: Server) -> Usage:
    servers = set(family(server.child.pid))
    return usage_of([pid for pid in family(os.getpid()) if pid not in servers])


async def _fail_when_lost(crowd: Crowd, lost: trio.Event) -> None:
    await lost.wait()
    raise Failed("; ".join(crowd.losses))
