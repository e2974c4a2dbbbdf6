from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.fakes import push
from tests.router.conftest import node, settings
from trio_push.node import Node
from trio_push.testing.record import NotReceived, Record

__all__ = ["node", "settings"]


@pytest.fixture
async def record(node: Node) -> Record:
    return Record(node.push_channel, node.ledger)


async def test_what_was_pushed(autojump_clock: MockClock, record: Record) -> None:
    await record.submit(
        [push(b'{"n":1}', topic="t", collapse_id="c", priority=5), push(token="bb")]
    )
    await record.submit([push(b"no json", ttl_s=0)])
    first, second = record.of("aa")
    assert (first.token, first.json, first.topic) == ("aa", {"n": 1}, "t")
    assert (first.collapse_id, first.priority, first.outcome) == ("c", 5, "stored")
    assert (second.payload, second.expires_at, second.outcome) == (b"no json", 0.0, "discarded")
    with pytest.raises(ValueError):
        _ = second.json
    assert [each.token for each in record.of(None)] == ["aa", "bb", "aa"]
    record.forget()
    assert record.of(None) == []


async def test_waiting(autojump_clock: MockClock, record: Record, nursery: trio.Nursery) -> None:
    async def later() -> None:
        for n in range(3):
            await trio.sleep(1)
            await record.submit([push(b"other", token="bb"), push(b"%d" % n)])

    nursery.start_soon(later)
    began = trio.current_time()
    assert (await record.wait_for("aa", 2, 5)).payload == b"1"
    assert trio.current_time() - began == 2
    assert (await record.wait_for("aa", 1, 5)).payload == b"0"
    assert trio.current_time() - began == 2


async def test_waiting_in_vain(
    autojump_clock: MockClock,
    node: Node,
    record: Record,
) -> None:
    await record.submit([push(), push(token="bb"), push(token="cc")])
    with pytest.raises(NotReceived) as raised:
        await record.wait_for("aa", 2, 5)
    assert str(raised.value) == (
        "push 2 for aa did not come within 5 s; there came 1 for it and 2 for others (bb, cc); "
        "refused were none"
    )
    record.forget()
    node.ledger.refuse("BadPath")
    complaint = r"there came 0 for it and 0 for others; refused were {'BadPath': 1}$"
    with pytest.raises(NotReceived, match=complaint):
        await record.wait_for("aa", 1, 5)
