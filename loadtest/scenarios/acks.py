"""acks: pushes that their devices have to acknowledge, and do at once.

A round trip: the push is accepted, its device gets it and says so over WebSocket, and the push
has ended as acknowledged. One request pushes to all devices; the next one follows when all have
acknowledged.
"""

from __future__ import annotations

import sys
import time
import uuid
from functools import partial
from typing import Any, Final

import httpx
import trio

from loadtest.bench import Plan, Subject, interleaved
from loadtest.child import Failed, running
from loadtest.clients import token_of
from loadtest.crowd import connected
from loadtest.measure import Usage, usage
from loadtest.peers.ours import OURS_WS
from loadtest.peers.peer import http_client, post, url
from loadtest.report import Bound, Column, Report, Sample

_BARE: Final = "bare trio"
#: the word of a device is on its way for so long at most
_ACK_S: Final = 60
#: between two looks at the ledger for the last acknowledgements
_LOOK_S: Final = 0.005
#: round trips in a second that one process must manage
_LEAST_PER_S: Final = 10_000

_COLUMNS = (
    Column("round_trips", "round trips"),
    Column("per_s", "per second"),
    Column("cpu_us", "server CPU, µs each", 1),
    Column("ratio", "CPU × bare", 2),
)


async def run(devices: int, pushes: int, plan: Plan) -> Report:
    """Push `pushes` times to each of `devices`, which acknowledge."""
    subjects = [
        Subject(OURS_WS.name, partial(_sample, devices, pushes)),
        Subject(_BARE, partial(_sample_bare, devices, pushes)),
    ]
    measured = await interleaved(subjects, plan)
    measured.set_ratios(measured.samples, _BARE, "cpu_us")
    figure = partial(measured.figure, OURS_WS.name)
    bounds = [
        Bound("round trips per second and process", figure("per_s"), "at least", _LEAST_PER_S),
        Bound("pushes not acknowledged", figure("unacknowledged"), "at most", 0),
        Bound("books balanced", figure("balanced"), "at least", 1),
    ]
    return Report("acks", {"devices": devices, "pushes": pushes}, _COLUMNS, measured, bounds)


async def _sample(devices: int, pushes: int) -> Sample:
    tokens = [token_of(number) for number in range(devices)]
    async with (
        OURS_WS.serve() as server,
        connected(server.wire, OURS_WS.events_path, devices, "ws-acks") as crowd,
        http_client(_ACK_S) as client,
    ):
        assert server.api is not None
        api = url(server.api, "/v1")
        before, started_s = usage(server.child.pid), time.monotonic()
        for number in range(1, pushes + 1):
            await crowd.expect(number * devices)
            order = {"tokens": tokens, "payload": {}, "ack": True}
            (await client.post(f"{api}/push", json=order)).raise_for_status()
            await crowd.received()
            ledger = await _acknowledged(client, api, number * devices)
        seconds = time.monotonic() - started_s
        cost = usage(server.child.pid) - before
    sample = _figures(devices * pushes, seconds, cost)
    open_, ended = ledger["open"], ledger["ended"]
    agrees = ledger["accepted"] == ended["acknowledged"] and not any(open_.values())
    return sample | {
        "unacknowledged": ledger["accepted"] - ended["acknowledged"],
        "balanced": int(ledger["balanced"] and agrees),
    }


async def _acknowledged(client: httpx.AsyncClient, api: str, pushes: int) -> dict[str, Any]:
    """The ledger when so many are acknowledged, or when that does not come about."""
    with trio.move_on_after(_ACK_S):
        while True:
            ledger: dict[str, Any] = (await client.get(f"{api}/ledger")).json()
            if ledger["ended"]["acknowledged"] >= pushes:
                break
            await trio.sleep(_LOOK_S)
    return ledger


async def _sample_bare(devices: int, pushes: int) -> Sample:
    async with running([sys.executable, "-m", "loadtest.bare.acks"]) as child:
        wire = await child.listening("wire")
        async with connected(wire, OURS_WS.events_path, devices, "ws-acks"):
            before, started_s = usage(child.pid), time.monotonic()
            for _ in range(pushes):
                push_id = str(uuid.uuid4())
                await post(wire, "/broadcast", push_id.encode(), "text/plain")
                with trio.move_on_after(_ACK_S) as patience:
                    await child.event("acknowledged", id=push_id)
                if patience.cancelled_caught:
                    raise Failed(f"not all have acknowledged within {_ACK_S} s")
            seconds = time.monotonic() - started_s
            cost = usage(child.pid) - before
    return _figures(devices * pushes, seconds, cost)


def _figures(round_trips: int, seconds: float, cost: Usage) -> Sample:
    return {
        "round_trips": round_trips,
        "per_s": round_trips / seconds,
        "cpu_us": cost.cpu_s / round_trips * 1e6,
    }
