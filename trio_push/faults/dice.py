"""Choices that look random and are the same each time: by a hash of seed, rule and count.

Every rule has dice of its own, so that adding or removing one changes nothing for the others.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_RANGE: Final = 2.0**-64


class Dice:
    """Numbers in [0, 1), made from what is given."""

    __slots__ = ("_key", "_rolls")

    def __init__(self, seed: int, name: str) -> None:
        self._key = blake2b(f"{seed} {name}".encode(), digest_size=32).digest()
        self._rolls = 0

    def roll(self) -> float:
        """The next number."""
        self._rolls += 1
        return self._hash(b"%d" % self._rolls)

    def of(self, text: str) -> float:
        """The number of a text: the same each time."""
        return self._hash(b"of " + text.encode())

    def _hash(self, data: bytes) -> float:
        digest = blake2b(data, digest_size=8, key=self._key).digest()
        # 53 bits: a float of 64 may round up to 1.0
        return (int.from_bytes(digest, "big") >> 11 << 11) * _RANGE
