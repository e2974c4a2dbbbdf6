"""The limit of HTTP/2 intake: h2 parses, every request is answered 200, nothing else.

Run as `python -m loadtest.bare.h2`; speaks h2c with prior knowledge.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from loadtest.bare.listening import receive, send, serve

_CONFIG = H2Configuration(client_side=False, header_encoding=None)
_OK = [(b":status", b"200"), (b"content-length", b"0")]


async def _handle(connection: socket.socket) -> None:
    protocol = H2Connection(_CONFIG)
    protocol.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
    protocol.initiate_connection()
    # a client that is leaving (GOAWAY) is not answered any more, and h2 says so by raising
    with connection, suppress(ProtocolError, OSError):
        while data := await receive(connection):
            for event in protocol.receive_data(data):
                if isinstance(event, DataReceived):
                    protocol.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                elif isinstance(event, StreamEnded):
                    protocol.send_headers(event.stream_id, _OK, end_stream=True)
            await send(connection, protocol.data_to_send())


if __name__ == "__main__":
    trio.run(serve, _handle)
