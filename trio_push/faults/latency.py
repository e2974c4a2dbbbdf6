"""How long something is to take: always the same, anything between two bounds, or log-normal.

A law is a function from a number in [0, 1) to seconds, so whoever rolls the dice has the say.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
SomeSeconds = Annotated[float, Meta(gt=0, le=86_400)]

_NORMAL: Final = NormalDist()
_P99: Final = _NORMAL.inv_cdf(0.99)
#: the law has no longest time; this is that of one in a million
_LIKELIEST: Final = 1e-6


class Fixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="law", tag="fixed"):
    """Always the same."""

    s: Annotated[Seconds, Meta(description="Seconds.")]

    def sample_s(self, chance: float) -> float:
        return self.s


class Uniform(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="law", tag="uniform"
):
    """Anything between two bounds, all as likely."""

    low_s: Annotated[Seconds, Meta(description="Seconds at least.")]
    high_s: Annotated[Seconds, Meta(description="Seconds at most.")]

    def __post_init__(self) -> None:
        if self.low_s > self.high_s:
            raise ValueError("low_s is above high_s")

    def sample_s(self, chance: float) -> float:
        return self.low_s + chance * (self.high_s - self.low_s)


class LogNormal(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="law", tag="log-normal"
):
    """Mostly near the median, seldom far above it, as networks are."""

    median_s: Annotated[SomeSeconds, Meta(description="Seconds that half of all take at most.")]
    p99_s: Annotated[SomeSeconds, Meta(description="Seconds that 99 of 100 take at most.")]

    def __post_init__(self) -> None:
        if self.median_s > self.p99_s:
            raise ValueError("median_s is above p99_s")

    def sample_s(self, chance: float) -> float:
        sigma = math.log(self.p99_s / self.median_s) / _P99
        likely = min(max(chance, _LIKELIEST), 1 - _LIKELIEST)
        return self.median_s * math.exp(sigma * _NORMAL.inv_cdf(likely))


Latency: TypeAlias = Fixed | Uniform | LogNormal
