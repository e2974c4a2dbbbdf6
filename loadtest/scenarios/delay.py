"""delay: a great many held pushes; some are recalled, some come due meanwhile.

Beside a bare heap of tuples and bare sleeping tasks.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import orjson
import trio

from loadtest.bench import Plan, Subject, interleaved
from loadtest.child import Address, Failed, running
from loadtest.measure import percentile, usage
from loadtest.ndjson import post_lines
from loadtest.peers.ours import OURS
from loadtest.peers.peer import http_client, url
from loadtest.report import Bound, Column, Report, Sample

#: pushes that come due while all the others are held, and over how long
_DUE: Final = 10_000
_SPREAD_S: Final = 10
#: time to hand them over before the first is due
_LEAD_S: Final = 5
#: none is as late as that, or it is lost
_LATE_S: Final = 30
_RECALLED: Final = 1_000
_FAR_S: Final = 6 * 3600
_SETTLE_S: Final = 2
_BARE: Final = "bare heap, bare tasks"
#: of the device that gets what comes due
_TOKEN: Final = f"{0:064x}"

_COLUMNS = (
    Column("bytes", "memory, B/push"),
    Column("held_per_s", "pushes taken in, 1/s"),
    Column("p50_ms", "late: p50, ms", 2),
    Column("p99_ms", "late: p99, ms", 2),
    Column("max_ms", "late: longest, ms", 2),
)


async def run(pushes: int, plan: Plan) -> Report:
    """Hold `pushes`, recall 1,000 of them, and let 10,000 more come due over 10 s."""
    subjects = [
        Subject(OURS.name, partial(_sample, pushes)),
        Subject(_BARE, partial(_sample_bare, pushes)),
    ]
    measured = await interleaved(subjects, plan)
    figure = partial(measured.figure, OURS.name)
    bounds = [
        # a task for each would cost 3 KiB
        Bound("memory per held push, bytes", figure("bytes"), "at most", 1536, aim=1024),
        Bound("due pushes lost", figure("lost"), "at most", 0),
        Bound("due pushes early", figure("early"), "at most", 0),
        Bound("pushes recalled", figure("recalled"), "at least", min(_RECALLED, pushes)),
        Bound("books balanced", figure("balanced"), "at least", 1),
    ]
    return Report("delay", {"pushes": pushes, "due": _DUE}, _COLUMNS, measured, bounds)


async def _sample(pushes: int) -> Sample:
    async with OURS.serve() as server, trio.open_nursery() as nursery:
        assert server.api is not None
        device = _Device()
        await nursery.start(device.listen, server.wire)
        before = usage(server.child.pid)
        started_s = time.monotonic()
        await _hold(server.api, _held(pushes))
        seconds = time.monotonic() - started_s
        await trio.sleep(_SETTLE_S)
        grown = usage(server.child.pid) - before
        recalled = await _recall(server.api, min(_RECALLED, pushes))
        await _hold(server.api, _due())
        with trio.move_on_after(_LEAD_S + _SPREAD_S + _LATE_S):
            await device.has_all.wait()
        balanced = await _balanced(server.api, still_held=pushes - recalled)
        nursery.cancel_scope.cancel()
    return {
        "bytes": grown.pss_bytes / pushes,
        "held_per_s": pushes / seconds,
        "lost": _DUE - len(device.lateness_s),
        "early": sum(late_s < 0 for late_s in device.lateness_s),
        "recalled": recalled,
        "balanced": int(balanced),
        **_lateness(device.lateness_s),
    }


def _lateness(lateness_s: list[float]) -> Sample:
    if not lateness_s:
        return {}
    return {
        "p50_ms": percentile(lateness_s, 0.50) * 1e3,
        "p99_ms": percentile(lateness_s, 0.99) * 1e3,
        "max_ms": max(lateness_s) * 1e3,
    }


def _held(pushes: int) -> Iterator[dict[str, Any]]:
    """Pushes due in some hours, for as many tokens; the first ones with an id to recall by."""
    for number in range(pushes):
        push = {"token": f"{number + 1:064x}", "payload": {"held": number}, "delay_s": _FAR_S}
        yield push if number >= _RECALLED else push | {"id": _id(number)}


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def _due() -> Iterator[dict[str, Any]]:
    """Pushes due one after the other, each with its time in its payload."""
    start_s = time.time() + _LEAD_S
    for number in range(_DUE):
        due_s = start_s + _SPREAD_S * number / _DUE
        yield {"token": _TOKEN, "payload": {"due": due_s}, "not_before": due_s}


async def _hold(api: Address, pushes: Iterator[dict[str, Any]]) -> None:
    """Hand pushes in. Raises Failed unless every one is held."""
    outcomes: Counter[str] = Counter()
    await post_lines(
        api,
        "/v1/pushes",
        map(orjson.dumps, pushes),
        lambda line: outcomes.update([orjson.loads(line).get("outcome")]),
    )
    if set(outcomes) != {"delayed"}:
        raise Failed(f"not all are held: {outcomes}")


async def _recall(api: Address, count: int) -> int:
    """Recall the first ones; how many the server says it has."""
    async with http_client() as client:
        answers = [
            await client.delete(url(api, f"/v1/push/{_id(number)}")) for number in range(count)
        ]
    return sum(answer.is_success for answer in answers)


async def _balanced(api: Address, still_held: int) -> bool:
    """Whether the server's books balance and count exactly these as held."""
    async with http_client() as client:
        ledger = (await client.get(url(api, "/v1/ledger"))).json()
    return bool(ledger["balanced"]) and ledger["open"]["delayed"] == still_held


class _Device:
    """The device that gets what comes due, and notes how late each push is."""

    def __init__(self) -> None:
        self.lateness_s: list[float] = []
        self.has_all = trio.Event()

    async def listen(self, wire: Address, *, task_status: trio.TaskStatus[None]) -> None:
        async with await trio.open_tcp_stream(*wire) as stream:
            await stream.send_all(
                f"GET /events?token={_TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            torn = await stream.receive_some()
            task_status.started()
            async for data in stream:
                now_s = time.time()
                *whole, torn = (torn + data).split(b"\n")
                for line in whole:
                    if line.startswith(b"data: "):
                        self._note(now_s, orjson.loads(line.removeprefix(b"data: ")))

    def _note(self, now_s: float, payload: dict[str, float]) -> None:
        self.lateness_s.append(now_s - payload["due"])
        if len(self.lateness_s) == _DUE:
            self.has_all.set()


async def _sample_bare(pushes: int) -> Sample:
    arguments = (str(pushes), str(_DUE), str(_SPREAD_S))
    async with running([sys.executable, "-m", "loadtest.bare.timers", *arguments]) as child:
        await child.event("empty")
        before = usage(child.pid)
        started_s = time.monotonic()
        await child.tell("hold")
        await child.event("holding")
        seconds = time.monotonic() - started_s
        grown = usage(child.pid) - before
        await child.tell("fire")
        lateness_s = (await child.event("fired"))["lateness_s"]
    return {
        "bytes": grown.pss_bytes / pushes,
        "held_per_s": pushes / seconds,
        **_lateness(lateness_s),
    }
