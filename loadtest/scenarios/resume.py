"""resume: devices are cut and come back with their cursor, while pushes go on.

Half of what they have missed they were sent and did not read before the cut (the server has it in
its history), the other half was pushed while they were away (it was stored). What a resume costs
is the server's CPU from the first device's return to the last one's having all, without what the
pushes that went on meanwhile cost: a push's cost is taken before the cut.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import httpx
import trio

from loadtest.bench import Plan, Subject, interleaved
from loadtest.child import Child, Event, Failed, running
from loadtest.clients import token_of
from loadtest.measure import usage
from loadtest.peers.ours import ours
from loadtest.peers.peer import Peer, Server, http_client, url
from loadtest.report import Bound, Column, Report, Sample

#: the devices of one request; each of them has been sent the same pushes
_BLOCK: Final = 100
#: no single step takes as long
_STEP_S: Final = 120
#: at the end, what was pushed last arrives within this time, or never
_LAST_S: Final = 20
#: between two looks at the server
_LOOK_S: Final = 0.02
#: what becomes of a push that is not refused
_TAKEN: Final = {"delivered", "queued", "in_flight", "stored"}

_COLUMNS = (
    Column("devices", "devices"),
    Column("connect_us", "first connect: CPU, µs each", 1),
    Column("resume_us", "resume: CPU, µs each", 1),
    Column("resumes_per_s", "resumes/s"),
    Column("replayed_per_s", "replayed/s"),
    Column("went_on", "pushes meanwhile"),
    Column("lost", "lost"),
    Column("twice", "twice"),
    Column("not_recovered", "not recovered"),
)


async def run(devices: int, missed: int, rate: int, transport: str, plan: Plan) -> Report:
    """Cut `devices`, each of which then misses `missed` pushes, while `rate` a second go on."""
    # the history has room for all that goes through here, as it is not its bounds that are tried
    peer = ours(transport, "--history-total", "10000000", "--history-per-token", "1000")
    subjects = [Subject(peer.name, partial(_sample, peer, devices, missed, rate))]
    measured = await interleaved(subjects, plan)
    figure = partial(measured.figure, peer.name)
    bounds = [
        Bound("pushes lost", figure("lost"), "at most", 0),
        Bound("pushes that came twice", figure("twice"), "at most", 0),
        Bound("resumed without all that was missed", figure("not_recovered"), "at most", 0),
        Bound("books balanced", figure("balanced"), "at least", 1),
    ]
    parameters = {
        "devices": devices,
        "missed by each": missed,
        "pushes/s": rate,
        "transport": transport,
    }
    return Report("resume", parameters, _COLUMNS, measured, bounds)


async def _sample(peer: Peer, devices: int, missed: int, rate: int) -> Sample:
    async with (
        peer.serve() as server,
        _crowd(peer, server, devices) as crowd,
        http_client(_STEP_S) as http,
    ):
        pid, provider = server.child.pid, _Provider(http, server, devices)
        before = usage(pid)
        await _ask(crowd, "return -1", "returned")
        connecting = usage(pid) - before

        await provider.push_to_all(times=1)
        await _ask(crowd, f"expect {devices}", "expected")
        await _ask(crowd, "keep", "kept")

        before, pushed = usage(pid), provider.pushes
        await provider.push_to_all(times=missed - missed // 2)
        await _ask(crowd, f"expect {provider.pushes}", "expected")
        push_cpu_s = (usage(pid) - before).cpu_s / (provider.pushes - pushed)

        await _ask(crowd, "cut", "cut")
        await provider.wait_alone()
        await provider.push_to_all(times=missed // 2)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.push_on, rate)
            before, pushed = usage(pid), provider.pushes
            await _ask(crowd, f"return {missed}", "returned")
            returning, went_on = usage(pid) - before, provider.pushes - pushed
            provider.stop()
        audit = await _audit(crowd, provider.pushes)
        ledger = await provider.ledger()
    delivered = ledger["ended"]["delivered"]
    agree = ledger["accepted"] == delivered == provider.pushes
    return {
        "devices": devices,
        "connect_us": connecting.cpu_s / devices * 1e6,
        "resume_us": (returning.cpu_s - went_on * push_cpu_s) / devices * 1e6,
        "resumes_per_s": devices / returning.at_s,
        "replayed_per_s": devices * missed / returning.at_s,
        "went_on": went_on,
        "lost": provider.pushes - audit["had"],
        "twice": audit["twice"],
        "not_recovered": audit["not_recovered"],
        "balanced": int(ledger["balanced"] and agree),
    }


# -- the devices


@asynccontextmanager
async def _crowd(peer: Peer, server: Server, devices: int) -> AsyncIterator[Child]:
    """The devices' process (`loadtest.returners`); nobody is connected yet."""
    host, port = server.wire
    arguments = (host, str(port), str(devices), peer.transport)
    async with running([sys.executable, "-m", "loadtest.returners", *arguments]) as child:
        yield child


async def _ask(crowd: Child, order: str, answer: str) -> Event:
    """Give the devices an order and wait until it is carried out. Raises Failed."""
    await crowd.tell(order)
    with trio.move_on_after(_STEP_S):
        return await crowd.event(answer)
    raise Failed(f"the devices did not say {answer!r} within {_STEP_S} s after {order!r}")


async def _audit(crowd: Child, pushes: int) -> Event:
    """What the devices have had, when that is everything or nothing more comes."""
    await crowd.tell(f"expect {pushes}")
    with trio.move_on_after(_LAST_S):
        await crowd.event("expected")
    return await _ask(crowd, "audit", "audited")


# -- the pushes


class _Provider:
    """Pushes by the API, to a block of devices at a time."""

    def __init__(self, http: httpx.AsyncClient, server: Server, devices: int) -> None:
        assert server.api is not None
        self._http = http
        self._api = url(server.api, "/v1")
        self._stats = url(server.wire, "/stats")
        tokens = [token_of(number) for number in range(devices)]
        self._blocks = [tokens[at : at + _BLOCK] for at in range(0, devices, _BLOCK)]
        #: pushes that each device of a block has been sent
        self._sent = [0] * len(self._blocks)
        self._stopped = False
        #: pushes to devices in all
        self.pushes = 0

    async def push_to_all(self, *, times: int) -> None:
        for _ in range(times):
            for block in range(len(self._blocks)):
                await self._push(block)

    async def push_on(self, rate: int) -> None:
        """Push to one block after the other, `rate` pushes a second in all, until `stop`."""
        due = trio.current_time()
        for block in itertools.cycle(range(len(self._blocks))):
            await trio.sleep_until(due)
            if self._stopped:
                return
            due += len(self._blocks[block]) / rate
            await self._push(block)

    def stop(self) -> None:
        self._stopped = True

    async def wait_alone(self) -> None:
        """Wait until the server knows that no device is there. Raises Failed."""
        with trio.move_on_after(_STEP_S):
            while (await self._get(self._stats))["node"]["active_connections"]:
                await trio.sleep(_LOOK_S)
            return
        raise Failed(f"the server has not noticed within {_STEP_S} s that all devices are gone")

    async def ledger(self) -> dict[str, Any]:
        return await self._get(f"{self._api}/ledger")

    async def _push(self, block: int) -> None:
        tokens = self._blocks[block]
        order = {"tokens": tokens, "payload": {"n": self._sent[block]}}
        answer = (await self._http.post(f"{self._api}/push", json=order)).raise_for_status()
        if refused := answer.json()["outcomes"].keys() - _TAKEN:
            raise Failed(f"pushes were {', '.join(refused)}")
        self._sent[block] += 1
        self.pushes += len(tokens)

    async def _get(self, address: str) -> dict[str, Any]:
        values: dict[str, Any] = (await self._http.get(address)).raise_for_status().json()
        return values
