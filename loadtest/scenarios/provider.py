"""provider: our provider client and its peers, each against our server over TLS.

The server is the same for all, and so is what is pushed. With a plot, the client's governor is
watched at work too.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import trio

from loadtest.bench import Plan, Subject, interleaved, say
from loadtest.child import Failed, running
from loadtest.governed import NEEDED, PHASES, SCALING, watch_governor
from loadtest.report import Bound, Column, Report, Sample

_OURS: Final = "trio-push"
#: name in the table → the module that pushes, the package that it needs
_CLIENTS: Final = {
    _OURS: ("ours", "trio"),
    "httpx": ("with_httpx", "httpx"),
    "aioapns": ("with_aioapns", "aioapns"),
}

_COLUMNS: Final = (
    Column("pushes_per_s", "pushes/s"),
    Column("cpu_us", "client CPU, µs each", 1),
    Column("ratio", "pushes/s × httpx", 2),
    Column("cpu_ratio", "CPU × httpx", 2),
)


class _Server(NamedTuple):
    port: int
    ca: Path


async def run(seconds: int, plot: Path | None, plan: Plan) -> Report:
    """Push for `seconds` with each client; then draw the governor's behaviour into `plot`."""
    subjects = [
        Subject(name, partial(_sample, module, seconds), _missing(package))
        for name, (module, package) in _CLIENTS.items()
    ]
    measured = await interleaved(subjects, plan)
    measured.set_ratios(measured.samples, "httpx", "pushes_per_s")
    measured.set_ratios(measured.samples, "httpx", "cpu_us", name="cpu_ratio")
    bounds = [
        Bound("pushes/s", measured.figure(_OURS, "pushes_per_s"), "at least", 4000),
        Bound("pushes not accepted", measured.figure(_OURS, "failed"), "at most", 0),
    ]
    if plot is not None:
        bounds += await _draw(plot)
    return Report("provider", {"seconds": seconds}, _COLUMNS, measured, bounds)


async def _sample(module: str, seconds: int) -> Sample:
    async with _serving() as server:
        command = [sys.executable, "-m", f"loadtest.providers.{module}"]
        arguments = ["localhost", str(server.port), str(server.ca), str(seconds)]
        async with running([*command, *arguments]) as child:
            told = await child.event("pushed")
    if not told["accepted"]:
        raise Failed(f"{module}: no push was accepted")
    return {
        "pushes_per_s": told["accepted"] / told["seconds"],
        "cpu_us": told["cpu_s"] / told["accepted"] * 1e6,
        "failed": float(told["failed"]),
    }


@asynccontextmanager
async def _serving() -> AsyncIterator[_Server]:
    with tempfile.TemporaryDirectory(prefix="loadtest-provider-") as directory:
        command = (
            *(sys.executable, "-m", "trio_push", "serve", "--api", "off"),
            *("--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0"),
            *("--tls-dev", "--tls-dev-dir", directory),
        )
        async with running(command) as child:
            _, port = await child.listening("tls")
            yield _Server(port, Path(directory) / "ca.pem")


async def _draw(plot: Path) -> list[Bound]:
    say(f"the governor, {sum(phase.seconds for phase in PHASES):g} s")
    governed = await watch_governor()
    await trio.Path(plot).write_text(governed.svg())
    return [
        Bound("connections in the rush", governed.most, "at least", NEEDED),
        Bound("connections at the end", governed.last, "at most", SCALING.least),
    ]


def _missing(package: str) -> str | None:
    return None if importlib.util.find_spec(package) else f"pip install {package}"
