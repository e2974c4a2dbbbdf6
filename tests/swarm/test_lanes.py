"""The lanes against small servers that answer, refuse, hang and break."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hyperframe.frame
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.serving import PATIENCE_S
from tests.swarm.fake_server import Handler, read_request, serving
from trio_push.apns import Bearer
from trio_push.swarm.api_lane import MAX_BATCH, ApiLane
from trio_push.swarm.apns_h2_lane import ApnsHttp2Lane
from trio_push.swarm.apns_lane import ApnsLane
from trio_push.swarm.audit import Audit, Pushes
from trio_push.swarm.lane import Lane, Planned
from trio_push.swarm.provider import Provider
from trio_push.swarm.target import Target

MakeLane = Callable[[Target, Audit, str | None], Lane]


KEY = Bearer("a key")


def apns(target: Target, audit: Audit, topic: str | None) -> Lane:
    return ApnsLane(target, audit, Provider(topic=topic, push_type="alert", authorization=KEY))


def apns_h2(target: Target, audit: Audit, topic: str | None) -> Lane:
    provider = Provider(topic=topic, push_type="alert", authorization=KEY)
    return ApnsHttp2Lane(target, audit, provider)


async def send(
    make: MakeLane,
    target: Target,
    count: int,
    *,
    gives_up: bool = False,
    topic: str = "",
    size: int = 0,
) -> Audit:
    """Send `count` pushes to one device over a lane; the audit tells what became of them.

    With `gives_up` it ends when nothing happens any more.
    """
    audit = Audit(1)
    lane = make(target, audit, topic or None)
    plan, pushes = trio.open_memory_channel[Planned](count)
    for _ in range(count):
        n = audit.plan(0)
        plan.send_nowait(Planned(0, n, "ab12", (b'{"n":%d}' % n).ljust(size)))
    plan.close()
    await run_lane(lane, pushes, gives_up=gives_up)
    return audit


async def run_lane(
    lane: Lane, pushes: trio.MemoryReceiveChannel[Planned], *, gives_up: bool
) -> None:
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:

            async def give_up() -> None:
                await wait_all_tasks_blocked(0.1)
                nursery.cancel_scope.cancel()

            if gives_up:
                nursery.start_soon(give_up)
            await lane.run(pushes)
            nursery.cancel_scope.cancel()


def fates(audit: Audit) -> tuple[int, int, int, int]:
    pushes: Pushes = audit.pushes
    return (pushes.accepted, pushes.refused, pushes.unanswered, pushes.unsent)


OK = b"HTTP/1.1 200 OK\r\napns-id: x\r\nContent-Length: 0\r\n\r\n"
REFUSAL = b'HTTP/1.1 400 x\r\nContent-Length: 27\r\n\r\n{"reason":"BadDeviceToken"}'


def answering(*answers: bytes, requests: list[bytes] | None = None) -> Handler:
    """Answers the requests on all connections with `answers`, in turn.

    After one that does not say where it ends the connection is closed.
    """
    rest = list(answers)

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        while request:
            if requests is not None:
                requests.append(request)
            answer = rest.pop(0)
            await stream.send_all(answer)
            if b"Content-Length" not in answer and b"chunked" not in answer:
                return
            request = await read_request(stream)

    return handler


class TestApnsOverHttp1:
    async def test_requests(self) -> None:
        requests: list[bytes] = []
        async with serving(answering(OK, OK, requests=requests)) as target:
            audit = await send(apns, target, 2, topic="com.example")
        assert fates(audit) == (2, 0, 0, 0)
        head, _, body = requests[1].partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "POST /3/device/ab12 HTTP/1.1"
        assert set(lines[1:]) == {
            f"Host: {target.authority}",
            "Content-Type: application/json",
            "apns-push-type: alert",
            "Authorization: Bearer a key",
            "apns-topic: com.example",
            "Content-Length: 7",
        }
        assert body == b'{"n":2}'

    async def test_refusals(self) -> None:
        busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
        async with serving(answering(REFUSAL, busy, REFUSAL, OK)) as target:
            audit = await send(apns, target, 4)
        assert fates(audit) == (1, 3, 0, 0)
        assert audit.pushes.reasons == {"BadDeviceToken": 2, "status 503": 1}

    async def test_connection_that_breaks(self) -> None:
        """The push on it is unanswered; the next one goes over a new connection."""
        async with serving(answering(OK, b"", OK, b"garbage\r\n\r\n", OK, OK[:9], OK)) as target:
            audit = await send(apns, target, 7)
        assert fates(audit) == (4, 0, 3, 0)

    async def test_server_that_closes_after_each_answer(self) -> None:
        close = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        to_the_end = b"HTTP/1.0 200 OK\r\n\r\nbody"
        async with serving(answering(close, to_the_end, close)) as target:
            audit = await send(apns, target, 3)
        assert fates(audit) == (3, 0, 0, 0)

    async def test_server_that_closes_idle_connections(self) -> None:
        """Nothing was under way: no push is lost to it."""

        async def handler(stream: trio.SocketStream, request: bytes) -> None:
            await stream.send_all(OK)

        async with serving(handler) as target:
            audit = Audit(1)
            plan, pushes = trio.open_memory_channel[Planned](0)
            async with trio.open_nursery() as nursery, plan:
                nursery.start_soon(apns(target, audit, None).run, pushes)
                for _ in range(3):
                    await plan.send(Planned(0, audit.plan(0), "ab12", b"{}"))
                    await trio.sleep(0.05)
                plan.close()
        assert fates(audit) == (3, 0, 0, 0)

    async def test_server_that_hangs(self) -> None:
        async def handler(stream: trio.SocketStream, request: bytes) -> None:
            await trio.sleep_forever()

        async with serving(handler) as target:
            audit = await send(apns, target, 3, gives_up=True)
        # the other two were never taken: the driver counts them
        assert fates(audit) == (0, 0, 1, 0)

    async def test_nobody_listens(self) -> None:
        async with serving(answering()) as target:
            pass
        audit = await send(apns, target, 2, gives_up=True)
        assert fates(audit) == (0, 0, 0, 1)


class TestApi:
    async def test_requests_and_answers(self) -> None:
        requests: list[bytes] = []
        answers = (
            b'{"line":1,"id":"x","outcome":"delivered"}\n'
            b'{"line":2,"error":{"type":"/docs#BadDeviceToken","title":"t","status":400}}\n'
            b'{"line":3,"error":"what"}\n'
            b"nonsense\n"
        )
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        async with serving(
            answering(answer % (len(answers), answers), requests=requests)
        ) as target:
            audit = await send(ApiLane, target, 5, topic='a"b')
        assert fates(audit) == (1, 2, 2, 0)
        assert audit.pushes.reasons == {"BadDeviceToken": 1, "refused": 1}
        head, _, body = requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/pushes HTTP/1.1\r\n")
        assert [json.loads(line) for line in body.splitlines()] == [
            {"token": "ab12", "payload": {"n": n}, "topic": 'a"b'} for n in range(1, 6)
        ]

    async def test_delay(self) -> None:
        requests: list[bytes] = []
        async with serving(answering(OK, requests=requests)) as target:
            lane = ApiLane(target, Audit(1), None, delay_s=2.5)
            assert lane.delay_s == 2.5
            await send(lambda *_: lane, target, 1)
        assert json.loads(requests[0].partition(b"\r\n\r\n")[2])["delay_s"] == 2.5

    async def test_batches_have_an_end(self) -> None:
        requests: list[bytes] = []
        async with serving(answering(OK, OK, OK, requests=requests)) as target:
            await send(ApiLane, target, 2 * MAX_BATCH + 1)
        assert [request.count(b'"token"') for request in requests] == [MAX_BATCH, MAX_BATCH, 1]

    async def test_request_that_is_refused(self) -> None:
        async with serving(answering(REFUSAL)) as target:
            audit = await send(ApiLane, target, 3)
        assert (fates(audit), audit.pushes.reasons) == ((0, 3, 0, 0), {"status 400": 3})

    async def test_connection_that_breaks(self) -> None:
        async with serving(answering(b"")) as target:
            audit = await send(ApiLane, target, 3)
        assert fates(audit) == (0, 0, 3, 0)

    @pytest.mark.parametrize("status", ["200 OK", "400 x"])
    async def test_cancelled(self, status: str) -> None:
        async with serving(answering(f"HTTP/1.1 {status}\r\n".encode())) as target:
            audit = await send(ApiLane, target, 3, gives_up=True)
        assert fates(audit) == (0, 0, 3, 0)


class H2Server:
    """Answers each push as `answer` says; counts connections and the most open streams."""

    def __init__(
        self,
        answer: Callable[[h2.connection.H2Connection, int, int], None],
        *,
        max_streams: int = 100,
        window: int = 65_535,
    ) -> None:
        self._answer = answer
        self._settings = {
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: max_streams,
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window,
        }
        self.connections = 0
        self.pushes = 0
        self.most_open = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.bodies: list[bytes] = []

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        with suppress(trio.BrokenResourceError):
            await self._serve(stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        conn = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        conn.local_settings = h2.settings.Settings(client=False, initial_values=self._settings)
        conn.initiate_connection()
        async with stream:
            while True:
                await stream.send_all(conn.data_to_send())
                data = await stream.receive_some()
                if not data:
                    return
                for event in conn.receive_data(data):
                    self._take(conn, event)
                self.most_open = max(self.most_open, conn.open_inbound_streams)
                if conn.state_machine.state is h2.connection.ConnectionState.CLOSED:
                    await stream.send_all(conn.data_to_send())
                    return

    def _take(self, conn: h2.connection.H2Connection, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.headers = list(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies.append(event.data)
            conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.pushes += 1
            self._answer(conn, event.stream_id, self.pushes)


def accept(conn: h2.connection.H2Connection, stream_id: int, n: int) -> None:
    conn.send_headers(stream_id, [(":status", "200"), ("apns-id", "x")], end_stream=True)


def refuse(conn: h2.connection.H2Connection, stream_id: int, n: int) -> None:
    conn.send_headers(stream_id, [(":status", "410")])
    conn.send_data(stream_id, b'{"reason":"Unregistered"}', end_stream=True)


class TestApnsOverHttp2:
    async def send(
        self, server: H2Server, count: int, *, gives_up: bool = False, **how: Any
    ) -> Audit:
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, server.handle, listeners)
            address = listeners[0].socket.getsockname()
            target = Target("http", "localhost", address[1], "", trio.socket.AF_INET, address)
            audit = await send(apns_h2, target, count, gives_up=gives_up, **how)
            nursery.cancel_scope.cancel()
        return audit

    async def test_requests(self) -> None:
        server = H2Server(accept)
        audit = await self.send(server, 2, topic="com.example")
        assert fates(audit) == (2, 0, 0, 0)
        headers = dict(server.headers)
        assert headers.pop(b":authority").startswith(b"localhost:")
        assert headers == {
            b":method": b"POST",
            b":scheme": b"http",
            b":path": b"/3/device/ab12",
            b"content-type": b"application/json",
            b"apns-push-type": b"alert",
            b"authorization": b"Bearer a key",
            b"apns-topic": b"com.example",
        }
        assert server.bodies == [b'{"n":1}', b'{"n":2}']

    async def test_refusals(self) -> None:
        audit = await self.send(H2Server(refuse), 3)
        assert (fates(audit), audit.pushes.reasons) == ((0, 3, 0, 0), {"Unregistered": 3})

    @pytest.mark.parametrize("max_streams", [1, 7, 100])
    async def test_no_more_streams_than_allowed(self, max_streams: int) -> None:
        held: list[int] = []

        def answer_in_bulk(conn: h2.connection.H2Connection, stream_id: int, n: int) -> None:
            held.append(stream_id)
            if len(held) == max_streams or n == 200:
                for each in held:
                    accept(conn, each, n)
                held.clear()

        server = H2Server(answer_in_bulk, max_streams=max_streams)
        audit = await self.send(server, 200)
        assert fates(audit) == (200, 0, 0, 0)
        assert server.most_open <= max_streams
        assert server.connections == 1

    async def test_more_bytes_than_the_window_holds(self) -> None:
        audit = await self.send(H2Server(accept), 100, size=4096)
        assert fates(audit) == (100, 0, 0, 0)

    async def test_streams_that_are_reset(self) -> None:
        def reset(conn: h2.connection.H2Connection, stream_id: int, n: int) -> None:
            refused, internal = h2.errors.ErrorCodes.REFUSED_STREAM, 2
            conn.reset_stream(stream_id, refused if n == 1 else internal)

        audit = await self.send(H2Server(reset), 3)
        assert (fates(audit), audit.pushes.reasons) == ((0, 1, 2, 0), {"REFUSED_STREAM": 1})

    async def test_reset_after_the_answer(self) -> None:
        def answer_and_reset(conn: h2.connection.H2Connection, stream_id: int, n: int) -> None:
            conn.send_headers(stream_id, [(":status", "200")], end_stream=True)
            frame = hyperframe.frame.RstStreamFrame(stream_id)
            conn._data_to_send += frame.serialize()

        audit = await self.send(H2Server(answer_and_reset), 3)
        assert fates(audit) == (3, 0, 0, 0)

    async def test_goaway(self) -> None:
        """What was on the way is unanswered, the rest goes over a new connection."""

        def go_away_once(conn: h2.connection.H2Connection, stream_id: int, n: int) -> None:
            if n == 2:
                conn.close_connection(last_stream_id=stream_id)
            elif n > 2 or server.connections > 1 or n == 1:
                accept(conn, stream_id, n)

        server = H2Server(go_away_once, max_streams=1)
        audit = await self.send(server, 5)
        assert fates(audit) == (4, 0, 1, 0)
        assert server.connections == 2

    async def test_server_that_hangs(self) -> None:
        server = H2Server(lambda conn, stream_id, n: None, max_streams=3)
        audit = await self.send(server, 5, gives_up=True)
        # one more was taken from the plan, and found no room
        assert fates(audit) == (0, 0, 3, 1)

    async def test_window_too_small_for_a_push(self) -> None:
        audit = await self.send(H2Server(accept, window=100), 1, gives_up=True)
        assert fates(audit) == (0, 0, 0, 1)

    @pytest.mark.parametrize("garbage", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 40])
    async def test_not_http2(self, garbage: bytes) -> None:
        async def handle(stream: trio.SocketStream) -> None:
            async with stream:
                await stream.send_all(garbage)

        server = H2Server(accept)
        server.handle = handle  # type: ignore[method-assign]
        audit = await self.send(server, 1, gives_up=True)
        assert fates(audit) == (0, 0, 0, 1)
