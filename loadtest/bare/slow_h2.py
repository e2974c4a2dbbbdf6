"""A host that takes its time: every push is answered 200 after a while, a few at once.

Run as `python -m loadtest.bare.slow_h2 LATENCY_S STREAMS`; speaks h2c with prior knowledge. STREAMS
is how many pushes a connection may have open.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from functools import partial

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from loadtest.bare.listening import receive, send, serve

_CONFIG = H2Configuration(client_side=False, header_encoding=None)
_OK = [(b":status", b"200"), (b"content-length", b"0")]


async def _handle(latency_s: float, streams: int, connection: socket.socket) -> None:
    protocol = H2Connection(_CONFIG)
    protocol.local_settings = Settings(
        client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: streams}
    )
    protocol.initiate_connection()
    lock = trio.Lock()

    async def write() -> None:
        async with lock:
            await send(connection, protocol.data_to_send())

    async def answer(stream_id: int) -> None:
        await trio.sleep(latency_s)
        # the client may have gone meanwhile
        with suppress(ProtocolError, OSError):
            protocol.send_headers(stream_id, _OK, end_stream=True)
            await write()

    with connection, suppress(ProtocolError, OSError):
        async with trio.open_nursery() as nursery:
            await write()
            while data := await receive(connection):
                for event in protocol.receive_data(data):
                    if isinstance(event, DataReceived):
                        protocol.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                    elif isinstance(event, StreamEnded):
                        nursery.start_soon(answer, event.stream_id)
                await write()
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve, partial(_handle, float(sys.argv[1]), int(sys.argv[2])))
