"""intake: pushes for tokens nobody listens to, as fast as the server answers them.

`apns-expiration: 0`: now or never. Each protocol has its limit: a bare loop around the same
parsing library, which answers 200 and does nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from loadtest.bench import Plan, Subject, interleaved
from loadtest.generators import Load, h2load, h2load_missing, wrk, wrk_missing
from loadtest.measure import usage
from loadtest.peers.all import H2_INTAKE, HTTP1_INTAKE
from loadtest.peers.bare import BARE_H2, BARE_HTTP1
from loadtest.peers.ours import OURS
from loadtest.peers.peer import Peer, Server
from loadtest.report import Bound, Column, Report, Sample

_COLUMNS = (
    Column("pushes_per_s", "pushes/s"),
    Column("cpu_us", "server CPU, µs/push", 1),
    Column("ratio", "pushes/s × bare", 2),
)


@dataclass(frozen=True)
class _Protocol:
    """A way for pushes to come in."""

    name: str
    peers: Sequence[Peer]
    #: the bare loop among them
    limit: Peer
    #: sends pushes for so many seconds
    send: Callable[[Server, int], Awaitable[Load]]
    generator_missing: Callable[[], str | None]

    def subject(self, peer: Peer) -> str:
        return f"{self.name}, {peer.name}"

    def missing(self, peer: Peer) -> str | None:
        return self.generator_missing() or peer.missing()


async def _send_h2(server: Server, seconds: int) -> Load:
    assert server.h2 is not None
    return await h2load(server.h2, seconds=seconds, connections=4, streams=100)


async def _send_http1(depth: int, server: Server, seconds: int) -> Load:
    return await wrk(server.wire, seconds=seconds, connections=8, depth=depth)


_H2 = _Protocol("HTTP/2", H2_INTAKE, BARE_H2, _send_h2, h2load_missing)
_HTTP1 = _Protocol("HTTP/1.1", HTTP1_INTAKE, BARE_HTTP1, partial(_send_http1, 1), wrk_missing)
#: sixteen requests to a read: the bare loop then makes next to no system calls, and what is
#: left of it, a parser, is a limit to look at but not to be held against
_PIPELINED = _Protocol(
    "HTTP/1.1 pipelined", HTTP1_INTAKE, BARE_HTTP1, partial(_send_http1, 16), wrk_missing
)


async def run(seconds: int, plan: Plan) -> Report:
    """Push for `seconds` over each protocol."""
    protocols = (_H2, _HTTP1, _PIPELINED)
    subjects = [
        Subject(
            protocol.subject(peer),
            partial(_sample, protocol, peer, seconds),
            protocol.missing(peer),
        )
        for protocol in protocols
        for peer in protocol.peers
    ]
    measured = await interleaved(subjects, plan)
    for protocol in protocols:
        names = map(protocol.subject, protocol.peers)
        measured.set_ratios(names, protocol.subject(protocol.limit), "pushes_per_s")
    bounds = [
        Bound(
            f"{protocol.name} pushes/s, × {protocol.limit.name} loop",
            measured.figure(protocol.subject(OURS), "ratio"),
            "at least",
            limit,
            aim,
        )
        for protocol, limit, aim in ((_H2, 0.7, None), (_HTTP1, 0.4, 0.6))
    ]
    return Report("intake", {"seconds": seconds}, _COLUMNS, measured, bounds)


async def _sample(protocol: _Protocol, peer: Peer, seconds: int) -> Sample:
    async with peer.serve() as server:
        before = usage(server.child.pid)
        load = await protocol.send(server, seconds)
        cost = usage(server.child.pid) - before
    return {
        "pushes_per_s": load.pushes / load.seconds,
        "cpu_us": cost.cpu_s / load.pushes * 1e6,
    }
