"""As many streams as a connection has, and more: h2load, and python-h2 against the rules."""

from __future__ import annotations

import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import h2.connection
import h2.events
import h2.settings
import pytest
from h2.errors import ErrorCodes

from tests.interop.conftest import run
from tests.interop.running import Running
from tests.serving import PATIENCE_S

PUSHES = 3000
ADVERTISED = 1000
MAX_STREAMS = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS


@pytest.mark.needs("h2load")
@pytest.mark.parametrize("over", ["plain", "tls"])
@pytest.mark.parametrize(
    "shape",
    ["-c1 -m1000", "-c1 -m1500", "-c4 -m100", "--h1 -c1 -m1", "--h1 -c2 -m200"],
)
def test_h2load(
    tool: Callable[[str], str],
    server: Running,
    token: str,
    tmp_path: Path,
    over: str,
    shape: str,
) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(b'{"mdm":"magic"}')
    before = server.books()["accepted"]
    url = f"{server.plain if over == 'plain' else server.tls}/3/device/{token}"
    out = run(
        tool("h2load"), *shape.split(), f"-n{PUSHES}", f"-d{payload}", "-Happns-expiration: 0", url
    )
    assert f"{PUSHES} done, {PUSHES} succeeded, 0 failed, 0 errored, 0 timeout" in out
    assert f"status codes: {PUSHES} 2xx" in out
    protocol = {"plain": "h2c", "tls": "h2"}[over]
    assert re.search(
        rf"^Application protocol: {'http/1.1' if '--h1' in shape else protocol}$", out, re.MULTILINE
    )
    assert server.books()["accepted"] - before == PUSHES


class Reckless:
    """A client of python-h2's that heeds no limit on streams."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._h2 = h2.connection.H2Connection()
        self._h2.initiate_connection()
        self.answers: Counter[str] = Counter()
        self.refused: set[int] = set()

    def exchange(self, until: Callable[[], bool]) -> None:
        """Talk to the server until that holds."""
        while True:
            self._sock.sendall(self._h2.data_to_send())
            if until():
                return
            data = self._sock.recv(65_536)
            assert data, "the connection was closed"
            for event in self._h2.receive_data(data):
                if isinstance(event, h2.events.RemoteSettingsChanged):
                    assert event.changed_settings[MAX_STREAMS].new_value == ADVERTISED
                    self._h2.remote_settings[MAX_STREAMS] = 2**31 - 1
                    self._h2.remote_settings.acknowledge()
                elif isinstance(event, h2.events.ResponseReceived):
                    self.answers[dict(event.headers)[b":status"].decode()] += 1
                elif isinstance(event, h2.events.StreamReset):
                    assert event.error_code is ErrorCodes.REFUSED_STREAM
                    self.refused.add(event.stream_id)
                assert not isinstance(event, h2.events.ConnectionTerminated)

    @property
    def has_settings(self) -> bool:
        return self._h2.remote_settings.max_concurrent_streams > ADVERTISED

    def open(self, token: str) -> int:
        stream_id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(
            stream_id,
            [
                (":method", "POST"),
                (":scheme", "https"),
                (":authority", "localhost"),
                (":path", f"/3/device/{token}"),
                ("apns-expiration", "0"),
            ],
        )
        return stream_id

    def finish(self, stream_id: int) -> None:
        self._h2.send_data(stream_id, b"{}", end_stream=True)


@pytest.mark.parametrize("over", ["plain", "tls"])
def test_streams_beyond_the_limit_are_refused_and_harm_nothing(
    server: Running, trust: ssl.SSLContext, token: str, over: str
) -> None:
    url = urlsplit(server.plain if over == "plain" else server.tls)
    with socket.create_connection((url.hostname, url.port), timeout=PATIENCE_S) as sock:
        if over == "tls":
            sock = trust.wrap_socket(sock, server_hostname=url.hostname)
        client = Reckless(sock)
        client.exchange(lambda: client.has_settings)
        streams = [client.open(token) for _ in range(ADVERTISED + 500)]
        client.exchange(lambda: len(client.refused) == 500)
        assert client.refused == set(streams[ADVERTISED:])
        for stream_id in streams[:ADVERTISED]:
            client.finish(stream_id)
        client.exchange(lambda: client.answers.total() == ADVERTISED)
        client.finish(client.open(token))
        client.exchange(lambda: client.answers.total() == ADVERTISED + 1)
        assert client.answers == {"200": ADVERTISED + 1}
        sock.close()
