"""What is special here: each test runs once per transport, or for the one of --transport only."""

from __future__ import annotations

import pytest

TRANSPORTS = ("sse", "ws")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "transport" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("transport")
        metafunc.parametrize("transport", [chosen] if chosen else TRANSPORTS)
