"""Fixtures of a redis-server, for the folders whose tests need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis import RedisServer, redis_server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server
