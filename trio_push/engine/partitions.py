"""Where things lie in Redis: the partition of a token, and the names of keys.

A command on several keys works on a Redis Cluster only where their names have the same part in
braces. So every key belongs to one of a fixed number of partitions, and what is asked of many
tokens is asked once per partition. One server is one partition, and asked once. Pure.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

#: The number k at place i has its CRC16 in the i-th of 32 equal ranges of the cluster's slots,
#: so that however many primaries share the slots, they share the partitions evenly. To be
#: changed only together with all that is stored.
TAGS: Final = (
    *(10, 113, 21, 3, 61, 72, 50, 43, 11, 112, 20, 2, 60, 73, 51, 42),
    *(12, 111, 23, 1, 63, 70, 52, 41, 13, 110, 22, 0, 62, 71, 53, 40),
)


class Keys:
    """The names of all keys. Tables of a partition begin with `base`; the rest is in scripts."""

    def __init__(self, prefix: str, *, is_cluster: bool) -> None:
        self._prefix = prefix
        self.partitions = len(TAGS) if is_cluster else 1
        #: the nodes by the end of their lease
        self.nodes = f"{prefix}:{{nodes}}"
        #: what is set for all of them; the script that sees who is there finds it by that name
        self.settings = f"{self.nodes}:settings"

    def partition_of(self, token: str) -> int:
        """The partition of a token, or of the name of a user."""
        return crc32(token.encode()) % self.partitions

    def base(self, partition: int) -> str:
        return f"{self._prefix}:{{{TAGS[partition]}}}"

    def table(self, name: str, token: str) -> str:
        """A table in the partition of a token, or of a user."""
        return f"{self.base(self.partition_of(token))}:{name}"

    def node(self, node: str) -> str:
        """What the keys of a node begin with."""
        return f"{self._prefix}:{{{node}}}"

    def inbox(self, node: str) -> str:
        return f"{self.node(node)}:inbox"

    def taker(self, node: str) -> str:
        """Who empties the inbox of a dead node."""
        return f"{self.node(node)}:taker"
