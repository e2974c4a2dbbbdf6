"""Devices wander between three nodes while pushes go on, and what they share goes away at times.

Whatever happens: every push that was accepted for later is read, and the books of each node, and
of all together, agree with what is held.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from tests.engine.nodes import Nodes, OneNode, until
from tests.fakes import FakeDevice, push
from trio_push.config import ServeSettings
from trio_push.engine.memory import MemoryShared
from trio_push.faults import Match, Rule
from trio_push.faults.actions import DisconnectDevice, Duplicate, Lose, Reorder, SlowDevice
from trio_push.faults.latency import Uniform
from trio_push.push import State
from trio_push.wire.cursor import Cursor

SETTINGS = ServeSettings(mailbox_capacity=2, store_per_token=1000)
TOKENS = ("aa", "bb", "cc")
KEPT = (State.STORED, State.QUEUED, State.DELAYED, State.IN_FLIGHT, State.AWAITING_ACK)


class Wanderer:
    """A device that is at one node or at none, and remembers what it has read."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.node: OneNode | None = None
        self.device: FakeDevice | None = None
        self.cursor: Cursor | None = None
        self.read: list[bytes] = []
        self._noted = 0

    async def go(self, node: OneNode, chance: random.Random, *, polite: bool) -> None:
        self.note()
        polite = polite or chance.random() < 0.5
        if self.device is not None and polite and self.node is not None:
            self.node.disconnect(self.device)
            self.note()
        room = None if chance.random() < 0.8 else chance.randrange(200)
        cursor = self.cursor
        device = await node.connect(self.token, cursor, room)
        self.note()
        self.node, self.device, self._noted = node, device, 0

    def note(self) -> None:
        """What it has read by now, and up to where."""
        if self.device is None or self.node is None:
            return
        self.read += self.device.events[self._noted :]
        self._noted = len(self.device.events)
        if self.device.seqs:
            self.cursor = Cursor(self.node.name, self.device.seqs[-1])


FAULTS = (
    Rule(match=Match(share=0.1), action=Lose()),
    Rule(match=Match(share=0.2), action=Reorder(by=Uniform(0.1, 2.0))),
    Rule(match=Match(share=0.2), action=Duplicate()),
    Rule(match=Match(share=0.2), action=SlowDevice(latency=Uniform(0.1, 2.0))),
    Rule(match=Match(share=0.1), action=DisconnectDevice("before")),
    Rule(match=Match(share=0.1), action=DisconnectDevice("after")),
)


@pytest.mark.parametrize("faults", [(), FAULTS], ids=["", "faults"])
@pytest.mark.parametrize("seed", range(12))
async def test_wandering(
    seed: int, faults: Sequence[Rule], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chance = random.Random(seed)
    # An old connection that nobody reads any more is only known of while the nodes can talk.
    goes_away = seed % 2 == 1
    shared = MemoryShared()
    nodes = Nodes(shared, nursery)
    all_nodes = [await nodes.start(SETTINGS) for _ in range(3)]
    await until(lambda: all(len(node.engine.members.living) == 3 for node in all_nodes))
    await all_nodes[seed % 3].node.rules.add(faults)
    wanderers = {token: Wanderer(token) for token in TOKENS}
    promised: dict[str, list[bytes]] = {token: [] for token in TOKENS}
    for step in range(120):
        action = chance.random()
        token, node = chance.choice(TOKENS), chance.choice(all_nodes)
        if action < 0.25:
            await wanderers[token].go(node, chance, polite=goes_away)
        elif action < 0.35:
            wanderer = wanderers[token]
            if wanderer.device is not None and wanderer.node is not None:
                wanderer.node.disconnect(wanderer.device)
        elif action < 0.9:
            payload = b"%d" % step
            delay = chance.choice([0, 0, 0, 1.5])
            not_before = nodes.clock.wall() + delay if delay else 0.0
            wants_ack = chance.random() < 0.2
            one = push(payload, token, not_before=not_before, wants_ack=wants_ack)
            [state] = await node.submit(one)
            if state in KEPT:
                promised[token].append(payload)
        elif action < 0.96 or not goes_away:
            await trio.sleep(chance.random() * 3)
        else:
            shared.away = "" if shared.away else "away for a while"
            await trio.sleep(chance.random() * 2)
    shared.away = ""
    await trio.sleep(15)
    await all_nodes[0].node.rules.clear()
    for wanderer in wanderers.values():
        if wanderer.device is not None:
            wanderer.device.make_room(None)
        wanderer.note()
        # as long as it takes: what is held for one token is bounded, and so is a mailbox
        for _ in range(3):
            await wanderer.go(chance.choice(all_nodes), random.Random(1), polite=True)
            if wanderer.device is not None:
                wanderer.device.make_room(None)
            await trio.sleep(3)
            wanderer.note()
            for payload in wanderer.read:
                await all_nodes[0].node.everywhere.acknowledge(wanderer.token, payload.decode())
    for token, wanderer in wanderers.items():
        assert set(promised[token]) <= set(wanderer.read), (
            token,
            set(promised[token]) - set(wanderer.read),
        )
    for node in all_nodes:
        await node.router.commit()
    nodes.check()
    assert await nodes.rows(*TOKENS) == 0
    if not goes_away:  # a node that was taken for dead may count what another counted too
        assert nodes.in_transit == 0
    nursery.cancel_scope.cancel()
