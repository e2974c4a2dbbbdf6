"""intake: pushes for tokens nobody listens to, as fast as the server answers them.

`apns-expiration: 0`: now or never. Each protocol has its limit: a bare loop around the same
parsing library, which answers 200 and does nothing else. Two workers are held against one process:
each asks Redis at which of them the device of a push is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from loadtest import h2load
from loadtest.bench import Plan, Subject, interleaved
from loadtest.child import Address
from loadtest.measure import usage
from loadtest.peers.all import H2_INTAKE, HTTP1_INTAKE
from loadtest.peers.bare import BARE_H2, BARE_HTTP1
from loadtest.peers.ours import OURS, OURS_TWICE
from loadtest.peers.peer import Peer, Server
from loadtest.peers.strict import STRICT
from loadtest.report import Bound, Column, Report, Sample

_COLUMNS = (
    Column("pushes_per_s", "pushes/s"),
    Column("cpu_us", "server CPU, µs each", 1),
    Column("ratio", "pushes/s × bare or 1", 2),
    Column("cpu_ratio", "CPU × bare or 1", 2),
)


@dataclass(frozen=True)
class _Protocol:
    """A way for pushes to come in."""

    name: str
    peers: Sequence[Peer]
    #: ours among them, and what it is held against
    ours: Peer
    bare: Peer
    #: where it is spoken
    address: Callable[[Server], Address | None]
    #: pushes for so many seconds
    load: Callable[[Address, int], Awaitable[h2load.Load]]
    #: what the ratio to the bare loop must be, and should be
    limit: float
    aim: float | None

    def subject(self, peer: Peer) -> str:
        return f"{self.name}, {peer.name}"


def _h2(it: Server) -> Address | None:
    return it.h2


def _wire(it: Server) -> Address:
    return it.wire


_BOTH = (OURS, OURS_TWICE)
_PROTOCOLS = (
    _Protocol("HTTP/2", H2_INTAKE, OURS, BARE_H2, _h2, h2load.h2, 0.7, None),
    _Protocol("HTTP/1.1", HTTP1_INTAKE, OURS, BARE_HTTP1, _wire, h2load.http1, 0.4, 0.6),
    _Protocol("32 × HTTP/2", _BOTH, OURS_TWICE, OURS, _h2, h2load.h2_many, 1.2, 1.5),
)

#: with all of Apple's rules, and a provider token that was seen before
_STRICT = (
    _Protocol("HTTP/2", (STRICT, BARE_H2), STRICT, BARE_H2, _h2, h2load.h2_strict, 0.6, None),
)


async def run(seconds: int, profile: str, plan: Plan) -> Report:
    """Push for `seconds` over each protocol; `profile` is `mdm` or `strict`."""
    protocols = _STRICT if profile == "strict" else _PROTOCOLS
    measured = await interleaved(
        [
            Subject(
                protocol.subject(peer),
                partial(_sample, protocol, peer, seconds),
                h2load.missing() or peer.missing(),
            )
            for protocol in protocols
            for peer in protocol.peers
        ],
        plan,
    )
    for protocol in protocols:
        names = [protocol.subject(peer) for peer in protocol.peers]
        bare = protocol.subject(protocol.bare)
        measured.set_ratios(names, bare, "pushes_per_s")
        measured.set_ratios(names, bare, "cpu_us", name="cpu_ratio")
    bounds = [
        Bound(
            f"{protocol.name} pushes/s of {protocol.ours.name}, × {protocol.bare.name}",
            measured.figure(protocol.subject(protocol.ours), "ratio"),
            "at least",
            protocol.limit,
            protocol.aim,
        )
        for protocol in protocols
    ]
    return Report("intake", {"seconds": seconds, "profile": profile}, _COLUMNS, measured, bounds)


async def _sample(protocol: _Protocol, peer: Peer, seconds: int) -> Sample:
    async with peer.serve() as server:
        address = protocol.address(server)
        assert address is not None
        before = usage(server.child.pid)
        load = await protocol.load(address, seconds)
        cost = usage(server.child.pid) - before
    return {
        "pushes_per_s": load.pushes / load.seconds,
        "cpu_us": cost.cpu_s / load.pushes * 1e6,
    }
