"""The provider client against a whole server, and against nginx, which nobody here wrote."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.interop.conftest import PUSH_TOPIC, Credentials
from tests.interop.running import Device, Running
from tests.serving import PATIENCE_S
from trio_push.apns import (
    Client,
    Constant,
    Options,
    ProviderToken,
    Request,
    Result,
    Retries,
    Scaling,
    client_context,
    open_client,
)
from trio_push.faults import Match, Rule
from trio_push.faults.actions import (
    Action,
    Delay,
    GoAway,
    MaxStreams,
    RefuseConnection,
    ResetStream,
    Status,
    TcpReset,
)
from trio_push.faults.latency import Uniform


def push_all(url: str, wanted: list[Request], **options: Any) -> list[Result]:
    async def feed(client: Client) -> None:
        async with client.requests:
            for request in wanted:
                await client.requests.send(request)

    async def main() -> list[Result]:
        with trio.fail_after(PATIENCE_S):
            async with (
                open_client(url, Options(**options)) as client,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(feed, client)
                return [result async for result in client.results]

    return trio.run(main)


WAYS = [
    ("plain", "h2"),
    ("plain", "http/1.1"),
    ("plain", "any"),
    ("tls", "h2"),
    ("tls", "http/1.1"),
    ("tls", "any"),
]


@pytest.fixture(params=WAYS, ids=" ".join)
def way(request: pytest.FixtureRequest, server: Running) -> tuple[str, dict[str, Any]]:
    over, http = request.param
    context = client_context(ca=server.ca) if over == "tls" else None
    return getattr(server, over), {"http": http, "context": context}


def test_pushes_reach_their_device_in_order(
    way: tuple[str, dict[str, Any]], server: Running, token: str
) -> None:
    url, options = way
    one = Scaling(law=Constant(), least=1, most=1)
    wanted = [
        Request(token=token, payload=b"%d" % n, topic="t", push_type="mdm", context=n)
        for n in range(300)
    ]
    with Device(server, token) as device:
        results = push_all(url, wanted, scaling=one, **options)
        assert [(result.status, result.request.context) for result in results] == [
            (200, n) for n in range(300)
        ]
        assert device.pings(300) == [b"%d" % n for n in range(300)]


def test_refusals(way: tuple[str, dict[str, Any]], server: Running, token: str) -> None:
    url, options = way
    since = server.unregister(token)
    wanted = [
        Request(token=token, payload=b"{}"),
        Request(token="xyz", payload=b"{}"),
        Request(token="ab", payload=b""),
        Request(token="ab", payload=bytes(4097)),
        Request(token="ab", payload=b"{}", priority=7),
        Request(token="ab", payload=b"{}", id="no uuid"),
        Request(token="ab", payload=b"{}", collapse_id="c" * 65),
    ]
    results = {result.request: result for result in push_all(url, wanted, **options)}
    told = [results[request] for request in wanted]
    assert [(result.status, result.reason, result.timestamp_ms) for result in told] == [
        (410, "Unregistered", since),
        (400, "BadDeviceToken", None),
        (400, "PayloadEmpty", None),
        (413, "PayloadTooLarge", None),
        (400, "BadPriority", None),
        (400, "BadMessageId", None),
        (400, "BadCollapseId", None),
    ]


def test_many_over_several_connections(way: tuple[str, dict[str, Any]], server: Running) -> None:
    url, options = way
    wanted = [Request(token=f"{n:04x}", payload=b"{}", expiration=0) for n in range(2000)]
    several = Scaling(law=Constant(), least=4, most=4)
    results = push_all(url, wanted, scaling=several, **options)
    assert {result.request for result in results if result.is_accepted} == set(wanted)
    assert len(results) == 2000


def test_with_a_certificate_and_with_a_provider_token(
    server: Running, credentials: Credentials
) -> None:
    request = Request(token="ab", payload=b"{}", topic=PUSH_TOPIC)
    context = client_context(ca=server.ca, certificate=str(credentials.certificate))
    (result,) = push_all(server.tls, [request], context=context)
    assert result.is_accepted
    token = ProviderToken.read(str(credentials.token_key), key_id="K" * 10, team_id="T" * 10)
    context = client_context(ca=server.ca)
    (result,) = push_all(server.tls, [request], context=context, authorization=token)
    assert result.is_accepted


def test_a_server_that_is_not_trusted(server: Running) -> None:
    async def main() -> str:
        options = Options(patience_s=0, context=ssl.create_default_context())
        async with open_client(server.tls, options) as client:
            assert [result async for result in client.results] == []
        return str(client.failure)

    assert "self-signed certificate" in trio.run(main) or "unable to get" in trio.run(main)


def test_a_server_that_drains_while_pushes_go_on(
    launch: Callable[..., Running],
) -> None:
    """What it takes it answers; the rest is refused or not sent, and nothing is in doubt."""
    server = launch(drain_s=1.0)
    wanted = [Request(token=f"{n:04x}", payload=b"{}") for n in range(1000)]
    results: list[Result] = []

    async def main() -> None:
        options = Options(patience_s=0.5, rate_per_s=2000)
        async with open_client(server.plain, options) as client:

            async def feed() -> None:
                try:
                    async with client.requests:
                        for request in wanted:
                            await client.requests.send(request)
                except trio.BrokenResourceError:
                    pass

            async with trio.open_nursery() as nursery:
                nursery.start_soon(feed)
                async for result in client.results:
                    results.append(result)
                    if len(results) == 200:
                        nursery.start_soon(trio.to_thread.run_sync, server.drain)
        assert client.statistics().taken == len(results)

    with_patience(main)
    outcomes = Counter(result.outcome for result in results)
    assert outcomes["accepted"] == server.books()["accepted"]
    assert outcomes["unanswered"] == 0


def with_patience(main: Callable[[], Any]) -> None:
    async def bounded() -> None:
        with trio.fail_after(PATIENCE_S):
            await main()

    trio.run(bounded)


#: faults → the outcomes that they leave, besides accepted
FAULTS: list[tuple[list[tuple[Action, dict[str, Any]]], set[str]]] = [
    ([(ResetStream(code="REFUSED_STREAM"), {"share": 0.2})], set()),
    ([(GoAway(last_stream="before"), {"share": 0.02})], set()),
    ([(GoAway(last_stream="at"), {"share": 0.02})], set()),
    ([(GoAway(last_stream="after"), {"share": 0.02})], set()),
    ([(Status(reason="TooManyRequests", status=429), {"share": 0.2})], set()),
    ([(Status(reason="Unregistered", status=410), {"share": 0.2})], {"refused"}),
    ([(ResetStream(), {"share": 0.05})], {"unanswered"}),
    ([(ResetStream(processed=True), {"share": 0.05})], {"unanswered"}),
    ([(TcpReset(), {"share": 0.01})], {"unanswered"}),
    ([(TcpReset(processed=True), {"share": 0.01})], {"unanswered"}),
    ([(RefuseConnection(), {"first": 3})], set()),
    (
        [
            (Delay(latency=Uniform(low_s=0, high_s=0.1)), {}),
            (MaxStreams(streams=1), {"share": 0.02}),
            (MaxStreams(streams=50), {"share": 0.05}),
        ],
        set(),
    ),
]


@pytest.mark.parametrize(
    ("faults", "left"),
    FAULTS,
    ids=lambda value: type(value[0][0]).__name__ if isinstance(value, list) else "",
)
def test_faults_lose_nothing_and_send_nothing_twice(
    launch: Callable[..., Running],
    faults: list[tuple[Action, dict[str, Any]]],
    left: set[str],
) -> None:
    """The host's books bear out what the client says of each push."""
    server = launch()
    rules = [
        Rule(name=f"r{n}", match=Match(**match), action=action)
        for n, (action, match) in enumerate(faults)
    ]
    server.call(lambda: server.node.faults.add(rules, trio.current_time()))
    wanted = [Request(token=f"{n:04x}", payload=b"{}") for n in range(500)]
    results = push_all(
        server.plain,
        wanted,
        retries=Retries(most=10, first_s=0.05),
        max_streams=20,
        first_backoff_s=0.01,
        longest_backoff_s=0.1,
    )
    told = Counter(result.request for result in results)
    assert set(told) == set(wanted)
    assert set(told.values()) == {1}
    outcomes = Counter(result.outcome.value for result in results)
    assert set(outcomes) <= {"accepted"} | left
    taken = server.books()["accepted"]
    assert outcomes["accepted"] <= taken <= outcomes["accepted"] + outcomes["unanswered"]


def _until_accepting(port: int) -> None:
    for _ in range(int(PATIENCE_S / 0.02)):
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)


NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    http2_max_concurrent_streams 16;
    keepalive_requests 100;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} {http2};
        location /3/device/dead {{ return 410 '{{"reason":"Unregistered","timestamp":7}}'; }}
        location /3/device/ {{ return 200; }}
    }}
}}
"""


@pytest.fixture(params=["h2", "http/1.1"])
def nginx(
    request: pytest.FixtureRequest, tool: Callable[[str], str], tmp_path: Path
) -> Iterator[tuple[str, str]]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    http2 = "http2" if request.param == "h2" else ""
    (tmp_path / "nginx.conf").write_text(NGINX.format(port=port, http2=http2))
    command = [tool("nginx"), "-p", str(tmp_path), "-c", "nginx.conf"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _until_accepting(port)
        yield f"http://127.0.0.1:{port}", request.param
    finally:
        process.terminate()
        process.wait()


@pytest.mark.needs("nginx")
def test_a_host_that_ends_each_connection_after_a_hundred_requests(
    nginx: tuple[str, str],
) -> None:
    """With GOAWAY in the midst of others, or Connection: close; none is lost, none sent twice."""
    url, http = nginx
    wanted = [Request(token=f"{n:04x}", payload=b"{}") for n in range(1000)]
    wanted.append(Request(token="dead", payload=b"{}"))
    results = push_all(url, wanted, http=http, patience_s=10)
    told = Counter(result.request for result in results)
    assert set(told) == set(wanted)
    assert set(told.values()) == {1}
    outcomes = Counter(result.outcome.value for result in results)
    assert outcomes == {"accepted": 1000, "refused": 1}
