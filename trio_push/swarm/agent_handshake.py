"""What a swarm and an agent say before the first message: each proves that it knows the secret.

Lines of words:

    agent    trio-push-swarm VERSION NONCE
    swarm    MAC NONCE
    agent    MAC DEVICES              how many devices fit into a process there
    swarm    time                     …
    agent    TIME                     … several times: the quickest answer tells most

A MAC is HMAC-SHA256 of who speaks and of the other's nonce. The secret itself never travels; what
follows is neither encrypted nor signed.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from dataclasses import dataclass

import trio

from trio_push import __version__
from trio_push.errors import ConfigError, ProtocolError, Unreachable
from trio_push.swarm.limits import devices_per_process

#: time for all of it
HANDSHAKE_S = 10.0
#: times that the clock is asked for
ROUNDS = 8

_MAGIC = "trio-push-swarm"
_MAX_LINE_BYTES = 200


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a swarm learns of an agent."""

    #: devices that fit into one process there
    fit: int
    #: how much its clock is ahead of ours, as exactly as half of the shortest round trip
    ahead_s: float


async def admit(stream: trio.abc.Stream, secret: str) -> bool:
    """The agent's side: whether who is at the other end may give orders."""
    nonce = secrets.token_hex(16)
    with trio.move_on_after(HANDSHAKE_S):
        await _write(stream, _MAGIC, __version__, nonce)
        try:
            mac, theirs = await _read(stream, 2)
        except ProtocolError:
            return False
        if not hmac.compare_digest(mac, _mac(secret, "swarm", nonce)):
            return False
        await _write(stream, _mac(secret, "agent", theirs), str(devices_per_process()))
        return await _tell_time(stream)
    return False


async def _tell_time(stream: trio.abc.Stream) -> bool:
    try:
        for _ in range(ROUNDS):
            await _read(stream, 1)
            await _write(stream, f"{time.time():.6f}")
    except ProtocolError:
        return False
    return True


async def _ask_time(stream: trio.abc.Stream) -> float:
    """How much the clock at the other end is ahead."""
    best_s, ahead_s = math.inf, 0.0
    for _ in range(ROUNDS):
        asked = time.time()
        await _write(stream, "time")
        [now] = await _read(stream, 1)
        answered = time.time()
        if answered - asked < best_s:
            best_s, ahead_s = answered - asked, float(now) - (asked + answered) / 2
    return ahead_s


async def introduce(stream: trio.abc.Stream, secret: str, name: str) -> Welcome:
    """The swarm's side. Raises Unreachable or ConfigError, in words about the agent `name`."""
    nonce = secrets.token_hex(16)
    try:
        with trio.fail_after(HANDSHAKE_S):
            magic, version, theirs = await _read(stream, 3)
            if (magic, version) != (_MAGIC, __version__):
                raise ConfigError(f"--agents {name} is no agent of trio-push {__version__}")
            await _write(stream, _mac(secret, "swarm", theirs), nonce)
            mac, fit = await _read(stream, 2)
            if not hmac.compare_digest(mac, _mac(secret, "agent", nonce)):
                raise ConfigError(f"--agents {name} does not know the secret")
            return Welcome(int(fit), await _ask_time(stream))
    except trio.TooSlowError:
        raise Unreachable(f"--agents {name} does not answer") from None
    except (ProtocolError, ValueError):
        raise ConfigError(
            f"--agents {name} has hung up: is it an agent, and --agent-secret its secret?"
        ) from None


def _mac(secret: str, who: str, nonce: str) -> str:
    return hmac.new(secret.encode(), f"{who} {nonce}".encode(), hashlib.sha256).hexdigest()


async def _write(stream: trio.abc.Stream, *words: str) -> None:
    try:
        await stream.send_all(" ".join(words).encode() + b"\n")
    except trio.BrokenResourceError:
        return  # reading will tell


async def _read(stream: trio.abc.Stream, words: int) -> list[str]:
    """The words of a line. The other end says nothing after it until it is answered."""
    line = b""
    while not line.endswith(b"\n"):
        try:
            data = await stream.receive_some(_MAX_LINE_BYTES)
        except trio.BrokenResourceError:
            data = b""
        line += data
        if not data or len(line) > _MAX_LINE_BYTES:
            raise ProtocolError("no line of a handshake")
    found = line.decode("ascii", "replace").split()
    if len(found) != words:
        raise ProtocolError("another line was expected")
    return found
