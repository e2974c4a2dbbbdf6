"""Devices over WebSocket: real frames through a socket pair, time by the mock clock."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.frame_protocol import Frame, FrameProtocol, Opcode

from tests.fakes import T0, FakeDevice, push
from trio_push.devices import farewell
from trio_push.devices.connection import Connection
from trio_push.devices.heartbeat import Heartbeat
from trio_push.devices.websocket import Limits, WebSocketConnection, WebSocketTransport
from trio_push.mailbox.mailbox import MAX_ANSWERS
from trio_push.node import Node
from trio_push.push import State
from trio_push.wire.messages import Ack, AuthResult, FromDevice, FromServer, Sync


class Device(FrameProtocol):
    """The far end of a connection: wsproto's client on a socket."""

    def __init__(self, connection: WebSocketConnection, sock: socket.socket) -> None:
        super().__init__(client=True, extensions=[])
        self.connection = connection
        self._sock = sock
        sock.setblocking(False)

    def say(self, *frames: bytes) -> None:
        """Send frames; the server acts on them at once."""
        self.connection._transport.heard(self.connection, b"".join(frames))

    def tell(self, message: dict[str, Any]) -> None:
        self.say(self.send_data(json.dumps(message)))

    def hear(self) -> list[tuple[Opcode, Any]]:
        """The frames that have come."""
        while True:
            try:
                self.receive_bytes(self._sock.recv(65_536))
            except BlockingIOError:
                break
        return [(frame.opcode, frame.payload) for frame in self._messages()]

    def _messages(self) -> Iterator[Frame]:
        part: Any = None
        for frame in self.received_frames():
            part = frame.payload if part is None else part + frame.payload
            if frame.message_finished:
                yield frame._replace(payload=part)
                part = None

    def told(self) -> list[dict[str, Any]]:
        """The messages that have come, and nothing else has."""
        frames = self.hear()
        assert {opcode for opcode, _ in frames} <= {Opcode.TEXT}
        return [json.loads(payload) for _, payload in frames]


Connect = Callable[..., Device]


@pytest.fixture
def connect(node: Node) -> Iterator[Connect]:
    """Connects devices."""
    common = WebSocketTransport(node.router.delivery, epoch="e")
    with ExitStack() as sockets:

        def connect(token: str = "aa", transport: WebSocketTransport = common) -> Device:
            ours, its = socket.socketpair()
            ours.setblocking(False)
            sockets.enter_context(ours)
            sockets.enter_context(its)
            connection = WebSocketConnection(token, ours, transport, node.clock.wall())
            node.router.attach(connection)
            return Device(connection, its)

        yield connect


def hearing(node: Node, answer: FromServer | None) -> tuple[WebSocketTransport, list[FromDevice]]:
    """A transport that answers each message so, and what it hears."""
    heard = []

    def hear(connection: Connection, message: FromDevice) -> FromServer | None:
        assert connection.token == "aa"
        heard.append(message)
        return answer

    return WebSocketTransport(node.router.delivery, hear), heard


# -- pushes


async def test_a_push_is_a_notification(
    autojump_clock: MockClock, node: Node, connect: Connect
) -> None:
    device = connect()
    pushes = [push(b'{"n": 1}', topic="t"), push(b"two", event="ping")]
    assert await node.push_channel.submit(pushes) == [State.DELIVERED_LIVE] * 2
    first, second = device.told()
    assert first.pop("seq") < second.pop("seq")
    assert first == {
        "type": "notification",
        "id": '{"n": 1}',
        "epoch": "e",
        "topic": "t",
        "data": {"n": 1},
    }
    assert (second["event"], second["data"]) == ("ping", "two")


async def test_what_waited_comes_on_connect(
    autojump_clock: MockClock, node: Node, connect: Connect
) -> None:
    await node.push_channel.submit([push(b"one"), push(b"two")])
    assert [message["data"] for message in connect().told()] == ["one", "two"]
    assert node.ledger.counts[State.DELIVERED_ON_CONNECT] == 2


async def test_a_broadcast_reaches_each_in_its_own_form(
    autojump_clock: MockClock, node: Node, connect: Connect
) -> None:
    event_stream = FakeDevice("bb")
    node.router.attach(event_stream)
    devices = [connect("aa"), connect("cc")]
    counts = await node.router.broadcast(push(b"all", ttl_s=0))
    assert counts == {State.DELIVERED_LIVE: 3}
    assert event_stream.events == [b"all"]
    assert [device.told()[0]["data"] for device in devices] == ["all", "all"]


# -- what devices say


async def test_pings_are_answered_and_pongs_are_not(
    autojump_clock: MockClock, connect: Connect
) -> None:
    device = connect()
    device.say(device.ping(b"one"), device.pong(b"x"), device.ping())
    assert device.hear() == [(Opcode.PONG, b"one"), (Opcode.PONG, b"")]


async def test_by_default_messages_are_declined(
    autojump_clock: MockClock, connect: Connect
) -> None:
    device = connect()
    device.tell({"type": "sync", "last_seen": 0})
    device.tell({"type": "foo"})
    device.say(device.send_data("{"))
    told = device.told()
    assert {message["type"] for message in told} == {"error"}
    assert [message["code"] for message in told] == ["unsupported", "unknown_type", "invalid_json"]
    assert not device.connection.closed


async def test_messages_go_to_who_knows_what_they_mean(
    autojump_clock: MockClock, node: Node, connect: Connect
) -> None:
    transport, heard = hearing(node, AuthResult(ok=True))
    device = connect(transport=transport)
    device.tell({"type": "ack", "notification_id": "a"})
    device.tell({"type": "sync", "last_seen": 7, "epoch": "e"})
    assert heard == [Ack("a"), Sync(7, "e")]
    assert device.told() == [{"type": "auth_result", "ok": True}] * 2


async def test_no_answer_is_no_frame(
    autojump_clock: MockClock, node: Node, connect: Connect
) -> None:
    device = connect(transport=hearing(node, None)[0])
    device.tell({"type": "mark_read", "notification_id": "a"})
    assert device.hear() == []


async def test_the_parser_is_kept_only_while_something_is_half_received(
    autojump_clock: MockClock, connect: Connect
) -> None:
    device = connect()
    frame = bytes(device.ping(b"x"))
    for cut in range(1, len(frame)):
        device.say(frame[:cut])
        assert device.connection.reader is not None
        device.say(frame[cut:])
        assert device.connection.reader is None
    assert len(device.hear()) == len(frame) - 1


@pytest.mark.parametrize(
    ("code", "close"), [(1000, 1000), (4999, 4999), (None, 1005)], ids=["1000", "4999", "none"]
)
async def test_a_device_that_says_goodbye(
    autojump_clock: MockClock, node: Node, connect: Connect, code: int | None, close: int
) -> None:
    device = connect()
    device.say(device.close(code), b"whatever")
    assert device.hear() == [(Opcode.CLOSE, (close, ""))]
    assert device.connection.closed
    assert node.directory.get("aa") is None


def expelled(device: Device) -> tuple[int, str]:
    """Code and reason of the close frame that is all that a device was sent."""
    ((opcode, payload),) = device.hear()
    assert opcode is Opcode.CLOSE
    assert device.connection.closed
    return payload  # type: ignore[no-any-return]


async def test_faults(autojump_clock: MockClock, connect: Connect) -> None:
    for sent, code in {
        b"\x81\x01x": 1002,
        b"\x81\x81\0\0\0\0\xff": 1007,
        b"\x82\x81\0\0\0\0x": 1003,
        b"\x81\xff" + (20_000).to_bytes(8) + b"\0" * 4: 1002,
        b"\x81\xfe" + (16_385).to_bytes(2) + b"\0" * 4 + b"x" * 16_385: 1009,
    }.items():
        device = connect()
        device.say(sent)
        assert expelled(device)[0] == code


async def test_who_was_expelled_is_counted(
    autojump_clock: MockClock, node: Node, connect: Connect
) -> None:
    transport = WebSocketTransport(node.router.delivery)
    for sent in (b"\x81\x01x", b"\x83\x80abcd", b"\x82\x80abcd"):
        connect(transport=transport).say(sent)
    assert node.router.delivery.dismissed == {"protocol_error": 2, "unsupported_data": 1}


async def test_nothing_is_acted_on_after_a_fault(
    autojump_clock: MockClock, node: Node, connect: Connect
) -> None:
    transport, heard = hearing(node, None)
    device = connect(transport=transport)
    device.say(device.send_data(b"binary"), device.send_data('{"type":"auth","token":"t"}'))
    assert heard == []
    assert expelled(device) == (1003, "unsupported_data")


# -- too much


async def test_a_flood_ends_the_connection(autojump_clock: MockClock, connect: Connect) -> None:
    device = connect()
    limits = Limits()
    for _ in range(int(limits.burst_frames)):
        device.say(device.pong())
    assert not device.connection.closed
    await trio.sleep(1)
    for _ in range(int(limits.frames_per_s)):
        device.say(device.pong())
    assert not device.connection.closed
    device.say(device.pong())
    assert expelled(device) == (4002, "flood")


async def test_what_comes_slowly_is_no_flood(autojump_clock: MockClock, connect: Connect) -> None:
    device = connect()
    for _ in range(2000):
        device.say(device.pong())
        await trio.sleep(1 / Limits().frames_per_s)
    assert not device.connection.closed


async def test_empty_fragments_are_a_flood_too(autojump_clock: MockClock, connect: Connect) -> None:
    device = connect()
    device.say(b"\x01\x80abcd" + b"\x00\x80abcd" * 1000)
    assert expelled(device)[0] == 4002


@pytest.mark.parametrize(
    ("message", "times"),
    [
        ({"type": "ack", "notification_id": "a"}, 10_000),
        ({"type": "sync", "last_seen": 0}, 10),
        ({"type": "mark_read", "notification_id": "a"}, 1_000),
        ({"type": "nonsense"}, 1_000),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
async def test_messages_count_for_what_they_cost(
    autojump_clock: MockClock, node: Node, connect: Connect, message: dict[str, Any], times: int
) -> None:
    device = connect(transport=hearing(node, None)[0])
    for _ in range(times):
        device.tell(message)
        device.hear()
    assert not device.connection.closed
    for _ in range(2):  # ten thousand tenths are a thousand but for some rounding
        device.tell(message)
    assert device.hear()[-1] == (Opcode.CLOSE, (4002, "flood"))


# -- the end of a connection: who is told what


async def test_replaced(autojump_clock: MockClock, node: Node, connect: Connect) -> None:
    older = connect()
    newer = connect()
    assert expelled(older) == (4500, "replaced")
    assert node.directory.get("aa") is newer.connection


async def test_unregistered(autojump_clock: MockClock, node: Node, connect: Connect) -> None:
    device = connect()
    node.router.unregister("aa")
    assert expelled(device) == (4501, "unregistered")


async def test_farewell_says_when_to_come_back(
    autojump_clock: MockClock, node: Node, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(farewell, "RETRY_MS", (1234, 1234))
    device = connect()
    await farewell.farewell(node.directory, node.router.delivery, 1.0)
    assert expelled(device) == (1001, "retry: 1234")


async def test_one_that_has_gone_is_told_nothing(
    autojump_clock: MockClock, node: Node, connect: Connect
) -> None:
    device = connect()
    node.router.delivery.disconnect(device.connection)
    assert device.hear() == []
    assert device.connection.closed


async def test_after_the_close_frame_nothing_is_sent(
    autojump_clock: MockClock, node: Node, connect: Connect
) -> None:
    """A broadcast goes on while devices are closed: what they do not get is not delivered."""
    device = connect()
    node.router.delivery.disconnect(device.connection)
    with pytest.raises(BrokenPipeError):
        device.connection.send(b"late")


# -- a device that takes no more


class Narrow(FakeDevice, WebSocketConnection):
    """A device that takes `room` bytes; what it has taken is read by wsproto's client."""

    def __init__(self, transport: WebSocketTransport) -> None:
        WebSocketConnection.__init__(self, "aa", socket.socket(), transport, T0)
        self.sock.close()
        self.taken = b""
        self.room: int | None = 0
        self.gone = self.is_closed = False
        self._changed = trio.Event()
        self.client = FrameProtocol(client=True, extensions=[])

    def frames(self) -> list[tuple[Opcode, Any]]:
        self.client.receive_bytes(self.taken)
        self.taken = b""
        return [(frame.opcode, frame.payload) for frame in self.client.received_frames()]


@pytest.fixture
def narrow(node: Node) -> Narrow:
    device = Narrow(WebSocketTransport(node.router.delivery))
    node.router.attach(device)
    return device


async def test_answers_wait_behind_the_push_that_is_being_sent(
    autojump_clock: MockClock, node: Node, narrow: Narrow
) -> None:
    narrow.room = 10
    states = await node.push_channel.submit([push(b"one"), push(b"two")])
    assert states == [State.IN_FLIGHT, State.QUEUED]
    narrow._transport.heard(narrow, b"\x89\x81\0\0\0\0p")
    narrow.make_room(None)
    await wait_all_tasks_blocked()
    (_, one), pong, (_, two) = narrow.frames()
    assert [json.loads(text)["data"] for text in (one, two)] == ["one", "two"]
    assert pong == (Opcode.PONG, b"p")
    assert node.ledger.counts[State.DELIVERED_LIVE] == 2


async def test_one_that_asks_on_and_takes_no_answer_is_cut(
    autojump_clock: MockClock, node: Node, narrow: Narrow
) -> None:
    for _ in range(MAX_ANSWERS // 127):
        narrow._transport.heard(narrow, b"\x89\xfd\0\0\0\0" + b"p" * 125)
    assert not narrow.closed
    for _ in range(2):
        narrow._transport.heard(narrow, b"\x89\xfd\0\0\0\0" + b"p" * 125)
    assert narrow.closed
    assert node.router.delivery.dismissed["too_slow"] == 1


async def test_a_slow_device_gets_no_close_frame_into_the_middle_of_an_event(
    autojump_clock: MockClock, node: Node, narrow: Narrow
) -> None:
    narrow.room = 10
    await node.push_channel.submit([push(b"late", ttl_s=0)])
    narrow.room = None
    node.router.unregister("aa")
    assert len(narrow.taken) == 10
    assert narrow.closed


async def test_a_device_that_takes_nothing_is_cut(
    autojump_clock: MockClock, node: Node, narrow: Narrow
) -> None:
    await node.push_channel.submit([push(b"late", ttl_s=0)])
    await trio.sleep(9)
    assert not narrow.closed
    await trio.sleep(2)
    assert narrow.closed
    assert narrow.taken == b""
    assert node.ledger.counts[State.DROPPED_DEVICE_TOO_SLOW] == 1


# -- signs of life


@pytest.fixture
def heartbeat(node: Node, nursery: trio.Nursery) -> Heartbeat:
    heartbeat = Heartbeat(node.router.delivery, 30)
    nursery.start_soon(heartbeat.run)
    return heartbeat


async def test_it_is_pinged_and_dead_after_three_unanswered_pings(
    autojump_clock: MockClock, heartbeat: Heartbeat, connect: Connect
) -> None:
    device = connect()
    heartbeat.add(device.connection)
    for _ in range(2):
        await trio.sleep(30.5)
        assert device.hear() == [(Opcode.PING, b"")]
    await trio.sleep(28)
    assert not device.connection.closed
    await trio.sleep(1.5)
    assert expelled(device) == (4001, "silent")


async def test_whatever_it_says_is_a_sign_of_life(
    autojump_clock: MockClock, heartbeat: Heartbeat, connect: Connect
) -> None:
    device = connect()
    heartbeat.add(device.connection)
    for _ in range(10):
        await trio.sleep(60)
        device.say(b"\x8a")
        await trio.sleep(5)
        device.say(b"\x80abcd")
    assert not device.connection.closed
    assert {opcode for opcode, _ in device.hear()} == {Opcode.PING}


async def test_an_answer_may_take_two_seconds_however_often_it_is_asked(
    autojump_clock: MockClock, node: Node, nursery: trio.Nursery, connect: Connect
) -> None:
    heartbeat = Heartbeat(node.router.delivery, 0.1)
    nursery.start_soon(heartbeat.run)
    device = connect()
    heartbeat.add(device.connection)
    await trio.sleep(1.9)
    assert not device.connection.closed
    await trio.sleep(0.5)
    assert device.connection.closed


async def test_event_streams_need_not_say_anything(
    autojump_clock: MockClock, heartbeat: Heartbeat, node: Node, connect: Connect
) -> None:
    device = FakeDevice("bb")
    node.router.attach(device)
    heartbeat.add(device)
    await trio.sleep(290)
    assert not device.closed
    assert device.taken == b": keepalive\n\n" * 9
