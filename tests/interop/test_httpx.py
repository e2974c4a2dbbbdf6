"""httpx, on every way of HTTP to the server: each gives the same answer, and nothing ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import pytest

from tests.interop.conftest import WAYS
from tests.interop.running import Device, Running
from trio_push.wire.reasons import REASONS

ID = "5C2b6C28-8ea3-4ffe-AAAA-0123456789ab"
PAYLOAD = '{"mdm":"mágic"}'.encode()


class Answer(NamedTuple):
    """What a response means, whatever the protocol."""

    status: int
    body: bytes
    #: None when it was made up
    apns_id: str | None
    headers: dict[str, str]


def meaning(response: httpx.Response) -> Answer:
    headers = dict(response.headers)
    apns_id = headers.pop("apns-id", None)
    for framing in ("content-length", "connection"):
        headers.pop(framing, None)
    return Answer(response.status_code, response.content, apns_id, headers)


def refusal(reason: str, more: str = "") -> bytes:
    return b'{"reason":"%b"%b}\n' % (reason.encode(), more.encode())


class Case(NamedTuple):
    """A request, and the reason with which it is refused; empty if it is not."""

    reason: str
    path: str = "/3/device/{token}"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = PAYLOAD
    method: str = "POST"

    def __str__(self) -> str:
        (what, *_) = [*(f"{k}={v[:9]}" for k, v in self.headers), self.path.replace("/", ":")]
        return f"{self.reason or 'OK'}-{self.method}-{what}-{len(self.body)}"


def header(name: str, value: str) -> dict[str, Any]:
    return {"headers": (("apns-" + name, value),)}


CASES = [
    Case(""),
    Case("", headers=(("authorization", "bearer x"), ("content-type", "text/plain"))),
    Case("", **header("push-type", "mdm")),
    Case("", **header("push-type", "")),
    Case("", **header("expiration", "0")),
    Case("", **header("expiration", "4102444800")),
    Case("", **header("priority", "5")),
    Case("", **header("topic", "com.apple.mgmt.External.x")),
    Case("", **header("collapse-id", "k" * 64)),
    Case("", path="/3/device/" + "AB" * 100),
    Case("", body=b"m" * 4096),
    Case("", body=b"\0\r\n\xff"),
    Case("BadPath", path="/"),
    Case("BadPath", path="/3/device/ab/cd"),
    Case("BadPath", path="/3/device/{token}?a=b"),
    Case("BadPath", path="/3/devices"),
    Case("BadPath", path="/nowhere", method="GET"),
    Case("BadPath", path="/healthz"),
    *(
        Case("MethodNotAllowed", method=method)
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
    ),
    Case("DuplicateHeaders", headers=(("apns-topic", "a"), ("apns-topic", "b"))),
    Case("DuplicateHeaders", headers=(("apns-id", ID), ("apns-id", ID))),
    Case("BadMessageId", **header("id", ID[1:])),
    Case("InvalidPushType", **header("push-type", "alert")),
    Case("BadExpirationDate", **header("expiration", "tomorrow")),
    Case("BadPriority", **header("priority", "11")),
    Case("BadCollapseId", **header("collapse-id", "k" * 65)),
    Case("MissingDeviceToken", path="/3/device/"),
    Case("BadDeviceToken", path="/3/device/abc"),
    Case("BadDeviceToken", path="/3/device/xyzt"),
    Case("BadDeviceToken", path="/3/device/%61%62"),
    Case("BadDeviceToken", path="/3/device/" + "ab" * 101),
    Case("PayloadEmpty", body=b""),
    Case("PayloadTooLarge", body=b"m" * 4097),
    Case("PayloadTooLarge", body=b"m" * 200_000),
    Case("Unregistered", path="/3/device/dead"),
]

#: those that the server as it is for all tests does not give
ELSEWHERE = {"IdleTimeout", "InternalServerError", "ServiceUnavailable", "Shutdown"}
#: with authentication, which is off here
ELSEWHERE |= {"ExpiredAccessToken", "Forbidden", "InvalidAccessToken", "InvalidProviderToken"}
ELSEWHERE |= {"MissingAccessToken", "MissingProviderToken"}
#: given by the strict profile alone
ELSEWHERE |= {"BadTopic", "DeviceTokenNotForTopic", "MissingTopic", "TopicDisallowed"}
ELSEWHERE |= {"BadCertificate", "BadCertificateEnvironment", "BadEnvironmentKeyIdInToken"}
ELSEWHERE |= {"ExpiredProviderToken", "UnrelatedKeyIdInToken", "TooManyProviderTokenUpdates"}
ELSEWHERE |= {"ExpiredToken", "TooManyRequests"}
#: devices meet these
ELSEWHERE |= {"BadUser", "TooManyDevices"}


@pytest.fixture(scope="module")
def dead_since(server: Running) -> int:
    return server.unregister("dead")


@pytest.mark.parametrize("apns_id", [None, ID], ids=["no-id", "id"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_way_gives_the_same_answer(
    ways: dict[str, httpx.Client], token: str, dead_since: int, case: Case, apns_id: str | None
) -> None:
    headers = [*case.headers]
    if apns_id is not None and "apns-id" not in dict(headers):
        headers.append(("apns-id", apns_id))
    answers = {}
    made_up = set()
    for way, client in ways.items():
        response = client.request(
            case.method, case.path.format(token=token), headers=headers, content=case.body
        )
        assert way.startswith(response.http_version)
        answer = meaning(response)
        if answer.apns_id != apns_id:
            made_up.add(answer.apns_id)
            answer = answer._replace(apns_id=None)
        answers[way] = answer
    one = answers["HTTP/1.1"]
    assert answers == dict.fromkeys(WAYS, one)
    assert len(made_up) == (4 if one.apns_id is None else 0)
    if not case.reason:
        assert one == (200, b"", apns_id, {})
        return
    reason = REASONS[case.reason]
    more = f',"timestamp":{dead_since}' if reason.status == 410 else ""
    expected = {"content-type": "application/json"}
    if reason.status == 405:
        expected["allow"] = "POST"
    body = b"" if case.method == "HEAD" else refusal(case.reason, more)
    assert (one.status, one.body) == (reason.status, body)
    assert one.headers == expected
    echoed = "apns-id" not in dict(case.headers)
    assert one.apns_id == (apns_id if echoed else None)


def test_every_reason_is_asked_for() -> None:
    assert {case.reason for case in CASES} - {""} == REASONS.keys() - ELSEWHERE


@pytest.mark.parametrize("path", ["/healthz", "/stats", "/memstats"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health(ways: dict[str, httpx.Client], method: str, path: str) -> None:
    answers = [meaning(client.request(method, path)) for client in ways.values()]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["content-type"] for answer in answers}) == 1
    assert {bool(answer.body) for answer in answers} == {method == "GET"}


def test_preflight(ways: dict[str, httpx.Client]) -> None:
    """What a browser asks before it lets a page use fetch with headers of its own."""
    asked = {"origin": "http://page.example", "access-control-request-method": "GET"}
    answers = [meaning(c.options("/events", headers=asked)) for c in ways.values()]
    assert answers == [answers[0]] * len(WAYS)
    assert answers[0].status == 204
    assert answers[0].headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "payload", [PAYLOAD, b"m" * 4096, "\ufeff é\u2028🪄\0: ".encode()], ids=["mdm", "long", "odd"]
)
def test_the_payload_reaches_the_device_as_it_is(
    ways: dict[str, httpx.Client], server: Running, token: str, way: str, payload: bytes
) -> None:
    with Device(server, token.upper()) as device:
        assert ways[way].post(f"/3/device/{token}", content=payload).status_code == 200
        assert device.pings(1) == [payload]


@pytest.fixture
def own_ways(
    open_way: Callable[[Running, str], httpx.Client],
) -> Iterator[Callable[[Running], list[httpx.Client]]]:
    """Clients for each way to a server of the test's own."""
    with ExitStack() as stack:
        yield lambda server: [stack.enter_context(open_way(server, way)) for way in WAYS]


def test_no_room(
    launch: Callable[..., Running], own_ways: Callable[[Running], list[httpx.Client]]
) -> None:
    full = launch(store_total=1)
    clients = own_ways(full)
    assert clients[0].post("/3/device/ab", content=PAYLOAD).status_code == 200
    answers = [meaning(client.post("/3/device/cd", content=PAYLOAD)) for client in clients]
    assert {answer.status for answer in answers} == {503}
    assert {answer.body for answer in answers} == {refusal("ServiceUnavailable")}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)


def test_shutting_down(
    launch: Callable[..., Running], own_ways: Callable[[Running], list[httpx.Client]]
) -> None:
    leaving = launch()
    clients = own_ways(leaving)
    for client in clients:
        assert client.get("/healthz").status_code == 200
    leaving.call(leaving.node.push_channel.close)
    answers = [meaning(client.post("/3/device/cd", content=PAYLOAD)) for client in clients]
    assert {answer.status for answer in answers} == {503}
    assert {answer.body for answer in answers} == {refusal("Shutdown")}
