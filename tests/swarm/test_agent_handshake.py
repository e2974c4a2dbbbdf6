from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from trio_push import __version__
from trio_push.errors import ConfigError, Unreachable
from trio_push.swarm import agent_handshake
from trio_push.swarm.agent_handshake import Welcome, admit, introduce
from trio_push.swarm.limits import devices_per_process


async def meet(of_agent: str, of_swarm: str) -> tuple[bool, Welcome | ConfigError]:
    """What both ends make of each other."""
    agent, swarm = memory_stream_pair()
    admitted: list[bool] = []

    async def be_agent() -> None:
        async with agent:
            admitted.append(await admit(agent, of_agent))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_agent)
        try:
            found: Welcome | ConfigError = await introduce(swarm, of_swarm, "there:1")
        except ConfigError as exc:
            found = exc
    return admitted[0], found


@pytest.mark.parametrize("secret", ["", "s3cret"])
async def test_who_knows_the_secret_is_let_in(secret: str) -> None:
    admitted, welcome = await meet(secret, secret)
    assert admitted
    assert isinstance(welcome, Welcome)
    assert welcome.fit == devices_per_process()
    assert abs(welcome.ahead_s) < 5


@pytest.mark.parametrize(("of_agent", "of_swarm"), [("a", "b"), ("a", ""), ("", "b")])
async def test_who_does_not_is_not(of_agent: str, of_swarm: str) -> None:
    admitted, refused = await meet(of_agent, of_swarm)
    assert not admitted
    assert "--agents there:1 has hung up" in str(refused)
    assert "b" not in str(refused).split()


async def test_the_clock_of_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked at 0, it shows 101, and that comes at 2: at 1, as far as we know. Others are slower."""
    slow = [0.0, 190.0, 100.0]
    times = iter([*slow, 0.0, 101.0, 2.0, *slow])
    monkeypatch.setattr(agent_handshake, "ROUNDS", 3)
    monkeypatch.setattr(agent_handshake.time, "time", lambda: next(times))
    _, welcome = await meet("", "")
    assert isinstance(welcome, Welcome)
    assert welcome.ahead_s == 100


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"trio-push-swarm 0.0.1 ab\n", f"is no agent of trio-push {__version__}"),
        (b"HTTP/1.1 400 Bad Request\r\n", "has hung up: is it an agent"),
        (b"x" * 300, "has hung up"),
        (b"", "has hung up"),
        (b"\xff\n", "has hung up"),
    ],
)
async def test_what_is_no_agent(says: bytes, why: str) -> None:
    other, swarm = memory_stream_pair()
    await other.send_all(says)
    await other.aclose()
    with pytest.raises(ConfigError, match=why):
        await introduce(swarm, "", "there:1")


async def test_an_agent_that_does_not_know_the_secret_either() -> None:
    other, swarm = memory_stream_pair()
    await other.send_all(f"trio-push-swarm {__version__} ab\n".encode())

    async def answer() -> None:
        await other.receive_some(200)
        await other.send_all(b"00 5\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(ConfigError, match="does not know the secret"):
            await introduce(swarm, "s3cret", "there:1")


async def test_silence(autojump_clock: MockClock) -> None:
    agent, swarm = memory_stream_pair()
    with pytest.raises(Unreachable, match="does not answer"):
        await introduce(swarm, "", "there:1")
    assert not await admit(agent, "")
    assert trio.current_time() == 20


@pytest.mark.parametrize("says", [b"GET / HTTP/1.1\r\n\r\n", b"ab\n", b"\n"])
async def test_strangers_are_not_let_in(says: bytes) -> None:
    agent, stranger = memory_stream_pair()
    await stranger.send_all(says)
    await stranger.send_eof()
    assert not await admit(agent, "")
