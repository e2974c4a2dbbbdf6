"""httpx-sse, on every way of HTTP to the server: the same event stream."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from httpx_sse import ServerSentEvent, SSEError, connect_sse

from tests.interop.conftest import WAYS
from tests.interop.running import Running

ORIGIN = {"origin": "http://page.example"}


@pytest.mark.parametrize("way", WAYS)
def test_events(
    launch: Callable[..., Running],
    open_way: Callable[[Running, str], httpx.Client],
    token: str,
    way: str,
) -> None:
    server = launch(keepalive_s=0.01)
    with (
        open_way(server, way) as client,
        connect_sse(client, "GET", f"/events?token={token}", headers=ORIGIN) as source,
    ):
        assert source.response.status_code == 200
        assert source.response.headers["content-type"] == "text/event-stream"
        assert source.response.headers["cache-control"] == "no-cache"
        assert source.response.headers["access-control-allow-origin"] == "*"
        client.post(f"/3/device/{token}", content='{"mdm":"mágic"}'.encode())
        # Longer than the sweep takes to come round: keep-alives stand between the two.
        server.sleep(0.3)
        server.push(token, "one\r\ntwo\n\nfour")
        server.push(token, "named", event="wake")
        # Once there was an id, httpx-sse makes an empty message of a comment.
        events = (event for event in source.iter_sse() if essence(event) != ("message", ""))
        seen = [next(events) for _ in range(3)]
    assert [essence(event) for event in seen] == [
        ("ping", '{"mdm":"mágic"}'),
        ("message", "one\ntwo\n\nfour"),
        ("wake", "named"),
    ]
    epochs, numbers = zip(*(event.id.split(":") for event in seen), strict=True)
    assert len(set(epochs)) == 1
    assert sorted(set(map(int, numbers))) == [*map(int, numbers)]


def essence(event: ServerSentEvent) -> tuple[str, str]:
    return event.event, event.data


@pytest.mark.parametrize("way", WAYS)
def test_what_waited_comes_on_connect(
    ways: dict[str, httpx.Client], server: Running, token: str, way: str
) -> None:
    client = ways[way]
    for topic in ("a", "b", "b"):
        headers = {"apns-topic": topic}
        client.post(f"/3/device/{token}", content=topic.encode(), headers=headers)
    with connect_sse(client, "GET", f"/events?token={token.upper()}") as source:
        events = source.iter_sse()
        assert [next(events).data for _ in range(2)] == ["a", "b"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["drop", "unregister"])
def test_a_stream_that_the_server_ends_is_no_error(
    ways: dict[str, httpx.Client], server: Running, token: str, way: str, end: str
) -> None:
    with connect_sse(ways[way], "GET", f"/events?token={token}") as source:
        server.push(token, "last")
        getattr(server, end)(token)
        assert [event.data for event in source.iter_sse()] == ["last"]


def test_refusals(ways: dict[str, httpx.Client], server: Running, token: str) -> None:
    since = server.unregister(token)
    refused = {
        "/events": (400, {"reason": "MissingDeviceToken"}),
        "/events?token=": (400, {"reason": "MissingDeviceToken"}),
        "/events?token=xyz": (400, {"reason": "BadDeviceToken"}),
        f"/events?token={token}": (410, {"reason": "Unregistered", "timestamp": since}),
    }
    for way, client in ways.items():
        for path, expected in refused.items():
            with connect_sse(client, "GET", path, headers=ORIGIN) as source:
                response = source.response
                response.read()
                assert (response.status_code, response.json()) == expected, way
                assert response.headers["access-control-allow-origin"] == "*"
                with pytest.raises(SSEError):
                    next(source.iter_sse())


@pytest.mark.parametrize("way", WAYS)
def test_no_place(
    launch: Callable[..., Running],
    open_way: Callable[[Running, str], httpx.Client],
    token: str,
    way: str,
) -> None:
    server = launch(max_connections=1)
    with open_way(server, way) as client:
        with connect_sse(client, "GET", f"/events?token={token}"):
            server.connection(token)
            answer = client.get("/events?token=ab")
        assert (answer.status_code, answer.json()) == (503, {"reason": "ServiceUnavailable"})
        assert int(answer.headers["retry-after"]) > 0
