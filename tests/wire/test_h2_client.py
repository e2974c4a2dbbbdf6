"""What leans on the inside of h2 and hpack, held against them."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import hpack
from hypothesis import given
from hypothesis import strategies as st

from trio_push.wire.h2_client import TABLE_BYTES, ClientConnection, ProviderEncoder

names = st.sampled_from(
    [b":path", b":method", b"authorization", b"apns-id", b"apns-topic", b"content-type", b"x-new"]
)
values = st.sampled_from([b"POST", b"a", b"", b"t" * 150]) | st.binary(max_size=2000)
block = st.lists(st.tuples(names, values), max_size=8)


@given(st.lists(block | st.sampled_from([0, 100, 1000, 4096, 65536]), max_size=12))
def test_what_is_encoded_is_what_is_decoded(steps: list[object]) -> None:
    """Whatever the peer does with the size of its table."""
    encoder, decoder = ProviderEncoder(), hpack.Decoder(max_header_list_size=2**30)
    for step in steps:
        if isinstance(step, int):
            encoder.header_table_size = step
            decoder.max_allowed_table_size = max(step, TABLE_BYTES)
        else:
            assert list(decoder.decode(encoder.encode(step), raw=True)) == step


def test_what_requests_share_costs_a_byte() -> None:
    encoder = ProviderEncoder()
    shared = [(b":method", b"POST"), (b"authorization", b"t" * 300), (b"apns-topic", b"com.x")]
    first = encoder.encode([*shared, (b":path", b"/3/device/ab")])
    second = encoder.encode([*shared, (b":path", b"/3/device/cd")])
    assert len(first) > 300
    assert len(second) == 3 + 2 + len("/3/device/cd")


def pair() -> tuple[ClientConnection, h2.connection.H2Connection]:
    client = ClientConnection()
    server = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding=None)
    )
    client.initiate_connection()
    server.initiate_connection()
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    return client, server


REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/")]


def test_closed_streams_are_swept() -> None:
    client, server = pair()
    for _ in range(1000):
        stream_id = client.get_next_available_stream_id()
        client.send_headers(stream_id, REQUEST, end_stream=True)
        server.receive_data(client.data_to_send())
        server.send_headers(stream_id, [(":status", "200")], end_stream=True)
        client.receive_data(server.data_to_send())
    assert len(client.streams) <= 65
    assert len(client._closed_streams) <= 1024


def test_goaway_leaves_what_is_open() -> None:
    client, server = pair()
    client.send_headers(1, REQUEST, end_stream=True)
    server.receive_data(client.data_to_send())
    server.send_headers(1, [(":status", "200")])
    answer = server.data_to_send()
    server.close_connection(last_stream_id=1)
    events = client.receive_data(server.data_to_send() + answer)
    assert [type(event) for event in events] == [
        h2.events.ConnectionTerminated,
        h2.events.ResponseReceived,
    ]
