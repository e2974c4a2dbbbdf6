from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.config import ServeSettings
from trio_push.workers.messages import (
    MAX_BYTES,
    Answers,
    End,
    Fork,
    FromWorker,
    Heard,
    Hurry,
    Last,
    Message,
    Reply,
    ToForkServer,
    ToWorker,
    Unframer,
    decoder,
    encode,
    frame,
)

SAID: list[Message] = [
    End(retiring=True),
    Hurry(),
    Answers(7, [Heard(1, 2, "n", b"\x00"), Heard(0, 0, "", None)]),
]


@given(st.lists(st.integers(1, 20)))
def test_messages_come_whole_however_they_are_cut(sizes: list[int]) -> None:
    unframer = Unframer(ToWorker)
    data = b"".join(map(frame, SAID))
    heard = []
    for size in sizes:
        heard += unframer.feed(data[:size])
        data = data[size:]
    heard += unframer.feed(data)
    assert heard == SAID


def test_what_only_a_worker_says_is_not_taken_from_the_parent() -> None:
    with pytest.raises(ValueError):
        list(Unframer(ToWorker).feed(frame(Last(b""))))
    assert list(Unframer(FromWorker).feed(frame(Reply(1, None)))) == [Reply(1, None)]


def test_a_length_beyond_reason_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="bytes"):
        list(Unframer(ToWorker).feed((MAX_BYTES + 1).to_bytes(4)))


def test_settings_arrive_as_they_were() -> None:
    settings = ServeSettings(
        listen=("127.0.0.1:0", "[::1]:0"),
        api_key=("k" * 20,),
        redis="unix:/tmp/redis.sock",
        drain_s=0.5,
    )
    order = Fork(key=1, place=2, row=3, rows=4, whole="w", settings=settings, plain=2, tls=0)
    assert decoder(ToForkServer).decode(encode(order)) == order
