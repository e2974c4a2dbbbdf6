"""h2's connection as a provider uses it: a client's end, which outlives GOAWAY and is quick.

Made by the provider client's HTTP/2 session, the only user. Everything that leans on how h2 is
made inside stands here, with the reason, and its tests notice when a new h2 differs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hpack.hpack import Encoder, encode_integer
from hpack.table import HeaderTable

from trio_push.wire.h2_server import CLOSED_STREAMS_SLACK, StateMachine

#: what the dynamic table of the headers we send may occupy, if the peer allows as much
TABLE_BYTES: Final = 4096
#: RFC 7541, section 4.1: what an entry costs beside its name and value
_ENTRY_BYTES: Final = 32
#: values that differ from push to push: they would only throw others out of the table
_SPELLED_OUT: Final = frozenset((b":path", b"apns-id", b"apns-collapse-id", b"apns-expiration"))

Field = tuple[bytes, bytes]


class ClientConnection(H2Connection):
    """A client's end of HTTP/2.

    Of h2's own it differs in this: GOAWAY, sent or received, leaves what is open open (RFC
    9113, section 6.8), where h2 falls silent and would drop the answers still to come; streams
    are not counted by walking all of them at every request (whoever starts them has counted);
    and headers are encoded for a thousand requests that are nearly the same.
    """

    #: as for the server: the last 65,536 closed streams would be 11 MB
    MAX_CLOSED_STREAMS = 1024

    def __init__(self) -> None:
        super().__init__(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                # Those that we send are right, and those that we read are looked at by name.
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        self.state_machine = StateMachine()
        self.encoder = cast(Encoder, ProviderEncoder())
        self.local_settings = Settings(client=True, initial_values={SettingCodes.ENABLE_PUSH: 0})
        self._sweep_above = CLOSED_STREAMS_SLACK

    def clear_outbound_data_buffer(self) -> None:
        """What h2 does when GOAWAY comes; what was begun before is still sent."""

    @property
    def open_outbound_streams(self) -> int:
        """None, for h2 to compare with the peer's limit.

        h2 counts by walking all streams, and sweeps closed ones meanwhile. The sweep is kept,
        but only when it is worth the walk.
        """
        if len(self.streams) > self._sweep_above:
            still_open = super().open_outbound_streams
            self._sweep_above = 2 * still_open + CLOSED_STREAMS_SLACK
        return 0


_STATIC_FIELDS: Final = {
    field: bytes([0x80 | index])
    for index, field in enumerate(HeaderTable.STATIC_TABLE, start=1)
    if field[1]
}
_STATIC_NAMES: Final = {
    name: index for index, (name, _) in reversed(list(enumerate(HeaderTable.STATIC_TABLE, start=1)))
}
_STATIC_ENTRIES: Final = len(HeaderTable.STATIC_TABLE)


class ProviderEncoder:
    """HPACK (RFC 7541) for requests that share most of their headers.

    Stands in for hpack's encoder, of which h2 uses these two members. What requests share (the
    provider token above all) is put into the dynamic table once and is a byte from then on;
    what differs is spelled out and leaves the table alone, as Apple asks. Nothing is Huffman
    coded. 25 µs less per push.
    """

    def __init__(self) -> None:
        self._limit = TABLE_BYTES
        self._bytes = 0
        self._table: deque[Field] = deque()
        #: field → how many entries had been added before it
        self._place: dict[Field, int] = {}
        self._added = 0
        self._size_updates = b""

    @property
    def header_table_size(self) -> int:
        return self._limit

    @header_table_size.setter
    def header_table_size(self, allowed: int) -> None:
        limit = min(allowed, TABLE_BYTES)
        if limit != self._limit:
            self._limit = limit
            self._evict(limit)
            # section 4.2: told at the start of the next block
            self._size_updates += _integer(limit, 5, 0x20)

    def encode(self, headers: Iterable[Field]) -> bytes:
        block = [self._size_updates]
        self._size_updates = b""
        for field in headers:
            indexed = _STATIC_FIELDS.get(field)
            if indexed is not None:
                block.append(indexed)
            elif field[0] in _SPELLED_OUT:
                block.append(_literal(field, 4, 0))
            elif (place := self._place.get(field)) is not None:
                block.append(_integer(_STATIC_ENTRIES + self._added - place, 7, 0x80))
            else:
                block.append(self._add(field))
        return b"".join(block)

    def _add(self, field: Field) -> bytes:
        size = _size(field)
        if size > self._limit:
            return _literal(field, 4, 0)
        self._evict(self._limit - size)
        self._table.append(field)
        self._place[field] = self._added
        self._added += 1
        self._bytes += size
        return _literal(field, 6, 0x40)

    def _evict(self, limit: int) -> None:
        """Throw the oldest entries out until no more than `limit` bytes are left."""
        while self._bytes > limit:
            field = self._table.popleft()
            del self._place[field]
            self._bytes -= _size(field)


def _size(field: Field) -> int:
    return len(field[0]) + len(field[1]) + _ENTRY_BYTES


def _literal(field: Field, prefix_bits: int, pattern: int) -> bytes:
    """A field spelled out, its name by index where the static table has it (section 6.2)."""
    name, value = field
    index = _STATIC_NAMES.get(name, 0)
    head = _integer(index, prefix_bits, pattern)
    if not index:
        head += _integer(len(name), 7, 0) + name
    return head + _integer(len(value), 7, 0) + value


def _integer(number: int, prefix_bits: int, pattern: int) -> bytes:
    if number < (1 << prefix_bits) - 1:
        return bytes((pattern | number,))
    encoded = encode_integer(number, prefix_bits)
    encoded[0] |= pattern
    return bytes(encoded)
