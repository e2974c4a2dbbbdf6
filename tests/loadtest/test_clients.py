"""Counting events in streams that are cut anywhere."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loadtest.clients import EventCounter, token_of

STREAM = (
    b": hi\n\nid: 1\ndata: one\n\n: keepalive\n\nevent: ping\ndata: two\n\n1f\r\ndata: 3\n\n\r\n"
)


def test_keepalives_are_no_events():
    counter = EventCounter()
    counter.feed(1, STREAM)
    assert counter.events == 3
    assert counter.bytes == len(STREAM)


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.lists(st.integers(0, len(STREAM))))
def test_cuts_do_not_matter(one_cuts, other_cuts):
    counter = EventCounter()
    for stream, cuts in ((1, one_cuts), (2, other_cuts)):
        edges = [0, *sorted(cuts), len(STREAM)]
        for start, end in pairwise(edges):
            counter.feed(stream, STREAM[start:end])
    assert counter.events == 6
    assert counter.bytes == 2 * len(STREAM)


def test_streams_that_break_off_in_a_line_are_kept_apart():
    counter = EventCounter()
    counter.feed(1, b"da")
    counter.feed(2, b"ta: no\n\n")
    assert counter.events == 0
    counter.feed(1, b"ta: yes\n\n")
    assert counter.events == 1


def test_tokens_are_hex_and_differ():
    tokens = {token_of(number) for number in range(100)}
    assert len(tokens) == 100
    assert all(len(bytes.fromhex(token)) == 8 for token in tokens)
