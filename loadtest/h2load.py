"""The load generator of intake: h2load, written in C, so that it is the server that is busy.

It sends MDM pushes for absent tokens with `apns-expiration: 0`: the whole way through intake
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

from loadtest.child import Address, Failed
from loadtest.peers import strict
from loadtest.peers.peer import url

_HEADERS: Final = ("apns-push-type: mdm", "apns-topic: com.apple.mgmt.0", "apns-expiration: 0")
_BODY: Final = '{"mdm":"D2B4B7B1-3B57-4C6C-9E0E-2B8B5A4B1A57"}'
_TOKENS: Final = 1000
_H2_CONNECTIONS: Final = 4
_H2_STREAMS: Final = 100
#: so many that each of several processes gets its share
_MANY_CONNECTIONS: Final = 32


@dataclass(frozen=True)
class Load:
    """How many pushes were answered 2xx, in how long."""

    pushes: int
    seconds: float


def missing() -> str | None:
    """The command that installs h2load; None: it is there."""
    return None if shutil.which("h2load") else "apt install nghttp2-client"


async def h2(address: Address, seconds: int) -> Load:
    """Push over HTTP/2 without TLS: 4 connections, 100 streams open on each."""
    return await _h2load(address, *_h2_flags(seconds), headers=_HEADERS)


async def h2_many(address: Address, seconds: int) -> Load:
    """The same over 32 connections."""
    return await _h2load(address, *_h2_flags(seconds, _MANY_CONNECTIONS), headers=_HEADERS)


async def h2_strict(address: Address, seconds: int) -> Load:
    """The same to a server of the strict profile, as a provider that it knows.

    Each connection has one stream until its first push is answered: what h2load sends beside
    that is refused, and not counted.
    """
    refused = _H2_CONNECTIONS * (_H2_STREAMS - 1)
    return await _h2load(address, *_h2_flags(seconds), headers=strict.headers(), refused=refused)


async def http1(address: Address, seconds: int) -> Load:
    """Push over HTTP/1.1: 8 connections, one request at a time on each."""
    return await _h2load(
        address, "-D", str(seconds), "-c", "8", "-m", "1", "--h1", headers=_HEADERS
    )


def _h2_flags(seconds: int, connections: int = _H2_CONNECTIONS) -> Sequence[str]:
    return "-D", str(seconds), "-c", str(connections), "-m", str(_H2_STREAMS)


async def _h2load(address: Address, *flags: str, headers: Sequence[str], refused: int = 0) -> Load:
    with tempfile.TemporaryDirectory(prefix="loadtest-h2load-") as directory:
        targets, body = Path(directory) / "targets", Path(directory) / "body"
        targets.write_text(
            "".join(url(address, f"/3/device/{number:064x}\n") for number in range(_TOKENS))
        )
        body.write_text(_BODY)
        result = await trio.run_process(
            ["h2load", "-t", "1", *flags, "-i", str(targets), "-d", str(body)]
            + [f"--header={header}" for header in headers],
            capture_stdout=True,
            # in a session of its own, as all children: Ctrl-C is for the parent to act upon
            start_new_session=True,
        )
    return parse(result.stdout.decode(), refused)


def parse(output: str, refused_streams: int = 0) -> Load:
    """Read what h2load prints.

    Raises Failed when a push was not answered 2xx, but for so many whose streams may be refused.
    """
    pushes, failed = _groups(r"requests: (\d+) total, .*? (\d+) failed", output)
    refused = _groups(r"2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    seconds, unit = _groups(r"finished in ([\d.]+)(us|ms|s)", output)
    if int(failed) > refused_streams or any(map(int, refused)):
        raise Failed(f"pushes were refused:\n{output}")
    return Load(int(pushes) - int(failed), float(seconds) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit])


def _groups(pattern: str, text: str) -> Sequence[str]:
    match = re.search(pattern, text)
    if match is None:
        raise Failed(f"no {pattern!r} in:\n{text}")
    return match.groups()
