"""The governor at work: the provider client against a slow host, looked at while the load changes.

Used by the scenario provider, for its plot.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Final

import trio

from loadtest.child import running
from loadtest.peers.peer import url
from loadtest.plot import Curve, Panel, Stretch, svg
from trio_push.apns import Client, Exponential, Options, Request, Scaling, Statistics, open_client

_LATENCY_S: Final = 0.1
_STREAMS: Final = 20
SCALING: Final = Scaling(law=Exponential(2), least=1, most=16, sustain_s=1, settle_s=2, idle_s=4)
_SAMPLE_S: Final = 0.2


@dataclass(frozen=True)
class Phase:
    """What is asked of the client for a while."""

    name: str
    seconds: float
    #: pushes in a second that somebody wants to send
    offered_per_s: float
    #: results in a second that somebody takes
    taken_per_s: float = float("inf")


PHASES: Final = (
    Phase("quiet", 5, 50),
    Phase("rush", 20, 1400),
    Phase("slow consumer", 8, 1400, taken_per_s=100),
    Phase("quiet", 30, 50),
)


#: connections that the rush needs: one takes _STREAMS pushes in each _LATENCY_S
NEEDED: Final = math.ceil(max(phase.offered_per_s for phase in PHASES) * _LATENCY_S / _STREAMS)


@dataclass(frozen=True)
class Governed:
    """What was seen, every _SAMPLE_S."""

    times_s: list[float]
    seen: list[Statistics]

    @property
    def most(self) -> int:
        return max(each.connections for each in self.seen)

    @property
    def last(self) -> int:
        return self.seen[-1].connections

    def svg(self) -> str:
        began, stretches = 0.0, []
        for phase in PHASES:
            stretches.append(Stretch(phase.name, began, began + phase.seconds))
            began += phase.seconds
        return svg(
            f"The provider client against a host with {_LATENCY_S * 1000:g} ms latency "
            f"and {_STREAMS} streams on a connection",
            self.times_s,
            [
                Panel(
                    "connections",
                    [
                        Curve("open", [each.connections for each in self.seen]),
                        Curve("finishing", [each.retiring for each in self.seen]),
                    ],
                ),
                Panel("pushes in a second", [Curve("accepted", self._rates("accepted"))]),
                Panel(
                    "share of the time that …",
                    [
                        Curve("input waits", self._shares("input_waited_s")),
                        Curve("output waits", self._shares("output_waited_s")),
                    ],
                ),
            ],
            stretches,
        )

    def _rates(self, field: str) -> list[float]:
        """How a count grew from sample to sample, in a second."""
        values = [getattr(each, field) for each in self.seen]
        steps = zip(values, values[1:], self.times_s, self.times_s[1:], strict=False)
        return [0.0] + [max(0.0, (b - a) / (until - since)) for a, b, since, until in steps]

    def _shares(self, field: str) -> list[float]:
        # a sample that was taken late may see a little more than all of its time
        return [min(1.0, rate) for rate in self._rates(field)]


async def watch_governor() -> Governed:
    """Run all phases."""
    governed = Governed([], [])
    command = [sys.executable, "-m", "loadtest.bare.slow_h2", str(_LATENCY_S), str(_STREAMS)]
    async with running(command) as child:
        host = url(await child.listening("wire"), "")
        async with (
            open_client(host, Options(scaling=SCALING)) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_sample, client, governed)
            phases = _Phases()
            nursery.start_soon(_take, client, phases)
            await _offer(client, phases)
            nursery.cancel_scope.cancel()
    return governed


class _Phases:
    """Which one it is now."""

    def __init__(self) -> None:
        self.now = PHASES[0]


async def _offer(client: Client, phases: _Phases) -> None:
    """Want to send at the rate of each phase; what could not be sent is not made up for."""
    number = 0
    for phase in PHASES:
        phases.now = phase
        due = trio.current_time()
        end = due + phase.seconds
        while due < end:
            number += 1
            with trio.move_on_at(end):
                await client.requests.send(Request(token=f"{number:064x}", payload=b"{}"))
            due = max(due + 1 / phase.offered_per_s, trio.current_time() - _SAMPLE_S)
            await trio.sleep_until(min(due, end))


async def _take(client: Client, phases: _Phases) -> None:
    async for _ in client.results:
        if phases.now.taken_per_s < float("inf"):
            await trio.sleep(1 / phases.now.taken_per_s)


async def _sample(client: Client, governed: Governed) -> None:
    began = trio.current_time()
    while True:
        governed.times_s.append(trio.current_time() - began)
        governed.seen.append(client.statistics())
        await trio.sleep(_SAMPLE_S)
