from __future__ import annotations

import pytest
import trio

from tests.apns.fake_host import FakeHost


@pytest.fixture
def host(nursery: trio.Nursery) -> FakeHost:
    return FakeHost(nursery)
