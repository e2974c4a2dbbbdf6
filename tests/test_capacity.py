from __future__ import annotations

import resource

import pytest

from trio_push.capacity import FILES_KEPT_FREE, Capacity, capacity, file_limit, raise_file_limit

FEW = FILES_KEPT_FREE + 1000


@pytest.mark.parametrize(
    ("max_connections", "files", "devices", "reason"),
    [
        (0, FEW, 1000, "this process may open 1,256 files"),
        (999, FEW, 999, "--max-connections"),
        (1000, FEW, 1000, "--max-connections"),
        (1001, FEW, 1000, "this process may open"),
        (0, 100, 0, "this process may open"),
    ],
)
def test_the_lesser_limit_counts(
    max_connections: int, files: int, devices: int, reason: str
) -> None:
    fits = capacity(max_connections, files)
    assert fits.devices == devices
    assert fits.reason.startswith(reason)


def test_workers_have_the_limit_each() -> None:
    assert capacity(0, FEW, 3) == Capacity(
        3000, "each of 3 workers may open 1,256 files (ulimit -n)"
    )
    assert capacity(2000, FEW, 3) == Capacity(2000, "--max-connections")


def test_the_soft_limit_is_raised_to_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_NOFILE: (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    assert file_limit() == 1024
    assert raise_file_limit() == 4096
    assert file_limit() == 4096
