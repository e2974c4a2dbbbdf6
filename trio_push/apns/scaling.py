"""How the number of connections grows and shrinks: the laws, and the settings of the governor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trio_push.errors import ConfigError


class Law(Protocol):
    """How many connections come after `n`."""

    def up(self, n: int) -> int: ...

    def down(self, n: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Constant:
    """The number stays as it is: the least that there may be."""

    def up(self, n: int) -> int:
        return n

    def down(self, n: int) -> int:
        return n


@dataclass(frozen=True, slots=True)
class Incremental:
    """So many at a time."""

    by: int = 1

    def __post_init__(self) -> None:
        if self.by < 1:
            raise ConfigError(f"Incremental({self.by}): it grows by 1 at least")

    def up(self, n: int) -> int:
        return n + self.by

    def down(self, n: int) -> int:
        return max(0, n - self.by)


@dataclass(frozen=True, slots=True)
class Exponential:
    """By a factor, and by one at least."""

    factor: float = 2.0

    def __post_init__(self) -> None:
        if self.factor <= 1:
            raise ConfigError(f"Exponential({self.factor}): the factor is above 1")

    def up(self, n: int) -> int:
        return max(n + 1, int(n * self.factor))

    def down(self, n: int) -> int:
        return max(0, min(n - 1, int(n / self.factor)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """When there are more connections, and when fewer."""

    law: Law = Exponential(2.0)
    least: int = 1
    most: int = 30
    #: how long the input must have waited, and the output not, before connections are added
    sustain_s: float = 1.0
    #: how long nothing is changed after a change
    settle_s: float = 2.0
    #: how long fewer connections would have sufficed before some are closed
    idle_s: float = 30.0
    #: how often it is looked at
    poll_s: float = 0.2

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ConfigError(f"connections from {self.least} to {self.most}: at least one, and up")
        if self.poll_s <= 0:
            raise ConfigError("the governor must look now and then: poll_s is above 0")
