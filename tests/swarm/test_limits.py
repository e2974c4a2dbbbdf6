from __future__ import annotations

import resource

import pytest

from trio_push.errors import ConfigError
from trio_push.swarm.limits import (
    FILES_KEPT_FREE,
    MAX_WORKERS,
    devices_per_process,
    ephemeral_ports,
    shares,
    source_addresses,
    workers_needed,
)
from trio_push.swarm.target import look_up


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (1, []),
        (450, []),
        (451, ["127.0.0.2", "127.0.0.3"]),
        (900, ["127.0.0.2", "127.0.0.3"]),
        (901, ["127.0.0.2", "127.0.0.3", "127.0.0.4"]),
    ],
)
async def test_loopback_has_addresses_enough(devices: int, expected: list[str]) -> None:
    target = await look_up("http://127.0.0.1:80", "--url")
    assert source_addresses(target, devices, ports=1000) == expected


async def test_a_million() -> None:
    target = await look_up("http://127.0.0.1:80", "--url")
    sources = source_addresses(target, 1_000_000, ports=4000)
    assert len(set(sources)) == len(sources) == 556
    assert sources[252:254] == ["127.0.0.254", "127.0.1.1"]


@pytest.mark.parametrize("url", ["http://192.0.2.1:80", "http://[::1]:80"])
async def test_other_servers_are_reached_from_one_address(url: str) -> None:
    target = await look_up(url, "--url")
    assert source_addresses(target, 900, ports=1000) == []
    with pytest.raises(ConfigError, match=r"Add machines .*, or widen"):
        source_addresses(target, 901, ports=1000)


def test_ephemeral_ports() -> None:
    assert 0 < ephemeral_ports() < 65536


def test_open_files() -> None:
    fit = devices_per_process()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard
    assert fit == hard - FILES_KEPT_FREE


@pytest.mark.parametrize(
    ("devices", "workers", "expected"),
    [
        (1, 0, 1),
        (1000, 0, 1),
        (1001, 0, 2),
        (2001, 0, 3),
        (1000, 4, 4),
        (2, 4, 2),
        (1000 * MAX_WORKERS, 0, MAX_WORKERS),
    ],
)
def test_workers(devices: int, workers: int, expected: int) -> None:
    assert workers_needed(devices, workers, fit=1000) == expected


@pytest.mark.parametrize(
    ("devices", "workers", "expected"),
    [(999, 0, 1), (1000, 0, 2), (1999, 0, 3), (2000, 4, 4), (9, 4, 3), (10, 9, 4)],
)
def test_workers_for_whole_users(devices: int, workers: int, expected: int) -> None:
    """Three devices each: 999 go into a process for 1,000."""
    assert workers_needed(devices, workers, fit=1000, per_user=3) == expected
    parts = shares(devices, expected, per_user=3)
    assert [part.start % 3 for part in parts] == [0] * expected
    assert sum(map(len, parts)) == devices
    assert 0 < min(map(len, parts)) <= max(map(len, parts)) <= 999


def test_a_user_with_too_many_devices() -> None:
    with pytest.raises(ConfigError, match=r"--devices-per-user 1001: .* room for 1000"):
        workers_needed(2002, 0, fit=1000, per_user=1001)


def test_too_few_workers_or_too_many() -> None:
    with pytest.raises(ConfigError, match=r"may open 1256\. Give --workers 3, or raise the limit"):
        workers_needed(2001, 2, fit=1000)
    with pytest.raises(ConfigError, match=r"Give at most 200000, or raise .*ulimit -Hn 10000256"):
        workers_needed(10**7, 0, fit=1000)
    with pytest.raises(ConfigError, match="Give at most 0"):
        workers_needed(10**7, 0, fit=0)


@pytest.mark.parametrize(
    ("devices", "workers", "expected"),
    [
        (1, 1, [range(1)]),
        (10, 3, [range(3), range(3, 6), range(6, 10)]),
        (2, 2, [range(1), range(1, 2)]),
    ],
)
def test_shares(devices: int, workers: int, expected: list[range]) -> None:
    assert shares(devices, workers) == expected
