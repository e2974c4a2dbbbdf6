"""storm: most devices drop all at once, while pushes go on, and want to be back.

They come back as Fleet's devices do: after 1 s and up to half as much again, all of them. The
others are left alone, and show what a storm does to those who have nothing to do with it. They are
not the swarm's: it is busy with its own. The peers neither store nor resume, and so lose pushes;
how fast devices are back, and how the others fare, can be compared.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any, Final

import trio

from loadtest.bench import Plan, Subject, interleaved
from loadtest.calm import Calm
from loadtest.child import Address
from loadtest.measure import open_files, percentile, usage
from loadtest.peers.all import WHOLE_WAY
from loadtest.peers.ours import OURS
from loadtest.peers.peer import Peer, Server, http_client, url
from loadtest.report import Bound, Column, Report, Sample
from loadtest.swarm import swarm_report

#: devices that connect in a second at first: well below what the server can
_RAMP: Final = 1000
#: of the devices, how many are struck
_SHARE: Final = 0.9
#: quiet before the storm: each device has its first push by then, at the usual rate
_BEFORE_S: Final = 10
#: by then, 99 of 100 have to be back
_BACK_S: Final = 30
_GRACE_S: Final = 120
#: between two looks at how many devices there are
_LOOK_S: Final = 0.05
#: what was pushed last to those left alone has come by then
_LAST_S: Final = 10

_COLUMNS = (
    Column("dropped", "dropped"),
    Column("back", "back"),
    Column("back_p99_s", "99 % of them back, s", 1),
    Column("lost", "lost"),
    Column("twice", "twice"),
    Column("not_recovered", "not recovered"),
    Column("calm_before_ms", "left alone: p99 before, ms", 1),
    Column("calm_ms", "left alone: p99 meanwhile, ms", 1),
    Column("calm_max_ms", "left alone: longest, ms", 1),
    Column("cpu_percent", "server CPU, %"),
)


async def run(devices: int, rate: int, transport: str, plan: Plan) -> Report:
    """Drop most of `devices` in one moment while pushes go on, and count who is back."""
    subjects = [
        Subject(peer.name, partial(_sample, peer, devices, rate), peer.missing())
        for peer in WHOLE_WAY[transport]
        # over WebSocket the others take what a device that is back says for its end
        if transport == "sse" or peer.name == OURS.name
    ]
    measured = await interleaved(subjects, plan)
    figure = partial(measured.figure, OURS.name)
    struck = _struck(devices)
    bounds = [
        Bound("devices dropped", figure("dropped"), "at least", struck),
        Bound("devices back", figure("back"), "at least", math.ceil(0.99 * struck)),
        Bound("99 % of them back, s", figure("back_p99_s"), "at most", _BACK_S),
        Bound("resumed without all that was missed", figure("not_recovered"), "at most", 0),
        Bound("pushes lost", figure("lost"), "at most", 0),
        Bound("books balanced", figure("balanced"), "at least", 1),
    ]
    # over WebSocket pushes want to be acknowledged: they come again when the word went down
    if transport == "sse":
        bounds.append(Bound("pushes that came twice", figure("twice"), "at most", 0))
    parameters = {"devices": devices, "pushes/s": rate, "transport": transport}
    return Report("storm", parameters, _COLUMNS, measured, bounds)


def _struck(devices: int) -> int:
    return round(_SHARE * devices)


async def _sample(peer: Peer, devices: int, rate: int) -> Sample:
    struck = _struck(devices)
    async with peer.serve() as server, trio.open_nursery() as nursery:
        calm = Calm(peer, server.wire, devices - struck, rate * (1 - _SHARE))
        await nursery.start(calm.run)
        watch = _Watch(server.child.pid, struck)
        nursery.start_soon(watch.run)
        before = usage(server.child.pid)
        with trio.fail_after(devices / _RAMP + _BEFORE_S + _BACK_S + _GRACE_S):
            report = await swarm_report(_swarm_flags(peer, server, struck, rate * _SHARE))
        cost = usage(server.child.pid) - before
        calm.stop()
        with trio.move_on_after(_LAST_S):
            while not calm.complete:
                await trio.sleep(_LOOK_S)
        balanced = None if server.api is None else await _balanced(server.api, report, calm)
        nursery.cancel_scope.cancel()
    figures = {
        "dropped": report["devices"]["dropped"],
        "back": report["devices"]["back"],
        "back_p99_s": _seconds(report["back_ms"]["p99"]),
        "lost": report["deliveries"]["lost"] + calm.sent - len(calm.came),
        "twice": report["deliveries"]["duplicate"] + calm.twice,
        # a server that does not say so has not recovered anything either
        "not_recovered": report["devices"]["not_recovered"] if server.api else None,
        "cpu_percent": cost.cpu_s / cost.at_s * 100,
        "balanced": balanced,
        **_calm_figures(calm, watch),
    }
    return {metric: float(value) for metric, value in figures.items() if value is not None}


def _swarm_flags(peer: Peer, server: Server, devices: int, rate: float) -> dict[str, object]:
    flags: dict[str, object] = {
        "url": url(server.wire, ""),
        "devices": devices,
        "ramp": _RAMP,
        "duration": _BEFORE_S + _BACK_S,
        "storm": _BEFORE_S,
        "reconnect": "fleet",
        "push-rate": rate,
        "via": "apns" if server.api is None else "api",
        "path": peer.events_path,
        "transport": peer.transport,
    }
    if peer.transport == "ws":
        flags["ack"] = "yes"
    return flags


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


def _calm_figures(calm: Calm, watch: _Watch) -> dict[str, float]:
    before, meanwhile = calm.took_s(0, watch.began), calm.took_s(watch.began, watch.over)
    figures = {}
    if before and meanwhile:
        figures["calm_before_ms"] = percentile(before, 0.99) * 1e3
        figures["calm_ms"] = percentile(meanwhile, 0.99) * 1e3
        figures["calm_max_ms"] = max(meanwhile) * 1e3
    return figures


async def _balanced(api: Address, report: dict[str, Any], calm: Calm) -> bool:
    """Whether the server's books balance and say what the swarm and those left alone have seen.

    The swarm's own verdict on the books is of no use: it takes the others' pushes for an error.
    """
    async with http_client() as client:
        ledger = (await client.get(url(api, "/v1/ledger"))).json()
    delivered = ledger["ended"]["delivered"] + ledger["ended"]["acknowledged"]
    return bool(
        ledger["balanced"]
        and not any(ledger["open"].values())
        and ledger["accepted"] == report["pushes"]["accepted"] + calm.accepted
        and delivered == report["deliveries"]["received"] + len(calm.came)
    )


class _Watch:
    """When the storm was, as the server's open files tell it; that of any peer."""

    def __init__(self, pid: int, struck: int) -> None:
        self._pid = pid
        self._struck = struck
        #: time.monotonic of the drop, and of when 99 of 100 were back; inf: not yet
        self.began = math.inf
        self.over = math.inf

    async def run(self) -> None:
        most = 0
        while self.over == math.inf:
            # in a thread: an old kernel has to be asked for 15,000 names, and others measure here
            files = await trio.to_thread.run_sync(open_files, self._pid)
            most = max(most, files)
            if self.began == math.inf:
                # as it may have begun since the last look
                if files < most - self._struck / 2:
                    self.began = time.monotonic() - _LOOK_S
            elif files >= most - self._struck / 100:
                self.over = time.monotonic()
            await trio.sleep(_LOOK_S)
