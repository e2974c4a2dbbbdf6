"""The device tokens of a swarm, by device index."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from trio_push.errors import ConfigError

#: of a token as Apple gives them out: 32 bytes in hex
_LENGTH = 64


def check_prefix(prefix: str) -> None:
    """Raise ConfigError for what generated tokens cannot begin with."""
    if len(prefix) > _LENGTH // 2 or not set(prefix) <= set(string.hexdigits):
        raise ConfigError(f"{prefix!r} is not hexadecimal, at most {_LENGTH // 2} digits")


class GeneratedTokens(Sequence[str]):
    """Tokens made from prefix, seed and index when asked for: a million of them take no memory.

    `first` is the index, among all the devices of a swarm, of the one that is 0 here.
    """

    __slots__ = ("_count", "_first", "_prefix", "_seed")

    def __init__(self, count: int, *, prefix: str = "", seed: int = 0, first: int = 0) -> None:
        self._count = count
        self._first = first
        self._prefix = prefix.lower()
        self._seed = seed

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        digest = hashlib.sha256(b"%d:%d" % (self._seed, self._first + index)).hexdigest()
        return self._prefix + digest[len(self._prefix) :]


def read_tokens(path: str, count: int) -> list[str]:
    """The first `count` tokens of a file: one to a line, empty lines and # comments left out.

    Raises ConfigError when the file cannot be read or has fewer.
    """
    try:
        lines = Path(path).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--token-file {path}: {exc}") from exc
    tokens = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if len(tokens) < count:
        raise ConfigError(
            f"--token-file {path} has {len(tokens)} tokens for {count} devices: "
            f"add tokens or give --devices {len(tokens)}"
        )
    return tokens[:count]
