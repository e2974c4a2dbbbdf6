from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from trio_push.wire import websocket
from trio_push.wire.close_codes import INVALID_DATA, PROTOCOL_ERROR, TOO_BIG, CloseCode
from trio_push.wire.websocket import Close, Event, Fault, Message, Ping, Pong, Reader

MASK = b"abcd"


def masked(first: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame of a device, in the shortest form; `first` is the opcode and reserved bits."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    body = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    return bytes((fin << 7 | first,)) + length + MASK + body


def text(payload: bytes) -> bytes:
    return masked(Opcode.TEXT, payload)


FRAGMENTED = (
    masked(Opcode.TEXT, b"m\xc3", fin=False)
    + masked(Opcode.PING, b"between")
    + masked(Opcode.CONTINUATION, fin=False)
    + masked(Opcode.CONTINUATION, b"\xa1gic")
)
CONVERSATIONS: dict[bytes, list[Event]] = {
    text(b"one") + text(b""): [Message(True, b"one"), Message(True, b"")],
    masked(Opcode.BINARY, b"\xff"): [Message(False, b"\xff")],
    masked(Opcode.PING) + masked(Opcode.PONG, b"p" * 125): [Ping(b""), Pong(b"p" * 125)],
    FRAGMENTED: [Ping(b"between"), Message(True, "mágic".encode())],
    text(b"x" * 126): [Message(True, b"x" * 126)],
    masked(Opcode.CLOSE): [Close(None)],
    masked(Opcode.CLOSE, b"\x03\xe8"): [Close(1000)],
    masked(Opcode.CLOSE, b"\x0f\xa0why") + b"whatever": [Close(4000, "why")],
}
FAULTS: dict[bytes, CloseCode] = {
    b"\x81\x01x": PROTOCOL_ERROR,  # not masked
    masked(0x3): PROTOCOL_ERROR,  # no such opcode
    masked(0x40 | Opcode.TEXT, b"x"): PROTOCOL_ERROR,  # compressed, which was declined
    masked(Opcode.PING, fin=False): PROTOCOL_ERROR,
    masked(Opcode.PING, b"p" * 126): PROTOCOL_ERROR,
    masked(Opcode.CONTINUATION, b"x"): PROTOCOL_ERROR,
    masked(Opcode.TEXT, fin=False) + text(b"x"): PROTOCOL_ERROR,
    b"\x81\xfe\x00\x01" + MASK + b"x": PROTOCOL_ERROR,  # longer than its length needs
    masked(Opcode.CLOSE, b"\x03"): PROTOCOL_ERROR,
    masked(Opcode.CLOSE, b"\x03\xed"): PROTOCOL_ERROR,  # 1005 is never sent
    masked(Opcode.CLOSE, b"\x03\xe8\xff"): INVALID_DATA,
    text(b"\xff"): INVALID_DATA,
    masked(Opcode.TEXT, b"\xc0", fin=False): INVALID_DATA,  # noticed before the end
    text(b"m\xc3"): INVALID_DATA,
}


@pytest.mark.parametrize(("sent", "events"), CONVERSATIONS.items())
def test_every_split_of_the_bytes(sent: bytes, events: list[Event]) -> None:
    for i in range(len(sent)):
        assert read(sent[:i], sent[i:]) == events
    assert read(*(sent[i : i + 1] for i in range(len(sent)))) == events


def read(*pieces: bytes, max_message: float = 1000) -> list[Event]:
    """As the transport does it: a reader that is idle is forgotten."""
    reader = None
    events: list[Event] = []
    for piece in pieces:
        reader = reader or Reader(max_message)
        events += reader.feed(piece)
        if events and isinstance(events[-1], Close | Fault):
            break
        if reader.idle:
            reader = None
    return events


@pytest.mark.parametrize(("sent", "why"), FAULTS.items())
def test_faults_come_after_what_was_good(sent: bytes, why: CloseCode) -> None:
    good, fault = read(text(b"good") + sent + text(b"not looked at"))
    assert good == Message(True, b"good")
    assert isinstance(fault, Fault)
    assert fault.why is why
    assert fault.detail


@pytest.mark.parametrize("half", range(1, len(FRAGMENTED)))
def test_a_reader_is_idle_when_nothing_is_half_received(half: int) -> None:
    reader = Reader(1000)
    assert reader.idle
    reader.feed(FRAGMENTED[:half])
    assert not reader.idle
    reader.feed(FRAGMENTED[half:])
    assert reader.idle


def test_a_message_that_is_too_long_is_noticed_before_its_end() -> None:
    assert read(text(b"x" * 10), max_message=10) == [Message(True, b"x" * 10)]
    (fault,) = read(text(b"x" * 12)[:-1], max_message=10)
    assert isinstance(fault, Fault)
    assert fault.why is TOO_BIG
    pieces = masked(Opcode.TEXT, b"x" * 6, fin=False), masked(Opcode.CONTINUATION, b"x" * 5)
    assert [type(event) for event in read(*pieces, max_message=10)] == [Fault]
    assert read(text(b"x" * 70_000), max_message=inf) == [Message(True, b"x" * 70_000)]


def test_the_length_counts_for_each_message_anew() -> None:
    assert len(read(*[text(b"x" * 8)] * 3, max_message=10)) == 3
    assert len(read(text(b"x" * 8) * 3, max_message=10)) == 3


def test_frames_are_counted_when_they_are_whole() -> None:
    reader = Reader(1000)
    counts = []
    for piece in (FRAGMENTED[:3], FRAGMENTED[3:-1], FRAGMENTED[-1:], text(b"") * 5):
        reader.feed(piece)
        counts.append(reader.frames_read)
    assert counts == [0, 3, 1, 5]


@given(st.lists(st.binary(max_size=40)))
def test_no_bytes_raise(pieces: list[bytes]) -> None:
    events = read(*pieces)
    assert all(not isinstance(event, Close | Fault) for event in events[:-1])


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.text() | st.binary(), min_size=1))),
    st.data(),
)
def test_messages_arrive_however_a_client_frames_them(
    sent: list[tuple[bool, list[str | bytes]]], data: st.DataObject
) -> None:
    client = FrameProtocol(client=True, extensions=[])
    wire = b""
    expected = []
    for is_text, fragments in sent:
        parts = [part for part in fragments if isinstance(part, str) is is_text] or [
            "" if is_text else b""
        ]
        for i, part in enumerate(parts):
            wire += client.send_data(part, fin=i == len(parts) - 1)
        whole = [part.encode() if isinstance(part, str) else part for part in parts]
        expected.append(Message(is_text, b"".join(whole)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    pieces = [wire[i:j] for i, j in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert read(*pieces, max_message=inf) == expected


# -- the server's frames, by what wsproto's client makes of them


def told(frame: bytes) -> tuple[Opcode, object]:
    client = FrameProtocol(client=True, extensions=[])
    client.receive_bytes(frame)
    (event,) = client.received_frames()
    assert event.message_finished
    return event.opcode, event.payload


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize(
    ("encode", "opcode"),
    [(websocket.text_frame, Opcode.TEXT), (websocket.binary_frame, Opcode.BINARY)],
    ids=["text", "binary"],
)
def test_messages_of_every_length(
    encode: Callable[[bytes], bytes], opcode: Opcode, size: int
) -> None:
    payload = b"x" * size
    frame = encode(payload)
    client = FrameProtocol(client=False, extensions=[])
    content = payload.decode() if opcode is Opcode.TEXT else payload
    assert frame == client.send_data(content)
    assert frame.endswith(payload)


def test_control_frames() -> None:
    assert told(websocket.PING) == (Opcode.PING, b"")
    assert told(websocket.pong_frame(b"p" * 125)) == (Opcode.PONG, b"p" * 125)


def test_close_frames() -> None:
    assert told(websocket.close_frame(4500, "replaced")) == (Opcode.CLOSE, (4500, "replaced"))
    assert told(websocket.close_frame(1000)) == (Opcode.CLOSE, (1000, ""))
    assert told(websocket.close_frame(None)) == (Opcode.CLOSE, (1005, ""))


def test_a_reason_is_cut_between_characters() -> None:
    assert told(websocket.close_frame(1002, "é" * 100)) == (Opcode.CLOSE, (1002, "é" * 61))
