from __future__ import annotations

import h2.connection
import pytest
from h2.settings import SettingCodes
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from trio_push.wire.h2_server import CLOSED_STREAMS_SLACK, LiteralEncoder, ServerConnection

RESPONSE = [(b":status", b"200"), (b"apns-id", b"0b2f2b2e-1e1e-4e4e-8e8e-abcdefabcdef")]
REQUEST = [(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "x")]


def test_a_known_field_is_one_byte_and_others_are_spelled_out() -> None:
    block = LiteralEncoder().encode([(b":status", b"200"), (b"apns-id", b"x")])
    assert block == b"\x88\x00\x07apns-id\x01x"


@pytest.mark.parametrize("status", [200, 400, 404, 405, 410, 413, 500, 503])
def test_any_decoder_reads_it(status: int) -> None:
    headers = [(b":status", b"%d" % status), (b"apns-id", b"x" * 36), (b"retry-after", b"")]
    assert Decoder().decode(LiteralEncoder().encode(headers), raw=True) == headers


@given(st.lists(st.lists(st.tuples(st.binary(max_size=200), st.binary(max_size=300)))))
def test_any_fields_come_back(blocks: list[list[tuple[bytes, bytes]]]) -> None:
    encoder, decoder = LiteralEncoder(), Decoder(10**9)
    for headers in blocks:
        assert list(decoder.decode(encoder.encode(headers), raw=True)) == headers


def test_a_peer_that_shrinks_its_table_is_told_once_that_it_is_not_used() -> None:
    encoder, decoder = LiteralEncoder(), Decoder()
    decoder.max_allowed_table_size = 100
    encoder.header_table_size = 100
    first, second = encoder.encode(RESPONSE), encoder.encode(RESPONSE)
    assert first == b"\x20" + second
    for block in (first, second):
        assert decoder.decode(block, raw=True) == RESPONSE


def test_it_has_what_h2_needs_of_an_encoder() -> None:
    used = {"encode", "header_table_size"}
    assert used <= {name for name in dir(LiteralEncoder) if name in dir(Encoder)}


def test_a_client_that_shrinks_its_table_can_read_the_answers() -> None:
    client, server = h2.connection.H2Connection(), ServerConnection(100)
    client.initiate_connection()
    client.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0})
    server.initiate_connection()
    client.receive_data(server.data_to_send())
    for stream_id in (1, 3):
        client.send_headers(stream_id, REQUEST, end_stream=True)
        server.receive(client.data_to_send())
        server.send_headers(stream_id, RESPONSE, end_stream=True)
        events = client.receive_data(server.data_to_send())
        assert RESPONSE in [getattr(event, "headers", None) for event in events]


def test_the_table_of_streams_is_swept() -> None:
    client, server = h2.connection.H2Connection(), ServerConnection(100)
    client.initiate_connection()
    server.initiate_connection()
    client.receive_data(server.data_to_send())
    most = 0
    for stream_id in range(1, 10 * CLOSED_STREAMS_SLACK, 2):
        client.send_headers(stream_id, REQUEST, end_stream=True)
        server.receive(client.data_to_send())
        server.send_headers(stream_id, RESPONSE, end_stream=True)
        client.receive_data(server.data_to_send())
        most = max(most, len(server.streams))
    assert CLOSED_STREAMS_SLACK / 2 < most <= CLOSED_STREAMS_SLACK + 2
