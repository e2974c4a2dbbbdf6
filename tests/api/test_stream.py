"""`POST /v1/pushes`: lines in, lines out, for as long as the client likes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.api.conftest import Running, make_node, serving
from tests.api.http2_client import Http2Client
from trio_push.api import stream as stream_module
from trio_push.api.asgi import HIGH_WATER, PacedBody, ResponseAborted
from trio_push.api.base import Api
from trio_push.api.ndjson import Line
from trio_push.api.stream import AnswerStream
from trio_push.config import ServeSettings

NDJSON = {"Content-Type": "application/x-ndjson"}
LINE = b'{"token":"aa","payload":"hello"}\n'


async def post(client: httpx.AsyncClient, content: Any) -> list[dict[str, Any]]:
    response = await client.post("/v1/pushes", content=content, headers=NDJSON)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


async def test_each_line_has_its_answer(api: Running, client: httpx.AsyncClient) -> None:
    api.connect("aa")
    answers = await post(
        client,
        b'{"token":"aa","payload":1,"id":"x"}\n\n'
        b'{"token":"bb","payload":1,"id":"y","delay_s":9}\r\n'
        b"{\n"
        b'{"token":"aa","payload":1,"id":"x"}\n'
        b'{"token":"bb","payload":1,"id":"z","ttl_s":0}',
    )
    problem = answers[2].pop("error")
    assert (problem["status"], problem["type"]) == (400, "about:blank")
    assert answers == [
        {"line": 1, "id": "x", "outcome": "delivered"},
        {"line": 3, "id": "y", "outcome": "delayed"},
        {"line": 4},
        {"line": 5, "id": "x", "outcome": "delivered", "duplicate": True},
        {"line": 6, "id": "z", "outcome": "discarded"},
    ]


async def test_answers_come_while_the_client_writes(api: Running, http2: Http2Client) -> None:
    head = {":method": "POST", ":path": "/v1/pushes", "content-type": "application/x-ndjson"}
    stream = await http2.request(head, end=False)
    for n in range(1, 4):
        http2.h2.send_data(stream, LINE[:10])
        http2.h2.send_data(stream, LINE[10:])
        await http2.flush()
        while http2.bodies.get(stream, b"").count(b"\n") < n:
            assert await http2.read()
    assert stream not in http2.ended
    http2.h2.end_stream(stream)
    await http2.flush()
    assert await http2.status(stream) == 200


async def test_answers_come_while_the_client_writes_http1(api: Running) -> None:
    async with await trio.open_tcp_stream(api.host, api.port) as stream:
        await stream.send_all(
            b"POST /v1/pushes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/x-ndjson\r\n\r\n"
        )
        received = b""
        for n in range(1, 4):
            await stream.send_all(b"%x\r\n%s\r\n" % (len(LINE), LINE))
            while received.count(b'"outcome"') < n:
                received += await stream.receive_some()
        await stream.send_all(b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        while b'"ok"' not in received:
            received += await stream.receive_some()


async def test_a_client_may_write_everything_before_it_reads(
    api: Running, client: httpx.AsyncClient
) -> None:
    # httpx does over HTTP/1.1; over HTTP/2 its window for answers is 64 KiB
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield LINE * 400

    answers = await post(client, chunks())
    assert [answer["line"] for answer in answers] == list(range(1, 20_001))
    assert api.node.ledger.accepted == 20_000


@pytest.mark.filterwarnings("ignore:Async generator")  # httpx stops sending
async def test_a_stream_takes_as_long_as_it_likes(
    monkeypatch: pytest.MonkeyPatch, api: Running, client: httpx.AsyncClient
) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield LINE
            await trio.sleep(0.1)

    assert len(await post(client, slowly())) == 4
    # The limits hold for everything else.
    headers = {"Content-Type": "application/json"}
    response = await client.post("/v1/push", content=slowly(), headers=headers)
    assert response.status_code == 408
    assert response.headers["content-type"] == "application/problem+json"


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if request.function is test_a_stream_takes_as_long_as_it_likes:
        limits = {"BODY_TIMEOUT": 0.15, "RESPONSE_TIMEOUT": 0.15, "MAX_CONTENT_LENGTH": 50}
        monkeypatch.setattr(Api, "default_config", {**Api.default_config, **limits})


async def test_no_room_and_shutdown_are_answers_of_lines() -> None:
    node = make_node(ServeSettings(store_total=1))

    async def lines() -> AsyncIterator[bytes]:
        yield LINE + LINE
        while not node.ledger.refused["ServiceUnavailable"]:
            await trio.sleep(0.01)
        node.phase = "draining"
        yield LINE

    async with serving(node) as api, httpx.AsyncClient(base_url=api.url) as client:
        answers = await post(client, LINE)
        answers += await post(client, lines())
    reasons = [answer.get("error", {}).get("reason") for answer in answers]
    assert reasons == [None, "ServiceUnavailable", "ServiceUnavailable", "Shutdown"]
    assert node.ledger.refused == {"ServiceUnavailable": 2, "Shutdown": 1}


async def test_the_end_of_the_server_ends_streams(api: Running, http2: Http2Client) -> None:
    head = {":method": "POST", ":path": "/v1/pushes", "content-type": "application/x-ndjson"}
    over_h2 = await http2.request(head, end=False)
    http2.h2.send_data(over_h2, LINE + LINE[:5])
    await http2.flush()
    async with await trio.open_tcp_stream(api.host, api.port) as over_h1:
        await over_h1.send_all(
            b"POST /v1/pushes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/x-ndjson\r\n\r\n%x\r\n%s\r\n" % (len(LINE), LINE)
        )
        while api.node.ledger.accepted < 2:
            await trio.sleep(0.01)
        api.shutdown.set()
        received = b"".join([chunk async for chunk in over_h1])
    assert received.count(b'"outcome"') == 1
    assert received.endswith(b"\r\n0\r\n\r\n")
    assert await http2.status(over_h2) == 200
    assert http2.bodies[over_h2].count(b"\n") == 1
    await api.wait_ended()


# -- the two tasks of an answer


class Pushing:
    """Stands in for the lines' pusher: answers in capitals."""

    def __init__(self) -> None:
        self.lines: list[bytes | None] = []

    async def __call__(self, lines: Sequence[Line]) -> bytes:
        await trio.lowlevel.checkpoint()
        self.lines += [line.data for line in lines]
        return b"".join((line.data or b"").upper() + b"\n" for line in lines)


class Parts(NamedTuple):
    body: PacedBody
    pushing: Pushing
    shutdown: trio.Event
    stream: AnswerStream


def parts() -> Parts:
    body, pushing, shutdown = PacedBody(None, None), Pushing(), trio.Event()
    return Parts(body, pushing, shutdown, AnswerStream(body, pushing, shutdown))


async def test_it_ends_with_the_body() -> None:
    body, _, _, stream = parts()
    body.append(b"a\nb")
    body.set_complete()
    async with stream as answers:
        assert [answer async for answer in answers] == [b"A\n", b"B\n"]


async def test_it_ends_at_shutdown_without_the_line_that_was_begun() -> None:
    body, _, shutdown, stream = parts()
    body.append(b"a\nb")
    async with stream as answers:
        assert await anext(answers) == b"A\n"
        shutdown.set()
        assert [answer async for answer in answers] == []


async def test_long_input_is_pushed_in_slices() -> None:
    body, _, _, stream = parts()
    body.append(b"a\n" * (stream_module.SLICE + 1))
    async with stream as answers:
        assert len(await anext(answers)) == 2 * stream_module.SLICE
        assert await anext(answers) == b"A\n"


async def test_answers_are_held_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "ANSWERS_HELD", 5)
    body, pushing, _, stream = parts()
    async with stream as answers:
        for letter in (b"a\n", b"b\n", b"c\n", b"d\n", b"e\n"):
            await wait_all_tasks_blocked()
            body.append(letter)
        await wait_all_tasks_blocked()
        assert pushing.lines == [b"a", b"b", b"c"]
        assert await anext(answers) == b"A\n"
        await wait_all_tasks_blocked()
        assert len(pushing.lines) == 3, "the first is being sent: it is still held"
        assert await anext(answers) == b"B\n"
        await wait_all_tasks_blocked()
        assert len(pushing.lines) == 5


async def test_a_client_that_stopped_reading_is_given_up(autojump_clock: MockClock) -> None:
    body, _, _, stream = parts()
    body.append(b"a\n")
    with pytest.raises(ResponseAborted):
        async with stream as answers:
            await anext(answers)
            await trio.sleep_forever()
    assert trio.current_time() <= 2 * stream_module.STALLED_S


async def test_a_client_that_writes_for_long_is_not(autojump_clock: MockClock) -> None:
    body, _, _, stream = parts()
    async with stream as answers:
        for _ in range(10):
            body.append(b"a\n")
            await trio.sleep(stream_module.STALLED_S - 1)
        body.set_complete()
        assert len([answer async for answer in answers]) == 10


async def test_nor_one_that_has_nothing_to_read(autojump_clock: MockClock) -> None:
    body, _, _, stream = parts()
    async with stream as answers:
        body.append(b"a\n")
        assert await anext(answers) == b"A\n"
        with trio.move_on_after(10 * stream_module.STALLED_S):
            await anext(answers)
        body.set_complete()
        assert [answer async for answer in answers] == []


# -- the body that makes its sender wait


async def test_a_body_waits_for_its_reader(nursery: trio.Nursery) -> None:
    body = PacedBody(None, None)
    body.append(b"x" * HIGH_WATER)
    await body.wait_room()
    body.append(b"x")
    there_is_room = trio.Event()

    async def wait() -> None:
        await body.wait_room()
        there_is_room.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    assert not there_is_room.is_set()
    await anext(aiter(body))
    await wait_all_tasks_blocked()
    assert there_is_room.is_set()


async def test_a_body_that_is_awaited_whole_does_not() -> None:
    body = PacedBody(None, None)

    async def feed() -> None:
        for _ in range(5):
            body.append(b"x" * HIGH_WATER)
            await body.wait_room()
        body.set_complete()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        assert len(await body) == 5 * HIGH_WATER
