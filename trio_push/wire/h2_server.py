"""h2's connection as this server uses it: a server's end, bounded, and quick to answer.

Made by `wire/http2.py`, which is the only user. Everything that leans on how h2 is made inside
stands here, with the reason, and its tests notice when a new h2 differs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.errors import ErrorCodes
from h2.events import Event, PriorityUpdated, StreamReset
from h2.exceptions import DenialOfServiceError, InvalidBodyLengthError
from h2.settings import SettingCodes, Settings
from hpack.hpack import Encoder, encode_integer
from hpack.table import HeaderTable
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PriorityFrame

#: what Apple's servers advertise
MAX_HEADER_LIST_BYTES: Final = 8000
#: what is accepted: the advertised limit is advice, and beyond this one the connection ends
HEADER_LIST_TOLERANCE_BYTES: Final = 2 * MAX_HEADER_LIST_BYTES
#: bodies are taken as they arrive, so a wide window costs no memory; it lets a provider send
#: 250 full pushes without waiting for a WINDOW_UPDATE, where the standard's 64 KiB allow 16
CONNECTION_WINDOW_BYTES: Final = 1024 * 1024
#: header block and unfinished frame that may be held back; a frame has at most 16 KiB, and h2
#: itself would wait for up to 16 MiB of a frame before it calls it too long
MAX_UNFINISHED_BYTES: Final = 64 * 1024
#: of the settings a peer sends h2 keeps even unknown ones, 700 bytes each; nine are defined
MAX_REMOTE_SETTINGS: Final = 32
#: closed streams stay in h2's table until this many more than the open ones are in it
CLOSED_STREAMS_SLACK: Final = 64


class ServerConnection(H2Connection):
    """A server's end of HTTP/2.

    Of h2's own it differs in this (sections are RFC 9113's): it does not limit streams, where
    h2 ends the connection when a peer opens too many, so that whoever counts them can refuse
    one instead; GOAWAY, sent or received, leaves what is open open (section 6.8), where h2
    falls silent; a body of a wrong length resets its stream, and a priority that makes no sense
    does nothing, where h2 ends the connection; and what a peer can make it keep is bounded
    tighter.
    """

    #: h2 remembers how the last 65,536 streams were closed (11 MB a connection), to tell stray
    #: frames from wrong ones; those are in flight for a moment only
    MAX_CLOSED_STREAMS = 1024

    def __init__(self, max_streams: int) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                # The response headers are our own.
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                # All it does is join cookies.
                normalize_inbound_headers=False,
            )
        )
        self.state_machine = StateMachine()
        self.encoder = cast(Encoder, LiteralEncoder())
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: max_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
            },
        )
        # Apple's servers do not mention it, and what h2 says of it is the standard's default.
        del self.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
        self.decoder.max_header_list_size = HEADER_LIST_TOLERANCE_BYTES
        self._sweep_above = CLOSED_STREAMS_SLACK

    def initiate_connection(self) -> None:
        super().initiate_connection()
        window = self.inbound_flow_control_window
        self.increment_flow_control_window(CONNECTION_WINDOW_BYTES - window)

    def receive(self, data: bytes) -> list[Event]:
        """Like `receive_data()`, and bounded in what h2 keeps of it."""
        events = self.receive_data(data)
        buffer = self.incoming_buffer
        unfinished = len(buffer._data) + sum(len(f.data) for f in buffer._headers_buffer)
        if unfinished > MAX_UNFINISHED_BYTES or len(self.remote_settings) > MAX_REMOTE_SETTINGS:
            self.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            raise DenialOfServiceError("More in one frame, header block or settings than needed")
        return events

    def _receive_data_frame(self, frame: DataFrame) -> tuple[list[Frame], list[Event]]:
        """A body of another length than announced is its stream's fault alone (section 8.1.1).

        Not rare: curl ends an upload short when it is answered early.
        """
        try:
            return super()._receive_data_frame(frame)
        except InvalidBodyLengthError:
            stream_id, code = frame.stream_id, ErrorCodes.PROTOCOL_ERROR
            self.acknowledge_received_data(frame.flow_controlled_length, stream_id)
            self.reset_stream(stream_id, code)
            return [], [StreamReset(stream_id=stream_id, error_code=code, remote_reset=False)]

    def _receive_priority_frame(
        self, frame: HeadersFrame | PriorityFrame
    ) -> tuple[list[Frame], list[Event]]:
        """Priorities are ignored, whatever they say (section 5.3.2).

        h2 does not use them either, but ends the connection for a stream that depends on itself.
        """
        return [], [PriorityUpdated()]

    def clear_outbound_data_buffer(self) -> None:
        """What h2 does when GOAWAY comes; what was answered before is still sent."""

    @property
    def open_inbound_streams(self) -> int:
        """None, for h2 to compare with the limit on streams.

        h2 counts by walking all streams, at every request, and sweeps closed ones meanwhile.
        The sweep is kept, but only when it is worth the walk.
        """
        if len(self.streams) > self._sweep_above:
            still_open = super().open_inbound_streams
            self._sweep_above = 2 * still_open + CLOSED_STREAMS_SLACK
        return 0


class StateMachine(H2ConnectionStateMachine):
    """After GOAWAY the connection goes on, for the streams that are open."""

    def process_input(self, input_: ConnectionInputs) -> list[Event]:
        if input_ is ConnectionInputs.SEND_GOAWAY or input_ is ConnectionInputs.RECV_GOAWAY:
            return []
        return super().process_input(input_)


_INDEXED: Final = {
    field: bytes([0x80 | index])
    for index, field in enumerate(HeaderTable.STATIC_TABLE, start=1)
    if field[1]
}


class LiteralEncoder:
    """HPACK (RFC 7541) without the dynamic table: static fields by index, others spelled out.

    Stands in for hpack's encoder, of which h2 uses these two members. An apns-id never comes
    twice, so a table of them gains nothing, while hpack searches it entry by entry and lets
    the peer decide its size. 15 µs less per response.
    """

    def __init__(self) -> None:
        self._table_size_update = b""

    @property
    def header_table_size(self) -> int:
        return 0

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        # The peer may have shrunk its table and must be told of a size that fits (section
        # 4.2); zero always does, and once told of it, it need not be told again.
        self._table_size_update = b"\x20"

    def encode(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        block = [self._table_size_update]
        self._table_size_update = b""
        for field in headers:
            indexed = _INDEXED.get(field)
            if indexed is not None:
                block.append(indexed)
            else:
                name, value = field
                block += (b"\0", _length(name), name, _length(value), value)
        return b"".join(block)


def _length(text: bytes) -> bytes:
    size = len(text)
    return bytes((size,)) if size < 127 else bytes(encode_integer(size, 7))
