from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.errors import ProtocolError
from trio_push.swarm.messages import (
    MAX_MESSAGE_BYTES,
    Connect,
    Decoder,
    Failed,
    FromWorker,
    Look,
    Name,
    Named,
    Order,
    Ready,
    Settle,
    Settled,
    Stir,
    ToWorker,
    Tried,
    encode,
)
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.tally import Tally
from trio_push.swarm.worst import Worst

ORDER = Order(
    settings=SwarmSettings(devices=7, fail_if=("p99>1s",)),
    run="5f3a",
    first=3,
    seed=2**32 - 1,
    connecting_at_once=8,
    sources=["127.0.0.1"],
    tokens=None,
)
TO_WORKER = [ORDER, Connect(), Stir(), Settle(b"\0\1", b""), Name(3)]


def full_tally() -> Tally:
    tally = Tally()
    tally.connections.now = -1
    tally.connections.failures["connection refused"] += 2
    tally.latency.record(0.25)
    return tally


WORST = Named([Worst("ab12", 3, 2, 1)])
FROM_WORKER = [Ready(), Tried(), Look(full_tally(), 1.5), Settled(), WORST, Failed("why")]


@pytest.mark.parametrize(
    ("kinds", "messages"), [(ToWorker, TO_WORKER), (FromWorker, FROM_WORKER)], ids=["to", "from"]
)
@given(data=st.data())
def test_messages_arrive_however_they_are_cut(kinds: Any, messages: Any, data: Any) -> None:
    stream = b"".join(map(encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    decoder = Decoder(kinds)
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    found = [message for piece in pieces for message in decoder.feed(piece)]
    assert found == messages


@pytest.mark.parametrize(
    "stream",
    [
        b"\0\0\0\1\xc1",
        encode(Ready()),
        (MAX_MESSAGE_BYTES + 1).to_bytes(4),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["no MessagePack", "of the other side", "too long", "another protocol"],
)
def test_what_is_no_message(stream: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(Decoder(ToWorker).feed(stream))


@given(st.binary(max_size=60))
def test_garbage_is_refused_or_waited_for(garbage: bytes) -> None:
    try:
        for message in Decoder(ToWorker).feed(garbage):
            assert isinstance(message, ToWorker)
    except ProtocolError:
        pass
