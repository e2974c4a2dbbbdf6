"""What nodes and Redis say to each other at sizes that no machine here holds. Pure, seeded.

A push enters at some node, which looks up where the device is and sends that node a message. What
comes in during one round trip to Redis goes out together: one lookup for each partition of the
registry that is touched, one message for each node that is. Devices that connect are registered
likewise. How many commands that makes depends on how many pushes share a round trip at one node,
and on how many nodes and partitions there are: that is what is drawn here, push by push. What a
command costs is measured or assumed elsewhere and given as `Costs`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

#: of the registry on a Redis Cluster; trio_push.engine has as many, and one on a single server
PARTITIONS: Final = 32
#: share of its time that a primary can be busy without a queue that grows
BUSY: Final = 0.9
#: a push that waits longer in a batch is late by any measure
LONGEST_S: Final = 0.5
#: round trips that are drawn at least
_TRIPS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Costs:
    """CPU time in seconds, and bytes. Where they come from: docs/explanation/scale.md."""

    #: of Redis, for a command and for each push or device in it
    redis_command_s: float = 8e-6
    redis_element_s: float = 0.7e-6
    #: of a node, likewise
    node_command_s: float = 22e-6
    node_element_s: float = 2e-6
    #: a device's entry in the registry
    registry_bytes: int = 160


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What is simulated."""

    devices: int
    #: that are connected to one node, which is a process
    devices_per_node: int = 50_000
    #: primaries of Redis
    shards: int = 1
    #: pushes that come in a second, to devices chosen evenly
    pushes_per_s: float
    #: nodes that they come in at, each at any of them; 0: at all
    entries: int = 0
    #: devices that connect in a second
    connects_per_s: float
    #: what comes in during this time goes out together
    round_trip_s: float = 1e-3
    costs: Costs = Costs()

    @property
    def nodes(self) -> int:
        return -(-self.devices // self.devices_per_node)

    @property
    def partitions(self) -> int:
        return PARTITIONS if self.shards > 1 else 1


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What came of it, in a second."""

    pushes: float
    #: commands for a push: its share of a lookup, of a message, and of the reading of an inbox
    commands_per_push: float
    commands_per_connect: float
    commands_per_s: float
    #: pushes in a message between nodes
    pushes_per_message: float
    #: of one core, the busiest primary; above 1 it does not keep up
    busiest_shard: float
    #: CPU time of nodes for a push, where the device is on another node
    node_us_per_push: float
    #: memory of a primary for the registry
    registry_bytes_per_shard: float


def simulate(cluster: Cluster, seconds: float, seed: int) -> Traffic:
    """Draw `seconds` of traffic."""
    rng = random.Random(seed)
    pushes = _Pushes(cluster, rng)
    for batch in _round_trips(cluster.pushes_per_s, cluster.round_trip_s, seconds, rng):
        pushes.take(batch)
    connects = _Connects(cluster, rng)
    for batch in _round_trips(cluster.connects_per_s, cluster.round_trip_s, seconds, rng):
        connects.take(batch)
    shards, costs = Counter(pushes.shards), cluster.costs
    shards.update(connects.shards)
    elements = (pushes.elements + connects.count) / cluster.shards
    busiest = max((shards[shard] for shard in range(cluster.shards)), default=0)
    commands = pushes.commands + connects.commands
    node_s = pushes.commands * costs.node_command_s + pushes.count * costs.node_element_s
    return Traffic(
        pushes=pushes.count / seconds,
        commands_per_push=pushes.commands / max(pushes.count, 1),
        commands_per_connect=connects.commands / max(connects.count, 1),
        commands_per_s=commands / seconds,
        pushes_per_message=pushes.sent / max(pushes.messages, 1),
        busiest_shard=(busiest * costs.redis_command_s + elements * costs.redis_element_s)
        / seconds,
        node_us_per_push=node_s / max(pushes.count, 1) * 1e6,
        registry_bytes_per_shard=cluster.devices * costs.registry_bytes / cluster.shards,
    )


def settle(cluster: Cluster, events: int, seed: int) -> tuple[Cluster, Traffic]:
    """Draw about `events`, with as long a round trip as it takes for Redis to keep up.

    A server that is busy answers later, so that more comes in meanwhile and goes out together,
    which makes it less busy: batches grow by themselves. The round trip is twice as long until
    the busiest primary has a tenth of its time left, or is LONGEST_S and that is not enough.
    """
    per_s = cluster.pushes_per_s + cluster.connects_per_s
    while True:
        traffic = simulate(cluster, max(events / per_s, _TRIPS * cluster.round_trip_s), seed)
        longer = 2 * cluster.round_trip_s
        if traffic.busiest_shard <= BUSY or longer > LONGEST_S:
            return cluster, traffic
        cluster = replace(cluster, round_trip_s=longer)


def _round_trips(
    per_s: float, round_trip_s: float, seconds: float, rng: random.Random
) -> Iterator[int]:
    """How many come in during each round trip: a Poisson process. Empty ones are left out."""
    at, trip, count = 0.0, 0, 0
    while per_s and (at := at + rng.expovariate(per_s)) < seconds:
        if (now := int(at / round_trip_s)) != trip:
            if count:
                yield count
            trip, count = now, 0
        count += 1
    if count:
        yield count


class _Pushes:
    """Lookups, messages, and the reading of inboxes."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._nodes = cluster.nodes
        self._entries = min(cluster.entries or cluster.nodes, cluster.nodes)
        self._shards = cluster.shards
        self._partitions = cluster.partitions
        self._rng = rng
        self.shards: Counter[int] = Counter()
        self.count = self.commands = self.elements = 0
        #: pushes that went to another node, and the messages that they went in
        self.sent = self.messages = 0

    def take(self, batch: int) -> None:
        """Those of one round trip, at all nodes."""
        lookups, messages = set(), set()
        for _ in range(batch):
            node, owner = self._rng.randrange(self._entries), self._rng.randrange(self._nodes)
            lookups.add((node, self._rng.randrange(self._partitions)))
            if owner != node:
                messages.add((node, owner))
                self.sent += 1
        readers = {owner for _, owner in messages}
        for _, partition in lookups:
            self.shards[partition % self._shards] += 1
        for _, owner in messages:
            self.shards[owner % self._shards] += 1
        for owner in readers:
            self.shards[owner % self._shards] += 1
        self.count += batch
        self.messages += len(messages)
        self.commands += len(lookups) + len(messages) + len(readers)
        # a push is handled three times: looked up, put into an inbox, read from it
        self.elements += 3 * batch


class _Connects:
    """Entries in the registry."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._nodes = cluster.nodes
        self._shards = cluster.shards
        self._partitions = cluster.partitions
        self._rng = rng
        self.shards: Counter[int] = Counter()
        self.count = self.commands = 0

    def take(self, batch: int) -> None:
        writes = {
            (self._rng.randrange(self._nodes), self._rng.randrange(self._partitions))
            for _ in range(batch)
        }
        for _, partition in writes:
            self.shards[partition % self._shards] += 1
        self.count += batch
        self.commands += len(writes)
