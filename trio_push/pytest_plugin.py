"""Fixtures for pytest, there for every project in which trio-push is installed.

push_server            a push server in a thread of its own: for plain tests, and for asyncio
trio_push_server       one in the loop of the test, where pytest-trio is installed
push_server_settings   override it to give either of them other settings

Nothing of the server is imported before a test asks for one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from trio_push.testing import PushServer, ThreadedPushServer


@pytest.fixture
def push_server_settings() -> dict[str, Any]:
    """Settings of the push server, by the names of their fields."""
    return {}


@pytest.fixture
def push_server(push_server_settings: dict[str, Any]) -> Iterator[ThreadedPushServer]:
    """A push server in a thread of its own."""
    from trio_push.testing import push_server_in_thread

    with push_server_in_thread(**push_server_settings) as server:
        yield server


if find_spec("pytest_trio") is not None:
    from pytest_trio import trio_fixture  # type: ignore[import-untyped]

    @trio_fixture  # type: ignore[untyped-decorator]  # it has no types
    async def trio_push_server(
        push_server_settings: dict[str, Any],
    ) -> AsyncIterator[PushServer]:
        """A push server in the loop of the test."""
        from trio_push.testing import push_server

        async with push_server(**push_server_settings) as server:
            yield server
