"""A server of the strict profile, sent anything: each request is answered, or its stream refused;
no answer is a 500, and whatever ends a connection ends nothing else.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import httpx
import msgspec
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.auth import provider
from tests.auth.issuer import base64
from tests.auth.provider import APP, EXPIRED_TOKEN, KEY, TOKEN
from tests.interop.running import Running, running
from tests.serving import PATIENCE_S
from tests.wire.test_http2 import FRAMES, PLAUSIBLE, PREFACE, opened
from trio_push.intake.apns_strict import RULES

REASONS = {rule.reason.name for rule in RULES}
EMPTY_SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("strict")
    (folder / "apns.json").write_bytes(msgspec.json.encode(provider.credentials()))
    strict = {"apns": "strict", "apns_throttle": True}
    with running(folder, **strict, apns_credentials=str(folder / "apns.json")) as server:
        yield server
        assert not server._server._front.failed


def token(**more: int) -> bytes:
    return b"bearer " + provider.provider_token(iat=int(time.time()), **more)


class Asked(NamedTuple):
    """A request as a client may send it."""

    token: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    #: whether it is sent together with the one before it
    at_once: bool


#: of the tokens that are shown some are good, some might be, and some are anything
SHOWN = st.one_of(
    st.sampled_from([token(), token(), b"", b"bearer", b"bearer a.b.c"]),
    st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(
        lambda parts: b"bearer " + b".".join(base64(part) for part in parts)
    ),
    st.binary(max_size=60).map(
        lambda claims: (
            b"bearer %b.%b.AA"
            % (base64(b'{"alg":"ES256","kid":"%b"}' % KEY.encode()), base64(claims))
        )
    ),
)
VALUES = st.one_of(
    st.sampled_from([b"10", b"5", b"alert", b"background", b"voip", b"0", APP.encode(), b"k" * 65]),
    # what HTTP/2 lets through
    st.binary(max_size=70).map(lambda raw: bytes(byte for byte in raw if byte > 32)),
)
NAMES = st.sampled_from(
    [
        *(b"apns-id", b"apns-topic", b"apns-push-type", b"apns-expiration"),
        *(b"apns-priority", b"apns-collapse-id", b"content-type", b"authorization"),
    ]
)
ASKED = st.builds(
    Asked,
    token=st.sampled_from([TOKEN, TOKEN, EXPIRED_TOKEN, "", "ab", "%00"]),
    headers=st.tuples(
        SHOWN.map(lambda shown: (b"authorization", shown)),
        st.just((b"apns-topic", APP.encode())),
    ).flatmap(
        lambda good: st.lists(st.tuples(NAMES, VALUES), max_size=3).map(lambda more: [*good, *more])
    ),
    body=st.one_of(st.just(b"{}"), st.binary(max_size=60), st.just(b"[" * 5200)),
    at_once=st.booleans(),
)


class Client:
    """A client of h2's that heeds no limit on streams."""

    def __init__(self, server: Running) -> None:
        url = urlsplit(server.plain)
        self._sock = socket.create_connection((url.hostname, url.port), timeout=PATIENCE_S)
        config = h2.config.H2Configuration(
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self.statuses: dict[int, int] = {}
        self.bodies: dict[int, bytes] = {}
        self.open: set[int] = set()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def ask(self, asked: Asked) -> None:
        stream_id = self._h2.get_next_available_stream_id()
        self._h2.remote_settings = h2.settings.Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 10**6}
        )
        path = b"/3/device/" + asked.token.encode()
        head = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x")]
        self._h2.send_headers(stream_id, [*head, (b":path", path), *asked.headers])
        self._h2.send_data(stream_id, asked.body, end_stream=True)
        self.open.add(stream_id)

    def finish(self) -> None:
        """Until no request is without an end."""
        self._sock.sendall(self._h2.data_to_send())
        while self.open:
            data = self._sock.recv(65_536)
            assert data, "the server closed the connection"
            for event in self._h2.receive_data(data):
                self._note(event)
            self._sock.sendall(self._h2.data_to_send())

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.statuses[event.stream_id] = int(dict(event.headers)[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = event.data
        elif isinstance(event, h2.events.StreamEnded):
            self.open.remove(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            assert event.error_code is ErrorCodes.REFUSED_STREAM
            self.open.remove(event.stream_id)
        assert not isinstance(event, h2.events.ConnectionTerminated)


@settings(max_examples=60)
@given(sequence=st.lists(ASKED, min_size=1, max_size=6))
def test_any_requests(server: Running, sequence: list[Asked]) -> None:
    with Client(server) as client:
        for asked in sequence:
            if not asked.at_once:
                client.finish()
            client.ask(asked)
        client.finish()
    assert set(client.statuses.values()) <= {200, 400, 403, 410, 413, 429}
    for stream_id, status in client.statuses.items():
        assert (status == 200) == (stream_id not in client.bodies)
    assert {json.loads(body)["reason"] for body in client.bodies.values()} <= REASONS


@settings(max_examples=50)
@given(
    ends=st.lists(st.booleans(), min_size=4, max_size=4),
    sequence=st.lists(st.one_of(PLAUSIBLE, FRAMES), max_size=20),
)
def test_any_frames(server: Running, ends: list[bool], sequence: list[bytes]) -> None:
    """The connection may end; the server does not."""
    url = urlsplit(server.plain)
    with socket.create_connection((url.hostname, url.port), timeout=PATIENCE_S) as sock:
        sock.sendall(PREFACE + EMPTY_SETTINGS + b"".join(opened(ends)) + b"".join(sequence))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65_536):
            pass
    assert httpx.get(f"{server.plain}/healthz", trust_env=False).status_code == 200
