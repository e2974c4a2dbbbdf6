"""Load generators written in C, so that it is the server that has no time left: h2load and wrk.

Each sends MDM pushes for absent tokens with `apns-expiration: 0`: the whole way through intake
and router, and nothing is kept. A refused push fails the run.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from loadtest.child import Address
from loadtest.peers.peer import url

_HEADERS: Final = (
    *("-H", "apns-push-type: mdm"),
    *("-H", "apns-topic: com.apple.mgmt.External.0"),
    *("-H", "apns-expiration: 0"),
)
_BODY: Final = '{"mdm":"D2B4B7B1-3B57-4C6C-9E0E-2B8B5A4B1A57"}'
_TOKENS: Final = 1000
_LUA: Final = Path(__file__).with_name("push.lua")


@dataclass(frozen=True)
class Load:
    """How many pushes were answered 2xx, in how long."""

    pushes: int
    seconds: float


def h2load_missing() -> str | None:
    return None if shutil.which("h2load") else "apt-get install nghttp2-client"


def wrk_missing() -> str | None:
    return None if shutil.which("wrk") else "apt-get install wrk"


async def h2load(address: Address, *, seconds: int, connections: int, streams: int) -> Load:
    """Send pushes over HTTP/2 for `seconds`, `streams` of each connection open at a time."""
    with tempfile.TemporaryDirectory(prefix="loadtest-h2load-") as directory:
        targets, body = Path(directory) / "targets", Path(directory) / "body"
        targets.write_text(
            "".join(url(address, f"/3/device/{number:064x}\n") for number in range(_TOKENS))
        )
        body.write_text(_BODY)
        output = await _output(
            *("h2load", "-t", "1", "-D", str(seconds)),
            *("-c", str(connections), "-m", str(streams)),
            *("-i", str(targets), "-d", str(body), *_HEADERS),
        )
    return parse_h2load(output)


async def wrk(address: Address, *, seconds: int, connections: int, depth: int) -> Load:
    """Send pushes over HTTP/1.1 for `seconds`, `depth` of them pipelined."""
    output = await _output(
        *("wrk", "-t", "1", "-d", str(seconds), "-c", str(connections), *_HEADERS),
        *("-s", str(_LUA), url(address, "/"), "--", str(depth), _BODY),
    )
    return parse_wrk(output)


async def _output(*command: str) -> str:
    result = await trio.run_process(command, capture_stdout=True)
    return result.stdout.decode()


def parse_h2load(output: str) -> Load:
    """Read what h2load prints. Raises RuntimeError when a push was not answered 2xx."""
    pushes, failed = _numbers(r"requests: (\d+) total, .*? (\d+) failed", output)
    (good,) = _numbers(r"status codes: (\d+) 2xx", output)
    seconds, unit = _match(r"finished in ([\d.]+)(us|ms|s)", output)
    if failed or good != pushes:
        raise RuntimeError(f"h2load: {output}")
    return Load(int(good), float(seconds) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit])


def parse_wrk(output: str) -> Load:
    """Read what wrk prints. Raises RuntimeError when a push was not answered 2xx."""
    pushes, seconds = _numbers(r"(\d+) requests in ([\d.]+)s", output)
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"wrk: {output}")
    return Load(int(pushes), seconds)


def _numbers(pattern: str, text: str) -> Sequence[float]:
    return [float(group) for group in _match(pattern, text)]


def _match(pattern: str, text: str) -> Sequence[str]:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"no {pattern!r} in: {text}")
    return match.groups()
