"""A rule: for whom and when (`Match`), and what happens (`Action`).

The same shape in a file (TOML) and over the API (JSON). Whatever makes no sense raises
msgspec.ValidationError while it is decoded.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from trio_push.faults.actions import Action, Stage
from trio_push.faults.latency import Seconds, SomeSeconds

#: tokens that one rule may name
MAX_TOKENS = 10_000

_Share = Annotated[float, Meta(gt=0, le=1)]
_Hex = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{1,200}$")]


class Match(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What a rule is for: everything that it says has to fit. Empty, it fits always."""

    share: Annotated[_Share | None, Meta(description="This part of all that fits, by chance.")] = (
        None
    )
    token_share: Annotated[
        _Share | None, Meta(description="This part of all tokens, always the same ones.")
    ] = None
    token_prefix: Annotated[_Hex | None, Meta(description="How the token begins, in hex.")] = None
    tokens: Annotated[
        Annotated[frozenset[_Hex], Meta(min_length=1, max_length=MAX_TOKENS)] | None,
        Meta(description="These tokens."),
    ] = None
    topic: Annotated[str | None, Meta(description="This topic.")] = None
    node: Annotated[str | None, Meta(description="Only at the node of this id.")] = None
    after_s: Annotated[
        Seconds, Meta(description="Not in the first seconds after the rule was added.")
    ] = 0.0
    for_s: Annotated[Seconds | None, Meta(description="Only for so many seconds from then on.")] = (
        None
    )
    every_s: Annotated[
        SomeSeconds | None,
        Meta(description="With `for_s`: again each time that so many seconds have passed."),
    ] = None
    rate: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="At most so often a second, at each node."),
    ] = None
    first: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Only so many times, at each node."),
    ] = None

    def __post_init__(self) -> None:
        if self.every_s is not None and (self.for_s is None or self.for_s > self.every_s):
            raise ValueError("every_s needs a for_s that is not above it")

    @property
    def names_tokens(self) -> bool:
        """Whether it asks for something that only a push has."""
        of_a_push = (self.token_share, self.token_prefix, self.tokens, self.topic)
        return any(each is not None for each in of_a_push)


class Rule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A fault on demand."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9._~-]*(?!\n)$",
            max_length=64,
            description="What it is listed, counted and removed by; without one it gets one.",
        ),
    ] = ""
    match: Annotated[Match, Meta(description="For whom and when; without it always.")] = Match()
    action: Annotated[Action, Meta(description="What happens.")]
    seed: Annotated[
        int, Meta(ge=0, description="The same seed, name and pushes: the same choices.")
    ] = 0

    def __post_init__(self) -> None:
        if self.action.stage is Stage.CONNECTION and self.match.names_tokens:
            raise ValueError("a connection has no token and no topic yet: leave them out")
