"""A push server for tests of one's own: what was pushed, what is to go wrong, TLS to trust.

    async with push_server() as server:           # trio
    with push_server_in_thread() as server:       # asyncio, or no loop at all

Point the code under test at `server.url` or `server.tls_url`. pytest gets both as fixtures: see
`trio_push.pytest_plugin`.
"""

from trio_push.faults.actions import (
    Delay,
    DisconnectDevice,
    Duplicate,
    GoAway,
    Hold,
    Lose,
    MaxStreams,
    RefuseConnection,
    Reorder,
    ResetStream,
    SlowDevice,
    Status,
    TcpReset,
)
from trio_push.faults.latency import Fixed, LogNormal, Uniform
from trio_push.testing.credentials import ProviderCredentials
from trio_push.testing.record import NotReceived, Received
from trio_push.testing.server import PushServer, push_server
from trio_push.testing.threaded import ThreadedPushServer, push_server_in_thread

__all__ = [
    "Delay",
    "DisconnectDevice",
    "Duplicate",
    "Fixed",
    "GoAway",
    "Hold",
    "LogNormal",
    "Lose",
    "MaxStreams",
    "NotReceived",
    "ProviderCredentials",
    "PushServer",
    "Received",
    "RefuseConnection",
    "Reorder",
    "ResetStream",
    "SlowDevice",
    "Status",
    "TcpReset",
    "ThreadedPushServer",
    "Uniform",
    "push_server",
    "push_server_in_thread",
]
