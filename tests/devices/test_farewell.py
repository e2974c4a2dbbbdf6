from __future__ import annotations

import re

import pytest
import trio
from trio.testing import MockClock

from tests.fakes import FakeDevice, push
from trio_push.devices.farewell import RETRY_MS, SHARE, farewell
from trio_push.node import Node
from trio_push.push import State


def attach(node: Node, count: int) -> list[FakeDevice]:
    devices = [FakeDevice(f"{n:04x}") for n in range(count)]
    for device in devices:
        node.router.attach(device)
    return devices


def retry_ms(device: FakeDevice) -> int:
    found = re.fullmatch(rb"(?:(?:.+\n)+\n)*retry: (\d+)\n\n", device.taken)
    assert found, device.taken
    return int(found[1])


async def good_bye(node: Node, drain_s: float) -> float:
    """How long it takes."""
    start = trio.current_time()
    await farewell(node.directory, node.router.delivery, drain_s)
    assert len(node.directory) == 0
    return trio.current_time() - start


@pytest.mark.parametrize(("count", "takes_s"), [(0, 0), (100, 0), (1000, SHARE * 10 * 0.9)])
async def test_each_is_told_to_come_back_at_another_time(
    autojump_clock: MockClock, node: Node, count: int, takes_s: float
) -> None:
    devices = attach(node, count)
    assert await good_bye(node, 10) == pytest.approx(takes_s)
    told = [retry_ms(device) for device in devices]
    assert all(RETRY_MS[0] <= ms <= RETRY_MS[1] for ms in told)
    assert all(device.closed for device in devices)
    if count:
        assert max(told) - min(told) > 0.7 * (RETRY_MS[1] - RETRY_MS[0])


async def test_what_waits_comes_first(
    autojump_clock: MockClock, node: Node, nursery: trio.Nursery
) -> None:
    [device] = attach(node, 1)
    device.room = 10
    await node.push_channel.submit([push(b"%d" % n, token="0000") for n in range(3)])

    async def take_it_later() -> None:
        await trio.sleep(5)
        device.make_room(None)

    nursery.start_soon(take_it_later)
    assert await good_bye(node, 8) == pytest.approx(5, abs=0.1)
    assert device.events == [b"0", b"1", b"2"]
    assert retry_ms(device)


async def test_a_device_whose_socket_is_full_has_the_drain_time_to_take_it(
    autojump_clock: MockClock, node: Node, nursery: trio.Nursery
) -> None:
    [device] = attach(node, 1)
    device.room = 3

    async def take_it_later() -> None:
        await trio.sleep(5)
        device.make_room(None)

    nursery.start_soon(take_it_later)
    await good_bye(node, 8)
    assert device.taken.startswith(b"retry: ")
    assert device.taken.endswith(b"\n\n")


async def test_a_stalled_device_holds_up_nothing_longer(
    autojump_clock: MockClock, node: Node
) -> None:
    stalled, other = attach(node, 2)
    stalled.room = 10
    await node.push_channel.submit(
        [push(b"kept", token="0000"), push(b"not kept", token="0000", ttl_s=0)]
    )
    assert await good_bye(node, 8) == pytest.approx(8, abs=0.1)
    assert stalled.closed
    assert retry_ms(other)
    counts = node.ledger.counts
    assert (counts[State.STORED], counts[State.DROPPED_DEVICE_TOO_SLOW]) == (1, 1)


async def test_no_time_at_all(autojump_clock: MockClock, node: Node) -> None:
    devices = attach(node, 300)
    assert await good_bye(node, 0) == 0
    assert all(retry_ms(device) for device in devices)


async def test_a_device_that_went_by_itself_is_let_go(
    autojump_clock: MockClock, node: Node, nursery: trio.Nursery
) -> None:
    devices = attach(node, 150)
    devices[120].gone = True

    async def leave_meanwhile() -> None:
        await trio.sleep(1)
        node.router.delivery.disconnect(devices[140])

    nursery.start_soon(leave_meanwhile)
    await good_bye(node, 10)
    assert devices[120].taken == devices[140].taken == b""
