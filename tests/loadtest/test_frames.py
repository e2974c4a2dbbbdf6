"""Counting messages in WebSockets that are cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.frames import PONG, MessageCounter, ack_frame, text_frame
from trio_push.wire.websocket import PING, Message, Pong, Reader

STREAM = text_frame(b"one") + PING + text_frame(b"x" * 200) + b"\x89\x01p" + text_frame(b"")


def test_pings_are_no_messages():
    counter = MessageCounter()
    assert counter.feed(1, STREAM) == PONG * 2
    assert counter.events == 3
    assert counter.bytes == len(STREAM)
    assert not counter.feed(1, text_frame(b"more"))


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.lists(st.integers(0, len(STREAM))))
def test_cuts_do_not_matter(one_cuts, other_cuts):
    counter = MessageCounter()
    pings = 0
    for stream, cuts in ((1, one_cuts), (2, other_cuts)):
        edges = sorted({0, *cuts, len(STREAM)})
        for start, end in pairwise(edges):
            pings += counter.feed(stream, STREAM[start:end]).count(PONG)
    assert counter.events == 6
    assert pings == 4


@pytest.mark.parametrize("size", [0, 125, 126, 65_535])
def test_frames_are_frames(size):
    reader = Reader(10**6, client=True)
    assert reader.feed(text_frame(b"x" * size)) == [Message(True, b"x" * size)]
    assert reader.idle
    assert MessageCounter().feed(1, text_frame(b"x" * size)) == b""


def test_a_pong_is_one_of_a_device():
    assert Reader(10).feed(PONG) == [Pong(b"")]


def test_what_is_to_be_acknowledged_is_acknowledged_by_its_id():
    counter = MessageCounter(acks=True)
    pushes = [text_frame(b'{"type":"notification","id":"i%d","data":{}}' % n) for n in (1, 2)]
    other = text_frame(b'{"type":"auth_result","ok":true}')
    answers = counter.feed(1, pushes[0] + PING + other + pushes[1])
    acks = [b'{"type":"ack","notification_id":"i%d"}' % n for n in (1, 2)]
    assert Reader(100).feed(answers) == [Message(True, acks[0]), Pong(b""), Message(True, acks[1])]
    assert ack_frame(b"{}") == b""
