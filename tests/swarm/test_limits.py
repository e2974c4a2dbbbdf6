from __future__ import annotations

import resource

import pytest

from trio_push.errors import ConfigError
from trio_push.swarm.limits import (
    FILES_KEPT_FREE,
    check_open_files,
    ephemeral_ports,
    source_addresses,
)
from trio_push.swarm.target import look_up


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (1, []),
        (900, []),
        (901, ["127.0.0.1", "127.0.0.2"]),
        (1800, ["127.0.0.1", "127.0.0.2"]),
        (1801, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]),
    ],
)
async def test_loopback_has_addresses_enough(devices: int, expected: list[str]) -> None:
    target = await look_up("http://127.0.0.1:80", "--url")
    assert source_addresses(target, devices, ports=1000) == expected


async def test_a_million() -> None:
    target = await look_up("http://127.0.0.1:80", "--url")
    sources = source_addresses(target, 1_000_000, ports=2000)
    assert len(set(sources)) == len(sources) == 556
    assert sources[253:255] == ["127.0.0.254", "127.0.1.1"]


@pytest.mark.parametrize("url", ["http://192.0.2.1:80", "http://[::1]:80"])
async def test_other_servers_are_reached_from_one_address(url: str) -> None:
    target = await look_up(url, "--url")
    assert source_addresses(target, 900, ports=1000) == []
    with pytest.raises(ConfigError, match="further machines, or widen"):
        source_addresses(target, 901, ports=1000)


def test_ephemeral_ports() -> None:
    assert 0 < ephemeral_ports() < 65536


def test_open_files() -> None:
    check_open_files(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard
    most = hard - FILES_KEPT_FREE
    check_open_files(most)
    with pytest.raises(ConfigError, match=f"Give at most {most}, or raise the limit"):
        check_open_files(most + 1)
