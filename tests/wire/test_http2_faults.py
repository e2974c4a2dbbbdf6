"""What a session does wrong on demand."""

from __future__ import annotations

import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe import frame as frames

from tests.wire.test_http2 import POST, Pair, sent_frames
from trio_push.wire.http2 import MAX_STREAM_ID


@pytest.fixture
def pair() -> Pair:
    return Pair()


def goaways(pair: Pair) -> list[tuple[int, int, bytes]]:
    """Last stream, error code and reason of each GOAWAY that is to be sent."""
    found = sent_frames(pair.session.data_to_send())
    return [
        (each.last_stream_id, each.error_code, each.additional_data)
        for each in found
        if isinstance(each, frames.GoAwayFrame)
    ]


def test_a_goaway_at_a_stream_forgets_those_behind_it(pair: Pair) -> None:
    streams = [pair.open() for _ in range(3)]
    pair.session.goaway_at("Shutdown", ErrorCodes.ENHANCE_YOUR_CALM, streams[1])
    assert goaways(pair) == [(streams[1], 11, b'{"reason":"Shutdown"}')]
    assert [pair.session.is_open(each) for each in streams] == [True, True, False]
    for each in streams:
        pair.session.respond(each, 200, [])
    answered = sent_frames(pair.session.data_to_send())
    assert [each.stream_id for each in answered] == streams[:2]
    assert pair.session.open_streams == 0


def test_what_goaway_left_behind_may_still_arrive(pair: Pair) -> None:
    half = pair.client.get_next_available_stream_id()
    pair.client.send_headers(half, POST)
    pair.flush()
    pair.session.goaway_at("Shutdown", 0, 0)
    pair.client.send_data(half, b"x", end_stream=True)
    assert pair.session.receive(pair.client.data_to_send(), now=0.0) == []
    assert pair.session.open_streams == 0


def test_goaway_is_said_once(pair: Pair) -> None:
    stream_id = pair.open()
    pair.session.goaway_at("Shutdown", 0, 0)
    pair.session.goaway_at("Shutdown", 0, stream_id)
    pair.session.announce_goaway("Shutdown", 0)
    pair.session.goaway("Shutdown")
    assert goaways(pair) == [(0, 0, b'{"reason":"Shutdown"}')]


def test_an_announced_goaway_lets_new_streams_in(pair: Pair) -> None:
    first = pair.open()
    pair.session.announce_goaway("Shutdown", 0)
    assert goaways(pair) == [(MAX_STREAM_ID, 0, b'{"reason":"Shutdown"}')]
    second = pair.open()
    assert pair.session.is_open(first)
    assert pair.session.is_open(second)
    pair.session.goaway("Shutdown")
    assert goaways(pair) == [(second, 0, b'{"reason":"Shutdown"}')]


def test_a_stream_is_reset_instead_of_answered(pair: Pair) -> None:
    stream_id = pair.open()
    pair.session.reset(stream_id, ErrorCodes.REFUSED_STREAM)
    pair.session.reset(stream_id, ErrorCodes.CANCEL)
    pair.session.respond(stream_id, 200, [])
    pair.flush()
    assert [each.error_code for each in pair.take(h2.events.StreamReset)] == [7]
    assert pair.take(h2.events.ResponseReceived) == []
    assert pair.session.open_streams == 0


def test_a_limit_holds_from_when_it_is_set(pair: Pair) -> None:
    open_ = pair.open()
    # what is on its way when the limit falls
    crossing = pair.request()
    pair.session.limit_streams(1)
    assert pair.flush() == []
    [told] = pair.take(h2.events.RemoteSettingsChanged)
    assert told.changed_settings[SettingCodes.MAX_CONCURRENT_STREAMS].new_value == 1
    assert [each.stream_id for each in pair.take(h2.events.StreamReset)] == [crossing]
    pair.session.respond(open_, 200, [])
    pair.flush()
    pair.open()


def test_the_same_limit_is_not_told_again(pair: Pair) -> None:
    pair.session.limit_streams(5)
    pair.flush()
    assert len(pair.take(h2.events.RemoteSettingsChanged)) == 1
    pair.session.limit_streams(5)
    pair.flush()
    assert pair.take(h2.events.RemoteSettingsChanged) == []
