from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import replace

import pytest

from trio_push.config import ServeSettings
from trio_push.errors import ConfigError
from trio_push.listeners import Listeners, url_of
from trio_push.sockets import PROBE_AGAIN_S, PROBE_S, USER_TIMEOUT_MS

SETTINGS = ServeSettings(
    listen=("127.0.0.1:0", "[::1]:0"), tls_listen=("127.0.0.1:0",), tls_dev=True, api="127.0.0.1:0"
)


def test_another_process_has_the_same_ones() -> None:
    with ExitStack() as files:
        ours = Listeners.open(SETTINGS, files)
        theirs = Listeners.inherit([os.dup(each.fileno()) for each in ours], 2, 1, files)
        assert theirs.api is not None
        assert [each.getsockname() for each in theirs] == [each.getsockname() for each in ours]
        assert (len(theirs.plain), len(theirs.tls)) == (2, 1)
        assert url_of("http", theirs.plain[1]).startswith("http://[::1]:")
    assert all(each.fileno() < 0 for each in (*ours, *theirs))


def test_without_an_api() -> None:
    with ExitStack() as files:
        ours = Listeners.open(ServeSettings(listen=("127.0.0.1:0",), api="off"), files)
        assert ours.api is None
        fds = [os.dup(each.fileno()) for each in ours]
        assert Listeners.inherit(fds, 1, 0, files).api is None


def test_those_that_could_be_had_are_closed_when_one_cannot() -> None:
    with ExitStack() as files:
        taken = Listeners.open(SETTINGS, files)
        address = url_of("http", taken.plain[0]).removeprefix("http://")
        with ExitStack() as others, pytest.raises(ConfigError, match=address):
            Listeners.open(ServeSettings(listen=("127.0.0.1:0", address), api="off"), others)


@pytest.mark.parametrize(("keepalive_s", "probes"), [(30.0, 0), (0.0, 1)])
def test_the_kernel_asks_who_is_silent_only_where_nobody_else_does(
    keepalive_s: float, probes: int
) -> None:
    """Probes of a million connections that went out at one moment were dropped on loopback."""
    with ExitStack() as files:
        settings = replace(SETTINGS, keepalive_s=keepalive_s)
        for sock in Listeners.open(settings, files):
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == probes


def test_several_probes_may_be_lost() -> None:
    """Linux ends a connection at the next probe once TCP_USER_TIMEOUT is over."""
    assert 1000 * (PROBE_S + 2 * PROBE_AGAIN_S) < USER_TIMEOUT_MS
